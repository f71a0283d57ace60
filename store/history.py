"""Queries that find and delete rows of the past, some at a time. What may go is decided in `core.history`.

Ids of events and of lines rise with time, or nearly so: the oldest are looked at in their order, and where none of some
is old, the rest is left for another time. A row that was written by a clock that was ahead is young all the same: it is
passed over, and by the query itself as long as its time has not come.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.history import PastAttempt, links
from core.jobs.snapshot import lineage_of
from core.jobs.states import COMMAND_ENDED
from store import attempts, commands
from store.tables import Attempt, Cluster, Command, Event, Job, LogLine, Orphan, Preview, RestorePointRow

_ENDED = [state.value for state in COMMAND_ENDED]


async def jobs_after(session: AsyncSession, id_: str, limit: int) -> list[str]:
    """Ids of jobs, deleted ones too, in order."""
    return list(await session.scalars(select(Job.id).where(Job.id > id_).order_by(Job.id).limit(limit)))


async def old_events(
    session: AsyncSession, *, job_id: str, before: datetime, now: datetime, keep: int, limit: int
) -> list[int]:
    """Those of the oldest of a job's timeline that are from before a moment, the last `keep` never."""
    own = Event.job_id == job_id
    first = await session.scalar(select(Event.id).where(own).order_by(Event.id.desc()).offset(keep - 1).limit(1))
    if first is None:
        return []
    oldest = select(Event.id, Event.at).where(own, Event.id < first, Event.at <= now).order_by(Event.id).limit(limit)
    return [id_ for id_, at in await session.execute(oldest) if at < before]


async def delete_events(session: AsyncSession, ids: Sequence[int]) -> None:
    """Delete events by their ids."""
    await session.execute(delete(Event).where(Event.id.in_(ids)))


async def old_commands(session: AsyncSession, *, job_id: str, before: datetime, keep: int, limit: int) -> list[str]:
    """Commands of a job that ended before a moment, the last `keep` never."""
    last = await session.scalar(select(func.max(Command.number)).where(Command.job_id == job_id))
    own = (Command.job_id == job_id) & (Command.number <= (last or 0) - keep)
    query = select(Command.id).where(own, Command.finished_at < before, Command.state.in_(_ENDED))
    return list(await session.scalars(query.order_by(Command.number).limit(limit)))


async def delete_commands(session: AsyncSession, ids: Sequence[str]) -> None:
    """With their logs."""
    await session.execute(delete(LogLine).where(LogLine.scope.in_([commands.scope(id_) for id_ in ids])))
    await session.execute(delete(Command).where(Command.id.in_(ids), Command.state.in_(_ENDED)))


async def old_attempts(
    session: AsyncSession, *, job_id: str, before: datetime, keep: int, after: int, limit: int
) -> list[PastAttempt]:
    """Attempts of a job behind number `after` that ended before a moment, oldest first, the last `keep` never."""
    last = await attempts.last_number(session, job_id)
    own = (Attempt.job_id == job_id) & (Attempt.number > after) & (Attempt.number <= last - keep)
    return await _past(session, own, Attempt.ended_at < before, order=Attempt.number, limit=limit)


async def needed(session: AsyncSession, job: Job) -> set[int]:
    """Numbers of attempts that something names: the job, a restore point that exists, a Flink job without an owner; and
    the last one of each version, which tells the commit that the version runs with again."""
    points = select(RestorePointRow.attempt).where(RestorePointRow.job_id == job.id, RestorePointRow.gone_at.is_(None))
    orphans = select(Orphan.attempt).where(
        Orphan.job_id == job.id, Orphan.gone_at.is_(None), Orphan.attempt.is_not(None)
    )
    versions = select(func.max(Attempt.number)).where(Attempt.job_id == job.id).group_by(Attempt.version)
    numbers = {job.current_attempt, *lineage_of(job.snapshot).taken_up}
    for query in (points.distinct(), orphans, versions):
        numbers |= set(await session.scalars(query))
    return {number for number in numbers if number is not None}


async def staying(session: AsyncSession, job_id: str, numbers: set[int], *, keep: int) -> dict[int, PastAttempt]:
    """The last `keep` attempts of a job, those by these numbers, those that have not ended, and what any of them was
    to run like."""
    last = await attempts.last_number(session, job_id)
    which = (Attempt.number > last - keep) | Attempt.ended_at.is_(None) | Attempt.number.in_(numbers)
    kept = {a.number: a for a in await _past(session, Attempt.job_id == job_id, which)}
    while more := await _past(session, Attempt.job_id == job_id, Attempt.number.in_(links(kept))):
        kept |= {a.number: a for a in more}
    return kept


async def _past(session: AsyncSession, *which: Any, order: Any = None, limit: int | None = None) -> list[PastAttempt]:
    sql, like = Attempt.config["sql"].as_string(), Attempt.config["like"].as_string()
    query = select(Attempt.number, Attempt.flink_job_id, Attempt.ended_at, like, sql, Attempt.plan).where(*which)
    rows = (await session.execute(query.order_by(order).limit(limit))).all()
    return [
        PastAttempt(number, flink_job_id, ended_at, int(like) if like else None, bool(sql or plan))
        for number, flink_job_id, ended_at, like, sql, plan in rows
    ]


async def delete_attempts(session: AsyncSession, job_id: str, numbers: Sequence[int]) -> None:
    """Unless one has been opened again meanwhile."""
    own = (Attempt.job_id == job_id) & Attempt.number.in_(numbers)
    await session.execute(delete(Attempt).where(own, Attempt.ended_at.is_not(None)))


async def state_dir(session: AsyncSession, job: Job) -> str | None:
    """Of the job's cluster, removed or not."""
    path: str | None = await session.scalar(select(Cluster.state_dir).where(Cluster.name == job.cluster))
    return path


async def old_lines(
    session: AsyncSession, before: datetime, *, now: datetime, after: int, limit: int
) -> tuple[list[int], int | None]:
    """Of the next `limit` lines of logs behind line `after` those that are from before a moment, but for those of
    commands that have not ended; and the line to go on behind, None where none of them is so old, or at the end."""
    query = select(LogLine.id, LogLine.at, LogLine.scope).where(LogLine.id > after, LogLine.at <= now)
    rows = (await session.execute(query.order_by(LogLine.id).limit(limit))).all()
    old = {id_ for id_, at, _ in rows if at < before}
    live = {
        commands.scope(id_) for id_ in await session.scalars(select(Command.id).where(Command.state.not_in(_ENDED)))
    }
    going = [id_ for id_, _, scope in rows if id_ in old and scope not in live]
    return going, rows[-1][0] if old and len(rows) == limit else None


async def delete_lines(session: AsyncSession, ids: Sequence[int]) -> None:
    """Delete lines of logs by their ids."""
    await session.execute(delete(LogLine).where(LogLine.id.in_(ids)))


async def old_previews(session: AsyncSession, *, before: datetime, limit: int) -> list[str]:
    """Previews that ended before a moment, and whose Flink job has been seen to be gone."""
    query = select(Preview.id).where(Preview.ended_at < before, Preview.gone_at.is_not(None)).limit(limit)
    return list(await session.scalars(query))


async def delete_previews(session: AsyncSession, ids: Sequence[str]) -> None:
    """Delete previews by their ids."""
    await session.execute(delete(Preview).where(Preview.id.in_(ids)))
