"""Waiting for commands to end: however many wait, the database is asked once for all of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from weakref import WeakKeyDictionary

import structlog

from settings import waits
from store import commands
from store.database import Database, DatabaseUnavailable

log = structlog.get_logger()


class CommandEndings:
    """Of the commands in one database."""

    def __init__(self, database: Database):
        self._database = database
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._looking: asyncio.Task[None] | None = None
        self._pause = 0.0

    async def wait(self, command_id: str, seconds: float) -> None:
        """Returns when the command has ended, is not there any more, or `seconds` are over, or the database is away."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[command_id].add(future)
        self._pause = waits.ENDING_PACE.first  # somebody has just begun to wait: soon there is news
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            await asyncio.wait([future], timeout=seconds)
        finally:
            future.cancel()
            waiting = self._waiting[command_id]
            waiting.discard(future)
            if not waiting:
                del self._waiting[command_id]

    async def _look(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._pause)
            self._pause = waits.ENDING_PACE.after(self._pause)
            asked = list(self._waiting)
            try:
                async with self._database.read() as session:
                    open_ = await commands.open_among(session, asked) if asked else set()
            except DatabaseUnavailable as error:
                log.warning("whether commands have ended cannot be asked", why=str(error))
                open_ = set()  # who waits asks for the command, and is told
            for command_id in asked:
                if command_id not in open_:
                    for future in self._waiting.get(command_id, ()):
                        if not future.done():
                            future.set_result(None)


_OF: WeakKeyDictionary[Database, CommandEndings] = WeakKeyDictionary()


async def until_ended(database: Database, command_id: str, seconds: float) -> None:
    """As `CommandEndings.wait`, with all others who wait for a command in this database."""
    endings = _OF.get(database)
    if endings is None:
        endings = _OF[database] = CommandEndings(database)
    await endings.wait(command_id, seconds)
