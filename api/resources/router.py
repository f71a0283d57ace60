"""/projects/{project}/resources, /grants and /secrets."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.deps import Page, Parts
from api.problems import made_or_changed, responses
from api.resources import service
from api.resources.schemas import (
    GrantBody,
    GrantOut,
    ImportBody,
    ImportedOut,
    ResourceBody,
    ResourceOut,
    SecretBody,
    SecretOut,
)
from core.names import NAME_PATTERN
from core.sql.resources import TABLE_NAME

router = APIRouter(prefix="/projects/{project}", tags=["resources"])
Project = Annotated[str, Path(max_length=80)]
ResourceName = Annotated[str, Path(max_length=80, pattern=TABLE_NAME)]
SecretName = Annotated[str, Path(max_length=80, pattern=NAME_PATTERN)]
_ALL = responses(404, 422, 503)


@router.get("/resources", responses=_ALL, summary="Tables and views that a project may use")
async def list_resources(project: Project, parts: Parts) -> Page[ResourceOut]:
    """Its own tables, those that other projects granted to it, and its views, each after those that it names."""
    return Page(items=await service.tables(parts, project))


@router.post("/resources/import", responses=responses(404, 409, 422, 503), summary="Register tables and views from DDL")
async def import_resources(project: Project, body: ImportBody, parts: Parts) -> Page[ImportedOut]:
    """All of them or none. Flink reads the text (LIKE is resolved), and a table that it would not read back the same is
    refused. Owner and description of a table that is there already stay."""
    return Page(items=await service.import_tables(parts, project, body))


@router.put(
    "/resources/{name}",
    responses=made_or_changed(ResourceOut, 404, 409, 422, 503),
    summary="Register a table or a view, or change it",
)
async def put_resource(
    project: Project, name: ResourceName, body: ResourceBody, parts: Parts, response: Response
) -> ResourceOut:
    """A script of the project that names it needs no DDL for it. What runs goes on with what it was started with. A
    view (`"kind": "view"`, with its `query`) may name tables, other views and catalogs of the project, which are made
    before it."""
    table, is_new = await service.put_table(parts, project, name, body)
    if is_new:
        response.status_code = 201
    return table


@router.get("/resources/{name}", responses=_ALL, summary="One table")
async def get_resource(project: Project, name: ResourceName, parts: Parts) -> ResourceOut:
    """A table or function of a project, with its DDL; secrets are shown as their references."""
    return await service.table(parts, project, name)


@router.delete("/resources/{name}", status_code=204, responses=responses(404, 409, 422, 503), summary="Forget a table")
async def delete_resource(project: Project, name: ResourceName, parts: Parts) -> None:
    """With its grants; not while a view reads it. The data that it describes stays; jobs that name it cannot be started
    again."""
    await service.delete_table(parts, project, name)


@router.put("/resources/{name}/grants/{grantee}", responses=_ALL, summary="Let another project use a table")
async def put_grant(
    project: Project, name: ResourceName, grantee: Annotated[str, Path(max_length=80)], body: GrantBody, parts: Parts
) -> GrantOut:
    """There it is called `<project>.<name>`. Secrets in it stay hidden. Views cannot be granted."""
    return await service.put_grant(parts, project, name, grantee, body)


@router.delete("/resources/{name}/grants/{grantee}", status_code=204, responses=_ALL, summary="Take a grant back")
async def delete_grant(
    project: Project, name: ResourceName, grantee: Annotated[str, Path(max_length=80)], parts: Parts
) -> None:
    """Jobs that run go on; they cannot be started again."""
    await service.delete_grant(parts, project, name, grantee)


@router.get("/secrets", responses=_ALL, summary="Names of secrets", tags=["secrets"])
async def list_secrets(project: Project, parts: Parts) -> Page[SecretOut]:
    """The names of a project's secrets. Values are never given out."""
    return Page(items=await service.secrets(parts, project))


@router.put(
    "/secrets/{name}", responses=made_or_changed(SecretOut, 404, 422, 503), summary="Store a secret", tags=["secrets"]
)
async def put_secret(
    project: Project, name: SecretName, body: SecretBody, parts: Parts, response: Response
) -> SecretOut:
    """It is sealed, never shown again, and opened only when something that refers to it is submitted."""
    secret, is_new = await service.put_secret(parts, project, name, body.value.get_secret_value())
    if is_new:
        response.status_code = 201
    return secret


@router.delete(
    "/secrets/{name}",
    status_code=204,
    responses=responses(404, 409, 422, 503),
    summary="Forget a secret",
    tags=["secrets"],
)
async def delete_secret(project: Project, name: SecretName, parts: Parts) -> None:
    """Refused (`secret_in_use`) while the version that a job runs, a table or a catalog of the project names it."""
    await service.delete_secret(parts, project, name)
