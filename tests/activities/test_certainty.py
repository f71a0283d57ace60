"""When a missing attempt is believed, when a submission may be sent, and what a stop that did not stop says.

The engines are doubles: a JobManager that dies at the right moment, task managers that hold on, a savepoint that
completes while the job runs on (scenario 4) cannot be had from a real Flink on demand. What they answer was seen on
one (activities/looking.py, flink-facts).
"""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.logs import Pulse, Stale, heartbeats
from activities.looking import confirm_missing, why_ended
from activities.stop import _Trigger
from clusters.protocol import AnotherFlink, Failure, JobSeen, Leader, Ref, TriggerState, TriggerStatus, Unreachable
from core.jobs.observations import EngineState
from settings import waits

REF = Ref("a" * 32, "a" * 32)


class Double:
    """`script` maps the seconds since the first question to what is answered from then on."""

    def __init__(self, **script: Any):
        self.began = time.monotonic()
        self.state = script.get("state", lambda t: EngineState.MISSING)
        self.who = script.get("who", lambda t: "jm-2")
        self.holders = script.get("holders", lambda t: [])
        self.ha, self.heartbeat_timeout = script.get("ha", False), script.get("heartbeat_timeout", 1.5)
        self.cause = script.get("cause", lambda t: None)
        self.triggers: list[str] = []

    def _t(self) -> float:
        return time.monotonic() - self.began

    async def ref_of(self, flink_job_id: str) -> Ref:
        return Ref(flink_job_id, flink_job_id)

    async def look(self, ref: Ref) -> JobSeen:
        return JobSeen(ref, self.state(self._t()), detail="as scripted")

    async def leader(self) -> Leader:
        return Leader(self.who(self._t()), self.ha, self.heartbeat_timeout)

    async def failure(self, ref: Ref) -> Failure | None:
        return self.cause(self._t())

    async def slot_holders(self, ref: Ref) -> list[str]:
        return self.holders(self._t())

    async def stop_with_savepoint(self, ref: Ref, *, trigger_id: str, directory: str) -> None:
        self.triggers.append(trigger_id)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "CERTAIN_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(waits, "LOST_ANSWER_SECONDS", 0.5)


async def believed_after(engine: Double, *, leader: str | None, grace: float = 0.2) -> float:
    began = time.monotonic()
    seen, _ = await confirm_missing(engine, REF, leader=leader, grace=grace)  # type: ignore[arg-type]
    assert seen.state is EngineState.MISSING
    return time.monotonic() - began


class TestMissing:
    async def test_to_the_leader_that_took_it_it_is_gone_after_the_grace(self):
        assert await believed_after(Double(who=lambda t: "jm-1"), leader="jm-1") < 1

    async def test_under_another_leader_its_tasks_may_run_until_they_miss_the_old_one(self):
        assert await believed_after(Double(), leader="jm-1") >= 1.5

    async def test_with_high_availability_nothing_has_to_be_waited_for(self):
        assert await believed_after(Double(ha=True), leader="jm-1") < 1

    async def test_task_managers_that_still_hold_slots_are_waited_for(self):
        engine = Double(who=lambda t: "jm-1", holders=lambda t: ["tm-1"] if t < 1.2 else [])
        assert await believed_after(engine, leader="jm-1") >= 1.2

    async def test_a_leader_that_changes_meanwhile_begins_it_anew(self):
        assert await believed_after(Double(who=lambda t: "jm-2" if t < 1 else "jm-3"), leader="jm-1") >= 2.4

    async def test_one_that_comes_back_was_never_gone(self):
        engine = Double(state=lambda t: EngineState.MISSING if t < 0.6 else EngineState.RUNNING)
        seen, _ = await confirm_missing(engine, REF, leader="jm-1", grace=0.2)  # type: ignore[arg-type]
        assert seen.state is EngineState.RUNNING

    async def test_an_answer_that_is_lost_does_not_begin_it_anew(self):
        engine = Double()
        asked, look = 0, engine.look

        async def lossy(ref: Ref) -> JobSeen:
            nonlocal asked
            asked += 1
            if asked % 3 == 0:
                raise Unreachable("timed out")
            return await look(ref)

        engine.look = lossy  # type: ignore[method-assign]
        assert 1.5 <= await believed_after(engine, leader="jm-1") < 10
        assert asked > 6

    async def test_another_flink_at_the_address_is_no_answer_at_all(self):
        engine = Double()

        async def stranger() -> Leader:
            if engine._t() > 0.3:
                raise AnotherFlink("another Flink")
            return Leader("jm-2", False, 1.5)

        engine.leader = stranger  # type: ignore[method-assign]
        with pytest.raises(AnotherFlink):
            await confirm_missing(engine, REF, leader=None, grace=0.1)  # type: ignore[arg-type]
        assert engine._t() < 0.3 + waits.LOST_ANSWER_SECONDS

    async def test_a_cluster_that_goes_away_meanwhile_is_no_answer(self):
        engine = Double()

        async def away(ref: Ref) -> list[str]:
            raise Unreachable("gone")

        engine.slot_holders = away  # type: ignore[method-assign]
        with pytest.raises(Unreachable):
            await confirm_missing(engine, REF, leader=None, grace=0.1)  # type: ignore[arg-type]


class TestAProcessThatStoodStill:
    def test_sends_nothing_late(self, monkeypatch: pytest.MonkeyPatch):
        now = [100.0]
        monkeypatch.setattr(time, "monotonic", lambda: now[0])
        pulse = Pulse(2)
        now[0] += 9
        pulse.check()
        now[0] += 9
        with pytest.raises(Stale):
            pulse.check()

    def test_does_not_forget_that_it_did(self, monkeypatch: pytest.MonkeyPatch):
        now = [100.0]
        monkeypatch.setattr(time, "monotonic", lambda: now[0])
        monkeypatch.setattr("temporalio.activity.heartbeat", lambda: None)
        pulse = Pulse(2)
        now[0] += 30
        pulse.beat()  # the event loop may run the heartbeat first
        with pytest.raises(Stale):
            pulse.check()


async def test_what_is_done_soon_beats_not_at_all(monkeypatch: pytest.MonkeyPatch):
    """A beat is a write of Temporal."""
    beats: list[float] = []
    monkeypatch.setattr("temporalio.activity.heartbeat", lambda: beats.append(time.monotonic()))
    async with heartbeats(60):
        await asyncio.sleep(0.01)
    assert beats == []
    async with heartbeats(0.01):
        while len(beats) < 2:
            await asyncio.sleep(0.01)


async def test_4_the_savepoint_is_complete_and_the_job_runs_on(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """A successor may not start: the stop says so, with the savepoint, and the job is still the one that runs."""
    monkeypatch.setattr(waits, "STILL_RUNNING_SECONDS", 0.3)
    path = tmp_path / "savepoints" / "1-t" / "savepoint-x"
    path.mkdir(parents=True)
    (path / "_metadata").write_text("")
    engine = Double(state=lambda t: EngineState.RUNNING)

    async def status(ref: Ref, trigger: str) -> TriggerStatus:
        return TriggerStatus(TriggerState.COMPLETED, path=str(path))

    engine.trigger_status = status  # type: ignore[attr-defined]
    attempt = SimpleNamespace(job_id="j", number=1, version=1, flink_job_id=REF.flink_job_id, handle=REF.handle)
    wanted = SimpleNamespace(trigger_id="t", directory=str(path.parent), leader=None)
    settings = SimpleNamespace(lost_grace=0.1, stop_timeout=30)

    async def stopping() -> Any:
        made = _Trigger(engine, attempt, wanted, lambda line: None, settings, Pulse(2))  # type: ignore[arg-type]
        return await made.stop()

    stopped = await asyncio.wait_for(ActivityEnvironment().run(stopping), 20)
    assert stopped.state is EngineState.RUNNING
    assert stopped.code == "not_stopped"
    assert engine.triggers == [], "Flink knew the trigger already: it is not sent again"
    assert stopped.savepoint is not None
    assert stopped.savepoint.path == f"file://{path}"


async def test_a_failed_job_without_a_failure_is_asked_again():
    """The JobManager's copy of the job was made before it failed (web.refresh-interval)."""
    late = Double(cause=lambda t: Failure("by zero", None) if t > 0.3 else None)
    failure = await why_ended(late, REF, EngineState.FAILED)
    assert failure is not None
    assert failure.message == "by zero"


async def test_a_job_that_did_not_fail_is_asked_once():
    assert (
        await why_ended(Double(cause=lambda t: Failure("x", None) if t > 0.3 else None), REF, EngineState.FINISHED)
        is None
    )
