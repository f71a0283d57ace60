"""The database: SQLite or PostgreSQL, one code for both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event, make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

BUSY_MILLISECONDS = 15_000


class Database:
    """`url` is an SQLAlchemy URL: `sqlite+aiosqlite:///path` or `postgresql+asyncpg://...`."""

    def __init__(self, url: str, *, pool_size: int = 10):
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+asyncpg")
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        more: dict[str, Any] = {} if self.is_sqlite else {"pool_pre_ping": True}
        if self.is_sqlite and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        self.engine = create_async_engine(parsed, pool_size=pool_size, max_overflow=pool_size, **more)
        if self.is_sqlite:
            _prepare_sqlite(self.engine.sync_engine)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        async with self._sessions() as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A transaction: committed at the end, rolled back on an error."""
        async with self._sessions() as session:
            # SQLite: take the write lock at once, so that two writers wait instead of failing half way.
            await session.connection(execution_options={"penstock_write": True})
            yield session
            await session.commit()

    async def close(self) -> None:
        await self.engine.dispose()


def _prepare_sqlite(engine: Any) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
            f"busy_timeout={BUSY_MILLISECONDS}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        write = connection.get_execution_options().get("penstock_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
