"""Restore points of a job: gathered from Flink and from the files, and each one verified."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from clusters import state_files
from clusters.protocol import Checkpoints, Engine, PointSeen, Ref, Unreachable
from core.effects import EngineError
from core.errors import NotFound
from core.history import SEARCHED
from core.jobs.observations import EngineState
from core.jobs.overrides import DIRECTORY_KEY, MODE_KEY
from core.jobs.restore import RestoreKind, RestorePoint, StateLineage, newest, newest_first
from core.jobs.snapshot import Adopted, checkpoint_directory, folder_of, lineage_of, savepoint_root
from core.jobs.states import AttemptState
from core.names import follows
from core.paths import WITH_FOLDERS, is_path, of_point
from services import Services
from settings import clock, waits
from store import attempts, clusters, jobs
from store.database import Session
from store.tables import Attempt, Cluster, RestorePointRow

LOOK_BACK = SEARCHED
"""Attempts whose folders are searched again; points of older ones are known from their rows."""

MAX_VANISHED = 100
CHECKPOINT = RestoreKind.CHECKPOINT
_OF_ATTEMPT = re.compile(r"(\d{1,9})-")
"""How Penstock names the folder of an attempt's savepoints: with its number."""
_OF_FLINK_JOB = re.compile(r"/([0-9a-f]{32})/chk-\d+$")
_SAVEPOINT = re.compile(r"/savepoint-([0-9a-f]{6})-[0-9a-f]{12}$")
"""How Flink names the folder of a savepoint (AbstractFsCheckpointStorageAccess)."""


@dataclass(frozen=True)
class Found:
    """`unread` says why some could not be read; then there may be newer ones than those in `points`. `for_a_person`:
    nothing that comes back by itself changes that.
    `vanished` are known ones that were newer than all of these and whose files are gone now, whoever saw it first;
    `unowned` is the path of one that is newer, and of no known attempt."""

    points: list[RestorePoint]
    unread: str | None = None
    vanished: list[RestorePoint] = field(default_factory=list)
    for_a_person: bool = False
    unowned: str | None = None


async def gather(services: Services, job_id: str) -> Found:
    """All restore points of a job whose `_metadata` is there now, newest first; writes them down. Raises `NotFound`
    when there is no such job."""
    async with services.database.read() as session:
        job = await jobs.by_id(session, job_id)
        if job is None:
            raise NotFound(f"The database has no job {job_id}.", code="job_not_found")
        cluster = await clusters.get(session, job.cluster)
        last = await attempts.recent(session, job_id, LOOK_BACK)
        recent = [attempt for attempt in last if attempts.gives_points(attempt)]
        without = {attempt.number for attempt in last} - {attempt.number for attempt in recent}
        rows = [row for row in await attempts.points(session, job_id) if row.attempt not in without]
        # Their files may be there yet, while Flink deletes them one by one.
        going = await attempts.taken_away(session, job_id, clock.now() - 2 * timedelta(seconds=waits.DISPOSE_SECONDS))
    try:
        if (forgotten := await _forgotten(cluster, job_id, last[0] if last else None)) is not None:
            return Found(points=[], unread=forgotten, for_a_person=True)
    except Unreachable as error:
        return Found(points=[], unread=error.message)
    unread: str | None = None
    by_path: dict[str, tuple[PointSeen, Attempt]] = {}
    hidden: dict[int, str] = {}
    for attempt in recent:
        try:
            if (own := attempts.adopted(attempt)) is None:
                seen = await _of_attempt(services, cluster, attempt)
            else:
                seen, why = await _of_adopted(services, cluster, attempt, own)
                hidden |= {attempt.number: why} if why else {}
            for point in seen:
                by_path.setdefault(of_point(point.path), (point, attempt))
        except Unreachable as error:
            unread = error.message
    known = {of_point(row.path): row for row in rows}
    lineage = lineage_of(job.snapshot)
    ran = [] if lineage.untouched and lineage.root is None else recent
    if (away := await _away(cluster, job_id, [*known, *by_path], ran)) is not None:
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
    taken_up = lineage.taken_up
    passed_over = None if unread else _passed_over(hidden, points.values(), lineage)
    ordered = newest_first(points.values(), taken_up)
    # Held against the newest that is there: the others are checkpoints that Flink has replaced.
    vanished = [point for point in vanished if ordered and newest([ordered[0], point], taken_up) == point]
    unread = unread or await _moved(cluster, job_id, vanished)
    for_a_person = unread is None and passed_over is not None and _LOST in hidden.values()
    if unread is None and not lineage.untouched:
        unread = await _checkpoints_away(cluster, job_id, recent, ordered[0] if ordered else None, lineage)
        for_a_person |= unread is not None
    unowned: str | None = None
    if unread is None:
        try:
            if (unowned := await _of_nobody(services, cluster, job_id, last, ordered)) is not None:
                unread, for_a_person = _unowned(unowned), True
        except Unreachable as error:
            unread = error.message
    return Found(ordered, unread or passed_over, vanished, for_a_person=for_a_person, unowned=unowned)


async def _away(cluster: Cluster, job_id: str, paths: Collection[str], ran: Collection[Attempt]) -> str | None:
    """Why nothing can be said of the files of a job, of which restore points are known (`paths`), or of which attempts
    `ran` and perhaps kept checkpoints: its folder is not there. A volume that is not mounted looks like an empty
    folder, and what lies in it comes back with it."""
    folder = f"{cluster.state_dir.rstrip('/')}/{job_id}"
    if of_point(folder).partition(":")[0] not in WITH_FOLDERS:  # an empty folder of an object store is not there
        return None
    points = any(path.startswith(f"{of_point(folder)}/") for path in paths)
    if not points and not any(_has_written(attempt, folder) for attempt in ran):
        return None
    try:
        if await state_files.exists(folder):
            return None
    except Unreachable as error:
        return error.message
    what = "restore points of this job lie in it" if points else "this job has written to it"
    return (
        f"{folder} is not there, and {what}. Is its volume mounted? If it was deleted, "
        'send a start with restore {"mode": "none"}: it begins empty'
    )


async def _moved(cluster: Cluster, job_id: str, vanished: Collection[RestorePoint]) -> str | None:
    """Why it cannot be told that the newest restore points have gone: the folder of all savepoints, or of all
    checkpoints, is not there either. Nobody but a person takes that away, perhaps for a moment."""
    root = of_point(f"{cluster.state_dir.rstrip('/')}/{job_id}")
    if root.partition(":")[0] not in WITH_FOLDERS:
        return None
    for folder in (f"{root}/savepoints", f"{root}/checkpoints"):
        lost = [point.path for point in vanished if point.path.startswith(f"{folder}/")]
        try:
            if not lost or await state_files.exists(folder):
                continue
        except Unreachable as error:
            return error.message
        return (
            f"{folder} is not there, and {lost[0]} lay in it, which was newer than all that is there. Was it moved, or "
            'is its volume not mounted? If it was deleted, send a start with restore {"mode": "point", "point": PATH} '
            "of the one to go on from"
        )
    return None


async def _checkpoints_away(
    cluster: Cluster, job_id: str, ran: Collection[Attempt], point: RestorePoint | None, lineage: StateLineage
) -> str | None:
    """Why it cannot be told that `point` is the newest: an attempt that `ran` since has no folder of checkpoints any
    more. Nobody has to have seen what lay in it; Flink leaves the folder itself, however the attempt ended. What has
    come to its end, or to the savepoint that it was stopped with, has nothing newer."""
    root = f"{cluster.state_dir.rstrip('/')}/{job_id}"
    last = lineage.first if point is None else lineage.taken_up.get(point.attempt, point.attempt)
    for attempt in ran:
        is_older = attempt.number < lineage.first or lineage.taken_up.get(attempt.number, attempt.number) < last
        if is_older or attempt.state == AttemptState.FINISHED or not _has_written(attempt, root):
            continue
        folder = attempts.checkpoint_folder(attempt, cluster.state_dir)
        if await state_files.is_folder(folder) is False:
            return (
                f"{folder} is not there, where attempt {attempt.number} kept its checkpoints: they were perhaps newer "
                "than all that is there. Was it moved, or is its volume not mounted? Once it is back, restart; if it "
                'was deleted, restart with {"mode": "point", "point": PATH} of one that is there, or {"mode": "none"}'
            )
    return None


def _has_written(attempt: Attempt, folder: str) -> bool:
    """Whether an attempt has run with checkpoints below `folder`, as far as its configuration tells: Flink makes their
    folder before the first task runs. One that was adopted writes elsewhere, one in batch mode nothing."""
    given = attempts.effective(attempt)
    return (
        attempt.running_since is not None
        and attempts.adopted(attempt) is None
        and of_point(given.get(DIRECTORY_KEY, "")).startswith(f"{of_point(folder)}/")
        and re.search("[1-9]", given.get("execution.checkpointing.interval", "")) is not None
        and given.get(MODE_KEY, "STREAMING").upper() == "STREAMING"
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


async def is_of_project(services: Services, project: str, point: str) -> bool:
    """Whether what somebody names is a restore point of a job of a project, as far as is known. Ids of points are
    looked up among those of the job itself, later."""
    if not is_path(of_point(point)):
        return True
    path = await named(services, point)
    async with services.database.read() as session:
        return await attempts.is_point_of(session, project, path)


async def _write(
    session: Session,
    job_id: str,
    points: dict[str, RestorePoint],
    gone: list[str],
    recent: list[Attempt],
) -> None:
    # The point that the newest attempt came from stays pinned until that attempt has a checkpoint of its own:
    # until then Flink's own restart goes back to it, whatever savepoints have been taken since. First of all, as it
    # locks the job's row: a record of a workflow does so before it writes points.
    own = (p for p in points.values() if recent and p.attempt == recent[0].number)
    if any(p.kind is CHECKPOINT for p in own):
        await attempts.let_go(session, job_id, recent[0].number)
    for point in points.values():
        await attempts.add_point(session, job_id, point)
    for path in gone:
        await attempts.point_vanished(session, job_id, path, clock.now())


async def _of_attempt(services: Services, cluster: Cluster, attempt: Attempt) -> list[PointSeen]:
    """From the files always; from Flink while the attempt has not been seen to end."""
    found = await state_files.scan(attempts.checkpoint_folder(attempt, cluster.state_dir), CHECKPOINT)
    found += await _savepoints_of(cluster, attempt)
    return [*await _told(services, cluster, attempt), *found]


_LOST = "the folder of its checkpoints is not known, and its cluster does not know it any more"


async def _of_adopted(
    services: Services, cluster: Cluster, attempt: Attempt, own: Adopted
) -> tuple[list[PointSeen], str | None]:
    """Of an attempt that was started past Penstock, and why it may have checkpoints that nobody sees: where they lie is
    told by Flink, as long as that knows it, and is written down once one has completed."""
    found: list[PointSeen] = []
    hidden: str | None = None
    if not own.is_known:
        if attempt.ended_at is None:
            try:
                learned = await learn(services, cluster, attempt)
                own, hidden = learned or own, None if learned else _LOST
            except EngineError as error:
                hidden = f"the folder of its checkpoints is not known, and its cluster cannot be asked: {error.message}"
        elif attempt.state == AttemptState.GONE:  # of any other end, what it had was asked for when that was seen
            hidden = _LOST
        if found := await state_files.scan(attempts.checkpoint_folder(attempt, cluster.state_dir), CHECKPOINT):
            hidden = None  # it was one of ours, as after the database was restored from a backup
    if own.checkpoint_folder is not None:
        try:
            found = await state_files.scan(own.checkpoint_folder, CHECKPOINT)
            if not found and await state_files.is_folder(own.checkpoint_folder) is False:
                hidden = f"{own.checkpoint_folder} is not there: is its volume mounted?"
        except Unreachable as error:
            hidden = error.message
    found += await _savepoints_of(cluster, attempt)
    # It came to its end, or to the savepoint that it was stopped with: nothing is newer.
    seen = [*await _told(services, cluster, attempt), *found]
    return seen, None if attempt.state == AttemptState.FINISHED else hidden


async def _told(services: Services, cluster: Cluster, attempt: Attempt) -> list[PointSeen]:
    """What Flink tells of an attempt that has not been seen to end. It knows the times better than the files do."""
    if attempt.ended_at is not None:
        return []
    try:
        engine = services.engines.get(cluster)
        ref = Ref(attempt.flink_job_id, attempt.handle)
        return await engine.checkpoints(ref) if isinstance(engine, Checkpoints) else []
    except EngineError:
        return []  # the files have told


async def told_of(engine: Engine, ref: Ref) -> Adopted:
    """What a cluster tells of the checkpoints of a Flink job; nothing of one that it does not know. Raises
    `EngineError`."""
    if not isinstance(engine, Checkpoints):
        return Adopted(takes_checkpoints=False)
    takes = await engine.takes_checkpoints(ref)
    if takes is None:
        return Adopted()
    told = [point.path for point in await engine.checkpoints(ref) if point.kind is CHECKPOINT]
    return Adopted(checkpoint_folder=folder_of(told, ref.flink_job_id), takes_checkpoints=takes)


async def learn(services: Services, cluster: Cluster, attempt: Attempt) -> Adopted | None:
    """Ask a cluster where the checkpoints of an adopted attempt lie, and write it down. None when it does not know the
    attempt (any more). Raises `EngineError`."""
    known = await told_of(services.engines.get(cluster), Ref(attempt.flink_job_id, attempt.handle))
    if known.takes_checkpoints is None:
        return None
    if known != attempts.adopted(attempt):
        async with services.database.write() as session:
            await attempts.learn(session, attempt.job_id, attempt.number, known)
    return known


def _passed_over(hidden: Mapping[int, str], points: Collection[RestorePoint], lineage: StateLineage) -> str | None:
    """Why none of these `points` is to be taken for the newest: an adopted attempt has perhaps newer ones (`hidden`,
    by its number), no later one has any, and nobody has begun anew since."""
    for number, why in hidden.items():
        last = lineage.taken_up.get(number, number)
        if number >= lineage.first and not any(point.attempt > last for point in points):
            return (
                f"attempt {number} was adopted, and may have newer checkpoints than those that are known: {why}. Look "
                'for its newest one, and send a start with restore {"mode": "point", "point": PATH}; '
                '{"mode": "none"} begins empty'
            )
    return None


async def _savepoints_of(cluster: Cluster, attempt: Attempt) -> list[PointSeen]:
    savepoints = savepoint_root(cluster.state_dir, attempt.job_id)
    saved = await state_files.scan(savepoints, RestoreKind.SAVEPOINT, inner=f"{attempt.number}-")
    return [point for point in saved if _is_of(point.path, attempt)]


def _is_of(savepoint: str, attempt: Attempt) -> bool:
    """Whether an attempt took a savepoint in a folder of its number: Flink puts the begin of its id into the name. With
    a database that was restored from a backup a number is used again."""
    named = _SAVEPOINT.search(savepoint)
    return named is None or attempt.flink_job_id.startswith(named.group(1))


async def _forgotten(cluster: Cluster, job_id: str, newest: Attempt | None) -> str | None:
    """Why nothing can be said of a job's restore points: there are savepoints of attempts after the `newest` that is
    written down. Those from before it began do not count: whoever started it then knew of them. Raises
    `Unreachable`."""
    root, last = savepoint_root(cluster.state_dir, job_id), newest.number if newest else 0
    for name in await state_files.names(root):
        number = name.partition("-")[0]
        if not number.isdecimal() or int(number) <= last:
            continue
        if newest is None or await state_files.changed_at(f"{root}/{name}") > newest.started_at:
            break
    else:
        return None
    return (
        f"{root} has savepoints of attempt {number}, and the newest attempt that is written down is {last}: "
        'was the database restored from a backup? A start with restore {"mode": "point", "point": PATH} goes on from '
        'one of them, and {"mode": "none"} begins empty'
    )


async def _of_nobody(
    services: Services, cluster: Cluster, job_id: str, last: Sequence[Attempt], points: Sequence[RestorePoint]
) -> str | None:
    """The path of a restore point that is later than the first of `points`, newest first: it lies in the job's own
    folder, and is of an attempt that has no row, as after the database alone was restored from a backup. What was there
    when an attempt was begun does not count: whoever began it knew of that. One that was adopted, or `written_again`,
    was not begun so. Raises `Unreachable`."""
    begun = [a.started_at for a in last if attempts.adopted(a) is None and not attempts.is_written_again(a)]
    since = max([*begun[:1], *(point.completed_at for point in points[:1])], default=None)
    below, root = checkpoint_directory(cluster.state_dir, job_id), savepoint_root(cluster.state_dir, job_id)
    of_jobs = await state_files.names(below)
    numbered = {name: int(m.group(1)) for name in await state_files.names(root) if (m := _OF_ATTEMPT.match(name))}
    async with services.database.read() as session:
        known = await attempts.of_flink_jobs(session, job_id, of_jobs)
        numbers = await attempts.numbers(session, job_id, set(numbered.values()))
    # A second job of its program, which is not its state, writes beside an attempt.
    own = {name for name in of_jobs if name in known or any(follows(a.flink_job_id, name) for a in last)}
    folders = [(f"{below}/{name}", CHECKPOINT) for name in of_jobs if name not in own]
    folders += [(f"{root}/{name}", RestoreKind.SAVEPOINT) for name, n in numbered.items() if n not in numbers]
    for folder, kind in folders:
        for point in await state_files.scan(folder, kind):
            if since is None or point.completed_at > since:
                return point.path
    return None


def _unowned(path: str) -> str:
    ran = _OF_FLINK_JOB.search(path)
    adopted = f" If Flink job {ran.group(1)} runs, adopt it." if ran is not None else ""
    return (
        f"{path} is newer than every restore point that is written down, and no attempt is that made it: was the "
        f"database restored from a backup?{adopted}"
        ' A start with restore {"mode": "point", "point": PATH, "accept_unknown_state": true} goes on from it, or from '
        'another one, and {"mode": "none"} begins empty'
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
        if takes is None or await engine.checkpoints(ref):
            return False
        # One that has recovered a job and could not restore it knows nothing of the checkpoints before: their folder,
        # which Flink makes before the first task runs, has to be seen.
        folder = attempts.checkpoint_folder(attempt, cluster.state_dir)
        has_begun = takes and attempt.running_since is not None
        on_disk = of_point(folder).partition(":")[0] in WITH_FOLDERS
        return not (has_begun and on_disk) or await state_files.is_folder(folder) is True
    except EngineError:
        return False
