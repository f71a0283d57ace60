"""Restore points are one and the same in whatever spelling they are named."""

from __future__ import annotations

import os
import uuid
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from alembic import command
from sqlalchemy import Connection, select, text

from core.jobs.restore import RestoreKind, RestorePoint
from observation import points
from store import attempts, plans
from store.database import Database
from store.migrate import config, upgrade
from store.tables import Attempt, RestorePointRow
from tests.store.test_store import T0, add_attempt, add_job

PATH = "file:///s/j/savepoints/1-a/savepoint-1"
SPELLINGS = [
    "/s/j/savepoints/1-a/savepoint-1",
    "file:/s/j/savepoints/1-a/savepoint-1/",
    "file://localhost/s//j/./savepoints/1-a/savepoint-1/_metadata",
    PATH,
]


def savepoint(path: str = PATH, *, attempt: int = 1, seconds: int = 0) -> RestorePoint:
    return RestorePoint(
        id="rp-" + uuid.uuid4().hex[:16],
        kind=RestoreKind.SAVEPOINT,
        path=path,
        completed_at=T0 + timedelta(seconds=seconds),
        attempt=attempt,
        version=1,
    )


@pytest.mark.parametrize("written", SPELLINGS)
async def test_the_attempt_that_made_it_the_pin_and_the_use_by_another_job(database: Database, written: str):
    a, b = await add_job(database, "a"), await add_job(database, "b")
    await add_attempt(database, a)
    await add_attempt(database, b)
    async with database.write() as session:
        await attempts.add_point(session, a.id, savepoint())
        await attempts.pin(session, a.id, written)
    async with database.read() as session:
        assert (await plans.of_point(session, written)).attempt.job_id == a.id
        assert [p.pinned for p in await attempts.points(session, a.id)] == [True]
        assert await attempts.in_use(session, a.id) == {PATH}
    async with database.write() as session:
        await attempts.pin(session, a.id, None)
        (await attempts.get(session, b.id, 1)).restored_from = written
    async with database.read() as session:
        assert await attempts.in_use(session, a.id) == {PATH}, "a living attempt of another job came from it"
    async with database.write() as session:
        await attempts.gone(session, a.id, [written], T0)
    async with database.read() as session:
        assert await attempts.points(session, a.id) == []


async def test_what_nobody_of_us_made_is_not_known(database: Database):
    async with database.read() as session:
        assert (await plans.of_point(session, "/elsewhere/savepoint-1")).attempt is None


@pytest.mark.parametrize("where", ["the name", "the state folder", "both"])
async def test_a_way_through_a_symbolic_link_leads_to_the_same_point(database: Database, tmp_path: Path, where: str):
    """Whether the link is in what somebody names, or in the folder that the cluster writes to."""
    folder = tmp_path / "state" / "j" / "savepoints" / "1-a" / "savepoint-1"
    folder.mkdir(parents=True)
    (folder / "_metadata").write_bytes(b"x")
    for name in ("here", "there"):
        os.symlink(tmp_path / "state", tmp_path / name)
    inner = "j/savepoints/1-a/savepoint-1"
    state = tmp_path / ("state" if where == "the name" else "here")
    named = tmp_path / {"the name": "there", "the state folder": "state", "both": "there"}[where] / inner
    job = await add_job(database, "a")
    await add_attempt(database, job)
    async with database.write() as session:
        await attempts.add_point(session, job.id, savepoint(f"{state}/{inner}"))
    services = SimpleNamespace(database=database)
    assert await points.named(services, f"{named}/") == f"file://{state}/{inner}"
    os.symlink(folder, tmp_path / "last")
    assert await points.named(services, f"{tmp_path}/last") == f"file://{state}/{inner}"
    # A copy is no point that we know, however much it looks like one.
    copy = tmp_path / "copy" / inner
    copy.mkdir(parents=True)
    assert await points.named(services, str(copy)) == f"file://{copy}"
    assert await points.named(services, "rp-0123456789abcdef") == "rp-0123456789abcdef"
    assert await points.named(services, "s3://b//a/savepoint-1/") == "s3://b/a/savepoint-1"


async def downgrade(database: Database, revision: str) -> None:
    """Back to an older schema, with the rows that are there."""

    def run(connection: Connection) -> None:
        settings = config()
        settings.attributes["connection"] = connection
        command.downgrade(settings, revision)

    async with database.engine.connect() as connection:
        connection = await connection.execution_options(penstock_write=True)
        await connection.run_sync(run)
        await connection.commit()


async def test_rows_of_before_have_one_spelling_after_the_upgrade(tmp_path: Path):
    made = Database(f"sqlite+aiosqlite:///{tmp_path / 'old.db'}")

    await upgrade(made)
    job, other = await add_job(made, "a"), await add_job(made, "b")
    await add_attempt(made, job)
    await add_attempt(made, job, 2)
    await downgrade(made, "0005")
    async with made.write() as session:
        for n, (owner, path, pinned) in enumerate(
            [(job, "/s/1", True), (job, PATH, False), (job, PATH + "/", True), (other, "s3://b/x", False)]
        ):
            await session.execute(
                text(
                    "INSERT INTO restore_points (id, job_id, attempt, version, kind, path, completed_at, pinned, kept)"
                    " VALUES (:id, :job, 1, 1, 'savepoint', :path, :at, :pinned, 0)"
                ),
                {"id": f"rp-{n}", "job": owner.id, "path": path, "at": T0.isoformat(), "pinned": pinned},
            )
        (await attempts.get(session, job.id, 1)).restored_from = "/s/1/"
        (await attempts.get(session, job.id, 2)).restored_from = None
    await upgrade(made)
    async with made.read() as session:
        rows = (await session.scalars(select(RestorePointRow).order_by(RestorePointRow.path))).all()
        assert {(r.job_id, r.path, r.pinned) for r in rows} == {
            (job.id, "file:///s/1", True),
            (job.id, PATH, True),
            (other.id, "s3://b/x", False),
        }
        assert all(r.id == attempts.point_id(r.job_id, r.path) for r in rows if r.job_id == job.id and r.path != PATH)
        restored = (await session.scalars(select(Attempt.restored_from).order_by(Attempt.number))).all()
        assert restored == ["file:///s/1", None]
    await made.close()
