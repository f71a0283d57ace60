"""Forgetting the past: rows that are older than the settings say, some at a time, so that nobody waits for it.

Once an hour it begins anew; each run of the recovery goes on with it, for some seconds, where the one before has ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TypeVar

import structlog

from clusters import state_files
from clusters.protocol import Unreachable
from core.history import attempts_to_forget, cutoff, numbers_of
from core.jobs.snapshot import checkpoint_directory, savepoint_root
from core.jobs.types import traits
from core.paths import normal
from services import Services
from settings import clock, waits
from store import attempts, history, jobs
from store.database import Session

BATCH = 500
JOBS = 100
T = TypeVar("T", int, str)
Find = Callable[[Session], Awaitable[Sequence[T]]]
Delete = Callable[[Session, Sequence[T]], Awaitable[None]]
log = structlog.get_logger()


class Forgetting:
    """Of one process: remembers how far it is. Another process does the same for itself; that is safe."""

    def __init__(self, services: Services):
        self._services = services
        self._policy = services.settings.history()
        self._begun: float | None = None
        self._job: str | None = None
        """Behind this job it goes on; None: all have been looked at."""
        self._line: int | None = None
        """Behind this line of a log; None as above."""
        self._done: Counter[str] = Counter()

    async def past(self) -> None:
        """Go on for some seconds. Raises what the database raises; the next run goes on."""
        now = clock.monotonic()
        deadline = now + waits.FORGET_RUN_SECONDS
        if self._begun is None or (self._is_through() and now - self._begun >= waits.FORGET_EVERY_SECONDS):
            self._begun, self._job, self._line = now, "", 0
            await self._previews(clock.now(), deadline)
        while not self._is_through() and clock.monotonic() < deadline:
            await self._lines(clock.now())
            await self._jobs(clock.now(), deadline)
        if self._done and self._is_through():
            log.info("old rows deleted", rows=dict(self._done))
            self._done.clear()

    def _is_through(self) -> bool:
        return self._job is None and self._line is None

    async def _delete(self, what: str, find: Find[T], delete: Delete[T], deadline: float) -> bool:
        """Batch by batch; the lock of SQLite is taken only where there is something to delete. False when there may be
        more."""
        while clock.monotonic() < deadline:
            async with self._services.database.read() as session:
                keys = await find(session)
            if not keys:
                return True
            async with self._services.database.write() as session:
                await delete(session, keys)
            self._done[what] += len(keys)
        return False

    async def _previews(self, now: datetime, deadline: float) -> None:
        if before := cutoff(self._policy.previews_days, now):
            old = partial(history.old_previews, before=before, limit=BATCH)
            await self._delete("previews", old, history.delete_previews, deadline)

    async def _lines(self, now: datetime) -> None:
        """One batch."""
        before, after = cutoff(self._policy.log_lines_days, now), self._line
        if before is None or after is None:
            self._line = None
            return
        async with self._services.database.read() as session:
            ids, self._line = await history.old_lines(session, before, now=now, after=after, limit=BATCH)
        if ids:
            async with self._services.database.write() as session:
                await history.delete_lines(session, ids)
            self._done["log lines"] += len(ids)

    async def _jobs(self, now: datetime, deadline: float) -> None:
        """Some jobs, each of them whole, if it takes several runs."""
        if self._job is None:
            return
        async with self._services.database.read() as session:
            ids = await history.jobs_after(session, self._job, JOBS)
        for id_ in ids:
            if not await self._of_job(id_, now, deadline):
                return
            self._job = id_
            if clock.monotonic() >= deadline:
                return
        if len(ids) < JOBS:
            self._job = None

    async def _of_job(self, id_: str, now: datetime, deadline: float) -> bool:
        """False when there may be more."""
        policy, through = self._policy, True
        if before := cutoff(policy.events_days, now):
            of_it = partial(history.old_events, job_id=id_, keep=policy.keep_last, limit=BATCH)
            events = partial(of_it, before=before, now=now)
            through = await self._delete("events", events, history.delete_events, deadline)
        if before := cutoff(policy.commands_days, now):
            commands = partial(history.old_commands, job_id=id_, before=before, keep=policy.keep_last, limit=BATCH)
            through = await self._delete("commands", commands, history.delete_commands, deadline) and through
        # Without a deadline: most may be needed, and are looked at again each time.
        if through and (before := cutoff(policy.attempts_days, now)):
            await self._attempts(id_, before)
        return through

    async def _attempts(self, id_: str, before: datetime) -> None:
        keep, after = self._policy.keep_last, 0
        old = partial(history.old_attempts, job_id=id_, before=before, keep=keep, limit=BATCH)
        database = self._services.database
        async with database.read() as session:
            job = await jobs.by_id(session, id_)
            page = await old(session, after=after)
            state_dir = await history.state_dir(session, job) if job else None
        if job is None or not page:
            return
        left = await _left(job.id, state_dir) if traits(job.type).keeps_state else AttemptLeftovers()
        if left is None:
            return
        async with database.read() as session:
            needed = await history.needed(session, job) | left.numbers
            needed |= {a.number for a in (await attempts.of_flink_jobs(session, id_, left.flink_job_ids)).values()}
            kept = await history.staying(session, id_, needed, keep=keep)
        while page:
            going = attempts_to_forget(page, before=before, kept=kept)
            if going:
                async with database.write() as session:
                    await history.delete_attempts(session, id_, [a.number for a in going])
                self._done["attempts"] += len(going)
            after = page[-1].number
            async with database.read() as session:
                page = await old(session, after=after)


@dataclass(frozen=True)
class AttemptLeftovers:
    """What attempts have left on files, by their Flink job ids and numbers. Only an attempt's row tells what a folder
    is, and whether it may be deleted."""

    flink_job_ids: list[str] = field(default_factory=list)
    numbers: set[int] = field(default_factory=set)


async def _left(job_id: str, state_dir: str | None) -> AttemptLeftovers | None:
    """None where this machine does not see what Flink writes."""
    if state_dir is None or await state_files.is_folder(state_dir) is False:
        return None
    root = normal(state_dir)
    try:
        checkpoints = await state_files.names(checkpoint_directory(root, job_id))
        savepoints = await state_files.names(savepoint_root(root, job_id))
    except Unreachable:
        return None
    return AttemptLeftovers(checkpoints, numbers_of(savepoints))
