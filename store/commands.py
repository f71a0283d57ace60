"""Queries of commands and of their logs."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from core.jobs.commands import AskedCommand
from core.jobs.states import COMMAND_ENDED, CommandState
from store import jobs, paging
from store.overdue import overdue
from store.tables import Command, Job, LogLine

ADDED = "added_version"
"""In `options`: the version of the command was made for it."""
_COLUMNS = AskedCommand.model_fields.keys() & Command.__table__.columns.keys()


def asked_of(row: Command) -> AskedCommand:
    """What was asked of a command, from its row; rows that are older than a field have its default."""
    return AskedCommand.model_validate({**(row.options or {}), **{name: getattr(row, name) for name in _COLUMNS}})


def columns_of(asked: AskedCommand, *, added: bool = False) -> dict[str, Any]:
    """Columns of a row that keeps what was asked: those of `Command` by the same name, and `options` for the rest.
    `added`: its version was made for it."""
    fields = asked.model_dump(mode="json")
    return {name: fields.pop(name) for name in _COLUMNS} | {"options": fields | ({ADDED: True} if added else {})}


async def by_key(session: AsyncSession, job_id: str, key: str) -> Command | None:
    """The command of a job that an Idempotency-Key was used for; None when it was not."""
    query = select(Command).where(Command.job_id == job_id, Command.idempotency_key == key)
    return (await session.scalars(query)).one_or_none()


async def add(
    session: AsyncSession, job_id: str, asked: AskedCommand, key: str | None, now: datetime, *, added_version: bool
) -> Command:
    """Write a job's next command down, PENDING. `key` is its Idempotency-Key, `added_version`: its version was made for
    it. Raises `store.database.Taken` when another one has got the same number at this moment, or has its key."""
    command = Command(
        **columns_of(asked, added=added_version),
        id=str(uuid.uuid4()),
        job_id=job_id,
        number=await next_number(session, job_id),
        state=CommandState.PENDING.value,
        idempotency_key=key,
        created_at=now,
    )
    session.add(command)
    await session.flush()
    return command


async def next_number(session: AsyncSession, job_id: str) -> int:
    """The number of the job's next command. Two who ask at the same moment get the same one; the later of them meets
    `store.database.Taken` when it writes."""
    return ((await session.scalar(select(func.max(Command.number)).where(Command.job_id == job_id))) or 0) + 1


async def get(session: AsyncSession, job: Job, number: int) -> Command:
    """A command of a job by its number. Raises `NotFound`."""
    command = None
    if 0 < number < 2**31:
        query = select(Command).where(Command.job_id == job.id, Command.number == number)
        command = (await session.scalars(query)).one_or_none()
    if command is None:
        raise NotFound(f"Job {job.project}:{job.name} has no command {number}.", code="command_not_found")
    return command


async def by_id(session: AsyncSession, command_id: str) -> Command | None:
    """A command by its id; None when there is none."""
    return await session.get(Command, command_id)


async def page(
    session: AsyncSession, job_id: str, *, limit: int, cursor: str | None
) -> tuple[list[Command], str | None]:
    """Newest first."""
    query = select(Command).where(Command.job_id == job_id)
    if cursor:
        query = query.where(Command.number < paging.decode(cursor, [int])[0])
    rows = list((await session.scalars(query.order_by(Command.number.desc()).limit(limit + 1))).all())
    return rows[:limit], paging.encode([rows[limit - 1].number]) if len(rows) > limit else None


async def remove(session: AsyncSession, command_id: str) -> None:
    """Take back a command that was never delivered."""
    await session.execute(delete(Command).where(Command.id == command_id, Command.state == CommandState.PENDING.value))


async def _fail(
    session: AsyncSession, command_id: str, state: CommandState, *, at: datetime, error: str, code: str
) -> bool:
    """End a command that is in `state` now. False when it is not (any more)."""
    query = (
        update(Command)
        .where(Command.id == command_id, Command.state == state.value)
        .values(state=CommandState.FAILED.value, finished_at=at, error=error, error_code=code)
    )
    return (await session.execute(query.returning(Command.id))).first() is not None


async def take_back_added(session: AsyncSession, command_id: str) -> None:
    """A command has come to nothing: a version that was made for it goes with it, or the next command would carry it
    out. One that the job has gone over to stays, and so does one that anything else names."""
    query = select(Command.job_id, Command.version, Command.options).where(Command.id == command_id)
    row = (await session.execute(query)).first()
    if row is None or row.version is None or not (row.options or {}).get(ADDED):
        return
    if await jobs.take_back(session, row.job_id, row.version, besides=command_id):
        await session.execute(update(Command).where(Command.id == command_id).values(version=None))


async def refuse(session: AsyncSession, command_id: str, *, at: datetime, error: str, code: str) -> bool:
    """End a command that no workflow has taken. False when it is not PENDING (any more): then nothing is changed."""
    if not await _fail(session, command_id, CommandState.PENDING, at=at, error=error, code=code):
        return False
    await take_back_added(session, command_id)
    return True


async def undelivered(session: AsyncSession, now: datetime, age: timedelta) -> Sequence[tuple[Command, Job]]:
    """Commands that are still PENDING although they were sent `age` ago, in order."""
    return await _waiting(session, CommandState.PENDING, overdue(Command.created_at, now, age))


async def running(session: AsyncSession, now: datetime, age: timedelta) -> Sequence[tuple[Command, Job]]:
    """Commands that have been carried out for `age` and have not ended, in order."""
    return await _waiting(session, CommandState.RUNNING, overdue(Command.started_at, now, age))


async def _waiting(
    session: AsyncSession, state: CommandState, is_overdue: ColumnElement[bool]
) -> Sequence[tuple[Command, Job]]:
    query = (
        select(Command, Job)
        .join(Job, Job.id == Command.job_id)
        .where(Command.state == state.value, is_overdue, Job.deleted_at.is_(None))
        .order_by(Command.created_at)
    )
    return [(c, j) for c, j in (await session.execute(query)).all()]


async def end_lost(session: AsyncSession, command: Command, *, at: datetime, error: str, code: str) -> bool:
    """End a command that nobody carries out any more. False when it is not RUNNING (any more). A version that was made
    for it stays: how far the command came is not known here."""
    if not await _fail(session, command.id, CommandState.RUNNING, at=at, error=error, code=code):
        return False
    others = select(Command.id).where(Command.job_id == command.job_id, Command.state == CommandState.RUNNING.value)
    free = update(Job).where(Job.id == command.job_id, ~others.exists())
    await session.execute(free.values(busy=None))
    return True


async def open_of(session: AsyncSession, job_id: str) -> Command | None:
    """A command of a job that has not ended."""
    ended = [state.value for state in COMMAND_ENDED]
    query = select(Command).where(Command.job_id == job_id, Command.state.not_in(ended)).order_by(Command.number)
    return (await session.scalars(query.limit(1))).one_or_none()


async def last_ended(session: AsyncSession, job_id: str) -> int:
    """The number of the newest command of a job that has ended; 0 when there is none."""
    ended = [state.value for state in COMMAND_ENDED]
    query = select(func.max(Command.number)).where(Command.job_id == job_id, Command.state.in_(ended))
    return (await session.scalar(query)) or 0


_OPEN_AMONG = select(Command.id).where(
    Command.id.in_(bindparam("ids", expanding=True)), Command.state.not_in([state.value for state in COMMAND_ENDED])
)
"""Made once: it is asked many times a second while somebody waits."""


async def open_among(session: AsyncSession, ids: Sequence[str]) -> set[str]:
    """Those of some commands that have not ended."""
    return set(await session.scalars(_OPEN_AMONG, {"ids": ids}))


def scope(command_id: str) -> str:
    """What the lines of a command's log are kept under."""
    return f"command:{command_id}"


async def append(session: AsyncSession, scope_: str, lines: Sequence[tuple[datetime, str]]) -> None:
    """Add lines, each with its moment, to a log."""
    rows: list[dict[str, Any]] = [{"scope": scope_, "at": at, "text": line} for at, line in lines]
    if rows:
        await (await session.connection()).execute(insert(LogLine), rows)


async def forget_lines(session: AsyncSession, scope_: str) -> None:
    """Begin a log anew."""
    await session.execute(delete(LogLine).where(LogLine.scope == scope_))


async def lines(session: AsyncSession, scope_: str, *, after: int = 0, limit: int = 1000) -> list[LogLine]:
    """Lines of a log in order, behind the line whose id is `after`; at most `limit`."""
    query = select(LogLine).where(LogLine.scope == scope_, LogLine.id > after).order_by(LogLine.id).limit(limit)
    return list((await session.scalars(query)).all())
