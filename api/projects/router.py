"""/projects."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from api.deps import Page, Parts
from api.problems import responses
from api.projects import service
from api.projects.schemas import NewProject, ProjectOut, ProjectPatch
from api.security import CurrentCaller

router = APIRouter(tags=["projects"])
Name = Annotated[str, Path(max_length=100)]


@router.get("/projects", responses=responses(422, 503), summary="List projects")
async def list_projects(parts: Parts, caller: CurrentCaller) -> Page[ProjectOut]:
    """All projects that you may see, those that are archived too."""
    return Page(items=await service.all_(parts, caller.principal.projects()))


@router.post("/projects", status_code=201, responses=responses(409, 422, 503), summary="Create a project")
async def create_project(new: NewProject, parts: Parts) -> ProjectOut:
    """A new project: jobs, tables, libraries and secrets that belong together, and a configuration for its jobs."""
    return await service.create(parts, new)


@router.patch("/projects/{name}", responses=responses(404, 409, 422, 503), summary="Change or archive a project")
async def patch_project(name: Name, changes: ProjectPatch, parts: Parts, caller: CurrentCaller) -> ProjectOut:
    """Change a project's configuration: it counts from each job's next attempt on. Archive it, when nothing of it runs,
    or take that back."""
    return await service.patch(parts, name, changes, requested_by=caller.name)


@router.delete("/projects/{name}", status_code=204, responses=responses(404, 409, 422, 503), summary="Delete a project")
async def delete_project(name: Name, parts: Parts) -> None:
    """Only one that is empty. Its name is free then; what is kept of its deleted jobs stays."""
    await service.delete(parts, name)
