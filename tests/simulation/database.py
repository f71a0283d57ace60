"""The database of a run: SQLite in memory, with the real tables and all real queries.

In the place of `store.database.Database` stands one whose sessions are SQLAlchemy's ordinary ones, without the detour
over a thread: nothing is waited for in the middle of a statement. What remains of the real one is where time passes and
where others come in between: before a transaction, after its commit, and while somebody else writes. A write transaction
is alone from BEGIN IMMEDIATE to its end, as in SQLite; between its statements others only read, and wait if they do.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from store.database import Database
from store.migrate import upgrade
from tests.simulation.loop import PROCESS, Process


class Store:
    """`delay` gives the seconds before a transaction begins and after it was committed; `away` says why the database
    cannot be asked; `on_commit` is told of the tables that a committed transaction has written to."""

    def __init__(self, template: sqlite3.Connection, delay: Callable[[], float]):
        self.db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, cached_statements=500)
        template.backup(self.db)
        self.db.execute("PRAGMA foreign_keys=ON")
        self.delay = delay
        self.away: str | None = None
        self.lock = asyncio.Lock()
        self.holder: _Connection | None = None
        self.owner: Process | None = None
        self.task: object | None = None
        self.on_commit: Callable[[set[str]], None] | None = None

    def release(self, process: Process) -> None:
        """A process was killed: what it had not committed is undone."""
        if self.holder is not None and self.owner is process:
            self.db.execute("ROLLBACK")
            self.free()

    def free(self) -> None:
        self.holder = self.owner = self.task = None
        self.lock.release()


class _Connection:
    """One connection, as the driver sees it. Several share the one that really is."""

    isolation_level = None

    def __init__(self, store: Store, *, writes: bool):
        self.store, self.writes = store, writes
        self.touched: set[str] = set()

    def cursor(self) -> _Cursor:
        return _Cursor(self)

    def create_function(self, *args: Any, **more: Any) -> None:
        """Only REGEXP, which no query of ours uses."""

    def commit(self) -> None:
        self._end("COMMIT")

    def rollback(self) -> None:
        self._end("ROLLBACK")

    def _end(self, how: str) -> None:
        if self.store.holder is self:
            self.store.db.execute(how)
            self.store.free()

    def close(self) -> None:
        self.rollback()


class _Cursor(sqlite3.Cursor):
    def __init__(self, connection: _Connection):
        super().__init__(connection.store.db)
        self._of = connection

    def execute(self, statement: str, parameters: Any = ()) -> Any:
        self._written(statement)
        return super().execute(statement, parameters)

    def executemany(self, statement: str, parameters: Any) -> Any:
        self._written(statement)
        return super().executemany(statement, parameters)

    def _written(self, statement: str) -> None:
        if self._of.writes and not statement.startswith("SELECT"):
            words = statement.split(None, 3)
            self._of.touched.add(words[1] if words[0] == "UPDATE" else words[2] if len(words) > 2 else "")


class _Session:
    """What `AsyncSession` is to the code that uses it."""

    def __init__(self, store: Store, made: Session):
        self._store, self._made = store, made
        self._begun = False

    async def _turn(self) -> None:
        store = self._store
        if not self._begun:
            self._begun = True
            await asyncio.sleep(store.delay())
        if store.away:
            await asyncio.sleep(store.delay())
            raise sqlite3.OperationalError(store.away)
        if store.holder is not None and store.task is not asyncio.current_task():
            async with store.lock:
                pass

    def add(self, row: Any) -> None:
        self._made.add(row)

    def add_all(self, rows: Any) -> None:
        self._made.add_all(rows)

    async def connection(self, **_: Any) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._made, name)

        async def call(*args: Any, **more: Any) -> Any:
            await self._turn()
            return function(*args, **more)

        return call


class SimDatabase:
    """In the place of `store.database.Database`. One for all runs of this process: what SQLAlchemy has compiled stays
    compiled; `CURRENT` is the run's."""

    is_sqlite = True

    def __init__(self) -> None:
        self._writes = False
        engine = create_engine(
            "sqlite:///simulated", poolclass=NullPool, creator=lambda: _Connection(CURRENT[0], writes=self._writes)
        )
        self._sessions = sessionmaker(engine, expire_on_commit=False)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Any]:
        made = self._sessions()
        try:
            yield _Session(CURRENT[0], made)
        finally:
            made.close()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Any]:
        store, made = CURRENT[0], self._sessions()
        await asyncio.sleep(store.delay())
        if store.away:
            raise sqlite3.OperationalError(store.away)
        await store.lock.acquire()
        try:
            self._writes = True
            connection: Any = made.connection().connection.driver_connection
            self._writes = False
            store.holder, store.task, store.owner = connection, asyncio.current_task(), PROCESS.get()
            store.db.execute("BEGIN IMMEDIATE")
            session = _Session(store, made)
            session._begun = True
            yield session
            made.flush()
            if store.away:
                raise sqlite3.OperationalError(store.away)
            made.commit()
        finally:
            made.close()
        if store.on_commit is not None:
            store.on_commit(connection.touched)
        await asyncio.sleep(store.delay())

    async def ping(self) -> None:
        async with self.read() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        pass


CURRENT: list[Store] = []


async def migrated(path: str, installation: str) -> sqlite3.Connection:
    """An empty database with the newest schema, made in a file at `path`, to be copied from."""
    real = Database(f"sqlite+aiosqlite:///{path}")
    await upgrade(real)
    await real.close()
    made = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    with sqlite3.connect(path) as found:
        found.backup(made)
    made.execute(
        "INSERT INTO projects (name, config, created_at) VALUES ('default', '{}', '2023-11-14 00:00:00.000000')"
    )
    made.execute("UPDATE installation SET id = ?", (installation,))
    return made
