"""Bringing a database to the newest schema with Alembic."""

from __future__ import annotations

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from core.errors import PenstockError
from store.database import Database, DatabaseUnavailable

HERE = Path(__file__).resolve().parent
_ONE_AT_A_TIME = asyncio.Lock()  # Alembic keeps its context in module globals
_LOCK = 7_310_244_051  # any fixed number: one migration at a time on PostgreSQL


def config() -> Config:
    """Alembic's configuration, with our migrations."""
    alembic = Config()
    alembic.set_main_option("script_location", str(HERE / "migrations"))
    return alembic


async def upgrade(database: Database) -> None:
    """Upgrade to the newest schema. Several processes may do this at once. Raises `DatabaseUnavailable`, and
    `PenstockError` where a later version has brought it further."""

    def run(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK})
        alembic = config()
        alembic.attributes["connection"] = connection
        try:
            command.upgrade(alembic, "head")
        except CommandError as error:
            if not isinstance(error.__cause__, ResolutionError):
                raise
            raise PenstockError(
                f"A later version of Penstock has brought the database to a schema that this one has not ({error}).",
                code="schema_is_newer",
                remedy="Run that version here, too.",
            ) from error

    try:
        async with _ONE_AT_A_TIME, database.engine.connect() as connection:
            connection = await connection.execution_options(penstock_write=True)
            await connection.run_sync(run)
            await connection.commit()
    except (DBAPIError, OSError) as error:
        raise DatabaseUnavailable(str(getattr(error, "orig", None) or error)) from error
