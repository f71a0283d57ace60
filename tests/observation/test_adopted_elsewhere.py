"""One Flink that is two clusters of ours: what one adopts is no orphan of the other any more."""

from __future__ import annotations

from clusters.protocol import JobSeen, Overview, Ref
from core.jobs.observations import EngineState
from observation.orphans import OrphanWatch
from store import orphans
from store.database import Database
from store.tables import Project
from tests.rows import T0, attempt_row, cluster_row, job_row

HANDLE = "a" * 32


async def listed(database: Database) -> list[str]:
    async with database.read() as session:
        return [row.flink_job_id for row in await orphans.all_(session, "two")]


async def test_it_leaves_the_list(database: Database):
    async with database.write() as session:
        session.add_all([cluster_row("local"), cluster_row("two"), Project(name="default", config={}, created_at=T0)])
    watch = OrphanWatch(database)
    overview = Overview({HANDLE: JobSeen(Ref(HANDLE, HANDLE), EngineState.RUNNING, "by hand")})
    for _ in range(3):
        await watch.look("two", overview, set(), T0)
    assert await listed(database) == [HANDLE]
    async with database.write() as session:
        session.add(job_row("j", name="j", state="RUNNING"))
        await session.flush()
        session.add(attempt_row("j", flink_job_id=HANDLE, handle=HANDLE, state="RUNNING"))
    for _ in range(3):
        await watch.look("two", overview, set(), T0)
    assert await listed(database) == []
