"""Queries of registered catalogs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from core.sql.catalogs import CatalogDefinition
from store.database import Session
from store.missing import others, without_nul
from store.tables import Catalog


async def of_project(session: AsyncSession, project: str) -> Sequence[Catalog]:
    """The catalogs of a project, by name."""
    return (await session.scalars(select(Catalog).where(Catalog.project == project).order_by(Catalog.name))).all()


async def get(session: AsyncSession, project: str, name: str) -> Catalog:
    """A catalog of a project. Raises `NotFound`."""
    row = await session.get(Catalog, (project, name)) if "\x00" not in project + name else None
    if row is None:
        of_it = Catalog.project == without_nul(project)
        raise NotFound(
            f"There is no catalog {name[:80]} in the project {project[:80]}.",
            code="catalog_not_found",
            remedy=await others(session, name, Catalog.name, of_it, what=f"catalogs in the project {project[:80]}"),
        )
    return row


def draft(project: str, name: str, definition: CatalogDefinition, now: datetime) -> Catalog:
    """A catalog that is to be tried, and is not registered."""
    row = Catalog(project=project, name=name, created_at=now)
    _define(row, definition)
    return row


def _define(row: Catalog, definition: CatalogDefinition) -> None:
    row.options, row.libraries = definition.options, [use.model_dump() for use in definition.libraries]


async def put(
    session: Session, project: str, name: str, definition: CatalogDefinition, description: str, now: datetime
) -> tuple[Catalog, bool]:
    """Register a catalog, or change it; and whether it is new. Its revision counts the changes, from 1."""
    row = await session.get(Catalog, (project, name))
    is_new = row is None
    if row is None:
        row = Catalog(project=project, name=name, revision=0, created_at=now)
    _define(row, definition)
    row.description = description
    row.revision, row.updated_at = row.revision + 1, now
    session.add(row)
    await session.flush()
    return row, is_new


async def remove(session: Session, row: Catalog) -> None:
    """Forget a catalog."""
    await session.delete(row)


def definition_of(row: Catalog) -> CatalogDefinition:
    """Without its name, project and times; references to secrets are not opened."""
    return CatalogDefinition.model_validate({"options": row.options, "libraries": row.libraries})
