"""Queries of jobs, versions and projects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import InvalidInput, NotFound
from store import paging
from store.tables import Job, Project, Version

SORTS: dict[str, tuple[Any, type]] = {
    "name": (Job.name, str),
    "state": (Job.state, str),
    "created_at": (Job.created_at, datetime),
    "updated_at": (Job.updated_at, datetime),
}


async def project(session: AsyncSession, name: str) -> Project:
    found = await session.get(Project, name)
    if found is None:
        raise NotFound(f"There is no project {name}.", code="project_not_found", field="project")
    return found


async def projects(session: AsyncSession) -> Sequence[Project]:
    return (await session.scalars(select(Project).order_by(Project.name))).all()


async def get(session: AsyncSession, ref: str) -> Job:
    """A job by its id or by `project:name`. Raises `NotFound`."""
    query = select(Job).where(Job.deleted_at.is_(None))
    owner, colon, name = ref.partition(":")
    query = query.where(Job.project == owner, Job.name == name) if colon else query.where(Job.id == ref)
    found = (await session.scalars(query)).one_or_none() if "\x00" not in ref else None
    if found is None:
        raise NotFound(
            f"There is no job {ref[:200]}.", code="job_not_found", remedy="Name it by its id or as project:name."
        )
    return found


async def find(session: AsyncSession, project_name: str, name: str) -> Job | None:
    query = select(Job).where(Job.project == project_name, Job.name == name, Job.deleted_at.is_(None))
    return (await session.scalars(query)).one_or_none()


async def of_type(session: AsyncSession, type_: str, name: str) -> Sequence[Job]:
    """Jobs of a type by a name, in all projects."""
    query = select(Job).where(Job.type == type_, Job.name == name, Job.deleted_at.is_(None))
    return (await session.scalars(query)).all()


@dataclass(frozen=True)
class Filter:
    project: str | None = None
    state: str | None = None
    type: str | None = None
    cluster: str | None = None
    text: str | None = None


async def search(
    session: AsyncSession, wanted: Filter, *, sort: str, limit: int, cursor: str | None
) -> tuple[list[Job], str | None]:
    """A page of jobs and the cursor of the next, None after the last.

    `sort` is a key of `SORTS`, with `-` in front for descending.
    """
    descending = sort.startswith("-")
    if sort.removeprefix("-") not in SORTS:
        raise InvalidInput(
            f"Jobs cannot be sorted by {sort[:40]!r}.",
            code="bad_sort",
            field="sort",
            remedy=f"One of: {', '.join(SORTS)}.",
        )
    column, type_ = SORTS[sort.removeprefix("-")]
    query = select(Job).where(Job.deleted_at.is_(None))
    for name in ("project", "state", "type", "cluster"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(getattr(Job, name) == value)
    if wanted.text:
        pattern = "%" + wanted.text.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_") + "%"
        query = query.where(or_(Job.name.ilike(pattern, escape="\\"), Job.reason.ilike(pattern, escape="\\")))
    if cursor:
        value, id_ = paging.decode(cursor, [type_, str])
        after = column < value if descending else column > value
        query = query.where(or_(after, and_(column == value, Job.id > id_)))
    query = query.order_by(column.desc() if descending else column.asc(), Job.id).limit(limit + 1)
    found = list((await session.scalars(query)).all())
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    return found[:limit], paging.encode([getattr(last, sort.removeprefix("-")), last.id])


async def versions(session: AsyncSession, job_id: str) -> Sequence[Version]:
    return (
        await session.scalars(select(Version).where(Version.job_id == job_id).order_by(Version.number.desc()))
    ).all()


async def version(session: AsyncSession, job: Job, number: int) -> Version:
    found = await session.get(Version, (job.id, number)) if 0 < number < 2**31 else None
    if found is None:
        raise NotFound(
            f"Job {job.project}:{job.name} has no version {number}.", code="version_not_found", field="version"
        )
    return found


async def latest_version(session: AsyncSession, job_id: str) -> int:
    return (await session.scalar(select(func.max(Version.number)).where(Version.job_id == job_id))) or 0


async def latest_versions(session: AsyncSession, job_ids: Sequence[str]) -> dict[str, int]:
    query = select(Version.job_id, func.max(Version.number)).where(Version.job_id.in_(job_ids)).group_by(Version.job_id)
    return {row[0]: row[1] for row in (await session.execute(query)).all()}


async def delete(session: AsyncSession, job_id: str, now: datetime) -> None:
    """Take a job off all lists; its rows stay for the record, its name is free again."""
    await session.execute(update(Job).where(Job.id == job_id).values(deleted_at=now, updated_at=now))


async def count_by_state(session: AsyncSession) -> list[tuple[str, str, int]]:
    """(cluster, state, how many) of all jobs."""
    query = (
        select(Job.cluster, Job.state, func.count()).where(Job.deleted_at.is_(None)).group_by(Job.cluster, Job.state)
    )
    return [(cluster, state, n) for cluster, state, n in (await session.execute(query)).all()]


def _lived() -> Any:
    """Jobs that a workflow has written of; each has one until it is deleted."""
    return and_(Job.deleted_at.is_(None), Job.revision > 0)


async def count_lived(session: AsyncSession) -> int:
    return (await session.scalar(select(func.count()).select_from(Job).where(_lived()))) or 0


async def names(session: AsyncSession) -> list[tuple[str, str]]:
    """(project, name) of all jobs that are not deleted."""
    query = select(Job.project, Job.name).where(Job.deleted_at.is_(None))
    return [(project, name) for project, name in (await session.execute(query)).all()]


async def lived(session: AsyncSession) -> Sequence[Job]:
    return (await session.scalars(select(Job).where(_lived()))).all()
