"""When a no of the cluster counts, and what is done about an attempt that was perhaps sent.

The cluster is a double here: answers that get lost at the right moment, and a JobManager that changes between two
questions, cannot be had from a real one on demand. That a spent id is refused by a real Flink is tested in
`tests/real/test_engine_contract.py` and `tests/real/test_fence.py`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities import contracts as c
from activities.logs import Pulse
from activities.looking import deadline_of
from activities.submit import Submitter
from clusters.protocol import JarProgram, JobSeen, Leader, Overview, Ref, Submission, Unclear, Unreachable
from core.effects import EngineError, Rejected
from core.jobs.observations import EngineState
from settings import clock, waits
from settings.polling import Pace

ID = "a" * 32


class Flink:
    """`sends` are the answers to one submission after the other; None is a yes."""

    def __init__(self, *sends: EngineError | None, leaders: Callable[[int], str] = lambda n: "jm"):
        self.sends, self.sent = list(sends), 0
        self.leaders, self.asked_for_leader = leaders, 0
        self.fences: list[bool | EngineError] = []
        self.fenced = 0
        self.spent: set[str] = set()
        self.jobs: dict[str, JobSeen] = {}

    async def overview(self) -> Overview:
        return Overview(dict(self.jobs), frozenset(self.spent))

    async def look(self, ref: Ref) -> JobSeen:
        return self.jobs.get(ref.handle) or JobSeen(ref, EngineState.MISSING)

    async def leader(self) -> Leader:
        self.asked_for_leader += 1
        return Leader(self.leaders(self.asked_for_leader), False, 0.2)

    async def slot_holders(self, ref: Ref) -> list[str]:
        return []

    async def submit(self, wanted: object, tell: object) -> None:
        self.sent += 1
        answer = self.sends.pop(0)
        if answer is not None:
            raise answer

    async def fence(self, ref: Ref) -> bool:
        self.fenced += 1
        answer = self.fences.pop(0) if self.fences else True
        if isinstance(answer, EngineError):
            raise answer
        if not answer:
            self.jobs[ref.handle] = JobSeen(ref, EngineState.RUNNING)
        else:
            self.spent.add(ref.handle)
        return answer


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SUBMIT_PACE", "FENCE_PACE"):
        monkeypatch.setattr(waits, name, Pace(0.02))
    monkeypatch.setattr(waits, "CERTAIN_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(waits, "FENCE_SECONDS", 0.3)


ATTEMPT = SimpleNamespace(
    job_id="j",
    number=1,
    version=1,
    flink_job_id=ID,
    handle=ID,
    config={"leader": "jm"},
    restored_why="",
    restored_from=None,
)


SENT = Submission(Ref(ID, ID), "p:j", JarProgram(Path("x.jar"), "x", None, []), {}, None, None, False)


async def answer_to(
    flink: Flink, tmp_path: Any, *, attempt: int = 1, timeout: float = 5, restored_from: str | None = None
) -> c.Submitted:
    settings = SimpleNamespace(submit_timeout=timeout, lost_grace=0.1)
    submitter = Submitter(SimpleNamespace(engines=SimpleNamespace(get=lambda _: flink), settings=settings))  # type: ignore[arg-type]

    async def no_others(_: str) -> list[object]:
        return []

    submitter._ours = no_others  # type: ignore[method-assign]
    cluster = SimpleNamespace(state_dir=tmp_path.as_uri())
    given = SimpleNamespace(**vars(ATTEMPT) | {"restored_from": restored_from})
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, attempt=attempt, scheduled_time=datetime.now(UTC))

    async def go() -> c.Submitted:
        return await submitter._until_clear(  # type: ignore[arg-type]
            given, cluster, SENT, lambda _: None, Pulse(60), maybe_sent=attempt > 1
        )

    return await environment.run(go)


NO = Rejected("the lock file is held by another run")


async def test_a_send_that_is_not_answered_ends_with_the_time_of_the_submission(tmp_path, monkeypatch):
    """A `main` that waits for longer: its own time-out of 300 s does not begin anew just before the end."""
    monkeypatch.setattr(waits, "LAST_SEND_SECONDS", 0.1)
    flink = Flink()

    async def hangs(*_: object) -> None:
        await asyncio.sleep(60)

    flink.submit = hangs  # type: ignore[method-assign]
    answer = await asyncio.wait_for(answer_to(flink, tmp_path, timeout=0.5), 20)
    assert (answer.state, answer.code) == (c.SubmitState.UNCLEAR, "submission_unclear")


@pytest.mark.parametrize(("attempt", "sends"), [(2, 1), (waits.LAST_TRIES, 1), (waits.LAST_TRIES + 1, 0)])
async def test_of_workers_that_die_again_and_again_the_last_sends_nothing(tmp_path, attempt, sends):
    """After a long outage the next try sends once more; when the workers of three tries died, its time is what counts:
    a start would have no end while workers die more often than a submission takes (seen in the simulation)."""
    flink = Flink(Unclear("did not answer"))
    answer = await answer_to(flink, tmp_path, attempt=attempt, timeout=0)
    assert (answer.state, answer.code) == (c.SubmitState.UNCLEAR, "submission_unclear")
    assert flink.sent == sends


@pytest.mark.parametrize(("leader", "sends"), [("jm", 1), ("another", 0)])
async def test_late_it_is_sent_again_only_to_the_jobmanager_that_would_know_of_its_end(tmp_path, leader, sends):
    """A bounded job may have finished in the meantime, and leaves nothing that tells of it."""
    flink = Flink(None, leaders=lambda _: leader)
    answer = await answer_to(flink, tmp_path, attempt=2, timeout=0)
    assert (answer.state is c.SubmitState.ACCEPTED, flink.sent) == (sends == 1, sends)
    assert sends or "the JobManager has changed" in str(answer.error)


class TestANo:
    async def test_of_the_first_send_is_one(self, tmp_path):
        flink = Flink(NO)
        assert (await answer_to(flink, tmp_path)).state is c.SubmitState.REJECTED
        assert flink.fenced == 0

    async def test_after_one_without_an_answer_counts_once_the_id_is_spent(self, tmp_path):
        flink = Flink(Unclear("did not answer"), NO)
        assert (await answer_to(flink, tmp_path)).state is c.SubmitState.REJECTED
        assert (flink.sent, flink.fenced) == (2, 1)

    async def test_of_a_second_worker_counts_once_the_id_is_spent(self, tmp_path):
        flink = Flink(NO)
        assert (await answer_to(flink, tmp_path, attempt=2)).state is c.SubmitState.REJECTED
        assert flink.fenced == 1

    async def test_out_of_a_client_that_was_sending_counts_once_the_id_is_spent(self, tmp_path):
        flink = Flink(Rejected("Failed to submit JobGraph", sent=True))
        assert (await answer_to(flink, tmp_path)).state is c.SubmitState.REJECTED
        assert flink.fenced == 1

    async def test_is_none_when_the_cluster_has_it_after_all(self, tmp_path):
        flink = Flink(Unclear("did not answer"), NO)
        flink.fences = [False]
        assert (await answer_to(flink, tmp_path)).state is c.SubmitState.ACCEPTED

    async def test_is_unclear_while_the_id_cannot_be_spent(self, tmp_path):
        flink = Flink(Unclear("did not answer"), NO)
        flink.fences = [Unreachable("refused")] * 1000
        answer = await answer_to(flink, tmp_path)
        assert (answer.state, answer.code) == (c.SubmitState.UNCLEAR, "submission_unclear")

    async def test_after_it_had_run_says_so(self, tmp_path):
        point = tmp_path / "j" / "checkpoints" / ID / "chk-1"
        point.mkdir(parents=True)
        (point / "_metadata").touch()
        answer = await answer_to(Flink(Unclear("did not answer"), NO), tmp_path)
        assert answer.state is c.SubmitState.RAN


class TestWhileTheVolumeIsAway:
    """It looks as if the attempt had left no checkpoint. Sent again, it would begin behind what it has written."""

    async def test_nothing_is_sent_again(self, tmp_path):
        flink = Flink(None)
        answer = await answer_to(flink, tmp_path / "not mounted", attempt=2, timeout=0.3)
        assert (answer.state, "Is its volume mounted?" in str(answer.error), flink.sent) == (
            c.SubmitState.UNCLEAR,
            True,
            0,
        )

    async def test_which_leaves_an_empty_folder_to_mount_it_at(self, tmp_path):
        flink, point = Flink(None), (tmp_path / "j" / "savepoints" / "1-t" / "savepoint-1").as_uri()
        answer = await answer_to(flink, tmp_path, attempt=2, timeout=0.3, restored_from=point)
        assert (answer.state, flink.sent) == (c.SubmitState.UNCLEAR, 0)
        (tmp_path / "j").mkdir()
        answer = await answer_to(flink, tmp_path, attempt=2, restored_from=point)
        assert (answer.state, flink.sent) == (c.SubmitState.ACCEPTED, 1)


def test_a_try_after_a_crash_does_not_begin_the_time_anew(monkeypatch: pytest.MonkeyPatch):
    environment = ActivityEnvironment()
    since = datetime.now(UTC) - timedelta(seconds=90)
    left: dict[int, float] = {}
    for attempt in (1, 2):
        environment.info = dataclasses.replace(environment.info, attempt=attempt, scheduled_time=since)
        left[attempt] = environment.run(lambda: deadline_of(100.0)) - clock.monotonic()
    assert left[1] > 99
    assert 5 < left[2] < 11
