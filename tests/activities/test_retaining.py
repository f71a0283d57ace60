"""Which folders of checkpoints are deleted, on real files and a real database; the cluster is a double."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import select
from temporalio.testing import ActivityEnvironment

from activities import contracts as c
from activities.logs import Pulse, Stale
from activities.retain import Retaining, _delete
from clusters import state_files
from clusters.protocol import (
    Checkpoints,
    JobSeen,
    Overview,
    PointSeen,
    Ref,
    Savepoints,
    TriggerState,
    TriggerStatus,
    Unreachable,
)
from core.effects import Rejected
from core.jobs.observations import EngineState
from core.jobs.restore import RestoreKind, RestorePoint
from core.jobs.retention import SavepointPolicy
from settings import clock, waits
from store import attempts
from store.database import Database
from store.tables import Cluster, Job, RestorePointRow
from tests.object_store import object_store
from tests.rows import attempt_row
from tests.store.test_store import add_job

OLD = 30 * 86_400.0


class Cluster_(SimpleNamespace, Checkpoints, Savepoints):
    """A cluster that shows some Flink jobs alive, or cannot be asked."""

    alive: list[str] = []
    away = False

    async def overview(self) -> Overview:
        if self.away:
            raise Unreachable("it is away")
        return Overview({h: JobSeen(Ref(h, h), EngineState.RUNNING) for h in self.alive})

    def __init__(self) -> None:
        super().__init__()
        self.told: list[PointSeen] = []
        """What Flink tells of the attempts that live."""

    async def checkpoints(self, ref: object) -> list[PointSeen]:
        return self.told


class World:
    """A job with eight attempts, the last of which lives; each has written checkpoints."""

    def __init__(self, database: Database, job: Job, root: Path):
        self.database, self.job, self.root = database, job, root
        self.cluster = Cluster_()
        self.services = SimpleNamespace(
            database=database,
            engines=SimpleNamespace(get=lambda _: self.cluster),
            settings=SimpleNamespace(stop_timeout=60.0),
        )

    def folder(self, number: int) -> Path:
        return self.root / self.job.id / "checkpoints" / f"{number:032x}"

    async def make(self) -> World:
        now = clock.now()
        async with self.database.write() as session:
            (await session.get(Cluster, "local")).state_dir = str(self.root)
            row = await session.get(Job, self.job.id)
            row.current_attempt, row.state = 8, "RUNNING"
            for n in range(1, 9):
                session.add(
                    attempt_row(
                        self.job.id,
                        n,
                        flink_job_id=f"{n:032x}",
                        handle=f"{n:032x}",
                        state="FAILED",
                        started_at=now - timedelta(days=40),
                        ended_at=None if n == 8 else now - timedelta(days=30),
                    )
                )
                self.write(n)
        return self

    def write(self, number: int, age: float = OLD) -> None:
        for inner in ("chk-7/_metadata", "shared/a", "taskowned/b"):
            path = self.folder(number) / inner
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        self.age(self.folder(number), 0 if number == 8 else age)

    @staticmethod
    def age(folder: Path, seconds: float) -> None:
        at = clock.now().timestamp() - seconds
        for path in [*folder.rglob("*"), folder]:
            os.utime(path, (at, at))

    async def retain(self, **policy: object) -> c.Retained:
        wanted = c.RetainIn(job_id=self.job.id, number=8, policy=SavepointPolicy(**policy))
        return await ActivityEnvironment().run(Retaining(self.services).retain, wanted)

    def left(self) -> list[int]:
        return [n for n in range(1, 9) if self.folder(n).exists()]


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> World:
    return await World(database, await add_job(database), tmp_path / "state").make()


async def test_old_ones_go_and_their_rows_say_so(world: World):
    done = await world.retain()
    assert (sorted(done.checkpoints), done.refused) == ([1, 2, 3], [])
    assert done.checkpoints[1] == f"file://{world.folder(1)}"
    assert world.left() == [4, 5, 6, 7, 8]
    async with world.database.read() as session:
        rows = (await session.scalars(select(RestorePointRow))).all()
        assert {r.attempt for r in rows if r.gone_at is None} == {4, 5, 6, 7, 8}
        assert {r.attempt for r in rows if r.gone_at is not None} == {1, 2, 3}
    assert (await world.retain()).checkpoints == {}


async def test_only_folders_of_this_jobs_own_attempts(world: World, tmp_path: Path):
    base = world.folder(1).parent
    other = await add_job(world.database, "other")
    async with world.database.write() as session:
        (await attempts.get(session, world.job.id, 1)).flink_job_id = "f" * 32  # what lies there is nobody's
        session.add(
            attempt_row(
                other.id, flink_job_id=f"{1:032x}", state="FAILED", started_at=clock.now(), ended_at=clock.now()
            )
        )
    elsewhere = tmp_path / "elsewhere"
    world.folder(2).rename(elsewhere)
    world.folder(2).symlink_to(elsewhere)
    (base / "notes").mkdir()
    (base / "chk-1").mkdir()
    assert list((await world.retain()).checkpoints) == [3]
    assert (base / "notes").exists()
    assert (base / "chk-1").exists()
    assert elsewhere.exists()


async def test_what_is_pinned_kept_or_in_use_stays(world: World, tmp_path: Path):
    await world.retain(keep_attempts=None)
    other = await add_job(world.database, "other")
    link = tmp_path / "link"
    link.symlink_to(world.folder(2) / "chk-7")
    async with world.database.write() as session:
        points = {p.attempt: p for p in await attempts.points(session, world.job.id)}
        points[1].kept = True
        session.add(
            attempt_row(
                other.id, flink_job_id="e" * 32, state="RUNNING", started_at=clock.now(), restored_from=f"file://{link}"
            )
        )
        (await attempts.get(session, world.job.id, 8)).restored_from = f"file://{world.folder(3)}/chk-7"
    assert (await world.retain()).checkpoints == {}
    async with world.database.write() as session:
        points = {p.attempt: p for p in await attempts.points(session, world.job.id)}
        points[1].kept, points[1].pinned = False, True
    (world.folder(8) / "chk-7" / "_metadata").unlink()  # with one of its own the pin is let go
    assert (await world.retain()).checkpoints == {}
    async with world.database.write() as session:
        await attempts.pin(session, world.job.id, None)
        (await attempts.get(session, other.id, 1)).ended_at = clock.now()
    assert sorted((await world.retain()).checkpoints) == [1, 2]


async def test_a_job_that_waits_for_its_restart_still_needs_what_it_came_from(world: World):
    other = await add_job(world.database, "other")
    async with world.database.write() as session:
        row = await session.get(Job, other.id)
        row.state, row.current_attempt = "RESTARTING", 1
        session.add(
            attempt_row(
                other.id,
                flink_job_id="e" * 32,
                state="FAILED",
                started_at=clock.now(),
                ended_at=clock.now(),
                restored_from=f"file://{world.folder(2)}/chk-7",
            )
        )
    assert sorted((await world.retain()).checkpoints) == [1, 3]


async def test_one_that_the_cluster_shows_alive_or_that_still_grows_stays(world: World):
    world.cluster.alive = [f"{1:032x}"]
    world.age(world.folder(2) / "shared", 10)
    assert list((await world.retain(keep_for=0)).checkpoints) == [3]


async def test_nothing_goes_while_something_cannot_be_told(world: World, monkeypatch: pytest.MonkeyPatch):
    world.cluster.away = True
    done = await world.retain()
    assert (done.checkpoints, len(done.refused)) == ({}, 1)
    world.cluster.away = False
    os.rename(world.root, world.root.with_name("moved"))
    world.root.write_text("a file where the folder was")
    done = await world.retain()
    assert done.checkpoints == {}
    world.root.unlink()
    os.rename(world.root.with_name("moved"), world.root)

    async def unreadable(*_: object) -> bool:
        raise Unreachable("cannot be read")

    monkeypatch.setattr("clusters.state_files.is_complete", unreadable)
    done = await world.retain()
    assert done.checkpoints == {}
    assert "cannot be read" in done.refused[0]
    assert world.left() == list(range(1, 9))


async def test_until_a_later_attempt_has_state_of_its_own(world: World):
    for n in range(2, 9):
        (world.folder(n) / "chk-7" / "_metadata").unlink()
    assert (await world.retain()).checkpoints == {}
    world.write(4)
    assert sorted((await world.retain()).checkpoints) == [1, 2, 3]


async def test_a_savepoint_that_is_pinned_while_others_are_deleted_stays(world: World):
    folders = [world.root / world.job.id / "savepoints" / f"8-{n}" / f"savepoint-{n}" for n in range(3)]
    for number, folder in enumerate(folders):
        folder.mkdir(parents=True)
        (folder / "_metadata").write_bytes(b"x")
        world.age(folder, OLD - number * 60)
    kept = attempts.point_id(world.job.id, folders[1].as_uri())

    async def dispose(path: str) -> None:
        """Of the first one takes its time."""
        async with world.database.write() as session:
            (await attempts.one_point(session, world.job, kept)).kept = True

    world.cluster.dispose = dispose
    done = await world.retain(keep_last=1, keep_for=0, keep_attempts=None)
    assert done.deleted == [folders[0].as_uri()], done
    assert [folder.exists() for folder in folders] == [False, True, True]
    assert "come into use" in done.refused[0]


async def test_it_gives_way_to_what_else_is_due_and_goes_on_behind_it(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(waits, "RETAIN_SECONDS", 0.0)
    rounds = []
    while True:
        done = await world.retain()
        rounds.append(sorted(done.checkpoints))
        if not done.more:
            break
    assert rounds == [[1], [2], [3]]


async def test_on_an_object_store_the_newest_savepoint_has_no_twin_to_be_deleted(world: World):
    """Flink tells of `s3a://`, and the driver of what it lists as `s3://`: as two points, one of them was older."""
    old, new = clock.now() - timedelta(seconds=2 * OLD), clock.now() - timedelta(seconds=OLD)
    async with world.database.write() as session:
        (await session.get(Cluster, "local")).state_dir = "s3a://bucket/state"
    with object_store() as store:
        savepoints = f"s3a://bucket/state/{world.job.id}/savepoints"
        for n, at in ((1, old), (2, new)):
            store.put(f"{savepoints}/8-{n}/savepoint-{n}/_metadata", b"x", at)
        newest = f"{savepoints}/8-2/savepoint-2"
        world.cluster.told = [PointSeen(RestoreKind.SAVEPOINT, newest, new - timedelta(seconds=1), number=2)]
        done = await world.retain(keep_last=1, keep_for=0, keep_attempts=None)
        assert (done.deleted, done.refused) == ([f"{savepoints}/8-1/savepoint-1"], [])
        assert list(store.objects) == [f"{newest}/_metadata".removeprefix("s3a://")]
    async with world.database.read() as session:
        assert [p.path for p in await attempts.points(session, world.job.id)] == [newest]


async def test_checkpoints_are_gone_for_all_before_their_files_go(world: World, monkeypatch: pytest.MonkeyPatch):
    seen: list[set[int]] = []
    remove = state_files.remove

    async def looks(path: str) -> None:
        async with world.database.read() as session:
            seen.append({p.attempt for p in await attempts.points(session, world.job.id)})
        await remove(path)

    monkeypatch.setattr(state_files, "remove", looks)
    assert sorted((await world.retain()).checkpoints) == [1, 2, 3]
    assert seen == [{2, 3, 4, 5, 6, 7, 8}, {3, 4, 5, 6, 7, 8}, {4, 5, 6, 7, 8}]


class TestAWorkerThatStoodStill:
    """Another try has taken its retention over, and what it was about to delete may be in use since."""

    @pytest.fixture(autouse=True)
    def _stands_still(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def check(_: Pulse) -> None:
            raise Stale("it stood still")

        monkeypatch.setattr(Pulse, "check", check)

    async def test_deletes_no_checkpoints(self, world: World):
        with pytest.raises(Stale):
            await world.retain()
        assert world.left() == list(range(1, 9))

    async def test_deletes_no_savepoint(self, world: World):
        folders = [world.root / world.job.id / "savepoints" / f"8-{n}" / f"savepoint-{n}" for n in range(2)]
        for number, folder in enumerate(folders):
            folder.mkdir(parents=True)
            (folder / "_metadata").write_bytes(b"x")
            world.age(folder, OLD - number * 60)
        with pytest.raises(Stale):
            await world.retain(keep_last=1, keep_for=0, keep_attempts=None)
        assert all(folder.exists() for folder in folders)

    async def test_deletes_nothing_half_written(self, world: World):
        folder = world.root / world.job.id / "savepoints" / "3-trigger"
        (folder / "savepoint-x").mkdir(parents=True)
        (folder / "savepoint-x" / "part").write_bytes(b"x")
        world.age(folder, OLD)
        with pytest.raises(Stale):
            await world.retain(keep_attempts=None)
        assert folder.exists()

    async def test_in_the_middle_of_flinks_own_deleting_leaves_the_rest(self, world: World, monkeypatch):
        folder = world.root / world.job.id / "savepoints" / "8-1" / "savepoint-1"
        folder.mkdir(parents=True)
        checks = iter([None, Stale("it stood still")])

        def check(_: Pulse) -> None:
            if (error := next(checks)) is not None:
                raise error

        async def dispose(_: str) -> None:
            raise Rejected("not mine")

        world.cluster.dispose = dispose
        monkeypatch.setattr(Pulse, "check", check)
        with pytest.raises(Stale):
            await _delete(world.cluster, folder.as_uri(), Pulse(1))
        assert folder.exists()


@pytest.mark.parametrize("state", ["RUNNING", "KILLED"])
async def test_what_an_adopted_attempt_came_from_stays_as_long_as_it_is_the_current_one(world: World, state: str):
    """It may have claimed it, or build on its files, and it has a checkpoint: no pin holds what it came from."""
    savepoints = [world.root / world.job.id / "savepoints" / f"7-{n}" / f"savepoint-{n}" for n in range(3)]
    for number, folder in enumerate(savepoints):
        folder.mkdir(parents=True)
        (folder / "_metadata").write_bytes(b"x")
        world.age(folder, OLD - number * 60)
    steps = ((savepoints[0], savepoints[1], None), (world.folder(2) / "chk-7", savepoints[0], 6))
    for source, deleted, keep_attempts in steps:
        async with world.database.write() as session:
            (await session.get(Job, world.job.id)).state = state
            attempt = await attempts.get(session, world.job.id, 8)
            attempt.restored_from, attempt.config = source.as_uri(), {attempts.ADOPTED: {}}
        done = await world.retain(keep_last=1, keep_for=0, keep_attempts=keep_attempts)
        assert (done.deleted, source.exists()) == ([deleted.as_uri()], True), done


class TestWhatIsLeftAlone:
    """Savepoints that the policy does not keep, and that are not deleted all the same."""

    async def savepoint(self, world: World, folder: Path) -> str:
        folder.mkdir(parents=True)
        (folder / "_metadata").write_bytes(b"x")
        world.age(folder, OLD)
        point = RestorePoint(
            id=attempts.point_id(world.job.id, folder.as_uri()),
            kind=RestoreKind.SAVEPOINT,
            path=folder.as_uri(),
            completed_at=clock.now() - timedelta(seconds=OLD),
            attempt=8,
            version=1,
        )
        async with world.database.write() as session:
            await attempts.add_point(session, world.job.id, point)
        return point.path

    def own(self, world: World, name: str = "8-a") -> Path:
        return world.root / world.job.id / "savepoints" / name / "savepoint-a"

    async def retain(self, world: World) -> c.Retained:
        await self.savepoint(world, self.own(world, "8-newest"))
        world.age(self.own(world, "8-newest"), 60)
        return await world.retain(keep_last=1, keep_for=0, keep_attempts=None)

    async def there(self, world: World, path: str) -> bool:
        async with world.database.read() as session:
            return path in [p.path for p in await attempts.points(session, world.job.id) if p.gone_at is None]

    async def test_one_that_lies_elsewhere(self, world: World, tmp_path: Path):
        path = await self.savepoint(world, tmp_path / "elsewhere" / "8-a" / "savepoint-a")
        done = await self.retain(world)
        assert (done.deleted, done.refused) == ([], [f"{path}: it does not lie in this job's own folder"])
        assert Path(path.removeprefix("file://")).exists()

    async def test_one_that_another_job_uses_by_another_path(self, world: World, tmp_path: Path):
        path = await self.savepoint(world, self.own(world))
        link = tmp_path / "link"
        link.symlink_to(self.own(world))
        other = await add_job(world.database, "other")
        async with world.database.write() as session:
            session.add(
                attempt_row(
                    other.id,
                    flink_job_id="e" * 32,
                    state="RUNNING",
                    started_at=clock.now(),
                    restored_from=link.as_uri(),
                )
            )
        done = await self.retain(world)
        assert (done.deleted, done.refused) == ([], [f"{path}: it is in use by another path to it"])
        assert self.own(world).exists()

    async def test_one_that_cannot_be_deleted_is_still_a_restore_point(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ):
        path = await self.savepoint(world, self.own(world))

        async def dispose(_: str) -> None:
            raise Rejected("it is not mine")

        async def remove(_: str) -> None:
            raise Unreachable("the disk is read-only")

        world.cluster.dispose = dispose
        with monkeypatch.context() as patched:
            patched.setattr("clusters.state_files.remove", remove)
            done = await self.retain(world)
        assert (done.deleted, done.refused) == ([], [f"{path}: the disk is read-only"])
        assert await self.there(world, path)
        done = await world.retain(keep_last=1, keep_for=0, keep_attempts=None)
        assert done.deleted == [path], "as files, where Flink does not"
        assert not await self.there(world, path)


class TestHalfWritten:
    """Folders of savepoints without `_metadata` go only when nobody can be writing to them."""

    @pytest.fixture
    def folder(self, world: World) -> Path:
        return self.write(world, "8-trigger")

    def write(self, world: World, name: str) -> Path:
        folder = world.root / world.job.id / "savepoints" / name
        (folder / "savepoint-x").mkdir(parents=True)
        (folder / "savepoint-x" / "part").write_bytes(b"x")
        world.age(folder, OLD)
        return folder

    def answers(self, world: World, *states: TriggerState) -> list[str]:
        asked, left = [], list(states)

        async def trigger_status(_: object, trigger: str) -> TriggerStatus:
            asked.append(trigger)
            if not left:
                raise Unreachable("it is away")
            return TriggerStatus(left.pop())

        world.cluster.trigger_status = trigger_status
        return asked

    @pytest.mark.parametrize(
        ("state", "goes"),
        [(TriggerState.IN_PROGRESS, False), (TriggerState.FAILED, True), (TriggerState.UNKNOWN, True)],
    )
    async def test_of_an_attempt_that_lives_the_cluster_is_asked(self, world: World, folder: Path, state, goes):
        asked = self.answers(world, state)
        done = await world.retain(keep_attempts=None)
        assert asked == ["trigger"]
        assert (folder.exists(), done.refused) == (not goes, [])
        assert done.half_written == ([folder.as_uri()] if goes else [])

    async def test_one_that_the_cluster_has_forgotten_stays_as_long_as_a_stop_may_take(
        self, world: World, folder: Path
    ):
        self.answers(world, TriggerState.UNKNOWN)
        world.services.settings.stop_timeout = OLD + 1000
        assert (await world.retain(keep_attempts=None)).half_written == []
        assert folder.exists()

    async def test_one_that_nobody_can_tell_about_stays_and_is_told(self, world: World, folder: Path):
        self.answers(world)
        done = await world.retain(keep_attempts=None)
        assert folder.exists()
        assert "whether it is still being written cannot be told: it is away" in done.refused[0]

    async def test_one_that_has_just_changed_stays(self, world: World, folder: Path):
        asked = self.answers(world, TriggerState.FAILED)
        world.age(folder, 1)
        assert (await world.retain(keep_attempts=None)).half_written == []
        assert (folder.exists(), asked) == (True, [])

    async def test_of_an_attempt_that_has_ended_nobody_is_asked(self, world: World):
        folder, asked = self.write(world, "3-trigger"), self.answers(world, TriggerState.IN_PROGRESS)
        assert (await world.retain(keep_attempts=None)).half_written == [folder.as_uri()]
        assert (folder.exists(), asked) == (False, [])

    async def test_what_is_no_folder_of_a_savepoint_or_is_complete_stays(self, world: World):
        self.answers(world, TriggerState.FAILED)
        notes, complete = self.write(world, "my-notes"), self.write(world, "8-complete")
        (complete / "savepoint-x" / "_metadata").write_bytes(b"x")
        world.age(complete, OLD)
        assert (await world.retain(keep_attempts=None)).half_written == []
        assert (notes.exists(), complete.exists()) == (True, True)
