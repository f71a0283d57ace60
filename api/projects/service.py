"""Projects: created, listed, changed, archived, deleted."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from api.projects.schemas import NewProject, ProjectOut, ProjectPatch
from core import config as rules
from core.changes import changed_config, differences
from core.errors import Conflict
from core.sql.setting_keys import notes_on
from services import Services
from settings import clock
from store import accounts, jobs
from store.database import Session
from store.tables import Project


async def all_(services: Services, only: Collection[str] | None = None) -> list[ProjectOut]:
    """By name, all or `only` some; archived ones too, deleted ones not."""
    async with services.database.read() as session:
        return [_show(row) for row in await jobs.projects(session, only)]


async def create(services: Services, new: NewProject) -> ProjectOut:
    """Raises `Conflict` when there is one by that name."""
    async with services.database.write() as session:
        before = await jobs.find_project(session, new.name)
        if before is not None and before.deleted_at is None:
            raise Conflict(f"There is a project {new.name} already.", code="project_exists")
        row = await jobs.add_project(session, new.name, new.config, clock.now())
    return _show(row, notes_on(new.config))


async def patch(services: Services, name: str, changes: ProjectPatch, *, requested_by: str) -> ProjectOut:
    """Raises `NotFound`, and `Conflict` when it is to be archived while something of it runs."""
    async with services.database.write() as session:
        row = await jobs.project(session, name)
        if changes.config is not None or changes.unset:
            before, given = dict(row.config), changes.config or {}
            config = changed_config(before, given, changes.unset, merge=changes.merge, whose=f"The project {row.name}")
            if changed := differences({"config": row.config}, {"config": config}):
                words = f"project {name}: {'; '.join(changed)}, from the next attempt on"
                # Before the project's row: who sends a command has a job's, and waits for this one.
                await jobs.add_change_of_all(session, jobs.of_project(name), words, requested_by, clock.now())
            row = await jobs.project(session, name, lock=True)
            if changes.merge and row.config != before:
                raise Conflict("Someone else was changing the same project.", remedy="Look at it and try again.")
            jobs.configure_project(row, config)
        if changes.archived is False:
            jobs.archive(row, None)
        elif changes.archived:
            row = await jobs.project(session, name, lock=True)
            await _check_rests(session, name)
            jobs.archive(row, row.archived_at or clock.now())
    return _show(row, notes_on(changes.config or {}))


async def delete(services: Services, name: str) -> None:
    """Raises `NotFound`, and `Conflict` for one that is not empty."""
    async with services.database.write() as session:
        row = await jobs.project(session, name, lock=True)
        _check_not_default(name)
        if contents := await jobs.contents(session, name):
            words = ", ".join(f"{count} {what}" for what, count in contents.items())
            raise Conflict(
                f"The project {name} is not empty: {words}.",
                code="project_in_use",
                remedy="Delete them first. An archived project keeps all, and starts nothing.",
            )
        jobs.delete_project(row, clock.now())
        await accounts.end_project(session, name, clock.now())


async def _check_rests(session: Session, name: str) -> None:
    _check_not_default(name)
    if working := await jobs.working_in(session, name):
        words = ", ".join(f"{job.name} ({job.state})" for job in working[:5])
        more = f" and {len(working) - 5} more" if len(working) > 5 else ""
        raise Conflict(
            f"Jobs of the project {name} run: {words}{more}.", code="project_in_use", remedy="Pause or kill them first."
        )


def _check_not_default(name: str) -> None:
    if name == "default":
        raise Conflict(
            "The project default is where jobs are that name none: it stays.", code="project_in_use", remedy=None
        )


def _show(row: Project, notes: Sequence[str] = ()) -> ProjectOut:
    shown = {k: rules.shown(k, v) for k, v in row.config.items()}
    return ProjectOut(
        name=row.name, config=shown, created_at=row.created_at, archived_at=row.archived_at, notes=list(notes)
    )
