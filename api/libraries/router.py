"""/projects/{project}/libraries: connectors and functions, in versions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import PlainTextResponse

from api.deps import Page, Parts
from api.libraries import service
from api.libraries.schemas import LibraryOut
from api.problems import responses
from core.libraries import NewLibrary

router = APIRouter(prefix="/projects/{project}/libraries", tags=["libraries"])
Project = Annotated[str, Path(max_length=80)]
Name = Annotated[str, Path(max_length=80)]
_ALL = responses(404, 422, 503)


@router.get("", responses=_ALL, summary="Libraries of a project")
async def list_libraries(project: Project, parts: Parts) -> Page[LibraryOut]:
    """The libraries of a project, with the state of each."""
    return Page(items=await service.all_(parts, project))


@router.post("", status_code=201, responses=responses(404, 409, 422, 503), summary="Add a version of a library")
async def add_library(project: Project, new: NewLibrary, parts: Parts, response: Response) -> LibraryOut:
    """From Maven coordinates or Git it is fetched or built by a worker: FETCHING, then READY or FAILED. An upload
    waits for its content. A version never changes once it is READY."""
    library = await service.add(parts, project, new)
    response.headers["Location"] = f"/api/v1/projects/{project}/libraries/{new.name}/{new.version}"
    return library


@router.get("/{name}/{version}", responses=_ALL, summary="One version of a library")
async def get_library(project: Project, name: Name, version: Name, parts: Parts) -> LibraryOut:
    """One library: where it comes from, its state and why, its files and functions."""
    return await service.get(parts, project, name, version)


@router.get(
    "/{name}/{version}/log",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Text"}, **_ALL},
    response_class=PlainTextResponse,
    summary="How it was fetched or built",
)
async def get_library_log(project: Project, name: Name, version: Name, parts: Parts) -> str:
    """What was done to fetch a library, line by line."""
    return await service.log(parts, project, name, version)


@router.put(
    "/{name}/{version}/content",
    responses=responses(404, 409, 413, 422, 503),
    summary="Send the content of an upload",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def put_content(project: Project, name: Name, version: Name, request: Request, parts: Parts) -> LibraryOut:
    """The file itself as the body, at most 512 MB."""
    return await service.put_content(parts, project, name, version, request.stream())


@router.delete(
    "/{name}/{version}", status_code=204, responses=responses(404, 409, 422, 503), summary="Forget a version"
)
async def delete_library(project: Project, name: Name, version: Name, parts: Parts) -> None:
    """Not while a version of a job is run with it."""
    await service.remove(parts, project, name, version)
