"""What is in a registered catalog: asked of a gateway, in a session that ends with the question."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from clusters.sql import SqlGateway, StatementFailed, scrub
from core.effects import Rejected
from core.errors import InvalidInput, NotFound, Unavailable
from core.sql.catalogs import CatalogDefinition
from core.sql.described import Described, described
from core.sql.references import in_clear, is_sensitive
from core.sql.script import parse
from core.sql.tokens import quoted_name
from services import Services
from settings import clock
from settings.waits import planning
from sql.environment import environment, prepared_session
from sql.options import remedy
from store import catalogs, clusters, jobs
from store.tables import Catalog

_HIDDEN = "******"


@dataclass(frozen=True)
class CatalogSession:
    """A session that has a catalog, until it is closed. `secrets` are values that no answer may show."""

    gateway: SqlGateway
    handle: str
    name: str
    secrets: list[str]

    async def names(self, statement: str) -> list[str]:
        """The names that a SHOW gives, sorted."""
        return sorted(str(row[0]) for row in await self.gateway.rows(self.handle, statement))

    async def databases(self) -> list[str]:
        """Sorted names. Raises as the gateway does, `StatementFailed` when the catalog cannot tell."""
        return await self.names(f"SHOW DATABASES IN {quoted_name(self.name)}")

    async def tables(self, database: str) -> list[str]:
        """Sorted names, views too. Raises `StatementFailed` when there is no such database."""
        return await self.names(f"SHOW TABLES IN {quoted_name(self.name, database)}")

    async def columns(self, database: str, table: str) -> list[Described]:
        """In their order. Raises `StatementFailed` when there is no such table."""
        return described(await self.gateway.rows(self.handle, f"DESCRIBE {self.chain(database, table)}"))

    async def options(self, database: str, table: str) -> dict[str, str]:
        """The options of a table; what is secret in them is hidden."""
        options = await self.gateway.options(self.handle, self.chain(database, table))
        return {
            key: _HIDDEN if is_sensitive(key) or in_clear(key, value) else scrub(value, self.secrets)
            for key, value in options.items()
        }

    def chain(self, database: str, table: str) -> str:
        """The full name of a table, each part in backticks, as a statement takes it."""
        return quoted_name(self.name, database, table)


@dataclass(frozen=True)
class TableShape:
    columns: list[Described]
    options: dict[str, str]


async def check(services: Services, project: str, name: str, definition: CatalogDefinition, cluster: str) -> None:
    """Make a catalog that is to be registered, and have it list its databases: not all connect before. Raises
    `InvalidInput` with Flink's words, `NotFound` for a secret or a library, `TooSlow`, `Unreachable`."""
    row = catalogs.draft(project, name, definition, clock.now())
    try:
        async with _session(services, project, name, cluster, row) as opened:
            await opened.databases()
    except (Rejected, StatementFailed) as error:
        raise InvalidInput(
            error.message,
            code="catalog_refused",
            field="options",
            remedy=await remedy(services, project, cluster, definition.libraries, error.message),
        ) from error


async def databases(services: Services, project: str, name: str, cluster: str) -> list[str]:
    """The names of the databases of a catalog. Raises `NotFound`, `Unavailable` with Flink's words."""
    async with _answering(services, project, name, cluster) as opened:
        return await opened.databases()


async def tables(services: Services, project: str, name: str, database: str, cluster: str) -> list[str]:
    """The names of the tables and views of a database. Raises `NotFound`, `Unavailable` with Flink's words."""
    async with _answering(services, project, name, cluster) as opened:
        try:
            return await opened.tables(database)
        except StatementFailed:
            if database in await opened.databases():
                raise
            raise _missing(f"The catalog {name} has no database {database[:200]}.", "database_not_found") from None


async def table(
    services: Services, project: str, name: str, database: str, table_name: str, cluster: str
) -> TableShape:
    """The columns and options of a table. Raises `NotFound`, `Unavailable` with Flink's words."""
    async with _answering(services, project, name, cluster) as opened:
        try:
            columns = await opened.columns(database, table_name)
        except StatementFailed:
            if database in await opened.databases() and table_name in await opened.tables(database):
                raise
            message = f"The catalog {name} has no table {table_name[:200]} in a database {database[:200]}."
            raise _missing(message, "table_not_found") from None
        return TableShape(columns, await opened.options(database, table_name))


def _missing(message: str, code: str) -> NotFound:
    return NotFound(message, code=code, remedy="`penstock catalogs tables` shows what it has.")


@asynccontextmanager
async def _answering(services: Services, project: str, name: str, cluster: str) -> AsyncIterator[CatalogSession]:
    async with services.database.read() as session:
        await jobs.project(session, project)
        row = await catalogs.get(session, project, name)
    try:
        async with _session(services, project, name, cluster, row) as opened:
            yield opened
    except (Rejected, StatementFailed) as error:
        raise Unavailable(
            f"The catalog {name} cannot be asked: {error.message}",
            code="catalog_unavailable",
            remedy="Does what it connects to answer, and are its options still right?",
        ) from error


@asynccontextmanager
async def _session(
    services: Services, project: str, name: str, cluster_name: str, row: Catalog
) -> AsyncIterator[CatalogSession]:
    script = parse(f"USE CATALOG {quoted_name(name)}")
    async with services.database.read() as session:
        await jobs.project(session, project)
        cluster = await clusters.get(session, cluster_name)
        env = await environment(services, session, project, script, open_secrets=False, registered=[row])
    async with (
        planning(services.settings, f"Asking the catalog {name}"),
        prepared_session(services.engines.compiler(cluster), env, {}) as (gateway, handle),
    ):
        yield CatalogSession(gateway, handle, name, env.secrets)
