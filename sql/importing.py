"""Tables and views from the CREATE statements that somebody has: Flink makes them in a session, and shows what it made
of each table."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from clusters.protocol import SqlSessions
from clusters.sql import SqlGateway, StatementFailed
from core.errors import InvalidInput
from core.sql.ddl import definition_of, table_of
from core.sql.references import check_script
from core.sql.resources import TableDefinition
from core.sql.script import Script, Statement, placed
from core.sql.tokens import quoted_name
from core.sql.views import Definition, view_of
from sql.environment import CATALOG, DATABASE, Environment, prepared_session
from sql.previews import refused

_READ_BACK = "penstock_import"


def check(script: Script) -> dict[str, Statement]:
    """The tables and views that a text creates, in its order. Raises `InvalidInput` when it does anything else, makes
    one twice, or has a secret in clear."""
    check_script(script)
    every = [*script.setup, *script.inserts, *(m.statement for m in script.misplaced)]
    tables: dict[str, Statement] = {}
    for statement in sorted(every, key=lambda s: s.number):
        view = view_of(statement)
        name = view[0] if view else table_of(statement)
        if name in tables:
            raise InvalidInput(
                f"Line {statement.line}: the table {name} is created twice.", code="not_a_table", field="sql"
            )
        tables[name] = statement
    if not tables:
        raise InvalidInput("The text has no CREATE TABLE and no CREATE VIEW.", code="not_a_table", field="sql")
    return tables


async def definitions(
    engine: SqlSessions, environment: Environment, tables: dict[str, Statement], properties: dict[str, str]
) -> dict[str, Definition]:
    """What Flink makes of each. Each definition is made again as it would be registered, and has to come out the same.
    Raises `InvalidInput` with Flink's words and their place, `Rejected`, `Unreachable`."""
    named = {**properties, "pipeline.name": "import"}
    async with prepared_session(engine, environment, named) as (gateway, session):
        await gateway.execute(session, f"CREATE DATABASE {quoted_name(CATALOG, _READ_BACK)}")
        tables_made: dict[str, Definition] = {}
        for name, statement in tables.items():
            try:
                await gateway.execute(session, placed(statement))
            except StatementFailed as error:
                raise refused(statement, error, environment.secrets) from error
            if view := view_of(statement):
                tables_made[name] = view[1]
                continue
            definition = await _shown(gateway, session, statement, DATABASE, name)
            _check_clear(statement, name, definition, environment.secrets)
            await _check_same(gateway, session, statement, name, definition)
            tables_made[name] = definition
        return tables_made


async def _shown(gateway: SqlGateway, session: str, statement: Statement, database: str, name: str) -> TableDefinition:
    rows = await gateway.rows(session, f"SHOW CREATE TABLE {quoted_name(CATALOG, database, name)}")
    try:
        return definition_of(str(rows[0][0]))
    except ValidationError as error:
        why = "; ".join(e["msg"].removeprefix("Value error, ") for e in error.errors())
        raise InvalidInput(
            f"Line {statement.line}: the table {name} cannot be registered: {why}.",
            code="ddl_not_supported",
            field="sql",
        ) from error
    except InvalidInput as error:
        error.message = f"Line {statement.line}, table {name}: {error.message}"
        raise


def _check_clear(statement: Statement, name: str, definition: TableDefinition, secrets: Sequence[str]) -> None:
    """A table LIKE one of a registered catalog has what the catalog was opened with: that is not written down."""
    definition.check()
    if any(secret in value for value in definition.options.values() for secret in secrets):
        raise InvalidInput(
            f"Line {statement.line}: the table {name} has a secret of a catalog in an option.",
            code="secret_in_clear",
            field="sql",
            remedy="Use the catalog's own table, or write the option with ${secret:name}.",
        )


async def _check_same(
    gateway: SqlGateway, session: str, statement: Statement, name: str, definition: TableDefinition
) -> None:
    try:
        await gateway.execute(session, definition.ddl(CATALOG, _READ_BACK, name))
    except StatementFailed as error:
        raise refused(statement, error, []) from error
    if await _shown(gateway, session, statement, _READ_BACK, name) != definition:
        raise InvalidInput(
            f"Line {statement.line}: the table {name} would not be the same when it is made again.",
            code="ddl_not_supported",
            field="sql",
            remedy="Keep this CREATE TABLE in the script.",
        )
