"""The log of a command: lines written in small batches while the work goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import structlog
from temporalio import activity

from engine.base import Tell
from store import commands
from store.database import Database

FLUSH_SECONDS = 0.3


@asynccontextmanager
async def command_log(database: Database, scope: str | None) -> AsyncIterator[Tell]:
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
        last = False
        while not last:
            last = stop.is_set()  # one more batch after the end was told: the lines that came meanwhile
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), FLUSH_SECONDS)
            try:
                await flush()
            except Exception as error:  # tried again with the next batch
                structlog.get_logger().warning("log lines could not be written", scope=scope, why=str(error))

    def tell(line: str) -> None:
        waiting.append((datetime.now(UTC), line.replace("\x00", "")))

    task = asyncio.create_task(keep_flushing())
    try:
        yield tell
    finally:
        stop.set()
        await asyncio.shield(task)


@asynccontextmanager
async def heartbeats(seconds: float = 2.0) -> AsyncIterator[None]:
    """Beats in the background as long as the block runs."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(seconds)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def bind(**words: object) -> None:
    """Add job, command and attempt to all log lines of this activity."""
    structlog.contextvars.bind_contextvars(**{k: v for k, v in words.items() if v is not None})
