"""Checkpoints of a Flink job that was adopted: they lie where whoever started it has said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clusters import state_files
from clusters.protocol import Checkpoints, PointSeen, Unreachable
from core.jobs.restore import RestoreKind, StateLineage
from core.jobs.snapshot import ADOPTED, Adopted
from observation import points
from observation.growth import Growth
from settings import clock
from store import attempts
from store.database import Database
from store.tables import Attempt, Cluster, Job
from tests.rows import attempt_row
from tests.store.test_store import add_job

ID = "a" * 32


class Flink(Checkpoints):
    """`knows`: the adopted job is there; `away`: it cannot be asked."""

    def __init__(self) -> None:
        self.told: list[PointSeen] = []
        self.knows, self.takes, self.away = True, True, False

    async def checkpoints(self, ref: Any) -> list[PointSeen]:
        if self.away:
            raise Unreachable("refused")
        return self.told if self.knows else []

    async def takes_checkpoints(self, ref: Any) -> bool | None:
        if self.away:
            raise Unreachable("refused")
        return self.takes if self.knows else None


class World:
    """A job with an old savepoint of its second attempt, which was adopted."""

    def __init__(self, database: Database, job: Job, root: Path):
        self.database, self.job, self.root = database, job, root
        self.flink = Flink()
        self.services: Any = SimpleNamespace(database=database, engines=SimpleNamespace(get=lambda _: self.flink))
        self.own = root / "elsewhere" / ID
        self.savepoint = root / "state" / job.id / "savepoints" / "2-t" / "savepoint-aaaaaa-0123456789ab"

    async def make(self) -> World:
        self.complete(self.savepoint)
        async with self.database.write() as session:
            (await session.get(Cluster, "local")).state_dir = f"file://{self.root}/state"
            session.add(attempt_row(self.job.id, 1, flink_job_id="1" * 32, state="FINISHED", ended_at=clock.now()))
            session.add(
                attempt_row(
                    self.job.id, 2, flink_job_id=ID, handle=ID, state="RUNNING", restored_why=ADOPTED, config={}
                )
            )
        return self

    @staticmethod
    def complete(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "_metadata").write_bytes(b"x")

    def completes(self, number: int) -> str:
        folder = self.own / f"chk-{number}"
        self.complete(folder)
        seen = PointSeen(RestoreKind.CHECKPOINT, folder.as_uri(), clock.now(), number=number)
        self.flink.told = [seen, *self.flink.told]
        return folder.as_uri()

    async def change(self, change: Callable[[Attempt], None], number: int = 2) -> None:
        async with self.database.write() as session:
            change(await attempts.get(session, self.job.id, number))

    async def lost(self, state: str = "GONE") -> None:
        """Its cluster has lost it."""
        self.flink.knows = False

        def change(attempt: Attempt) -> None:
            attempt.state, attempt.ended_at = state, clock.now()

        await self.change(change)

    async def gather(self) -> points.Found:
        return await points.gather(self.services, self.job.id)

    async def known(self) -> Adopted | None:
        async with self.database.read() as session:
            return attempts.adopted(await attempts.get(session, self.job.id, 2))


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> World:
    return await World(database, await add_job(database), tmp_path).make()


async def test_where_they_lie_is_learned_and_the_newest_is_found_there(world: World):
    world.completes(3)
    await world.gather()
    assert await world.known() == Adopted(checkpoint_folder=world.own.as_uri(), takes_checkpoints=True)
    newest = world.completes(4)
    await world.lost()
    found = await world.gather()
    assert (found.points[0].path, found.unread) == (newest, None)


async def test_it_is_learned_by_the_check_of_the_job_too(world: World):
    async with world.database.read() as session:
        attempt, cluster = await attempts.get(session, world.job.id, 2), await session.get(Cluster, "local")
    assert await points.learn(world.services, cluster, attempt) == Adopted(takes_checkpoints=True)
    world.completes(3)
    assert (await points.learn(world.services, cluster, attempt)).checkpoint_folder == world.own.as_uri()
    world.flink.knows = False
    assert await points.learn(world.services, cluster, attempt) is None
    assert (await world.known()).checkpoint_folder == world.own.as_uri()


@pytest.mark.parametrize("case", ["lost", "not yet known to be lost", "away"])
async def test_a_savepoint_is_not_the_newest_while_nobody_knows_what_came_after_it(world: World, case: str):
    if case == "lost":
        await world.lost()
    world.flink.knows, world.flink.away = False, case == "away"
    found = await world.gather()
    assert "attempt 2 was adopted" in str(found.unread)
    assert '{"mode": "point"' in str(found.unread)
    assert found.for_a_person is (case != "away")


async def test_a_folder_that_cannot_be_read_may_have_newer_ones(world: World, monkeypatch: pytest.MonkeyPatch):
    world.completes(3)
    await world.gather()
    await world.lost("FAILED")
    scan = state_files.scan

    async def refuses(folder: str, *rest: Any, **more: Any) -> Any:
        if "elsewhere" in folder:
            raise Unreachable("This worker cannot read it")
        return await scan(folder, *rest, **more)

    monkeypatch.setattr(state_files, "scan", refuses)
    assert "This worker cannot read it" in str((await world.gather()).unread)
    await world.change(lambda attempt: setattr(attempt, "state", "FINISHED"))
    assert (await world.gather()).unread is None


async def test_a_volume_that_is_not_mounted_may_have_newer_ones(world: World):
    world.completes(3)
    await world.gather()
    await world.lost("FAILED")
    world.own.rename(world.root / "unmounted")
    assert "is its volume mounted?" in str((await world.gather()).unread)
    (world.root / "unmounted").rename(world.own)
    assert (await world.gather()).unread is None


async def test_a_folder_that_others_may_use_is_none(world: World):
    world.own = world.root / "elsewhere" / "shared"
    world.completes(3)
    await world.gather()
    assert await world.known() == Adopted(takes_checkpoints=True)
    await world.lost()
    assert (await world.gather()).unread is not None


@pytest.mark.parametrize("state", ["FINISHED", "FAILED", "CANCELED"])
async def test_one_whose_end_was_seen_has_told_what_it_had(world: World, state: str):
    await world.gather()
    await world.lost(state)
    world.flink.away = True
    assert (await world.gather()).unread is None


async def test_one_without_checkpoints_has_none_to_miss(world: World):
    world.flink.takes = False
    await world.gather()
    await world.lost()
    found = await world.gather()
    assert ([p.path for p in found.points], found.unread) == ([world.savepoint.as_uri()], None)


async def test_one_that_was_the_jobs_own_after_all(world: World):
    """As after the database was restored from a backup."""
    own = world.root / "state" / world.job.id / "checkpoints" / ID / "chk-1"
    world.complete(own)
    await world.lost()
    found = await world.gather()
    assert (own.as_uri() in [p.path for p in found.points], found.unread) == (True, None)


async def test_one_that_runs_and_has_completed_none_yet_hides_nothing(world: World):
    assert (await world.gather()).unread is None


@pytest.mark.parametrize("decided", [False, True])
async def test_what_came_after_it_counts(world: World, decided: bool):
    await world.lost()
    async with world.database.write() as session:
        session.add(attempt_row(world.job.id, 3, flink_job_id="3" * 32, state="FAILED", ended_at=clock.now()))
        if decided:  # a person began empty
            (await session.get(Job, world.job.id)).snapshot = {"lineage": StateLineage(first=3).model_dump()}
        else:
            world.complete(world.root / "state" / world.job.id / "checkpoints" / ("3" * 32) / "chk-1")
    assert (await world.gather()).unread is None


async def test_whether_it_lives_elsewhere_is_seen_in_its_own_folder(world: World):
    world.completes(3)
    await world.gather()
    async with world.database.read() as session:
        attempt, cluster = await attempts.get(session, world.job.id, 2), await session.get(Cluster, "local")
    assert Growth.of(attempt, cluster).folder == world.own.as_uri()
