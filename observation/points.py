"""Restore points of a job: gathered from Flink and from the files, and each one verified."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta

from clusters import state_files
from clusters.protocol import Checkpoints, PointSeen, Ref, Unreachable
from core.effects import EngineError
from core.history import SEARCHED
from core.jobs.observations import EngineState
from core.jobs.restore import RestoreKind, RestorePoint, newest, newest_first
from core.jobs.snapshot import checkpoint_directory, lineage_of, savepoint_root
from core.paths import WITH_FOLDERS, is_path, of_point
from services import Services
from settings import clock, waits
from store import attempts, clusters, jobs
from store.database import Session
from store.tables import Attempt, Cluster, RestorePointRow

LOOK_BACK = SEARCHED
"""Attempts whose folders are searched again; points of older ones are known from their rows."""

MAX_VANISHED = 100
_SAVEPOINT = re.compile(r"/savepoint-([0-9a-f]{6})-[0-9a-f]{12}$")
"""How Flink names the folder of a savepoint (AbstractFsCheckpointStorageAccess)."""


@dataclass(frozen=True)
class Found:
    """`unread` says why some could not be read; then there may be newer ones than those in `points`.
    `vanished` are known ones that were newer than all of these and whose files are gone now, whoever saw it first."""

    points: list[RestorePoint]
    unread: str | None = None
    vanished: list[RestorePoint] = field(default_factory=list)


async def gather(services: Services, job_id: str) -> Found:
    """All restore points of a job whose `_metadata` is there now, newest first; writes them down."""
    async with services.database.read() as session:
        job = await jobs.by_id(session, job_id)
        assert job is not None
        cluster = await clusters.get(session, job.cluster)
        last = await attempts.recent(session, job_id, LOOK_BACK)
        recent = [attempt for attempt in last if attempts.gives_points(attempt)]
        without = {attempt.number for attempt in last} - {attempt.number for attempt in recent}
        rows = [row for row in await attempts.points(session, job_id) if row.attempt not in without]
        # Their files may be there yet, while Flink deletes them one by one.
        going = await attempts.taken_away(session, job_id, clock.now() - 2 * timedelta(seconds=waits.DISPOSE_SECONDS))
    if (forgotten := await _forgotten(cluster, job_id, last[0] if last else None)) is not None:
        return Found(points=[], unread=forgotten)
    unread: str | None = None
    by_path: dict[str, tuple[PointSeen, Attempt]] = {}
    for attempt in recent:
        try:
            for point in await _of_attempt(services, cluster, attempt):
                by_path.setdefault(of_point(point.path), (point, attempt))
        except Unreachable as error:
            unread = error.message
    known = {of_point(row.path): row for row in rows}
    if (away := await _away(cluster, job_id, [*known, *by_path])) is not None:
        return Found(points=[], unread=away)
    gone: list[str] = []
    unseen: list[RestorePoint] = []
    points: dict[str, RestorePoint] = {}
    for path, (point, attempt) in by_path.items():
        try:
            if path in known or path in going:
                continue
            if await state_files.is_complete(path):
                points[path] = _point(job_id, path, point, attempt, await state_files.number_of(path))
            elif point.number is not None:  # Flink told of it
                unseen.append(_point(job_id, path, point, attempt, point.number))
        except Unreachable as error:
            unread = error.message
    for path, row in known.items():
        try:
            if await state_files.is_complete(path):
                points[path] = await _known(row)
            else:
                gone.append(path)
        except Unreachable as error:
            unread = error.message
    async with services.database.write() as session:
        await _write(session, job_id, points, gone, recent)
        for missing in unseen:
            await attempts.add_vanished(session, job_id, missing, clock.now())
        vanished = [
            attempts.as_point(row)
            for row in await attempts.vanished(session, job_id, MAX_VANISHED)
            if row.attempt not in without
        ]
    taken_up = lineage_of(job.snapshot).taken_up
    ordered = newest_first(points.values(), taken_up)
    # Held against the newest that is there: the others are checkpoints that Flink has replaced.
    vanished = [point for point in vanished if ordered and newest([ordered[0], point], taken_up) == point]
    return Found(points=ordered, unread=unread, vanished=vanished)


async def _away(cluster: Cluster, job_id: str, paths: Collection[str]) -> str | None:
    """Why nothing can be said of the files of a job, of which restore points are known (`paths`): its folder is not
    there. A volume that is not mounted looks like an empty folder, and what lies in it comes back with it."""
    folder = f"{cluster.state_dir.rstrip('/')}/{job_id}"
    if of_point(folder).partition(":")[0] not in WITH_FOLDERS:  # an empty folder of an object store is not there
        return None
    if not any(path.startswith(f"{of_point(folder)}/") for path in paths):
        return None
    try:
        if await state_files.exists(folder):
            return None
    except Unreachable as error:
        return error.message
    return (
        f"{folder} is not there, and restore points of this job lie in it. Is its volume mounted? If it was deleted, "
        'send a start with restore {"mode": "none"}: it begins empty'
    )


async def named(services: Services, point: str) -> str:
    """The spelling under which a restore point is known that somebody names: also by a way through symbolic links, on
    either side. One that nobody knows, and an id, are given back in their one spelling."""
    point = of_point(point)
    if not is_path(point) or "\x00" in point:
        return point
    real = await state_files.real(point)
    async with services.database.read() as session:
        rows = [*await attempts.points_at(session, point), *await attempts.points_at(session, real)]
    if any(of_point(row.path) == point for row in rows):
        return point
    for row in rows:
        if await state_files.real(row.path) == real:
            return of_point(row.path)
    return point


async def _write(
    session: Session,
    job_id: str,
    points: dict[str, RestorePoint],
    gone: list[str],
    recent: list[Attempt],
) -> None:
    for point in points.values():
        await attempts.add_point(session, job_id, point)
    for path in gone:
        await attempts.point_vanished(session, job_id, path, clock.now())
    # The point that the newest attempt came from stays pinned until that attempt has a checkpoint of its own:
    # until then Flink's own restart goes back to it, whatever savepoints have been taken since.
    own = (p for p in points.values() if recent and p.attempt == recent[0].number)
    if any(p.kind is RestoreKind.CHECKPOINT for p in own):
        await attempts.pin(session, job_id, None)


async def _of_attempt(services: Services, cluster: Cluster, attempt: Attempt) -> list[PointSeen]:
    """From the files always; from Flink while the attempt has not been seen to end."""
    base = checkpoint_directory(cluster.state_dir, attempt.job_id)
    on_disk = await state_files.scan(f"{base}/{attempt.flink_job_id}", RestoreKind.CHECKPOINT)
    savepoints = savepoint_root(cluster.state_dir, attempt.job_id)
    saved = await state_files.scan(savepoints, RestoreKind.SAVEPOINT, inner=f"{attempt.number}-")
    on_disk += [point for point in saved if _is_of(point.path, attempt)]
    if attempt.ended_at is None:
        try:
            engine, ref = services.engines.get(cluster), Ref(attempt.flink_job_id, attempt.handle)
            asked = await engine.checkpoints(ref) if isinstance(engine, Checkpoints) else []
            on_disk = [*asked, *on_disk]  # Flink knows the time better than the file does
        except EngineError:
            pass  # the files have told
    return on_disk


def _is_of(savepoint: str, attempt: Attempt) -> bool:
    """Whether an attempt took a savepoint in a folder of its number: Flink puts the begin of its id into the name. With
    a database that was restored from a backup a number is used again."""
    named = _SAVEPOINT.search(savepoint)
    return named is None or attempt.flink_job_id.startswith(named.group(1))


async def _forgotten(cluster: Cluster, job_id: str, newest: Attempt | None) -> str | None:
    """Why nothing can be said of a job's restore points: there are savepoints of attempts after the `newest` that is
    written down, or that cannot be told. Those from before it began do not count: whoever started it then knew of
    them."""
    root, last = savepoint_root(cluster.state_dir, job_id), newest.number if newest else 0
    try:
        for name in await state_files.names(root):
            number = name.partition("-")[0]
            if not number.isdecimal() or int(number) <= last:
                continue
            if newest is None or await state_files.changed_at(f"{root}/{name}") > newest.started_at:
                break
        else:
            return None
    except Unreachable as error:
        return error.message
    return (
        f"{root} has savepoints of attempt {number}, and the newest attempt that is written down is {last}: "
        'was the database restored from a backup? A start with restore {"mode": "point", "point": PATH} goes on from '
        'one of them, and {"mode": "none"} begins empty'
    )


async def _known(row: RestorePointRow) -> RestorePoint:
    """With its number, also where it was written down without."""
    point = attempts.as_point(row)
    if point.number is not None:
        return point
    return point.model_copy(update={"number": await state_files.number_of(row.path)})


def _point(job_id: str, path: str, point: PointSeen, attempt: Attempt, number: int | None) -> RestorePoint:
    return RestorePoint(
        id=attempts.point_id(job_id, path),
        kind=point.kind,
        path=path,
        completed_at=point.completed_at,
        attempt=attempt.number,
        version=attempt.version,
        number=number,
    )


async def untouched(services: Services, cluster: Cluster, attempt: Attempt, state: EngineState) -> bool:
    """Whether it is certain that an attempt completed no checkpoint: Flink still knows it and tells of
    none, or it never took any. Not certain is False."""
    engine = services.engines.get(cluster)
    ref = Ref(attempt.flink_job_id, attempt.handle)
    try:
        if state is EngineState.MISSING:
            return False
        if not isinstance(engine, Checkpoints):
            return True
        takes = await engine.takes_checkpoints(ref)
        return takes is not None and not await engine.checkpoints(ref)
    except EngineError:
        return False
