"""/projects/{project}/resources, /grants and /secrets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Response
from sqlalchemy import delete

from api.deps import Page, Parts
from api.problems import made_or_changed, responses
from api.resources.schemas import GrantBody, GrantOut, ResourceBody, ResourceOut, SecretBody, SecretOut
from core.errors import InvalidInput, NotFound
from core.names import NAME_PATTERN
from core.sql.resources import TABLE_NAME, TableDefinition
from settings import clock
from store import jobs, resources
from store.tables import Grant, Resource, Secret

router = APIRouter(prefix="/projects/{project}", tags=["resources"])
Project = Annotated[str, Path(max_length=80)]
ResourceName = Annotated[str, Path(max_length=80, pattern=TABLE_NAME)]
SecretName = Annotated[str, Path(max_length=80, pattern=NAME_PATTERN)]
_ALL = responses(404, 422, 503)


@router.get("/resources", responses=_ALL, summary="Tables that a project may use")
async def list_resources(project: Project, parts: Parts) -> Page[ResourceOut]:
    """Its own, and those that other projects granted to it."""
    async with parts.database.read() as session:
        await jobs.project(session, project)
        return Page(items=[_show(v, project) for v in await resources.visible(session, project)])


@router.put(
    "/resources/{name}", responses=made_or_changed(ResourceOut, 404, 422, 503), summary="Register a table, or change it"
)
async def put_resource(
    project: Project, name: ResourceName, body: ResourceBody, parts: Parts, response: Response
) -> ResourceOut:
    """A script of the project that names it needs no DDL for it. What runs goes on with what it was started with."""
    body.definition.check()
    now = clock.now()
    async with parts.database.write() as session:
        await jobs.project(session, project)
        await resources.sealed(session, project, body.definition.secrets())
        row = await session.get(Resource, (project, name))
        if row is None:
            row = Resource(project=project, name=name, revision=0, created_at=now)
            response.status_code = 201
        row.definition = body.definition.model_dump(mode="json")
        row.description, row.owner, row.revision, row.updated_at = body.description, body.owner, row.revision + 1, now
        session.add(row)
        await session.flush()
        return _show(resources.Visible(row, True, True), project, await resources.grants(session, project, name))


@router.get("/resources/{name}", responses=_ALL, summary="One table")
async def get_resource(project: Project, name: ResourceName, parts: Parts) -> ResourceOut:
    async with parts.database.read() as session:
        row = await resources.get(session, project, name)
        return _show(resources.Visible(row, True, True), project, await resources.grants(session, project, name))


@router.delete("/resources/{name}", status_code=204, responses=_ALL, summary="Forget a table")
async def delete_resource(project: Project, name: ResourceName, parts: Parts) -> None:
    """With its grants. The data that it describes stays; jobs that name it cannot be started again."""
    async with parts.database.write() as session:
        await resources.remove(session, await resources.get(session, project, name))


@router.put("/resources/{name}/grants/{grantee}", responses=_ALL, summary="Let another project use a table")
async def put_grant(
    project: Project, name: ResourceName, grantee: Annotated[str, Path(max_length=80)], body: GrantBody, parts: Parts
) -> GrantOut:
    """There it is called `<project>.<name>`. Secrets in it stay hidden."""
    if grantee == project:
        raise InvalidInput("A project may use its own tables anyway.", code="grant_to_itself", field="grantee")
    if not (body.read or body.write):
        raise InvalidInput(
            "A grant is for reading, writing or both.", code="empty_grant", field="read", remedy="Delete the grant."
        )
    async with parts.database.write() as session:
        await resources.get(session, project, name)
        await jobs.project(session, grantee)
        row = await session.get(Grant, (project, name, grantee))
        if row is None:
            row = Grant(project=project, resource=name, grantee=grantee, created_at=clock.now())
        row.read, row.write = body.read, body.write
        session.add(row)
        await session.flush()
        return _grant(row)


@router.delete("/resources/{name}/grants/{grantee}", status_code=204, responses=_ALL, summary="Take a grant back")
async def delete_grant(
    project: Project, name: ResourceName, grantee: Annotated[str, Path(max_length=80)], parts: Parts
) -> None:
    """Jobs that run go on; they cannot be started again."""
    async with parts.database.write() as session:
        await resources.get(session, project, name)
        await session.execute(
            delete(Grant).where(Grant.project == project, Grant.resource == name, Grant.grantee == _clean(grantee))
        )


@router.get("/secrets", responses=_ALL, summary="Names of secrets", tags=["secrets"])
async def list_secrets(project: Project, parts: Parts) -> Page[SecretOut]:
    async with parts.database.read() as session:
        await jobs.project(session, project)
        return Page(items=[_secret(row) for row in await resources.secrets(session, project)])


@router.put(
    "/secrets/{name}", responses=made_or_changed(SecretOut, 404, 422, 503), summary="Store a secret", tags=["secrets"]
)
async def put_secret(
    project: Project, name: SecretName, body: SecretBody, parts: Parts, response: Response
) -> SecretOut:
    """It is sealed, never shown again, and opened only when something that refers to it is submitted."""
    sealed = parts.vault.seal(body.value.get_secret_value())
    async with parts.database.write() as session:
        await jobs.project(session, project)
        if await resources.set_secret(session, project, name, sealed, clock.now()):
            response.status_code = 201
        await session.flush()
        row = await session.get(Secret, (project, name))
        assert row is not None
        return _secret(row)


@router.delete("/secrets/{name}", status_code=204, responses=_ALL, summary="Forget a secret", tags=["secrets"])
async def delete_secret(project: Project, name: SecretName, parts: Parts) -> None:
    """What refers to it cannot be started again."""
    async with parts.database.write() as session:
        row = await session.get(Secret, (_clean(project), name))
        if row is None:
            raise NotFound(f"There is no secret {name} in the project {project}.", code="secret_not_found")
        await session.delete(row)


def _clean(text: str) -> str:
    return text.replace("\x00", "\ufffd")


def _secret(row: Secret) -> SecretOut:
    reference = f"${{secret:{row.name}}}"
    return SecretOut(name=row.name, reference=reference, created_at=row.created_at, updated_at=row.updated_at)


def _grant(row: Grant) -> GrantOut:
    return GrantOut(project=row.grantee, read=row.read, write=row.write, created_at=row.created_at)


def _show(item: resources.Visible, project: str, grants: Sequence[Grant] | None = None) -> ResourceOut:
    row = item.resource
    definition = TableDefinition.model_validate(row.definition)
    chain = (row.name,) if row.project == project else (row.project, row.name)
    return ResourceOut(
        project=row.project,
        name=row.name,
        definition=definition,
        ddl=definition.ddl(*chain),
        description=row.description,
        owner=row.owner,
        read=item.read,
        write=item.write,
        revision=row.revision,
        grants=[_grant(g) for g in grants] if grants is not None else None,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
