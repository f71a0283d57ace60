"""Queries of registered tables, grants, secrets and libraries."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from core.errors import NotFound
from core.jobs.types import TYPES
from core.libraries import LibraryState, NewLibrary
from core.near import offered
from store.database import Session
from store.missing import others, without_nul
from store.tables import Catalog, Grant, Job, Library, Resource, Secret, Version


@dataclass(frozen=True)
class Visible:
    """A table that a project may use, and how."""

    resource: Resource
    read: bool
    write: bool


async def get(session: AsyncSession, project: str, name: str) -> Resource:
    """A registered table of a project. Raises `NotFound`."""
    row = await session.get(Resource, (project, name)) if "\x00" not in project + name else None
    if row is None:
        raise NotFound(
            f"There is no resource {name[:80]} in the project {project[:80]}.",
            code="resource_not_found",
            remedy=await _others(session, project, name, Resource.name, Resource.project, "resources"),
        )
    return row


async def _others(
    session: AsyncSession,
    project: str,
    name: str,
    column: InstrumentedAttribute[str],
    of: InstrumentedAttribute[str],
    what: str,
) -> str:
    """What else the project has of that."""
    what = f"{what} in the project {project[:80]}"
    return await others(session, name, column, of == without_nul(project), what=what)


async def visible(session: AsyncSession, project: str) -> list[Visible]:
    """All tables that a project may use: its own, and those granted to it."""
    query = (
        select(Resource, Grant)
        .outerjoin(
            Grant,
            (Grant.project == Resource.project) & (Grant.resource == Resource.name) & (Grant.grantee == project),
        )
        .where((Resource.project == project) | Grant.grantee.is_not(None))
        .order_by(Resource.project != project, Resource.project, Resource.name)
    )
    found = (await session.execute(query)).all()
    return [Visible(r, True, True) if r.project == project else Visible(r, g.read, g.write) for r, g in found]


async def grants(session: AsyncSession, project: str, resource: str) -> Sequence[Grant]:
    """Who else may use a table, by project."""
    query = select(Grant).where(Grant.project == project, Grant.resource == resource).order_by(Grant.grantee)
    return (await session.scalars(query)).all()


async def remove(session: AsyncSession, row: Resource) -> None:
    """Forget a table and who may use it."""
    await session.execute(delete(Grant).where(Grant.project == row.project, Grant.resource == row.name))
    await session.delete(row)


async def secrets(session: AsyncSession, project: str) -> Sequence[Secret]:
    """The secrets of a project, by name; their values are sealed."""
    return (await session.scalars(select(Secret).where(Secret.project == project).order_by(Secret.name))).all()


def is_view(row: Resource) -> bool:
    """Tables from before there were views have no `kind`."""
    return row.definition.get("kind") == "view"


async def sealed(session: AsyncSession, project: str, names: Collection[str]) -> dict[str, str]:
    """The sealed values of secrets. Raises `NotFound` when one is missing."""
    query = select(Secret).where(Secret.project == project, Secret.name.in_(names))
    values = {row.name: row.sealed for row in await session.scalars(query)}
    if missing := sorted(set(names) - set(values)):
        there = await _others(session, project, missing[0], Secret.name, Secret.project, "secrets")
        raise NotFound(
            f"There is no secret {missing[0]} in the project {project}.",
            code="secret_not_found",
            remedy=f"{there} Or store it: penstock secrets set {missing[0]} --project {project}.",
        )
    return values


async def set_secret(session: AsyncSession, project: str, name: str, value: str, now: datetime) -> bool:
    """Store a sealed value; returns whether it is new."""
    row = await session.get(Secret, (project, name))
    if row is None:
        session.add(Secret(project=project, name=name, sealed=value, created_at=now, updated_at=now))
        await session.flush()
        return True
    row.sealed, row.updated_at = value, now
    return False


async def libraries(session: AsyncSession, project: str, name: str | None = None) -> Sequence[Library]:
    """Versions of libraries of a project, by name, the oldest first; `name` None: of all."""
    query = select(Library).where(Library.project == project)
    if name is not None:
        query = query.where(Library.name == name)
    return (await session.scalars(query.order_by(Library.name, Library.created_at))).all()


async def library(session: AsyncSession, project: str, name: str, version: str) -> Library:
    """A version of a library. Raises `NotFound`."""
    row = None if "\x00" in project + name + version else await session.get(Library, (project, name, version))
    if row is None:
        there = [f"{one.name}:{one.version}" for one in await libraries(session, without_nul(project))]
        raise NotFound(
            f"There is no library {name[:80]} in version {version[:80]} in the project {project[:80]}.",
            code="library_not_found",
            remedy=offered(f"{name}:{version}", there, f"libraries in the project {project[:80]}"),
        )
    return row


async def find(session: AsyncSession, project: str, name: str) -> Resource | None:
    """A table that is registered in a project; None when there is none of that name."""
    return await session.get(Resource, (project, name))


async def find_library(session: AsyncSession, project: str, name: str, version: str) -> Library | None:
    """The same, None when there is none."""
    return await session.get(Library, (project, name, version))


def library_as_kept(columns: dict[str, Any]) -> Library:
    """A library as it was when an attempt ran with it, from what was written down with that: no row that is there."""
    return Library(**columns)


async def put_library(
    session: AsyncSession, project: str, new: NewLibrary, state: LibraryState, now: datetime
) -> Library:
    """Write a version of a library down, which has no files yet, in place of one that failed. Raises
    `store.database.Taken` when somebody else has just done so."""
    row = await find_library(session, project, new.name, new.version)
    row = row or Library(project=project, name=new.name, version=new.version, created_at=now)
    row.kind, row.source, row.state = new.kind, new.source.model_dump(mode="json"), state.value
    row.files, row.why = [], None
    row.functions = [function.model_dump(by_alias=True) for function in new.functions]
    row.description = new.description
    session.add(row)
    await session.flush()
    return row


def end_library(row: Library, files: list[dict[str, Any]], why: str | None = None) -> None:
    """A library has its files, or has FAILED: `why`."""
    row.state = (LibraryState.FAILED if why else LibraryState.READY).value
    row.files, row.why = files, why


async def remove_library(session: AsyncSession, row: Library) -> None:
    """Forget a version of a library."""
    await session.delete(row)


async def users(session: AsyncSession, row: Library) -> list[str]:
    """Jobs of its project one of whose versions is run with a library, and catalogs that need it."""
    with_sql = [name for name, type_ in TYPES.items() if type_.compiles]
    query = (
        select(Job.project, Job.name, Version.spec)
        .join(Version, Version.job_id == Job.id)
        .where(Job.project == row.project, Job.type.in_(with_sql), Job.deleted_at.is_(None))
    )
    names = set()
    for project, name, spec in (await session.execute(query)).all():
        for use in spec.get("libraries") or []:
            if (use["name"], use["version"]) == (row.name, row.version):
                names.add(f"{project}:{name}")
    catalogs = await session.execute(select(Catalog.name, Catalog.libraries).where(Catalog.project == row.project))
    used = [name for name, uses in catalogs.all() if {"name": row.name, "version": row.version} in uses]
    return [*sorted(names), *(f"the catalog {name}" for name in sorted(used))]


async def secret_users(session: AsyncSession, project: str, name: str) -> list[str]:
    """Jobs whose version of now names a secret of their project, and tables and catalogs that do."""
    reference = f"${{secret:{name}}}"
    specs = (
        select(Job.name, Version.spec)
        .join(Version, (Version.job_id == Job.id) & (Version.number == Job.version))
        .where(Job.project == project, Job.deleted_at.is_(None))
    )
    tables = select(Resource.name, Resource.definition).where(Resource.project == project)
    registered = select(Catalog.name, Catalog.options).where(Catalog.project == project)
    users = []
    for kind, query in (("", specs), ("the table ", tables), ("the catalog ", registered)):
        found = (await session.execute(query)).all()
        users += sorted(f"{kind}{who}" for who, what in found if reference in json.dumps(what))
    return users


# Written by the API --------------------------------------------------------------------------


async def put(
    session: Session, project: str, name: str, definition: dict[str, Any], description: str, owner: str, now: datetime
) -> tuple[Resource, bool]:
    """Register a table, or change it; and whether it is new. Its revision counts the changes, from 1."""
    row = await session.get(Resource, (project, name))
    is_new = row is None
    if row is None:
        row = Resource(project=project, name=name, revision=0, created_at=now)
    row.definition, row.description, row.owner = definition, description, owner
    row.revision, row.updated_at = row.revision + 1, now
    session.add(row)
    await session.flush()
    return row, is_new


async def put_grant(
    session: Session, project: str, name: str, grantee: str, now: datetime, *, read: bool, write: bool
) -> Grant:
    """Let another project use a table, in place of what it was granted before."""
    row = await session.get(Grant, (project, name, grantee))
    if row is None:
        row = Grant(project=project, resource=name, grantee=grantee, created_at=now)
    row.read, row.write = read, write
    session.add(row)
    await session.flush()
    return row


async def remove_grant(session: Session, project: str, name: str, grantee: str) -> None:
    """Take a grant back; fine when there is none."""
    of_it = (Grant.project == project) & (Grant.resource == name) & (Grant.grantee == without_nul(grantee))
    await session.execute(delete(Grant).where(of_it))


async def secret(session: Session, project: str, name: str) -> Secret:
    """A secret; its value is sealed. Raises `NotFound`."""
    row = await session.get(Secret, (without_nul(project), without_nul(name)))
    if row is None:
        raise NotFound(
            f"There is no secret {name} in the project {project}.",
            code="secret_not_found",
            remedy=await _others(session, project, name, Secret.name, Secret.project, "secrets"),
        )
    return row


async def remove_secret(session: Session, row: Secret) -> None:
    """Forget a secret."""
    await session.delete(row)
