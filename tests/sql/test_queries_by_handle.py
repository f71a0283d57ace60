"""Queries on a cluster that knows jobs by other ids than Flink: they are looked at and cancelled by those."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from clusters.protocol import JobSeen, Overview, Ref, Vertex
from core.jobs.observations import EngineState
from observation import previews
from settings import waits
from settings.polling import Pace
from sql import ending
from sql.runs import Run
from sql.streams import Limits, Stream
from store.database import Database
from store.tables import Project
from tests.rows import T0, cluster_row, preview_row


class Applications:
    """One application for each of these Flink jobs. It answers about what it knows, and nobody asks about others."""

    def __init__(self, *flink_job_ids: str):
        self.states = {Ref(id_, f"application of {id_}"): EngineState.RUNNING for id_ in flink_job_ids}

    async def ref_of(self, flink_job_id: str) -> Ref | None:
        return next((ref for ref in self.states if ref.flink_job_id == flink_job_id), None)

    async def look(self, ref: Ref) -> JobSeen:
        return JobSeen(ref, self.states[ref])

    async def vertices(self, ref: Ref) -> list[Vertex]:
        return [Vertex("Source", self.states[ref].value, 1, 0, 7)]

    async def cancel(self, ref: Ref) -> None:
        assert ref in self.states
        self.states[ref] = EngineState.CANCELED

    def overview(self) -> Overview:
        return Overview({ref.handle: JobSeen(ref, state) for ref, state in self.states.items()})


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "PREVIEW_GONE_PACE", Pace(0.01))
    monkeypatch.setattr(waits, "PREVIEW_GONE_SECONDS", 0.2)


async def test_they_are_cancelled():
    cluster: Any = Applications("a", "b")
    await ending.cancelled(cluster, ["a", "unknown"])
    assert list(cluster.states.values()) == [EngineState.CANCELED, EngineState.RUNNING]


async def test_they_are_seen_to_end():
    cluster: Any = Applications("a")
    assert await ending.ended(cluster, ["a", "unknown"], unsure=[]) == set()
    assert await ending.ended(cluster, ["late"], unsure=["late"]) == {"late"}
    assert list(cluster.states.values()) == [EngineState.CANCELED]


@pytest.mark.parametrize(("flink_job_id", "is_known", "written"), [("a", True, [7]), ("unknown", False, [])])
async def test_a_run_looks_at_its_query(flink_job_id: str, is_known: bool, written: list[int]):
    stream = Stream("", "SELECT 1", flink_job_id=flink_job_id)
    nothing: Any = None
    run = Run(nothing, Applications("a"), nothing, "s", [stream], Limits(), secrets=[], materialize=False)  # type: ignore[arg-type]
    assert await run._is_known(stream) is is_known
    await run._progress(stream)
    assert [task["written"] for task in run.events[0].data["tasks"]] == written


async def test_the_watch_cancels_one_whose_lease_is_over(sqlite: Database):
    query = preview_row("a")
    async with sqlite.write() as session:
        session.add_all([Project(name="default", config={}, created_at=T0), cluster_row("local")])
        await session.flush()
        session.add(query)
    cluster: Any = Applications("a", "other")
    now = T0 + timedelta(minutes=1)
    assert await previews.look(sqlite, cluster, "local", cluster.overview(), now) == {"a"}
    assert list(cluster.states.values()) == [EngineState.CANCELED, EngineState.RUNNING]
