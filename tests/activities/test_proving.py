"""When a version that is followed counts as healthy, as failed, and as neither. The engines are doubles: a JobManager that
dies while it is followed, at the right moment, cannot be had from a real Flink on demand."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities import contracts as c
from activities.observe import Observing
from clusters.protocol import Checkpoints, Metrics, Progress, Unreachable
from core.jobs.observations import EngineState
from settings import waits
from tests.activities.test_certainty import Double

ID = "a" * 32


class Followed(Double, Metrics, Checkpoints):
    """Without a checkpoint until `completed` says otherwise; `away` says when it cannot be asked."""

    def __init__(self, **script: Any):
        super().__init__(**script)
        self.completed = script.get("completed", lambda t: 0)
        self.away = script.get("away", lambda t: False)

    async def look(self, ref: Any) -> Any:
        if self.away(self._t()):
            raise Unreachable("no answer")
        return await super().look(ref)

    async def progress(self, ref: Any) -> Progress:
        return Progress(restarts=0, completed=self.completed(self._t()))

    async def takes_checkpoints(self, ref: Any) -> bool:
        return True


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "CERTAIN_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(waits, "PROVING_PAUSE_SECONDS", 0.05)


async def proven(engine: Followed, folder: Path, within: float = 30.0, *later: Followed) -> tuple[c.Proven, float]:
    """`later` are the engines of the cluster when it is read again."""
    engines = [engine, *later]
    attempt = SimpleNamespace(
        job_id="j", number=2, flink_job_id=ID, handle=ID, config={}, restored_why="", started_at=datetime.now(UTC)
    )
    cluster = SimpleNamespace(state_dir=folder.as_uri())
    services = SimpleNamespace(
        database=None, engines=SimpleNamespace(get=lambda _: engines[0]), settings=SimpleNamespace(lost_grace=0.2)
    )
    observing = Observing(services, None)  # type: ignore[arg-type]

    reads: list[Any] = []

    async def found(_: Any) -> Any:
        if reads and len(engines) > 1:
            engines.pop(0)
        reads.append(cluster)
        return attempt, cluster

    observing._attempt = found  # type: ignore[method-assign]
    wanted = c.ProveIn(job_id="j", number=2, leader="jm-1", within=within)
    began = time.monotonic()
    result: c.Proven = await ActivityEnvironment().run(observing.prove, wanted)
    return result, time.monotonic() - began


async def test_one_whose_job_manager_died_is_not_gone_before_its_tasks_are(tmp_path: Path):
    """Found by an attack: the roll-back began 10 s after the JobManager had died, and its tasks wrote for 5 s more."""
    engine = Followed(who=lambda t: "jm-2", heartbeat_timeout=1.0, holders=lambda t: ["tm-1"] if t < 1.4 else [])
    result, seconds = await proven(engine, tmp_path)
    assert result.observation is not None
    assert (result.healthy, result.observation.state) == (False, EngineState.MISSING)
    assert seconds >= 1.4


async def test_one_that_is_there_again_is_followed_on(tmp_path: Path):
    engine = Followed(
        state=lambda t: EngineState.MISSING if t < 0.5 else EngineState.RUNNING,
        completed=lambda t: 1,
        heartbeat_timeout=1.0,
    )
    result, _ = await proven(engine, tmp_path)
    assert result.healthy


async def test_one_that_comes_to_its_end_is_healthy(tmp_path: Path):
    result, _ = await proven(Followed(state=lambda t: EngineState.FINISHED), tmp_path)
    assert result.observation is not None
    assert (result.healthy, result.observation.state) == (True, EngineState.FINISHED)


async def test_one_that_is_cancelled_by_somebody_is_not(tmp_path: Path):
    result, _ = await proven(Followed(state=lambda t: EngineState.CANCELED), tmp_path)
    assert not result.healthy


async def test_unknown_is_not_failed_when_the_time_is_over(tmp_path: Path):
    engine = Followed(state=lambda t: EngineState.RUNNING, completed=lambda t: 1, away=lambda t: t < 1.0)
    result, _ = await proven(engine, tmp_path, within=0.3)
    assert result.healthy


async def test_without_a_checkpoint_in_time_it_is_not_healthy(tmp_path: Path):
    result, _ = await proven(Followed(state=lambda t: EngineState.RUNNING), tmp_path, within=0.3)
    assert not result.healthy


async def test_a_cluster_that_got_another_address_is_asked_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(waits, "UNREACHABLE_SECONDS", 0.5)
    before = Followed(away=lambda t: True)
    after = Followed(state=lambda t: EngineState.RUNNING, completed=lambda t: 1)
    result, _ = await proven(before, tmp_path, 2.0, after)
    assert result.healthy


async def test_one_that_is_missing_now_and_then_is_asked_with_pauses_until_the_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(waits, "UNREACHABLE_SECONDS", 0.2)
    looks: list[float] = []

    def state(t: float) -> EngineState:
        looks.append(t)
        return EngineState.MISSING if len(looks) % 2 else EngineState.RUNNING

    result, seconds = await proven(Followed(state=state), tmp_path, within=0.3)
    assert not result.healthy
    assert seconds < 5
    assert len(looks) <= 30, "with pauses"
