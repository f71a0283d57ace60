"""SQLite's driver with one way to its thread and back per statement.

`aiosqlite` runs each connection in a thread of its own, and SQLAlchemy goes there four times per query: to make a
cursor, to execute, to fetch, and to close it. Each way costs more than most of our queries do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiosqlite

_ITER_CHUNK_SIZE = 64  # aiosqlite's own


def connect(database: str, **options: Any) -> aiosqlite.Connection:
    """For SQLAlchemy's `async_creator_fn`. The thread ends with the process."""
    connection = Connection(lambda: sqlite3.connect(database, **options), _ITER_CHUNK_SIZE)
    thread: Any = getattr(connection, "_thread", connection)  # before aiosqlite 0.22 it is the thread itself
    thread.daemon = True
    return connection


class Connection(aiosqlite.Connection):
    """A BEGIN is kept until the first statement: SQLite does nothing before that either. What has ended is not ended
    again."""

    begins = False
    ended = True

    def cursor(self) -> Any:
        return _Cursor(self)

    async def commit(self) -> None:
        self.begins = False
        if not self.ended:
            await super().commit()
            self.ended = True

    async def rollback(self) -> None:
        self.begins = False
        if not self.ended:
            await super().rollback()
            self.ended = True


class _Cursor:
    """What SQLAlchemy uses of aiosqlite's; its rows have been fetched when a statement has been executed."""

    description: Any = None
    rowcount = -1
    lastrowid: int | None = None
    arraysize = 1

    def __init__(self, connection: Connection):
        self._connection = connection
        self._rows: list[Any] = []

    async def __aenter__(self) -> _Cursor:
        return self

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        if statement == "BEGIN":
            self._connection.begins = True
            return
        await self._run(lambda cursor: cursor.execute(statement, parameters))

    async def executemany(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        await self._run(lambda cursor: cursor.executemany(statement, parameters))

    async def _run(self, execute: Callable[[sqlite3.Cursor], Any]) -> None:
        connection = self._connection
        connection.ended = False

        def run() -> None:
            cursor = connection._conn.cursor()
            try:
                if connection.begins:
                    connection.begins = False
                    cursor.execute("BEGIN")
                execute(cursor)
                self.description = cursor.description
                self._rows = cursor.fetchall() if cursor.description else []
                self.rowcount, self.lastrowid = cursor.rowcount, cursor.lastrowid
            finally:
                cursor.close()

        go: Callable[[Callable[[], None]], Awaitable[None]] = connection._execute
        await go(run)

    async def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        self._rows = []
