"""Compiled plans that are kept once, however often they are compiled."""

from __future__ import annotations

from store import plans
from store.database import Database
from store.tables import PlanRow
from tests.store.test_store import T0


def row(**lineage: object) -> PlanRow:
    return PlanRow(digest="d", inputs="i", flink_version="2.3.0", body={"nodes": []}, lineage=lineage, created_at=T0)


async def test_one_that_is_kept_already_gets_the_lineage_that_is_read_out_of_it_today(database: Database):
    for lineage in ({"reads": []}, {"reads": ["src"]}):
        async with database.write() as session:
            await plans.keep(session, row(**lineage))
    async with database.read() as session:
        kept = await plans.get(session, "d")
    assert kept is not None
    assert kept.lineage == {"reads": ["src"]}
