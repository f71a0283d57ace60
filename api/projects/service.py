"""Projects: created, listed, changed."""

from __future__ import annotations

from api.projects.schemas import NewProject, ProjectOut, ProjectPatch
from core import config as rules
from core.errors import Conflict
from services import Services
from settings import clock
from store import jobs
from store.tables import Project


async def all_(services: Services) -> list[ProjectOut]:
    async with services.database.read() as session:
        return [_show(row) for row in await jobs.projects(session)]


async def create(services: Services, new: NewProject) -> ProjectOut:
    """Raises `Conflict` when there is one by that name."""
    async with services.database.write() as session:
        if await jobs.find_project(session, new.name):
            raise Conflict(f"There is a project {new.name} already.", code="project_exists")
        row = await jobs.add_project(session, new.name, new.config, clock.now())
    return _show(row)


async def patch(services: Services, name: str, changes: ProjectPatch) -> ProjectOut:
    """Raises `NotFound`."""
    async with services.database.write() as session:
        row = await jobs.project(session, name)
        if changes.config is not None:
            row.config = rules.unhidden(changes.config, row.config, "config")
    return _show(row)


def _show(row: Project) -> ProjectOut:
    shown = {k: rules.shown(k, v) for k, v in row.config.items()}
    return ProjectOut(name=row.name, config=shown, created_at=row.created_at)
