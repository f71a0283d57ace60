"""Scaling a session cluster that runs. The cluster is a double."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.testing import ActivityEnvironment

from activities import contracts as c
from activities.hosting import Hosting
from activities.logs import Stale
from clusters.protocol import HostsClusters
from settings import clock
from store import jobs
from store.database import Database
from store.tables import Version
from tests.rows import T0, attempt_row
from tests.store.test_store import add_job


class Machine(HostsClusters):
    def __init__(self) -> None:
        self.wanted: list[int] = []

    async def scale(self, _: Any, taskmanagers: int) -> None:
        self.wanted.append(taskmanagers)


@pytest.mark.parametrize("stood_still", [0.0, 60.0])
async def test_a_worker_that_stood_still_scales_nothing(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch, stood_still: float
):
    """Another worker has taken the activity over, and a newer scaling may have been carried out since."""
    job = await add_job(sqlite)
    async with sqlite.write() as session:
        session.add(attempt_row(job.id, flink_job_id="a" * 32, state="RUNNING"))
        session.add(Version(job_id=job.id, number=2, spec={"type": "sql", "taskmanagers": 2}, created_at=T0))
    machine, version, now = Machine(), jobs.version, clock.monotonic

    async def slowly(*arguments: Any) -> Version:
        monkeypatch.setattr(clock, "monotonic", lambda: now() + stood_still)
        return await version(*arguments)

    monkeypatch.setattr(jobs, "version", slowly)
    services = SimpleNamespace(database=sqlite, engines=SimpleNamespace(get=lambda _: machine))
    wanted = c.RescaleIn(job_id=job.id, number=1, version=2, command_id=None)
    scaling = ActivityEnvironment().run(Hosting(cast(Any, services)).rescale, wanted)
    if stood_still:
        with pytest.raises(Stale):
            await scaling
    else:
        assert (await scaling).done
    assert machine.wanted == ([] if stood_still else [2])
