"""Registered tables and views, grants and secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.resources.schemas import GrantBody, GrantOut, ImportBody, ImportedOut, ResourceBody, ResourceOut, SecretOut
from core.effects import Rejected
from core.errors import Conflict, InvalidInput
from core.sql.resources import TableDefinition
from core.sql.script import parse
from core.sql.views import Definition, check_size, definition_in, needed, tables_of_query
from services import Services
from settings import clock
from settings.waits import planning
from sql import importing
from sql.environment import environment, python_properties
from sql.views import those_without, views_in
from store import clusters, jobs, resources
from store.database import Session
from store.tables import Grant, Secret


async def tables(services: Services, project: str) -> list[ResourceOut]:
    """Tables of a project, and those that other projects granted to it; then its views, each after those that it names.
    Raises `NotFound`."""
    async with services.database.read() as session:
        await jobs.project(session, project)
        visible = await resources.visible(session, project)
    order = {name: at for at, name in enumerate(those_without((), views_in(visible, project)))}
    visible.sort(key=lambda item: order.get(item.resource.name, -1) if resources.is_view(item.resource) else -1)
    return [_shown(item, project) for item in visible]


async def put_table(services: Services, project: str, name: str, body: ResourceBody) -> tuple[ResourceOut, bool]:
    """Register a table or a view, or change it; and whether it is new. Raises `InvalidInput` for a secret in clear or
    views in a circle, `NotFound` for a secret that is not there, `Conflict` for a view in place of a granted table."""
    body.resource.check()
    async with services.database.write() as session:
        await jobs.project(session, project, hold=True)
        await _check(session, project, {name: body.resource})
        stored = body.resource.model_dump(mode="json")
        row, is_new = await resources.put(session, project, name, stored, body.description, body.owner, clock.now())
        grants = await resources.grants(session, project, name)
        return _shown(resources.Visible(row, True, True), project, grants), is_new


async def _check(session: Session, project: str, new: Mapping[str, Definition]) -> None:
    """That what is to be registered goes with what is there."""
    views = views_in(await resources.visible(session, project), project)
    for name, definition in new.items():
        views.pop(name, None)
        if isinstance(definition, TableDefinition):
            await resources.sealed(session, project, definition.secrets())
            continue
        views[name] = definition
        if await resources.grants(session, project, name):
            raise Conflict(
                f"{name} is granted to other projects, and a view cannot be: it reads with the rights of its project.",
                code="view_not_grantable",
                remedy=f"Take the grants back first: penstock resources revoke {name} PROJECT.",
            )
    check_size(views)
    needed({(name,) for name in views}, views)


async def import_tables(services: Services, project: str, body: ImportBody) -> list[ImportedOut]:
    """Register the tables that a text creates: all or none. Raises `InvalidInput` with the place for what cannot be
    registered, `NotFound` for a secret or a library that is not there, `TooSlow`, `Unreachable`."""
    script = parse(body.sql)
    statements = importing.check(script)
    async with services.database.read() as session:
        await jobs.project(session, project)
        cluster = await clusters.get(session, body.cluster)
        env = await environment(services, session, project, script, uses=body.libraries, open_secrets=False)
    engine, properties = services.engines.compiler(cluster), python_properties(services, cluster, env)
    try:
        async with planning(services.settings, "Reading the tables"):
            definitions = await importing.definitions(engine, env, statements, properties)
    except Rejected as error:
        raise InvalidInput(error.message, code="sql_invalid", field="sql") from error
    imported = []
    async with services.database.write() as session:
        await jobs.project(session, project, hold=True)
        await _check(session, project, definitions)
        for name, definition in definitions.items():
            definition.check()
            row, stored = await resources.find(session, project, name), definition.model_dump(mode="json")
            action = "created" if row is None else "unchanged" if row.definition == stored else "changed"
            if action != "unchanged" and not body.dry_run:
                description, owner = (row.description, row.owner) if row is not None else ("", "")
                await resources.put(session, project, name, stored, description, owner, clock.now())
            imported.append(ImportedOut(name=name, action=action, ddl=definition.ddl(name), **_fields(definition)))
    return imported


async def table(services: Services, project: str, name: str) -> ResourceOut:
    """One table of a project, and who may use it. Raises `NotFound`."""
    async with services.database.read() as session:
        row = await resources.get(session, project, name)
        return _shown(resources.Visible(row, True, True), project, await resources.grants(session, project, name))


async def delete_table(services: Services, project: str, name: str) -> None:
    """Forget a table with its grants. Raises `NotFound`, `Conflict` while a view reads it."""
    async with services.database.write() as session:
        row = await resources.get(session, project, name)
        views = views_in(await resources.visible(session, project), project)
        over = sorted(view for view, of in views.items() if view != name and (name,) in tables_of_query(of.query))
        if over:
            raise Conflict(
                f"{name} is read by the view{'s' if len(over) > 1 else ''} {', '.join(over[:10])}.",
                code="resource_in_use",
                remedy="Delete what reads it first.",
            )
        await resources.remove(session, row)


async def put_grant(services: Services, project: str, name: str, grantee: str, body: GrantBody) -> GrantOut:
    """Let another project use a table. Raises `InvalidInput`, `NotFound`."""
    if grantee == project:
        raise InvalidInput("A project may use its own tables anyway.", code="grant_to_itself", field="grantee")
    if not (body.read or body.write):
        raise InvalidInput(
            "A grant is for reading, writing or both.", code="empty_grant", field="read", remedy="Delete the grant."
        )
    async with services.database.write() as session:
        if resources.is_view(await resources.get(session, project, name)):
            raise InvalidInput(
                f"{name} is a view: it would read with the rights of {project}.",
                code="view_not_grantable",
                field="name",
            )
        await jobs.project(session, grantee, hold=True)
        row = await resources.put_grant(session, project, name, grantee, clock.now(), read=body.read, write=body.write)
        return _grant(row)


async def delete_grant(services: Services, project: str, name: str, grantee: str) -> None:
    """Take a grant back. Raises `NotFound` for the table."""
    async with services.database.write() as session:
        await resources.get(session, project, name)
        await resources.remove_grant(session, project, name, grantee)


async def secrets(services: Services, project: str) -> list[SecretOut]:
    """The names of the secrets of a project. Raises `NotFound`."""
    async with services.database.read() as session:
        await jobs.project(session, project)
        return [_secret(row) for row in await resources.secrets(session, project)]


async def put_secret(services: Services, project: str, name: str, value: str) -> tuple[SecretOut, bool]:
    """Seal a secret and store it; and whether it is new. Raises `NotFound` for the project."""
    sealed = services.vault.seal(value)
    async with services.database.write() as session:
        await jobs.project(session, project, hold=True)
        is_new = await resources.set_secret(session, project, name, sealed, clock.now())
        return _secret(await resources.secret(session, project, name)), is_new


async def delete_secret(services: Services, project: str, name: str) -> None:
    """Forget a secret. Raises `NotFound`, `Conflict` while something is written with it."""
    async with services.database.write() as session:
        row = await resources.secret(session, project, name)
        if users := await resources.secret_users(session, project, name):
            raise Conflict(
                f"The secret {name} is used by {', '.join(users[:10])}: what is started with it would fail.",
                code="secret_in_use",
                remedy="Change them first. A value that nobody may use any more is replaced (`penstock secrets set`).",
            )
        await resources.remove_secret(session, row)


def _fields(definition: Definition) -> dict[str, Any]:
    if isinstance(definition, TableDefinition):
        return {"kind": "table", "definition": definition, "query": None}
    return {"kind": "view", "definition": None, "query": definition.query}


def _secret(row: Secret) -> SecretOut:
    reference = f"${{secret:{row.name}}}"
    return SecretOut(name=row.name, reference=reference, created_at=row.created_at, updated_at=row.updated_at)


def _grant(row: Grant) -> GrantOut:
    return GrantOut(project=row.grantee, read=row.read, write=row.write, created_at=row.created_at)


def _shown(item: resources.Visible, project: str, grants: Sequence[Grant] | None = None) -> ResourceOut:
    row = item.resource
    definition = definition_in(row.definition)
    chain = (row.name,) if row.project == project else (row.project, row.name)
    return ResourceOut(
        project=row.project,
        name=row.name,
        **_fields(definition),
        ddl=definition.ddl(*chain),
        description=row.description,
        owner=row.owner,
        read=item.read,
        write=item.write and not resources.is_view(row),
        revision=row.revision,
        grants=[_grant(g) for g in grants] if grants is not None else None,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
