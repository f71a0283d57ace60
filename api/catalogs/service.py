"""Registered catalogs, and what is in them."""

from __future__ import annotations

from collections.abc import Sequence

from api.catalogs.schemas import CatalogBody, CatalogColumn, CatalogOut, CatalogTable, InCatalog
from core.errors import InvalidInput
from core.libraries import LibraryState
from core.sql.catalogs import CatalogDefinition
from services import Services
from settings import clock
from sql import browsing
from store import catalogs, clusters, jobs, resources
from store.database import Session
from store.paging import decode, encode
from store.tables import Catalog


async def all_(services: Services, project: str) -> list[CatalogOut]:
    """Of a project. Raises `NotFound`."""
    async with services.database.read() as session:
        await jobs.project(session, project)
        return [_shown(row) for row in await catalogs.of_project(session, project)]


async def put(services: Services, project: str, name: str, body: CatalogBody, cluster: str) -> tuple[CatalogOut, bool]:
    """Register a catalog that Flink can make, or change it; and whether it is new. Raises `InvalidInput` with Flink's
    words or for a secret in clear, `NotFound`, `TooSlow`, `Unreachable`."""
    definition = CatalogDefinition(options=body.options, libraries=body.libraries)
    definition.check()
    async with services.database.read() as session:
        await clusters.get(session, cluster)
        await _check(session, project, definition)
    await browsing.check(services, project, name, definition, cluster)
    async with services.database.write() as session:
        await jobs.project(session, project, hold=True)
        await _check(session, project, definition)  # others may have changed them meanwhile
        row, is_new = await catalogs.put(session, project, name, definition, body.description, clock.now())
        return _shown(row), is_new


async def _check(session: Session, project: str, definition: CatalogDefinition) -> None:
    await jobs.project(session, project)
    await resources.sealed(session, project, definition.secrets())
    for use in definition.libraries:
        library = await resources.library(session, project, use.name, use.version)
        if library.kind != "jar" or library.state != LibraryState.READY.value:
            is_what = library.state if library.kind == "jar" else "of Python functions"
            raise InvalidInput(
                f"The library {use.name} {use.version} is {is_what}; a catalog needs jars that are READY.",
                code="library_not_usable",
                field="libraries",
            )


async def get(services: Services, project: str, name: str) -> CatalogOut:
    """Raises `NotFound`."""
    async with services.database.read() as session:
        return _shown(await catalogs.get(session, project, name))


async def remove(services: Services, project: str, name: str) -> None:
    """Forget a catalog; what is in it stays. Raises `NotFound`."""
    async with services.database.write() as session:
        await catalogs.remove(session, await catalogs.get(session, project, name))


async def databases(
    services: Services, project: str, name: str, cluster: str, *, limit: int, cursor: str | None
) -> tuple[list[InCatalog], str | None]:
    """A page of them, by name, and the cursor of the next one. Raises `NotFound`, `Unavailable`."""
    after = _after(cursor)
    return _page(await browsing.databases(services, project, name, cluster), limit, after)


async def tables(
    services: Services, project: str, name: str, database: str, cluster: str, *, limit: int, cursor: str | None
) -> tuple[list[InCatalog], str | None]:
    """A page of them, by name, and the cursor of the next one. Raises `NotFound`, `Unavailable`."""
    after = _after(cursor)
    return _page(await browsing.tables(services, project, name, database, cluster), limit, after)


async def table(
    services: Services, project: str, name: str, database: str, table_name: str, cluster: str
) -> CatalogTable:
    """Raises `NotFound`, `Unavailable`."""
    shape = await browsing.table(services, project, name, database, table_name, cluster)
    columns = [CatalogColumn(**column.model_dump()) for column in shape.columns]
    return CatalogTable(catalog=name, database=database, name=table_name, columns=columns, options=shape.options)


def _after(cursor: str | None) -> str:
    return str(decode(cursor, [str])[0]) if cursor else ""


def _page(names: Sequence[str], limit: int, after: str) -> tuple[list[InCatalog], str | None]:
    rest = [name for name in names if name > after] if after else names
    page = [InCatalog(name=name) for name in rest[:limit]]
    return page, encode([page[-1].name]) if len(rest) > limit else None


def _shown(row: Catalog) -> CatalogOut:
    definition = catalogs.definition_of(row)
    return CatalogOut(
        project=row.project,
        name=row.name,
        type=definition.type,
        options=definition.options,
        libraries=definition.libraries,
        ddl=definition.ddl(row.name),
        description=row.description,
        revision=row.revision,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
