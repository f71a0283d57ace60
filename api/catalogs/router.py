"""/projects/{project}/catalogs, and what is in them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from api.catalogs import service
from api.catalogs.schemas import CatalogBody, CatalogOut, CatalogTable, InCatalog
from api.deps import Page, Paging, Parts
from api.problems import made_or_changed, responses
from core.sql.catalogs import CatalogNameStr

router = APIRouter(prefix="/projects/{project}/catalogs", tags=["catalogs"])
Project = Annotated[str, Path(max_length=80)]
CatalogName = Annotated[CatalogNameStr, Path(max_length=80)]
Inside = Annotated[str, Path(min_length=1, max_length=255)]
ClusterName = Annotated[str, Query(alias="cluster", max_length=80, description="The cluster whose Flink is asked")]


class NamesPaging(Paging):
    cluster: str = Field(default="local", max_length=80, description="The cluster whose Flink is asked")


NamesQuery = Annotated[NamesPaging, Query()]
_ALL = responses(404, 422, 503)


@router.get("", responses=_ALL, summary="Catalogs of a project")
async def list_catalogs(project: Project, parts: Parts) -> Page[CatalogOut]:
    """By name. They belong to one project: there are no grants on them."""
    return Page(items=await service.all_(parts, project))


@router.put("/{name}", responses=made_or_changed(CatalogOut, 404, 422, 503), summary="Register a catalog, or change it")
async def put_catalog(
    project: Project,
    name: CatalogName,
    body: CatalogBody,
    parts: Parts,
    response: Response,
    cluster: ClusterName = "local",
) -> CatalogOut:
    """Flink makes it in a session that ends with the request, and lists its databases; what it cannot make is refused
    with Flink's words, and changes nothing. A script of the project that names it needs no CREATE CATALOG. What runs
    goes on with what it was started with."""
    catalog, is_new = await service.put(parts, project, name, body, cluster)
    if is_new:
        response.status_code = 201
    return catalog


@router.get("/{name}", responses=_ALL, summary="One catalog")
async def get_catalog(project: Project, name: CatalogName, parts: Parts) -> CatalogOut:
    """Its options, with secrets as references, its libraries, and the CREATE CATALOG that it stands for."""
    return await service.get(parts, project, name)


@router.delete("/{name}", status_code=204, responses=_ALL, summary="Forget a catalog")
async def delete_catalog(project: Project, name: CatalogName, parts: Parts) -> None:
    """What is in it stays. Jobs that name it go on, and are started again with the one that they had; new versions do
    not find it."""
    await service.remove(parts, project, name)


@router.get("/{name}/databases", responses=_ALL, summary="Databases of a catalog")
async def list_databases(project: Project, name: CatalogName, parts: Parts, paging: NamesQuery) -> Page[InCatalog]:
    """By name, as Flink tells them now. 503 with Flink's words when the catalog cannot be asked."""
    items, following = await service.databases(
        parts, project, name, paging.cluster, limit=paging.limit, cursor=paging.cursor
    )
    return Page(items=items, next_cursor=following)


@router.get("/{name}/databases/{database}/tables", responses=_ALL, summary="Tables of a database")
async def list_tables(
    project: Project,
    name: CatalogName,
    database: Inside,
    parts: Parts,
    paging: NamesQuery,
) -> Page[InCatalog]:
    """Tables and views, by name, as Flink tells them now."""
    items, following = await service.tables(
        parts, project, name, database, paging.cluster, limit=paging.limit, cursor=paging.cursor
    )
    return Page(items=items, next_cursor=following)


@router.get("/{name}/databases/{database}/tables/{table}", responses=_ALL, summary="Columns of a table of a catalog")
async def get_table(
    project: Project,
    name: CatalogName,
    database: Inside,
    table: Inside,
    parts: Parts,
    cluster: ClusterName = "local",
) -> CatalogTable:
    """With types, primary key and options; what is secret in the options is hidden."""
    return await service.table(parts, project, name, database, table, cluster)
