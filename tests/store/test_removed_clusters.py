"""A cluster that is removed, its name, and a Flink that has two names."""

from __future__ import annotations

from datetime import timedelta

import pytest

from clusters.protocol import JobSeen, Overview, Ref
from core.errors import NotFound
from core.jobs.observations import EngineState
from observation.orphans import OrphanWatch
from store import clusters, jobs, orphans
from store.database import Database
from store.tables import Cluster, Job, Orphan
from tests.rows import cluster_row, preview_row
from tests.store.test_store import T0, add_attempt, add_job


async def removed(database: Database) -> Job:
    """The cluster `local`, removed after a job on it was deleted."""
    job = await add_job(database)
    async with database.write() as session:
        row = await session.get(Job, job.id)
        assert row is not None
        row.deleted_at = T0
        session.add(Orphan(cluster="local", flink_job_id="o", name="x", first_seen_at=T0))
    async with database.write() as session:
        await clusters.remove(session, await clusters.get(session, "local"), T0)
    return job


async def test_it_is_nowhere_any_more(database: Database):
    await removed(database)
    async with database.read() as session:
        with pytest.raises(NotFound):
            await clusters.get(session, "local")
        assert await clusters.all_(session) == []
        assert await orphans.all_(session) == []
        assert (await session.get(Cluster, "local")) is not None, "its row is kept for the jobs that name it"


async def test_its_name_can_be_registered_again_and_nothing_of_it_is_left(database: Database):
    await removed(database)
    address = {"jobmanager_url": "http://other", "standby_urls": [], "gateway_urls": []}
    async with database.write() as session:
        old = await session.get(Cluster, "local")
        assert old is not None
        assert await clusters.is_left(session, old)
        old.identity, old.health, old.observed_at = "old", {"leader": "jm"}, T0
    async with database.write() as session:
        await clusters.add(
            session,
            "local",
            "flink-session",
            address,
            T0 + timedelta(days=1),
            flink_version="1.20.5",
            state_dir="file:///t",
            config={},
        )
    async with database.read() as session:
        row = await clusters.get(session, "local")
        assert (row.jobmanager_url, row.state_dir) == ("http://other", "file:///t")
        assert (row.identity, row.health, row.observed_at, row.deleted_at) == (None, None, None, None)
    job = await add_job(database, "new")
    async with database.read() as session:
        assert (await jobs.get(session, f"default:{job.name}")).cluster == "local"


async def test_one_that_nothing_names_leaves_no_row(database: Database):
    await add_job(database)
    async with database.write() as session:
        session.add(cluster_row("unused", jobmanager_url="http://y"))
    async with database.write() as session:
        await clusters.remove(session, await clusters.get(session, "unused"), T0)
    async with database.read() as session:
        assert await session.get(Cluster, "unused") is None


async def test_the_same_flink_is_known_by_its_identity_and_by_who_leads_it(database: Database):
    await add_job(database)
    async with database.write() as session:
        row = await clusters.get(session, "local")
        row.identity, row.health = "flink-1", {"leader": "jm-1"}
    async with database.read() as session:
        for identity, leader, same in (("flink-1", "jm-2", True), (None, "jm-1", True), ("flink-2", "jm-2", False)):
            found = await clusters.same_flink(session, identity, leader, besides="new")
            assert (found is not None) is same
        assert await clusters.same_flink(session, "flink-1", "jm-1", besides="local") is None
        assert await clusters.same_flink(session, None, None, besides="new") is None


async def test_what_is_an_attempt_or_a_preview_of_one_name_is_no_orphan_of_the_other(database: Database):
    job = await add_job(database)
    await add_attempt(database, job, flink_job_id="ours")
    async with database.write() as session:
        session.add(preview_row("preview"))
    watch = OrphanWatch(database)
    refs = [Ref(id_, f"application of {id_}") for id_ in ("ours", "preview", "stranger")]
    seen = {ref.handle: JobSeen(ref, EngineState.RUNNING) for ref in refs}
    for _ in range(3):
        await watch.look("second", Overview(seen), set(), T0)
    async with database.read() as session:
        assert [o.flink_job_id for o in await orphans.all_(session, "second")] == ["stranger"]
