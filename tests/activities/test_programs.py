"""What is done with the Flink jobs of a program that has not ended well. The cluster is a double: jobs that end by
themselves at the right moment, or do not end, cannot be had from a real Flink on demand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.testing import ActivityEnvironment

from activities import contracts as c
from activities import submit
from activities.logs import Pulse
from clusters.protocol import SEVERAL_JOBS, JobSeen, Overview, ProgramFailed, Ref, Unreachable
from core.jobs.observations import EngineState
from core.jobs.restore import RestoreKind, RestorePoint
from observation import points
from settings import waits
from settings.polling import Pace
from store import attempts
from store.database import Database
from tests.store.test_store import T0, add_attempt, add_job

RUNNING, FINISHED, CANCELED = EngineState.RUNNING, EngineState.FINISHED, EngineState.CANCELED


class Double:
    def __init__(self, stubborn: bool = False, silent: int = 0, **states: EngineState):
        self.states, self.stubborn, self.silent = dict(states), stubborn, silent
        self.cancelled: list[str] = []

    async def overview(self) -> Overview:
        if self.silent:
            self.silent -= 1
            raise Unreachable("it is away")
        return Overview({h: JobSeen(Ref(h, h), state) for h, state in self.states.items()})

    async def cancel(self, ref: Ref) -> None:
        self.cancelled.append(ref.handle)
        if not self.stubborn and ref.handle in self.states:
            self.states[ref.handle] = CANCELED


async def end(engine: Any, error: ProgramFailed, attempt: Any = None, database: Any = None, seconds: float = 5) -> Any:
    settings, engines = SimpleNamespace(submit_timeout=seconds), SimpleNamespace(get=lambda _: engine)
    submitter = submit.Submitter(cast(Any, SimpleNamespace(settings=settings, database=database, engines=engines)))
    attempt = attempt or SimpleNamespace(flink_job_id="a", handle="a")

    async def ask() -> c.Submitted:
        return await submitter._end_program(attempt, cast(Any, None), error, lambda _: None, Pulse(2))

    return await ActivityEnvironment().run(ask)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "CANCEL_PACE", Pace(0.01))


def failed(*jobs: str) -> ProgramFailed:
    return ProgramFailed("The program failed: boom.", jobs=[Ref(job, job) for job in jobs], code="program_failed")


async def test_all_are_cancelled_and_seen_to_end():
    engine = Double(a=RUNNING, b=RUNNING, other=RUNNING, silent=3)
    result = await end(engine, failed("a", "b"))
    assert (result.state, result.code) == (c.SubmitState.REJECTED, "program_failed")
    assert result.error == "The program failed: boom. Its Flink job a was cancelled. Its Flink job b was cancelled."
    assert engine.states["other"] is RUNNING


async def test_one_that_had_ended_by_itself_is_said_so():
    engine = Double(a=FINISHED)
    result = await end(engine, failed("a"))
    assert result.error == "The program failed: boom. Its Flink job a had finished by itself."
    assert engine.cancelled == []


@pytest.mark.parametrize("engine", [Double(a=RUNNING, stubborn=True), Double(), Double(a=RUNNING, silent=10**6)])
async def test_one_that_is_not_seen_to_end_is_no_clear_no(engine: Double):
    result = await end(engine, failed("a"), seconds=0.2)
    assert (result.state, result.code) == (c.SubmitState.UNCLEAR, "submission_unclear")
    assert "a" in str(result.error)


async def test_what_one_of_several_has_left_is_no_restore_point(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """It holds the state of one of the program's jobs: the others would begin empty beside it."""
    job = await add_job(database)
    (tmp_path / "_metadata").touch()
    point = RestorePoint(
        id="rp", kind=RestoreKind.CHECKPOINT, path=tmp_path.as_uri(), completed_at=T0, attempt=1, version=1
    )
    await add_attempt(database, job)
    async with database.write() as session:
        await attempts.add_point(session, job.id, point)

    async def scan(pattern: str, kind: RestoreKind) -> list[Any]:
        return []

    monkeypatch.setattr(points.state_files, "scan", scan)
    services: Any = SimpleNamespace(database=database, engines=SimpleNamespace(get=lambda _: None))
    monkeypatch.setattr(points, "_of_attempt", lambda *_: scan("", RestoreKind.CHECKPOINT))
    assert [p.path for p in (await points.gather(services, job.id)).points] == [tmp_path.as_uri()]
    async with database.read() as session:
        attempt = await attempts.get(session, job.id, 1)
    several = ProgramFailed("More than one.", jobs=[Ref(attempt.flink_job_id, attempt.handle)], code=SEVERAL_JOBS)
    assert (await end(Double(h1=RUNNING), several, attempt, database)).code == SEVERAL_JOBS
    assert (await points.gather(services, job.id)).points == []
