"""When an attempt whose id was spent counts as over: what the model of the fence asks for (decision 20).

The engines are doubles: a JobManager that takes a late send and dies before anybody hears of it cannot be had from a
real Flink on demand.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from activities.contracts import Fenced
from activities.fence import spend
from activities.logs import Pulse
from clusters.protocol import Overview, Ref
from core.effects import no_log
from core.jobs.observations import EngineState
from settings import waits
from settings.polling import Pace
from tests.activities.test_certainty import Double

ID = "a" * 32


class Fencing(Double):
    """Counts fences; one that is laid is forgotten when another leads."""

    def __init__(self, **script: Any):
        super().__init__(**script)
        self.laid: list[str] = []
        self.elsewhere = 0
        """So many fences were laid at another Flink, which answered at the address for a while."""

    async def overview(self) -> Overview:
        is_here = len(self.laid) > self.elsewhere and self.laid[-1] == self.who(self._t())
        return Overview({}, frozenset({ID} if is_here else ()))

    async def fence(self, ref: Ref) -> bool:
        if self.state(self._t()) is not EngineState.MISSING:
            return False
        self.laid.append(self.who(self._t()))
        return True


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "CERTAIN_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(waits, "FENCE_PACE", Pace(0.05))


async def spent(engine: Fencing, folder: Path) -> tuple[Fenced, float]:
    attempt = SimpleNamespace(
        job_id="j", number=1, flink_job_id=ID, handle=ID, config={"leader": "jm-1"}, restored_why="", restored_from=None
    )
    cluster = SimpleNamespace(state_dir=folder.as_uri())
    began = time.monotonic()
    result = await spend(engine, attempt, cluster, no_log, Pulse(60), grace=0.2)  # type: ignore[arg-type]
    return result, time.monotonic() - began


class TestAnAttemptWhoseIdIsSpent:
    @pytest.mark.parametrize(("elsewhere", "laid"), [(0, 1), (1, 2), (2, 2)])
    async def test_is_shown_by_the_cluster_itself(self, tmp_path: Path, elsewhere: int, laid: int):
        """Another Flink may have answered meanwhile. An id so old that it is not shown is refused twice."""
        engine = Fencing(who=lambda t: "jm-1")
        engine.elsewhere = elsewhere
        result, _ = await spent(engine, tmp_path)
        assert (result.fenced, len(engine.laid)) == (True, laid)

    async def test_is_over_at_once_under_the_leader_that_was_there_when_it_was_written_down(self, tmp_path: Path):
        result, seconds = await spent(Fencing(who=lambda t: "jm-1"), tmp_path)
        assert result.fenced
        assert seconds < 1

    async def test_under_another_leader_its_tasks_may_run_until_they_miss_the_old_one(self, tmp_path: Path):
        """It arrived at the first JobManager unheard of, and ran; that one died. The fence at the next one succeeds."""
        engine = Fencing(who=lambda t: "jm-2", heartbeat_timeout=1.0, holders=lambda t: ["tm-1"] if t < 1.4 else [])
        result, seconds = await spent(engine, tmp_path)
        assert result.fenced
        assert seconds >= 1.4

    async def test_is_fenced_again_where_the_leader_changed_meanwhile(self, tmp_path: Path):
        engine = Fencing(who=lambda t: "jm-2" if t < 0.5 else "jm-3", heartbeat_timeout=0.8)
        result, _ = await spent(engine, tmp_path)
        assert result.fenced
        assert engine.laid[-1] == "jm-3"

    async def test_one_that_came_before_the_fence_is_followed(self, tmp_path: Path):
        result, _ = await spent(Fencing(state=lambda t: EngineState.RUNNING), tmp_path)
        assert not result.fenced
        assert result.observation is not None
        assert result.observation.state is EngineState.RUNNING

    async def test_one_that_comes_where_the_fence_was_forgotten_is_followed(self, tmp_path: Path):
        engine = Fencing(
            who=lambda t: "jm-2" if t < 0.3 else "jm-3",
            state=lambda t: EngineState.MISSING if t < 0.5 else EngineState.RUNNING,
        )
        result, _ = await spent(engine, tmp_path)
        assert result.observation is not None
        assert result.observation.state is EngineState.RUNNING

    async def test_with_high_availability_nothing_has_to_be_waited_for(self, tmp_path: Path):
        result, seconds = await spent(Fencing(ha=True, heartbeat_timeout=30), tmp_path)
        assert result.fenced
        assert seconds < 1
