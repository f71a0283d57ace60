"""SQLite's driver as SQLAlchemy uses it: transactions are as before, with less ways to its thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from settings import waits
from store.database import Database, DatabaseUnavailable, Taken


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}")
    async with made.write() as session:
        await session.execute(text("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE)"))
        await session.execute(text("INSERT INTO t (a) VALUES ('one'), ('two')"))
    yield made
    await made.close()


async def values(db: Database) -> list[str]:
    async with db.read() as session:
        return list(await session.scalars(text("SELECT a FROM t ORDER BY id")))


async def test_what_a_reader_sees_does_not_change_under_it(db: Database):
    async with db.read() as session:
        before = (await session.execute(text("SELECT count(*) FROM t"))).scalar_one()
        async with db.write() as other:
            await other.execute(text("INSERT INTO t (a) VALUES ('three')"))
        assert (await session.execute(text("SELECT count(*) FROM t"))).scalar_one() == before == 2
    assert await values(db) == ["one", "two", "three"]


async def test_what_fails_leaves_nothing(db: Database):
    async def write() -> None:
        async with db.write() as session:
            await session.execute(text("INSERT INTO t (a) VALUES ('three')"))
            await session.execute(text("INSERT INTO t (a) VALUES ('one')"))

    with pytest.raises(Taken, match="UNIQUE"):
        await write()
    async with db.read():
        pass  # nothing is asked
    assert await values(db) == ["one", "two"]


async def test_what_a_statement_changed_and_gives_back(db: Database):
    async with db.write() as session:
        changed: Any = await session.execute(text("UPDATE t SET a = a || '!'"))
        assert changed.rowcount == 2
        given = await session.execute(text("INSERT INTO t (a) VALUES ('x') RETURNING id, a"))
        assert given.all() == [(3, "x")]
        many: Any = await session.execute(text("INSERT INTO t (a) VALUES (:a)"), [{"a": "y"}, {"a": "z"}])
        assert many.rowcount == 2
    assert await values(db) == ["one!", "two!", "x", "y", "z"]


async def test_one_way_per_statement(db: Database, monkeypatch: pytest.MonkeyPatch):
    """And one for the end of the transaction."""
    from store import sqlite

    ways, execute = [], sqlite.Connection._execute

    async def counted(self: Any, function: Any, *arguments: Any) -> Any:
        ways.append(function)
        return await execute(self, function, *arguments)

    monkeypatch.setattr(sqlite.Connection, "_execute", counted)
    assert await values(db) == ["one", "two"]
    assert len(ways) == 2


async def test_who_waits_to_write_takes_no_connection(db: Database):
    """And comes in order."""

    async def add(value: str) -> None:
        async with db.write() as session:
            assert pool.checkedout() == 1
            await session.execute(text("INSERT INTO t (a) VALUES (:a)"), {"a": value})

    pool: Any = db.engine.pool
    names = [f"writer {number}" for number in range(30)]
    await asyncio.gather(*map(add, names))
    assert await values(db) == ["one", "two", *names]


async def test_nobody_waits_for_ever_to_write(db: Database, monkeypatch: pytest.MonkeyPatch):
    async with db.write():
        monkeypatch.setattr(waits, "DATABASE_BUSY_SECONDS", 0.05)
        with pytest.raises(DatabaseUnavailable, match="others write"):
            async with db.write():
                pass
    assert await values(db) == ["one", "two"]
    async with db.write() as session:
        await session.execute(text("INSERT INTO t (a) VALUES ('three')"))
