"""/projects."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from api.deps import Page, Parts
from api.problems import responses
from api.projects import service
from api.projects.schemas import NewProject, ProjectOut, ProjectPatch

router = APIRouter(tags=["projects"])


@router.get("/projects", responses=responses(422, 503), summary="List projects")
async def list_projects(parts: Parts) -> Page[ProjectOut]:
    """All projects."""
    return Page(items=await service.all_(parts))


@router.post("/projects", status_code=201, responses=responses(409, 422, 503), summary="Create a project")
async def create_project(new: NewProject, parts: Parts) -> ProjectOut:
    """A new project: jobs, tables, libraries and secrets that belong together, and a configuration for its jobs."""
    return await service.create(parts, new)


@router.patch("/projects/{name}", responses=responses(404, 422, 503), summary="Change a project")
async def patch_project(name: Annotated[str, Path(max_length=100)], changes: ProjectPatch, parts: Parts) -> ProjectOut:
    """Change a project's configuration. It counts from each job's next attempt on."""
    return await service.patch(parts, name, changes)
