"""Queries of attempts, restore points, events and builds."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import BigInteger, Table, Update, and_, bindparam, case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from core.jobs.observations import AHEAD_MS, FINAL
from core.jobs.restore import RestoreKind, RestorePoint
from core.jobs.snapshot import ADOPTED as WHY_ADOPTED
from core.jobs.snapshot import Adopted, attempt_checkpoints
from core.jobs.states import COMMAND_ENDED, AttemptState
from core.paths import of_point
from core.specs import name_of, names
from store import paging
from store.tables import Attempt, Build, Cluster, Command, Event, Job, Project, RestorePointRow, Version


async def get(session: AsyncSession, job_id: str, number: int) -> Attempt | None:
    """One attempt of a job by its number; None when there is none."""
    return await session.get(Attempt, (job_id, number))


def new(
    job_id: str,
    number: int,
    now: datetime,
    *,
    flink_job_id: str,
    handle: str,
    cluster: str,
    version: int,
    restored_from: str | None,
    restored_why: str,
    cause: str,
    config: dict[str, Any],
    plan: str | None,
) -> Attempt:
    """An attempt that is to be written down (`add`) before anything of it is sent."""
    return Attempt(
        job_id=job_id,
        number=number,
        flink_job_id=flink_job_id,
        handle=handle,
        cluster=cluster,
        version=version,
        state=AttemptState.RECORDED.value,
        restored_from=restored_from,
        restored_why=restored_why,
        cause=cause,
        config=config,
        started_at=now,
        plan=plan,
    )


async def add(session: AsyncSession, attempt: Attempt) -> None:
    """Write an attempt down. Raises `store.database.Taken` when there is one by its number."""
    session.add(attempt)
    await session.flush()


@dataclass(frozen=True)
class Context:
    """An attempt (None before it is written down) with all that its submission depends on."""

    job: Job
    cluster: Cluster
    project: Project
    version: Version
    attempt: Attempt | None


async def context(session: AsyncSession, job_id: str, number: int, version: int | None = None) -> Context | None:
    """In one query. `version` None is the version of the attempt, which has to be there then."""
    number_of_version = Attempt.version if version is None else version
    query = (
        select(Job, Cluster, Project, Version, Attempt)
        .join(Cluster, Cluster.name == Job.cluster)
        .join(Project, Project.name == Job.project)
        .outerjoin(Attempt, (Attempt.job_id == Job.id) & (Attempt.number == number))
        .join(Version, (Version.job_id == Job.id) & (Version.number == number_of_version))
        .where(Job.id == job_id)
    )
    row = (await session.execute(query)).one_or_none()
    return Context(*row) if row else None


async def flink_jobs(session: AsyncSession, job_id: str, limit: int = 1000) -> Sequence[Any]:
    """(number, flink_job_id) of the last attempts of a job."""
    query = select(Attempt.number, Attempt.flink_job_id).where(Attempt.job_id == job_id)
    return (await session.execute(query.order_by(Attempt.number.desc()).limit(limit))).all()


async def by_flink_job(session: AsyncSession, flink_job_id: str) -> Attempt | None:
    """The attempt, of whatever job, that has this Flink job id; None when there is none."""
    return (await session.scalars(select(Attempt).where(Attempt.flink_job_id == flink_job_id))).one_or_none()


async def of_deleted_jobs(session: AsyncSession, handles: Sequence[str]) -> list[str]:
    """Of these handles of attempts, those whose job has been deleted."""
    query = select(Attempt.handle).join(Job, Job.id == Attempt.job_id)
    query = query.where(Attempt.handle.in_(handles), Job.deleted_at.is_not(None))
    return list(await session.scalars(query))


async def contradicted(session: AsyncSession, resting: Sequence[str]) -> list[tuple[Attempt, Job]]:
    """Attempts that have not been seen to end although their job says otherwise: another one is current, or
    the job is in one of the `resting` states."""
    query = (
        select(Attempt, Job)
        .join(Job, Job.id == Attempt.job_id)
        .where(Attempt.ended_at.is_(None), Job.deleted_at.is_(None), Job.busy.is_(None))
        .where((Job.current_attempt != Attempt.number) | Job.state.in_(resting))
        .limit(1000)
    )
    return [(attempt, job) for attempt, job in (await session.execute(query)).all()]


async def page(
    session: AsyncSession, job_id: str, *, limit: int, cursor: str | None
) -> tuple[list[Attempt], str | None]:
    """Newest first."""
    query = select(Attempt).where(Attempt.job_id == job_id)
    if cursor:
        query = query.where(Attempt.number < paging.decode(cursor, [int])[0])
    rows = list((await session.scalars(query.order_by(Attempt.number.desc()).limit(limit + 1))).all())
    return rows[:limit], paging.encode([rows[limit - 1].number]) if len(rows) > limit else None


async def commits(session: AsyncSession, job_id: str) -> dict[int, str]:
    """The commit that each version of a job ran with last."""
    last = select(func.max(Attempt.number)).where(Attempt.job_id == job_id).group_by(Attempt.version)
    query = select(Attempt.version, Attempt.config["commit"].as_string())
    query = query.where(Attempt.job_id == job_id, Attempt.number.in_(last))
    return {version: commit for version, commit in (await session.execute(query)).all() if commit}


async def recent(session: AsyncSession, job_id: str, limit: int = 20) -> Sequence[Attempt]:
    """The last attempts of a job, newest first."""
    query = select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.number.desc()).limit(limit)
    return (await session.scalars(query)).all()


NO_POINTS = "no_points"


async def refuse_points(session: AsyncSession, job_id: str, number: int, why: str) -> None:
    """From now on nothing that an attempt has left is a restore point of its job."""
    attempt = await get(session, job_id, number)
    if attempt is not None:
        attempt.config = {**attempt.config, NO_POINTS: why}


def gives_points(attempt: Attempt) -> bool:
    """Whether what an attempt has left may be a restore point of its job."""
    return NO_POINTS not in attempt.config


PROGRAM_TROUBLE = "program_trouble"
"""The key in the `config` of an attempt whose program did not come to a good end beside its job."""


async def set_program_trouble(session: AsyncSession, job_id: str, number: int, words: str) -> None:
    """Write down for good what is wrong with the program of an attempt."""
    attempt = await get(session, job_id, number)
    if attempt is not None:
        attempt.config = {**attempt.config, PROGRAM_TROUBLE: words}


def program_trouble(attempt: Attempt) -> str | None:
    """What is wrong with the program of an attempt, although its job runs or has finished."""
    words = attempt.config.get(PROGRAM_TROUBLE)
    is_told = attempt.ended_at is None or attempt.state == AttemptState.FINISHED.value
    return str(words) if words and is_told else None


def effective(attempt: Attempt) -> dict[str, str]:
    """The configuration that an attempt was given."""
    return {key: str(item.get("value", "")) for key, item in (attempt.config.get("effective") or {}).items()}


WRITTEN_AGAIN = "written_again"
"""The key in the `config` of an attempt whose row was lost."""


def is_written_again(attempt: Attempt) -> bool:
    """Whether its row was lost, and made anew from what its workflow knew, while it ran."""
    return bool(attempt.config.get(WRITTEN_AGAIN))


SPEC = "spec"
"""The key in the `config` of an attempt for the name of the version that it runs, or is to run once more."""


def ran_another(attempt: Attempt, version: Version) -> bool:
    """Whether an attempt runs, or is to run, something else than the version by whose number it is written down: the
    database was restored from a backup, and a version was added anew."""
    ran = attempt.config.get(SPEC)  # of a session cluster that was scaled since, of the version before
    is_of_it = attempt.version == version.number and names(version.number, ran)
    return is_of_it and ran != name_of(version.number, version.spec)


ADOPTED = "adopted"
"""The key in the `config` of an attempt that was adopted, for what is known of its checkpoints."""


def adopted(attempt: Attempt) -> Adopted | None:
    """What is known of the checkpoints of an attempt that was adopted; None of any other one."""
    known = attempt.config.get(ADOPTED)
    if known is None and attempt.restored_why == WHY_ADOPTED:  # of a version that knew nothing of them
        known = {}
    return None if known is None else Adopted.model_validate(known)


async def learn(session: AsyncSession, job_id: str, number: int, known: Adopted) -> None:
    """Write down what has become known of the checkpoints of an adopted attempt."""
    attempt = await get(session, job_id, number)
    if attempt is not None:
        attempt.config = {**attempt.config, ADOPTED: known.model_dump()}


def checkpoint_folder(attempt: Attempt, state_dir: str) -> str:
    """The folder of an attempt's checkpoints on a cluster with this `state_dir`; of an adopted one its own, once it is
    known."""
    own = adopted(attempt)
    if own is not None and own.checkpoint_folder is not None:
        return own.checkpoint_folder
    return attempt_checkpoints(state_dir, attempt.job_id, attempt.flink_job_id)


async def current(session: AsyncSession, jobs: Sequence[Job]) -> dict[str, Attempt]:
    """The current attempt of each job that has one, by job id."""
    ids = [job.id for job in jobs if job.current_attempt]
    query = select(Attempt).join(Job, (Job.id == Attempt.job_id) & (Job.current_attempt == Attempt.number))
    return {a.job_id: a for a in (await session.scalars(query.where(Job.id.in_(ids)))).all()} if ids else {}


_OPEN_ON = (
    select(
        Attempt.job_id,
        Attempt.number,
        Attempt.flink_job_id,
        Attempt.handle,
        Attempt.seen,
        Attempt.detail,
        Attempt.sequence,
        Attempt.state,
        Job.project,
        Job.name,
        Job.state.label("job_state"),
        Job.reason,
        Job.current_attempt,
        Job.busy,
        Job.workflow_id,
        Job.policy,
        Job.warning,
    )
    .join(Job, Job.id == Attempt.job_id)
    .where(Attempt.cluster == bindparam("name"), Attempt.ended_at.is_(None), Job.deleted_at.is_(None))
)
"""Made once: every watch asks it at every look."""


async def open_on(session: AsyncSession, cluster: str) -> list[dict[str, Any]]:
    """Attempts on a cluster that have not been seen to end, as plain rows: one query a watch interval."""
    return [dict(row._mapping) for row in (await session.execute(_OPEN_ON, {"name": cluster})).all()]


async def observe(session: AsyncSession, rows: list[dict[str, Any]]) -> None:
    """Write what was seen of many attempts at once; an older observation changes nothing. A final state is never
    too old, and nothing takes its place.

    Each row has `job`, `attempt`, `saw`, `told` and `seq`.
    """
    connection = await session.connection()
    for final in (True, False):
        of_kind = [row for row in rows if (row["saw"] in FINAL) is final]
        if of_kind:
            await connection.execute(_observed(final=final), of_kind)


def _observed(*, final: bool) -> Update:
    table = cast(Table, Attempt.__table__)
    sequence = bindparam("seq", type_=BigInteger)
    statement = update(table).where(
        table.c.job_id == bindparam("job"), table.c.number == bindparam("attempt"), table.c.ended_at.is_(None)
    )
    is_newer = or_(table.c.sequence < sequence, table.c.sequence > sequence + AHEAD_MS)
    if not final:
        # Not `not_in`: its list is an expanding parameter, which many rows at once cannot have.
        open_ = and_(*(table.c.seen != state for state in sorted(FINAL)))
        statement = statement.where(is_newer, or_(table.c.seen.is_(None), open_))
    newest = case((is_newer, sequence), else_=table.c.sequence)
    return statement.values(seen=bindparam("saw"), detail=bindparam("told"), sequence=newest)


def point_id(job_id: str, path: str) -> str:
    """The same point has the same id, however often it is found."""
    return "rp-" + hashlib.sha256(f"{job_id}\n{of_point(path)}".encode()).hexdigest()[:16]


async def points(session: AsyncSession, job_id: str) -> list[RestorePointRow]:
    """Restore points of a job that are still there, newest first: by attempt, then by time."""
    query = (
        select(RestorePointRow)
        .where(RestorePointRow.job_id == job_id, RestorePointRow.gone_at.is_(None))
        .order_by(RestorePointRow.attempt.desc(), RestorePointRow.completed_at.desc(), RestorePointRow.id)
    )
    return list((await session.scalars(query)).all())


async def one_point(session: AsyncSession, job: Job, point: str, *, lock: bool = False) -> RestorePointRow:
    """A restore point of this job by its id. Raises `NotFound`, also for one that is gone. `lock`: who is about to take
    it away (`take_away`) has done so, or sees what is written of it now."""
    row = await session.get(RestorePointRow, point, with_for_update=lock or None, populate_existing=lock)
    if row is None or row.job_id != job.id or row.gone_at is not None:
        raise NotFound(
            f"Job {job.project}:{job.name} has no restore point {point}.",
            code="restore_point_not_found",
            remedy="GET /jobs/{id}/restore-points lists them.",
        )
    return row


def as_point(row: RestorePointRow) -> RestorePoint:
    """A row as the rules know restore points."""
    return RestorePoint(
        id=row.id,
        kind=RestoreKind(row.kind),
        path=row.path,
        completed_at=row.completed_at,
        attempt=row.attempt,
        version=row.version,
        number=row.number,
    )


async def is_point_of(session: AsyncSession, project: str, path: str) -> bool:
    """Whether a job of a project, deleted or not, has had a restore point at a path, in its one spelling."""
    query = (
        select(RestorePointRow.id)
        .join(Job, Job.id == RestorePointRow.job_id)
        .where(RestorePointRow.path == path, Job.project == project)
    )
    return (await session.scalars(query.limit(1))).first() is not None


async def points_at(session: AsyncSession, path: str) -> list[RestorePointRow]:
    """Restore points of any job whose last two folders are those of `path`: the ones that it may be by another way."""
    tail = "/".join(of_point(path).rsplit("/", 2)[1:])
    query = select(RestorePointRow).where(RestorePointRow.path.endswith("/" + tail, autoescape=True))
    return list((await session.scalars(query.order_by(RestorePointRow.id).limit(1000))).all())


async def add_point(session: AsyncSession, job_id: str, point: RestorePoint) -> None:
    """Write a restore point down; one that is known already (by its path) is only seen again."""
    row = await session.get(RestorePointRow, point.id)
    if row is None:
        session.add(RestorePointRow(job_id=job_id, **point.model_dump(mode="python")))
        await session.flush()
        return
    row.gone_at, row.vanished = None, False
    if row.number is None:
        row.number = point.number


async def point_vanished(session: AsyncSession, job_id: str, path: str, now: datetime) -> None:
    """The files of a restore point are not there any more; one that has been deleted by us meanwhile stays so."""
    row = await session.get(RestorePointRow, point_id(job_id, path), populate_existing=True)
    if row is not None and row.gone_at is None:
        row.gone_at, row.vanished = now, True


async def add_vanished(session: AsyncSession, job_id: str, point: RestorePoint, now: datetime) -> None:
    """Write down a restore point that Flink tells of, and whose files are not there; one that is known is left as it
    is: perhaps it was us who deleted it."""
    if await session.get(RestorePointRow, point.id) is None:
        session.add(RestorePointRow(job_id=job_id, gone_at=now, vanished=True, **point.model_dump(mode="python")))
        await session.flush()


async def vanished(session: AsyncSession, job_id: str, limit: int) -> list[RestorePointRow]:
    """The last restore points of a job whose files have gone without us, by attempt. Also checkpoints that Flink has
    replaced by newer ones are among them."""
    query = (
        select(RestorePointRow)
        .where(RestorePointRow.job_id == job_id, RestorePointRow.vanished)
        .order_by(RestorePointRow.attempt.desc(), RestorePointRow.completed_at.desc(), RestorePointRow.id)
        .limit(limit)
    )
    return list((await session.scalars(query)).all())


async def in_use(session: AsyncSession, job_id: str, *, own_source: bool = False) -> set[str]:
    """Paths of restore points that are pinned, kept by a person, named by a command of another job that has not ended,
    or that an attempt of another job came from which lives or is that job's last one: it may have no state but that.
    With `own_source` also those that attempts of this job came from. What an adopted attempt came from is in use as
    long as that is the current one: it may have claimed it, or build on its files."""
    own = select(RestorePointRow.path).where(
        RestorePointRow.job_id == job_id, RestorePointRow.pinned | RestorePointRow.kept
    )
    again = (Job.current_attempt == Attempt.number) & Job.state.not_in(("KILLED", "FINISHED"))
    sources = (
        select(Attempt.restored_from)
        .join(Job, Job.id == Attempt.job_id)
        .where(Attempt.restored_from.is_not(None), Attempt.ended_at.is_(None) | (again & Job.deleted_at.is_(None)))
    )
    if not own_source:
        sources = sources.where(Attempt.job_id != job_id)
    now = select(Attempt).join(Job, (Job.id == Attempt.job_id) & (Job.current_attempt == Attempt.number))
    current = (await session.scalars(now.where(Attempt.job_id == job_id, Attempt.restored_from.is_not(None)))).all()
    came_from = [attempt.restored_from for attempt in current if adopted(attempt) is not None]
    ended = [state.value for state in COMMAND_ENDED]
    asked = select(Command.restore).where(Command.state.not_in(ended), Command.restore.is_not(None))
    named = [restore["point"] for restore in await session.scalars(asked) if restore and restore.get("point")]
    found = [*await session.scalars(own), *await session.scalars(sources), *named, *came_from]
    return {of_point(str(path)) for path in found}


async def of_flink_jobs(session: AsyncSession, job_id: str, flink_job_ids: Sequence[str]) -> dict[str, Attempt]:
    """Attempts of a job by their Flink job ids."""
    query = select(Attempt).where(Attempt.job_id == job_id, Attempt.flink_job_id.in_(flink_job_ids))
    return {attempt.flink_job_id: attempt for attempt in await session.scalars(query)}


async def numbers(session: AsyncSession, job_id: str, among: Collection[int]) -> set[int]:
    """Those of `among` that are numbers of a job's attempts."""
    query = select(Attempt.number).where(Attempt.job_id == job_id, Attempt.number.in_(among))
    return set(await session.scalars(query)) if among else set()


async def any_ended(session: AsyncSession, job_id: str, *, up_to: int, before: datetime) -> bool:
    """Whether an attempt numbered `up_to` or lower ended before a moment."""
    query = select(Attempt.number).where(Attempt.job_id == job_id, Attempt.number <= up_to, Attempt.ended_at <= before)
    return (await session.scalar(query.limit(1))) is not None


async def last_number(session: AsyncSession, job_id: str) -> int:
    """The number of the newest attempt of a job; 0 when there is none."""
    return (await session.scalar(select(func.max(Attempt.number)).where(Attempt.job_id == job_id))) or 0


def keep_point(row: RestorePointRow, kept: bool) -> None:
    """A person wants a restore point kept, or does not any more."""
    row.kept = kept


async def lock_points(session: AsyncSession, job_id: str, number: int) -> None:
    """Nobody else pins or keeps a restore point of this attempt until the transaction ends."""
    of_attempt = (RestorePointRow.job_id == job_id) & (RestorePointRow.attempt == number)
    await session.execute(
        select(RestorePointRow.path).where(of_attempt).order_by(RestorePointRow.path).with_for_update()
    )


async def checkpoints_gone(session: AsyncSession, job_id: str, number: int, now: datetime) -> None:
    """The folder of an attempt's checkpoints has been deleted."""
    of_attempt = (RestorePointRow.job_id == job_id) & (RestorePointRow.attempt == number)
    checkpoints = of_attempt & (RestorePointRow.kind == RestoreKind.CHECKPOINT.value)
    there = RestorePointRow.gone_at.is_(None) | RestorePointRow.vanished  # somebody saw it between the two
    await session.execute(update(RestorePointRow).where(checkpoints & there).values(gone_at=now, vanished=False))


async def gone(session: AsyncSession, job_id: str, paths: Sequence[str], now: datetime) -> None:
    """Restore points of a job, by their paths, are not there any more."""
    await session.execute(
        update(RestorePointRow)
        .where(RestorePointRow.job_id == job_id, RestorePointRow.path.in_([of_point(path) for path in paths]))
        .values(gone_at=now)
    )


async def take_away(session: AsyncSession, job_id: str, point: RestorePoint, now: datetime) -> bool:
    """Say that a point is gone, before its files are deleted: from then on nobody can pin or name it. False when it is
    in use, or gone already."""
    row = await session.get(RestorePointRow, point.id, with_for_update=True, populate_existing=True)
    used = await in_use(session, job_id)
    if row is None or row.gone_at is not None or point.id in used or of_point(point.path) in used:
        return False
    await gone(session, job_id, [point.path], now)
    return True


async def taken_away(session: AsyncSession, job_id: str, since: datetime) -> set[str]:
    """Paths of restore points that we have deleted, or begun to, since then."""
    query = select(RestorePointRow.path).where(
        RestorePointRow.job_id == job_id, RestorePointRow.gone_at >= since, RestorePointRow.vanished.is_(False)
    )
    return {of_point(path) for path in await session.scalars(query)}


async def pin(session: AsyncSession, job_id: str, path: str | None) -> None:
    """Pin the point in use, and let go of the one before."""
    await session.execute(
        update(RestorePointRow)
        .where(RestorePointRow.job_id == job_id)
        .values(pinned=(RestorePointRow.path == of_point(path)) if path else False)
    )


async def let_go(session: AsyncSession, job_id: str, number: int) -> None:
    """Let go of the pin, unless there is a later attempt than `number` by now: it may be on what that one came from."""
    held = select(RestorePointRow.id).where(RestorePointRow.job_id == job_id, RestorePointRow.pinned)
    if (await session.scalar(held.limit(1))) is None:
        return
    # Who writes an attempt down with its pin locks the job's row: it has committed both, or neither.
    await session.execute(select(Job.id).where(Job.id == job_id).with_for_update())
    if await last_number(session, job_id) <= number:
        await pin(session, job_id, None)


async def events(
    session: AsyncSession, job_id: str, *, limit: int, cursor: str | None
) -> tuple[list[Event], str | None]:
    """The timeline, newest first."""
    query = select(Event).where(Event.job_id == job_id)
    if cursor:
        query = query.where(Event.id < paging.decode(cursor, [int])[0])
    rows = list((await session.scalars(query.order_by(Event.id.desc()).limit(limit + 1))).all())
    return rows[:limit], paging.encode([rows[limit - 1].id]) if len(rows) > limit else None


def add_event(
    session: AsyncSession,
    key: str,
    job_id: str,
    *,
    kind: str,
    message: str,
    at: datetime,
    attempt: int | None = None,
    data: dict[str, Any] | None = None,
) -> None:
    """Write an event on the timeline of its job. `store.database.Taken` is raised, here or later, when there is one by
    this `key`."""
    event = Event(key=key, job_id=job_id, at=at, kind=kind, message=message, attempt=attempt, data=data or {})
    session.add(event)


async def known_events(session: AsyncSession, keys: Sequence[str]) -> set[str]:
    """Those of these keys by which there is an event."""
    return set(await session.scalars(select(Event.key).where(Event.key.in_(keys)))) if keys else set()


async def build(session: AsyncSession, key: str) -> Build | None:
    """What was built by a key; None when nothing was."""
    return await session.get(Build, key)


async def add_build(
    session: AsyncSession, *, key: str, commit: str, type_: str, sha256: str | None, size: int | None, now: datetime
) -> None:
    """Write down what was built, in place of what an earlier build wrote by the same `key`. `size` is in bytes;
    `sha256` and `size` are None for what is no single file."""
    await session.merge(Build(key=key, commit=commit, type=type_, sha256=sha256, size=size, created_at=now))
