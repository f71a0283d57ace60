"""Restore points whose files have gone, on real files and a real database; there is no cluster to ask."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from sqlalchemy import delete

from clusters.protocol import Checkpoints, PointSeen, Unreachable
from core.jobs.observations import EngineState
from core.jobs.restore import RestoreKind, RestorePoint
from core.jobs.snapshot import Adopted
from core.jobs.states import AttemptState
from observation import points
from settings import clock
from store import attempts
from store.database import Database
from store.tables import Attempt, Cluster, Job, RestorePointRow
from tests.store.test_store import T0, add_attempt, add_job


class World:
    """A job whose first attempt has made three savepoints."""

    def __init__(self, database: Database, job: Job, root: Path):
        self.database, self.job, self.root = database, job, root
        self.told: list[PointSeen] = []
        """What Flink and the folders tell of the attempt."""
        self.services: Any = SimpleNamespace(database=database, engines=SimpleNamespace(get=lambda _: None))

    def folder(self, number: int) -> Path:
        return self.root / f"s{number}"

    def point(self, number: int) -> RestorePoint:
        return RestorePoint(
            id=attempts.point_id(self.job.id, self.folder(number).as_uri()),
            kind=RestoreKind.SAVEPOINT,
            path=self.folder(number).as_uri(),
            completed_at=T0 + timedelta(minutes=number),
            attempt=1,
            version=1,
            number=number,
        )

    async def gathered(self) -> tuple[list[int], list[int]]:
        """The numbers of those that are there, and of those that have vanished."""
        found = await points.gather(self.services, self.job.id)
        return [p.number or 0 for p in found.points], sorted(p.number or 0 for p in found.vanished)


@pytest.fixture
async def world(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    job = await add_job(database)
    await add_attempt(database, job)
    made = World(database, job, tmp_path)
    for number in (1, 2, 3):
        made.folder(number).mkdir()
        (made.folder(number) / "_metadata").touch()
        async with database.write() as session:
            await attempts.add_point(session, job.id, made.point(number))

    async def told(*_: Any) -> list[PointSeen]:
        return made.told

    monkeypatch.setattr(points, "_of_attempt", told)
    return made


async def test_what_has_vanished_is_told_to_everybody_who_asks(world: World):
    """Not only to the first, who may be a page that shows what is there: a restore has to say what it passes over."""
    shutil.rmtree(world.folder(3))
    assert await world.gathered() == ([2, 1], [3])
    assert await world.gathered() == ([2, 1], [3])


async def test_what_comes_back_has_not_vanished(world: World):
    world.folder(3).rename(world.root / "away")
    assert await world.gathered() == ([2, 1], [3])
    (world.root / "away").rename(world.folder(3))
    async with world.database.write() as session:
        await attempts.add_point(session, world.job.id, world.point(3))
    assert await world.gathered() == ([3, 2, 1], [])


async def test_what_was_deleted_by_us_has_not_vanished(world: World):
    async with world.database.write() as session:
        assert await attempts.take_away(session, world.job.id, world.point(1), T0)
    shutil.rmtree(world.folder(1))
    assert await world.gathered() == ([3, 2], [])


async def test_folders_of_checkpoints_that_were_seen_to_go_before_it_was_written_down(world: World):
    path = "file:///gone"
    checkpoint = {
        "id": attempts.point_id(world.job.id, path),
        "kind": RestoreKind.CHECKPOINT,
        "path": path,
        "number": 9,
    }
    async with world.database.write() as session:
        await attempts.add_point(session, world.job.id, world.point(1).model_copy(update=checkpoint))
    assert (await world.gathered())[1] == [9]
    async with world.database.write() as session:
        await attempts.checkpoints_gone(session, world.job.id, 1, T0)
    assert await world.gathered() == ([3, 2, 1], [])


async def test_what_flink_tells_of_and_nobody_has_seen_has_vanished(world: World):
    late = PointSeen(RestoreKind.CHECKPOINT, world.folder(9).as_uri(), T0 + timedelta(hours=1), number=9)
    from_a_folder = PointSeen(RestoreKind.CHECKPOINT, world.folder(8).as_uri(), T0)  # it went in this moment
    world.told = [late, from_a_folder]
    assert await world.gathered() == ([3, 2, 1], [9])
    assert await world.gathered() == ([3, 2, 1], [9])
    world.folder(9).mkdir()
    (world.folder(9) / "_metadata").touch()
    assert (await world.gathered())[1] == []


async def test_what_was_deleted_by_us_and_flink_still_tells_of_has_not_vanished(world: World):
    async with world.database.write() as session:
        assert await attempts.take_away(session, world.job.id, world.point(1), T0)
    shutil.rmtree(world.folder(1))
    world.told = [PointSeen(RestoreKind.SAVEPOINT, world.folder(1).as_uri(), T0, number=1)]
    assert await world.gathered() == ([3, 2], [])


async def test_a_folder_of_savepoints_that_is_away_for_a_moment(world: World):
    """Found by an attack: a job that was paused went 16 minutes back to an older checkpoint."""
    job = world.root / "state" / world.job.id
    savepoint, checkpoint = job / "savepoints" / "1-0" / "savepoint-1", job / "checkpoints" / "f" / "chk-4"
    async with world.database.write() as session:
        cluster = await session.get(Cluster, "local")
        assert cluster is not None
        cluster.state_dir = (world.root / "state").as_uri()
        for number, path in ((7, savepoint), (4, checkpoint)):
            path.mkdir(parents=True)
            (path / "_metadata").touch()
            known = {"id": attempts.point_id(world.job.id, path.as_uri()), "path": path.as_uri(), "number": number}
            await attempts.add_point(session, world.job.id, world.point(1).model_copy(update=known))
    assert await world.gathered() == ([7, 4, 3, 2, 1], [])
    (job / "savepoints").rename(job / "away")
    for _ in range(2):
        found = await points.gather(world.services, world.job.id)
        assert "savepoints is not there" in str(found.unread)
        assert not found.for_a_person
    (job / "away").rename(job / "savepoints")
    shutil.rmtree(savepoint)
    assert await world.gathered() == ([4, 3, 2, 1], [7])


async def test_files_of_a_volume_that_is_away_have_not_vanished(world: World):
    """It looks like an empty folder; what lies in it comes back with it."""
    state = world.root / "state"
    point = state / world.job.id / "savepoints" / "1"
    point.mkdir(parents=True)
    (point / "_metadata").touch()
    async with world.database.write() as session:
        cluster = await session.get(Cluster, "local")
        assert cluster is not None
        cluster.state_dir = state.as_uri()
        known = {"id": attempts.point_id(world.job.id, point.as_uri()), "path": point.as_uri(), "number": 7}
        await attempts.add_point(session, world.job.id, world.point(1).model_copy(update=known))
    assert await world.gathered() == ([7, 3, 2, 1], [])
    state.rename(world.root / "mounted elsewhere")
    state.mkdir()
    found = await points.gather(world.services, world.job.id)
    assert (found.points, found.vanished) == ([], [])
    assert "Is its volume mounted?" in str(found.unread)
    state.rmdir()
    (world.root / "mounted elsewhere").rename(state)
    assert await world.gathered() == ([7, 3, 2, 1], [])


class Tells(Checkpoints):
    """A Flink that tells of no checkpoints."""

    def __init__(self, takes: bool):
        self.takes = takes

    async def checkpoints(self, _: Any) -> list[PointSeen]:
        return []

    async def takes_checkpoints(self, _: Any) -> bool | None:
        return self.takes


class TestAFolderThatIsNotThere:
    """Of a job no restore point of which has been written down: nobody has listed them before it was lost."""

    GIVEN: ClassVar[dict[str, str]] = {
        "execution.checkpointing.dir": "file://{root}/state/{job}/checkpoints",
        "execution.checkpointing.interval": "30 s",
    }

    async def unread(self, world: World, *, ran: bool = True, untouched: bool = False, **changed: Any) -> str | None:
        async with world.database.write() as session:
            job = await session.get(Job, world.job.id)
            job.snapshot = {"lineage": {"untouched": untouched}}
            (await session.get(Cluster, "local")).state_dir = f"file://{world.root}/state"
            await session.execute(delete(RestorePointRow))
            attempt = await attempts.get(session, world.job.id, 1)
            given = {k: v.format(root=world.root, job=world.job.id) for k, v in (self.GIVEN | changed).items()}
            attempt.config = {"effective": {key: {"value": value} for key, value in given.items()}}
            attempt.running_since = T0 if ran else None
        return (await points.gather(world.services, world.job.id)).unread

    @pytest.mark.parametrize("mounted_at", ["", "state"])
    async def test_cannot_be_read_where_an_attempt_has_run(self, world: World, mounted_at: str):
        (world.root / mounted_at).mkdir(exist_ok=True)
        assert "Is its volume mounted?" in str(await self.unread(world))
        (world.root / "state" / world.job.id).mkdir(parents=True)
        assert "where attempt 1 kept its checkpoints" in str(await self.unread(world))
        await self.made(world)
        assert await self.unread(world) is None

    async def made(self, world: World) -> Path:
        """The folder of the attempt's checkpoints, as Flink makes it before the first task runs."""
        async with world.database.read() as session:
            attempt = await attempts.get(session, world.job.id, 1)
        folder = world.root / "state" / world.job.id / "checkpoints" / attempt.flink_job_id
        folder.mkdir(parents=True)
        return folder

    @pytest.mark.parametrize(
        ("of_attempt", "state", "away"),
        [(0, "GONE", True), (1, "GONE", True), (2, "GONE", False), (0, "FINISHED", False), (1, "FINISHED", False)],
    )
    async def test_an_older_point_is_not_taken_for_the_newest(
        self, world: World, of_attempt: int, state: str, away: bool
    ):
        """Found by an attack: the folder of one attempt's checkpoints was moved, nobody had listed them, and the job
        went back to the savepoint before, without a word."""
        await self.unread(world)
        folder = await self.made(world)
        async with world.database.write() as session:
            (await attempts.get(session, world.job.id, 1)).state = AttemptState(state)
            await attempts.add_point(session, world.job.id, world.point(1).model_copy(update={"attempt": of_attempt}))
        assert (await points.gather(world.services, world.job.id)).unread is None
        folder.rmdir()
        found = await points.gather(world.services, world.job.id)
        assert [point.attempt for point in found.points] == [of_attempt]
        assert (f"{folder} is not there" in str(found.unread), found.for_a_person) == (away, away)

    async def test_was_perhaps_never_made_where_none_has(self, world: World):
        assert await self.unread(world, ran=False) is None

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("execution.checkpointing.interval", "0 s"),
            ("execution.checkpointing.interval", ""),
            ("execution.checkpointing.dir", "file:///elsewhere/checkpoints"),
            ("execution.runtime-mode", "batch"),
        ],
    )
    async def test_nor_where_nothing_was_written_to_it(self, world: World, key: str, value: str):
        assert await self.unread(world, **{key: value}) is None

    async def test_nor_of_a_job_that_is_known_to_have_completed_nothing(self, world: World):
        """As one whose program runs in batch mode, or takes no checkpoints, by its own code."""
        assert await self.unread(world, untouched=True) is None

    @pytest.mark.parametrize(
        ("takes", "there", "certain"), [(True, False, False), (True, True, True), (False, False, True)]
    )
    async def test_is_not_one_in_which_nothing_was_completed(
        self, world: World, monkeypatch: pytest.MonkeyPatch, takes: bool, there: bool, certain: bool
    ):
        """A JobManager that has recovered a job, and could not restore it, tells of no checkpoints."""
        await self.unread(world)
        flink = Tells(takes)
        monkeypatch.setattr(world.services.engines, "get", lambda _: flink)
        async with world.database.read() as session:
            attempt, cluster = await attempts.get(session, world.job.id, 1), await session.get(Cluster, "local")
        if there:
            folder = attempts.checkpoint_folder(attempt, cluster.state_dir).removeprefix("file://")
            Path(folder).mkdir(parents=True, exist_ok=True)
        assert await points.untouched(world.services, cluster, attempt, EngineState.FAILED) is certain

    async def test_nor_for_one_that_was_adopted(self, world: World, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(attempts, "adopted", lambda _: Adopted(takes_checkpoints=False))
        assert await self.unread(world) is None


class TestPointsOfNobody:
    """What lies in the job's own folder, of attempts that have no row: the newest known point was completed 3 minutes
    after `T0`, when the attempt was begun."""

    CHECKPOINT: ClassVar[str] = f"checkpoints/{'d' * 32}/chk-7/_metadata"
    SAVEPOINT: ClassVar[str] = "savepoints/0-abc/savepoint-dddddd-0123456789ab/_metadata"

    async def unread(self, world: World, path: str, minutes: float) -> str | None:
        async with world.database.write() as session:
            (await session.get(Cluster, "local")).state_dir = f"file://{world.root}/state"
        file = world.root / "state" / world.job.id / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.name == "_metadata":
            file.touch()
            at = (T0 + timedelta(minutes=minutes)).timestamp()
            os.utime(file, (at, at))
        found = await points.gather(world.services, world.job.id)
        assert found.for_a_person is (found.unread is not None)
        return found.unread

    @pytest.mark.parametrize("path", [CHECKPOINT, SAVEPOINT])
    async def test_are_not_passed_over_where_they_are_newer(self, world: World, path: str):
        assert await self.unread(world, path, 2) is None
        why = await self.unread(world, path, 4)
        assert why is not None
        assert path.rpartition("/")[0] in why

    @pytest.mark.parametrize("path", [CHECKPOINT.replace("_metadata", "x"), SAVEPOINT.replace("_metadata", "x")])
    async def test_are_none_where_nothing_was_completed(self, world: World, path: str):
        """A folder changes when what was in it is deleted."""
        assert await self.unread(world, path, 9) is None

    async def test_do_not_count_where_they_were_there_when_an_attempt_was_begun(self, world: World):
        async with world.database.write() as session:
            (await attempts.get(session, world.job.id, 1)).started_at = T0 + timedelta(minutes=5)
        assert await self.unread(world, self.CHECKPOINT, 4) is None
        async with world.database.write() as session:
            (await attempts.get(session, world.job.id, 1)).config = {attempts.WRITTEN_AGAIN: True}
        assert await self.unread(world, self.CHECKPOINT, 4) is not None

    async def test_of_a_second_job_of_the_program_are_not_its_state(self, world: World):
        async with world.database.write() as session:
            (await attempts.get(session, world.job.id, 1)).flink_job_id = "d" * 15 + "c" + "d" * 15 + "c"
        assert await self.unread(world, self.CHECKPOINT, 4) is None

    @pytest.mark.parametrize("path", ["savepoints/savepoint-dddddd-0123456789ab", "savepoints/.snapshot/savepoint-1"])
    async def test_a_folder_without_the_number_of_an_attempt_is_somebodys_own(self, world: World, path: str):
        assert await self.unread(world, f"{path}/_metadata", 4) is None

    async def test_that_cannot_be_listed_are_asked_for_again(self, world: World, monkeypatch: pytest.MonkeyPatch):
        async def away(*_: Any) -> None:
            raise Unreachable("an NFS hiccup")

        monkeypatch.setattr(points, "_of_nobody", away)
        found = await points.gather(world.services, world.job.id)
        assert (found.unread, found.for_a_person) == ("an NFS hiccup", False)

    async def test_are_known_with_the_row_of_their_attempt(self, world: World):
        async with world.database.write() as session:
            (await attempts.get(session, world.job.id, 1)).flink_job_id = "d" * 32
        assert await self.unread(world, self.CHECKPOINT, 4) is None


async def test_an_attempt_that_is_opened_meanwhile_keeps_its_pin(world: World, monkeypatch: pytest.MonkeyPatch):
    """A page reads which attempt is the newest, and scans for seconds; then that one has a checkpoint, and is no longer
    the newest."""
    folder = world.folder(9)
    folder.mkdir()
    (folder / "_metadata").touch()
    world.told = [PointSeen(RestoreKind.CHECKPOINT, folder.as_uri(), T0 + timedelta(hours=1), number=9)]

    async def pinned() -> list[str]:
        async with world.database.read() as session:
            return [row.path for row in await attempts.points(session, world.job.id) if row.pinned]

    async def next_one(*_: Any) -> list[PointSeen]:
        await add_attempt(world.database, world.job, 2)
        async with world.database.write() as session:
            await attempts.pin(session, world.job.id, world.point(2).path)
        return world.told

    async with world.database.write() as session:
        await attempts.pin(session, world.job.id, world.point(3).path)
    with monkeypatch.context() as patched:
        patched.setattr(points, "_of_attempt", next_one)
        await world.gathered()
    assert await pinned() == [world.point(2).path]
    async with world.database.write() as session:
        await session.execute(delete(Attempt).where(Attempt.number == 2))
    await world.gathered()
    assert await pinned() == []


async def test_what_is_being_deleted_is_not_offered(world: World, monkeypatch: pytest.MonkeyPatch):
    """Its files go one by one, and `_metadata` may be the last."""
    now = clock.now()
    async with world.database.write() as session:
        assert await attempts.take_away(session, world.job.id, world.point(3), now)
    world.told = [PointSeen(RestoreKind.SAVEPOINT, world.folder(3).as_uri(), T0)]
    assert await world.gathered() == ([2, 1], [])
    monkeypatch.setattr(points.clock, "now", lambda: now + timedelta(minutes=10))
    assert len((await world.gathered())[0]) == 3, "it could not be deleted"
