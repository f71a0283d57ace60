"""What all tests share: installed parts, free ports, databases."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import sqlite3
import ssl
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import greenlet
import hypothesis
import pytest

from processes.supervised import free_port
from settings import Settings
from stack.parts import Parts
from store.database import Database
from store.migrate import upgrade

if TYPE_CHECKING:
    from tests.whole.penstock import Penstock

# Machines are small and shared: no test fails for being slow.
hypothesis.settings.register_profile("penstock", deadline=None)
hypothesis.settings.register_profile("quick", deadline=None, max_examples=20)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "penstock"))

# Each client of httpx reads the certificates of all authorities, which takes longer than most tests.
ssl.create_default_context = functools.cache(ssl.create_default_context)


_tracer: Any = None


def _untraced(_: str, switch: tuple[greenlet.greenlet, greenlet.greenlet]) -> None:
    """No coverage in the greenlets that SQLAlchemy's own code runs in: the tracer would take their calls for ours. That
    it keeps a stack per greenlet (`concurrency`) finds the same lines, and is most of what coverage costs."""
    global _tracer
    if switch[1].parent is not None:
        if _tracer is None:
            _tracer = sys.gettrace()
            sys.settrace(None)
    elif _tracer is not None:
        sys.settrace(_tracer)
        _tracer = None


greenlet.settrace(_untraced)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """No coverage in a test that is marked `untraced`: all Python takes two to four times as long while it is traced."""
    tracer = sys.gettrace()
    if tracer is None or item.get_closest_marker("untraced") is None:
        return (yield)
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)


@pytest.fixture(scope="module")
def penstock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    """A whole Penstock in this process and in virtual time; one for all tests of a module."""
    from tests.simulation.world import leave
    from tests.whole.penstock import whole

    with whole(tmp_path_factory.mktemp("penstock")) as made:
        yield made
    leave()


@pytest.fixture(scope="session")
def parts() -> Parts:
    return Parts(Settings().cache)


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
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> Iterator[str]:
    """The name of a database with the newest schema: a copy of it takes a quarter of what the migrations take."""
    name = f"template{os.getpid()}_{free_port()}"

    async def make() -> None:
        await _sql(postgres_url, f"CREATE DATABASE {name}")
        made = Database(with_database(postgres_url, name))
        await upgrade(made)
        await made.close()

    with ThreadPoolExecutor(1) as pool:  # this thread may have a loop that runs
        pool.submit(lambda: asyncio.run(make())).result()
        yield name
        pool.submit(lambda: asyncio.run(_sql(postgres_url, f"DROP DATABASE {name}"))).result()


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
    url, template = request.getfixturevalue("postgres_url"), request.getfixturevalue("postgres_template")
    name = f"t{os.getpid()}_{free_port()}"
    await _sql(url, f"CREATE DATABASE {name} TEMPLATE {template}")
    await _sql(url, f"UPDATE installation SET id = '{uuid.uuid4().hex[:12]}'", database=name)
    made = Database(with_database(url, name))
    yield made
    await made.close()
    await _sql(url, f"DROP DATABASE {name} WITH (FORCE)")


def with_database(url: str, name: str) -> str:
    from sqlalchemy import make_url

    parsed = make_url(url).set(drivername="postgresql+asyncpg", database=name)
    return parsed.render_as_string(hide_password=False)


async def _sql(url: str, statement: str, *, database: str = "postgres") -> None:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(with_database(url, database), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()
