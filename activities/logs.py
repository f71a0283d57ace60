"""The log of a command: lines written in small batches while the work goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime

import structlog
from temporalio import activity

from core.effects import LogSink
from settings import clock, waits
from store import commands
from store.database import Database


class Repeats:
    """Lines that come again and again, as while a cluster is waited for: after `ALIKE` of them they are counted, and
    the count is told when another line comes, when a while has passed, and at the end."""

    ALIKE = 3

    def __init__(self, write: LogSink):
        self._write = write
        self._line: str | None = None
        self._alike = self._untold = 0
        self._told_at = 0.0

    def tell(self, line: str) -> None:
        """Write it, or count it."""
        now = clock.monotonic()
        if line != self._line:
            self.end()
            self._line, self._alike = line, 0
        self._alike += 1
        if self._alike <= self.ALIKE:
            self._write(line)
            self._told_at = now
            return
        self._untold += 1
        if now - self._told_at >= waits.REPEATED_SECONDS:
            self.end()
            self._told_at = now

    def end(self) -> None:
        """Write how many were only counted since the last time."""
        if self._untold:
            self._write(f"(the same {self._untold} more times)")
            self._untold = 0


@asynccontextmanager
async def command_log(database: Database, scope: str | None) -> AsyncIterator[LogSink]:
    """Gives a function that takes lines for `scope`; None logs nowhere."""
    waiting: list[tuple[datetime, str]] = []

    stop = asyncio.Event()

    async def flush() -> None:
        batch = list(waiting)
        if batch and scope:
            async with database.write() as session:
                await commands.append(session, scope, batch)
        del waiting[: len(batch)]  # only once they are written

    async def keep_flushing() -> None:
        # Stopped by an event, not cancelled: a batch that is being written would be lost.
        last, took = False, 0.0
        while not last:
            last = stop.is_set()  # one more batch after the end was told: the lines that came meanwhile
            with contextlib.suppress(TimeoutError):
                # A database that is busy is written to less often.
                await asyncio.wait_for(stop.wait(), waits.FLUSH_SECONDS + 10 * took)
            began = clock.monotonic()
            try:
                await flush()
            except Exception as error:  # tried again with the next batch
                structlog.get_logger().warning("log lines could not be written", scope=scope, why=str(error))
            took = min(waits.FLUSH_SECONDS, clock.monotonic() - began)

    repeats = Repeats(lambda line: waiting.append((clock.now(), line.replace("\x00", ""))))
    task = asyncio.create_task(keep_flushing())
    try:
        yield repeats.tell
    finally:
        repeats.end()
        stop.set()
        await asyncio.shield(task)


def log_of(database: Database, command_id: str | None) -> AbstractAsyncContextManager[LogSink]:
    """The log of a command; what no command has asked for logs nowhere."""
    return command_log(database, commands.scope(command_id) if command_id else None)


class Stale(Exception):
    """This process stood still for so long that another one may have taken the activity over."""


class Pulse:
    """Knows whether the activity may still be ours. A process that was frozen goes on where it stood: what it
    was about to send may have been dealt with by another long ago."""

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._last = clock.monotonic()
        self._lost = False

    def beat(self) -> None:
        """Heartbeat now, so that Temporal knows that this worker lives."""
        self.check_time()
        self._last = clock.monotonic()
        activity.heartbeat()

    def check_time(self) -> None:
        """Note whether more time has gone by since the last heartbeat than a living process takes. Once lost, the
        activity stays lost; `check` raises for it."""
        self._lost = self._lost or clock.monotonic() - self._last > waits.STANDSTILL_SECONDS + self._seconds

    def check(self) -> None:
        """Just before something is sent that must not be sent late. Raises `Stale`."""
        self.check_time()
        if self._lost:
            raise Stale("the worker stood still; whether this is still wanted is for the next try to ask")


@asynccontextmanager
async def heartbeats(seconds: float = waits.HEARTBEAT_SECONDS) -> AsyncIterator[Pulse]:
    """Beats in the background as long as the block runs, for the first time after `seconds`: what takes less costs
    Temporal no write."""
    pulse = Pulse(seconds)

    async def beat() -> None:
        while True:
            await asyncio.sleep(seconds)
            pulse.beat()

    task = asyncio.create_task(beat())
    try:
        yield pulse
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def bind(**words: object) -> None:
    """Add job, command and attempt to all log lines of this activity."""
    structlog.contextvars.bind_contextvars(**{k: v for k, v in words.items() if v is not None})
