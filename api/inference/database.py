"""A table of a user's own PostgreSQL, as that describes it. It is not our database: so this alone, of all that is
outside the store, knows SQLAlchemy."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import URL, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from core.errors import InvalidInput
from settings import waits

Columns = list[tuple[str, str, bool]]
"""Name, type, and whether it may be null."""


@dataclass(frozen=True)
class Place:
    """Where a database is, and who asks it."""

    host: str
    port: int
    database: str
    user: str | None
    password: str | None = field(repr=False)


async def describe(place: Place, name: str) -> tuple[Columns, list[str]]:
    """The columns of a table and its primary key; `name` is `table` or `schema.table`. Raises `InvalidInput` with the
    database's words when it cannot be read."""
    url = URL.create("postgresql+asyncpg", place.user, place.password, place.host, place.port, place.database)
    schema, _, table = name.rpartition(".")
    engine = create_async_engine(url, connect_args={"timeout": waits.USER_DATABASE_SECONDS})
    try:
        async with asyncio.timeout(waits.USER_DATABASE_SECONDS), engine.connect() as connection:
            return await connection.run_sync(lambda c: _reflected(c, schema or None, table))
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        words = str(getattr(error, "orig", None) or error) or type(error).__name__
        raise InvalidInput(
            f"The table {name} cannot be read: {words[:300]}", code="database_refused", field="url"
        ) from error
    finally:
        await engine.dispose()


def _reflected(connection: Any, schema: str | None, table: str) -> tuple[Columns, list[str]]:
    inspector = inspect(connection)
    columns = [
        (str(c["name"]), c["type"].compile(connection.dialect), bool(c["nullable"]))
        for c in inspector.get_columns(table, schema)
    ]
    return columns, list(inspector.get_pk_constraint(table, schema).get("constrained_columns") or [])
