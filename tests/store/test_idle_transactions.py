"""A process that stands still in the middle of a transaction holds its locks for a while, and no longer."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import update

from settings import waits
from store.database import Database, DatabaseUnavailable
from store.tables import Job
from tests.store.test_store import add_job


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_of_postgresql(database: Database, monkeypatch: pytest.MonkeyPatch):
    """SIGSTOP does that to a worker; here it waits for something else."""
    monkeypatch.setattr(waits, "IDLE_TRANSACTION_SECONDS", 1.0)
    frozen = Database(database.engine.url.render_as_string(hide_password=False))
    job = await add_job(database)
    rename = update(Job).where(Job.id == job.id)

    async def stands_still() -> None:
        async with frozen.write() as session:
            await session.execute(rename.values(reason="of the frozen one"))
            async with asyncio.timeout(60), database.write() as other:
                await other.execute(rename.values(reason="of the other one"))
            await session.execute(rename.values(reason="of the frozen one, again"))

    with pytest.raises(DatabaseUnavailable):
        await stands_still()
    async with database.read() as session:
        found = await session.get(Job, job.id)
        assert found is not None
        assert found.reason == "of the other one"
    await frozen.ping()
    await frozen.close()
