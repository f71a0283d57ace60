"""What all tests share: installed parts, free ports, databases."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import sqlite3
import ssl
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
import hypothesis
import pytest
import structlog
from sqlalchemy import make_url

from processes.supervised import free_port
from settings import Settings
from stack.parts import StackParts
from store.database import Database
from store.migrate import upgrade
from store.tables import Base

if TYPE_CHECKING:
    from tests.whole.penstock import Penstock

# Machines are small and shared: no test fails for being slow.
hypothesis.settings.register_profile("penstock", deadline=None)
hypothesis.settings.register_profile("quick", deadline=None, max_examples=20)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "penstock"))

# An error of a test is shown without the values of all its frames: to lay these out takes longer than most tests.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

# Each client of httpx reads the certificates of all authorities, which takes longer than most tests.
ssl.create_default_context = functools.cache(ssl.create_default_context)


@pytest.fixture(scope="module")
def penstock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    """A whole Penstock in this process and in virtual time; one for all tests of a module."""
    from tests.simulation.world import leave
    from tests.whole.penstock import whole

    with whole(tmp_path_factory.mktemp("penstock")) as made:
        yield made
    leave()


@pytest.fixture(scope="session")
def parts() -> StackParts:
    return StackParts(Settings().cache)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL: the one that PENSTOCK_TEST_POSTGRES names, else a server from its wheel."""
    if given := os.environ.get("PENSTOCK_TEST_POSTGRES"):
        yield given
        return
    pgserver = pytest.importorskip(
        "pgserver", reason="no PostgreSQL: set PENSTOCK_TEST_POSTGRES (its wheel needs Python < 3.13 on x86-64)"
    )
    # Not below pytest's folder: run as root the server has a user of its own, and every pytest that starts on this
    # machine closes that folder to others.
    with tempfile.TemporaryDirectory(prefix="penstock-pg-", ignore_cleanup_errors=True) as folder:
        server = pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        # What it holds may be lost with the machine: to wait for the disk takes longer than all else a test does here.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            server.psql(f"ALTER SYSTEM SET {setting} = off;")
        server.psql("SELECT pg_reload_conf();")
        yield server.get_uri()
        server.cleanup()


class Postgres(NamedTuple):
    """One database on a server."""

    server: str
    name: str

    @property
    def url(self) -> str:
        return with_database(self.server, self.name)

    async def make(self) -> None:
        await self._do(f"CREATE DATABASE {self.name}")
        made = Database(self.url)
        await upgrade(made)
        await made.close()

    async def empty(self) -> None:
        """No rows but of an installation of its own, identities from 1, the database's settings as they are by default;
        whoever is still connected to it is cut off."""
        await self._do(f"ALTER DATABASE {self.name} RESET ALL")
        connection = await connect(self.server, self.name)
        try:
            await connection.execute(_EMPTY)
            installation = "INSERT INTO installation (id, created_at) VALUES ($1, now())"
            await connection.execute(installation, uuid.uuid4().hex[:12])
        finally:
            await connection.close()

    async def drop(self) -> None:
        await self._do(f"DROP DATABASE {self.name} WITH (FORCE)")

    async def _do(self, statement: str) -> None:
        server = await connect(self.server)
        try:
            await server.execute(statement)
        finally:
            await server.close()


_EMPTY = "; ".join(
    [
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        *(f"DELETE FROM {table.name}" for table in reversed(Base.metadata.sorted_tables)),
        "SELECT setval(format('%I', sequencename)::regclass, start_value, false) FROM pg_sequences",
    ]
)


@pytest.fixture(scope="session")
def postgres(postgres_url: str) -> Iterator[Postgres]:
    """One database with the newest schema, which is emptied for each test: to make one takes a hundred times as long."""
    made = Postgres(postgres_url, f"t{os.getpid()}_{free_port()}")
    with ThreadPoolExecutor(1) as pool:  # this thread may have a loop that runs
        pool.submit(lambda: asyncio.run(made.make())).result()
        yield made
        pool.submit(lambda: asyncio.run(made.drop())).result()


@pytest.fixture(scope="session")
async def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the newest schema, in one file: to copy it takes a hundredth of what the migrations take."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    made = Database(f"sqlite+aiosqlite:///{path}")
    await upgrade(made)
    await made.close()
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    return path


@pytest.fixture
async def sqlite(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty SQLite with the newest schema, `test.db` in the folder of the test."""
    made = _copy(sqlite_template, tmp_path)
    yield made
    await made.close()


def _copy(template: Path, folder: Path) -> Database:
    """With an installation id of its own, as a database has that is migrated."""
    path = shutil.copy(template, folder / "test.db")
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE installation SET id = ?", (uuid.uuid4().hex[:12],))
    return Database(f"sqlite+aiosqlite:///{path}")


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path, sqlite_template: Path) -> AsyncIterator[Database]:
    """An empty database with the newest schema, on both kinds."""
    if request.param == "sqlite":
        made = _copy(sqlite_template, tmp_path)
        yield made
        await made.close()
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    await postgres.empty()
    made = Database(postgres.url)
    yield made
    await made.close()


def with_database(url: str, name: str) -> str:
    parsed = make_url(url).set(drivername="postgresql+asyncpg", database=name)
    return parsed.render_as_string(hide_password=False)


async def connect(url: str, database: str = "postgres") -> asyncpg.Connection:
    """To a database on the server of this address."""
    parsed = make_url(url).set(drivername="postgresql", database=database)
    return await asyncpg.connect(parsed.render_as_string(hide_password=False))
