"""A run of the recovery while Temporal is away: what cannot be looked at is told, and keeps nothing else from it."""

from __future__ import annotations

from temporalio.testing import ActivityEnvironment

from activities import contracts as c
from activities.recovery import Recovery
from settings import clock
from store.database import Database
from store.tables import Orphan
from tests.api.conftest import refused_client
from tests.recovery.conftest import services_of


async def test_what_needs_no_temporal_is_looked_at_all_the_same(sqlite: Database):
    services = await services_of(await refused_client(), sqlite)
    async with sqlite.write() as session:
        session.add(Orphan(cluster="local", flink_job_id="f" * 32, name="nobody's", first_seen_at=clock.now()))
    recovered = await ActivityEnvironment().run(Recovery(services).recover, c.RecoverIn(dry_run=False))
    found = {f.subject: f for f in recovered.findings}
    assert {f.kind for f in found.values() if not f.done} >= {"recovery", "orphan"}
    assert found["watches"].what.startswith("could not look at watches: ")
    assert "is Temporal up" in found["watches"].action
