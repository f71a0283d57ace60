"""Ending all that runs of a job, whatever was believed of it. The cluster is a double."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from temporalio.testing import ActivityEnvironment

from activities import contracts as c
from activities.stop import Stopper
from clusters.protocol import JobSeen, Overview, Ref, Unreachable
from core.jobs.observations import EngineState
from settings import clock, waits
from settings.polling import Pace
from store.database import Database
from tests.rows import attempt_row
from tests.store.test_store import add_job


class Flink:
    """`deaf` are jobs that a cancel does not end; while `away` is above 0 it counts questions that have no answer."""

    def __init__(self, *alive: str, deaf: str = "", away: int = 0):
        self.jobs = dict.fromkeys(alive, EngineState.RUNNING)
        self.deaf, self.away = deaf, away
        self.cancelled: list[Ref] = []

    async def overview(self) -> Overview:
        if self.away > 0:
            self.away -= 1
            raise Unreachable("it is away")
        refs = {h: Ref(h.replace("h", "id-"), h) for h in self.jobs}
        return Overview({h: JobSeen(refs[h], state, detail=state.value) for h, state in self.jobs.items()})

    async def cancel(self, ref: Ref) -> None:
        self.cancelled.append(ref)
        if ref.handle not in self.deaf:
            self.jobs[ref.handle] = EngineState.CANCELED


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "STOP_PACE", Pace(0.02))


async def asked(database: Database, flink: Flink, step: str, timeout: float = 5.0) -> c.Stopped:
    """What `step` says of a job with three attempts, of which the first two were believed to have ended."""
    job = await add_job(database)
    async with database.write() as session:
        for n in (1, 2, 3):
            ended = clock.now() if n < 3 else None
            session.add(attempt_row(job.id, n, flink_job_id=f"id-{n}", handle=f"h{n}", state="RUNNING", ended_at=ended))
    services = SimpleNamespace(
        database=database,
        engines=SimpleNamespace(get=lambda _: flink),
        settings=SimpleNamespace(submit_timeout=timeout, stop_timeout=timeout, lost_grace=0.1),
    )
    kind = c.AttemptIn if step == "cancel_all" else c.TriggerIn
    more = {} if step == "cancel_all" else {"trigger_id": "t", "directory": "file:///s"}
    wanted = kind(job_id=job.id, number=3, command_id=None, **more)
    return await ActivityEnvironment().run(getattr(Stopper(services), step), wanted)  # type: ignore[arg-type]


class TestAll:
    async def test_every_attempt_that_lives_is_cancelled_and_nobody_elses_job(self, sqlite: Database):
        flink = Flink("h1", "h3", "stranger")
        stopped = await asked(sqlite, flink, "cancel_all")
        assert (stopped.state, stopped.error) == (EngineState.CANCELED, None)
        assert flink.cancelled == [Ref("id-1", "h1"), Ref("id-3", "h3")]

    async def test_a_cluster_that_is_away_is_asked_again(self, sqlite: Database):
        flink = Flink("h1", away=2)
        assert (await asked(sqlite, flink, "cancel_all")).state is EngineState.CANCELED
        assert flink.cancelled == [Ref("id-1", "h1")]

    async def test_one_that_stays_away_leaves_it_open(self, sqlite: Database):
        stopped = await asked(sqlite, Flink("h1", away=10**6), "cancel_all", timeout=0.1)
        assert (stopped.state, stopped.code) == (None, "cancel_unclear")
        assert "it is away" in stopped.error

    async def test_what_does_not_end_is_named(self, sqlite: Database):
        stopped = await asked(sqlite, Flink("h2", "h3", deaf="h2"), "cancel_all", timeout=0.1)
        assert (stopped.state, stopped.code) == (None, "cancel_unclear")
        assert stopped.error.endswith("alive: attempt 2 (RUNNING)")


@pytest.mark.parametrize("step", ["stop_with_savepoint", "take_savepoint"])
async def test_a_kind_of_cluster_without_savepoints_takes_none(sqlite: Database, step: str):
    stopped = await asked(sqlite, Flink("h3"), step)
    assert (stopped.state, stopped.savepoint, stopped.code) == (None, None, "savepoint_failed")
    assert "takes no savepoints" in stopped.error
