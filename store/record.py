"""Applying a record of a job's workflow: the only place that changes jobs, commands and attempts."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, Update, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.jobs.records import Record
from core.jobs.restore import RestorePoint
from core.jobs.states import ATTEMPT_ENDED, COMMAND_ENDED, AttemptState, CommandState
from store import attempts, commands
from store.tables import Attempt, Command, Event, Job, Orphan

_ON = (AttemptState.RECORDED, AttemptState.UNKNOWN, AttemptState.ACCEPTED, AttemptState.RUNNING)
"""How an attempt goes on until it ends: a record that is late takes it no step back."""

_CAME_TO_NOTHING = COMMAND_ENDED - {CommandState.SUCCEEDED}


class UnknownJob(Exception):
    """A record of a job that this database does not have: nothing of it was kept."""

    def __init__(self, job_id: str):
        super().__init__(f"This database has no job {job_id}.")
        self.job_id = job_id


async def apply(session: AsyncSession, record: Record) -> dict[str, Any] | None:
    """Apply `record` as a whole. Applying it again changes nothing, and what a newer one has said stays: gives the
    snapshot of that one then, None otherwise.

    Raises `UnknownJob` when this database has no such job: nothing of the record would be kept.
    """
    is_written = await _job(session, record)
    revision = await session.scalar(select(Job.revision).where(Job.id == record.job_id))
    if revision is None:
        raise UnknownJob(record.job_id)
    newer = None if is_written else await _newer(session, record)
    # A try of a worker that stood still, or the last try of a record that was written beside the work. Or of a workflow
    # that was set back, which has done nothing of what it says, and learns so by what is given back.
    is_late = newer is not None
    ends = [c for c in record.commands if c.state not in COMMAND_ENDED] if is_late else record.commands
    for command in ends:
        values: dict[str, Any] = {"state": command.state.value, "attempt": command.attempt}
        if command.state is CommandState.RUNNING:
            values["started_at"] = command.at
        if command.state in COMMAND_ENDED:
            values |= {"finished_at": command.at, "error": command.error, "error_code": command.error_code}
        written = await _execute(
            session,
            update(Command)
            .where(Command.id == command.id, Command.state.not_in([s.value for s in COMMAND_ENDED]))
            .values(**{k: v for k, v in values.items() if v is not None}),
        )
        if written and command.state in _CAME_TO_NOTHING:
            await commands.take_back_added(session, command.id)
    for attempt in record.attempts:
        if is_late and (attempt.reopen or attempt.state in ATTEMPT_ENDED):
            continue
        values = {"state": attempt.state.value}
        if attempt.state in ATTEMPT_ENDED:
            values |= {"ended_at": attempt.at, "why_ended": attempt.why, "seen": None, "detail": None}
            await _execute(session, update(Job).where(Job.id == record.job_id).values(warning=None))
        if attempt.version is not None:
            values["version"] = attempt.version
        if attempt.reopen:
            again = (Attempt.job_id == record.job_id) & (Attempt.number == attempt.number)
            await _execute(session, update(Attempt).where(again).values(ended_at=None, why_ended=None))
            # At once: until the next look at the cluster somebody could stop it as one that nobody owns.
            flink_job = select(Attempt.flink_job_id).where(again).scalar_subquery()
            orphan = update(Orphan).where(Orphan.flink_job_id == flink_job, Orphan.gone_at.is_(None))
            await _execute(session, orphan.values(gone_at=attempt.at))
        if attempt.running:
            values["running_since"] = func.coalesce(
                Attempt.running_since, literal(attempt.at, Attempt.running_since.type)
            )
        key = (Attempt.job_id == record.job_id) & (Attempt.number == attempt.number) & Attempt.ended_at.is_(None)
        if is_late:
            key &= Attempt.state.in_([state.value for state in _ON[: _ON.index(attempt.state)]])
        await _execute(session, update(Attempt).where(key).values(**values))
    for point in record.points:
        new = RestorePoint(id=attempts.point_id(record.job_id, point.path), **point.model_dump())
        await attempts.add_point(session, record.job_id, new)
    if record.pin is not None and not is_late:
        await attempts.pin(session, record.job_id, record.pin or None)
    if record.events:
        keys = [event.key for event in record.events]
        known = set(await session.scalars(select(Event.key).where(Event.key.in_(keys))))
        rows = [{"job_id": record.job_id, **e.model_dump()} for e in record.events if e.key not in known]
        if rows:
            await session.execute(insert(Event), rows)
    return newer


def _newest(record: Record) -> datetime | None:
    every = [*(e.at for e in record.events), *(c.at for c in record.commands), *(a.at for a in record.attempts)]
    return max(every, default=None)


async def _newer(session: AsyncSession, record: Record) -> dict[str, Any] | None:
    """The snapshot of the job's row, where another record has said it."""
    snapshot: dict[str, Any] | None = await session.scalar(select(Job.snapshot).where(Job.id == record.job_id))
    return snapshot if record.job is not None and snapshot != record.job.snapshot else None


async def _job(session: AsyncSession, record: Record) -> bool:
    """Change the job's row, unless it is as new; whether it had nothing to say or was written."""
    change = record.job
    if change is None:
        return True
    values = change.model_dump(mode="python", exclude={"version"})
    values["state"] = change.state.value
    if change.version is not None:
        values["version"] = change.version
    if (at := _newest(record)) is not None:
        values["updated_at"] = at
    query = update(Job).where(Job.id == record.job_id, Job.revision < change.revision).values(**values)
    return await _execute(session, query) > 0


async def _execute(session: AsyncSession, statement: Update) -> int:
    """Returns how many rows were changed. Those that the session has read stay as they were read: a record is applied
    after what needs them."""
    result = await session.execute(statement, execution_options={"synchronize_session": False})
    return cast(CursorResult[Any], result).rowcount
