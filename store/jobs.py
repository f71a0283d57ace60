"""Queries of jobs, versions and projects."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, InvalidInput, NotFound
from core.jobs.condition import kind
from core.jobs.states import COMMAND_ENDED, LIVE, JobState
from core.names import job_workflow_id, old_job_workflow_id
from store import paging
from store.acting import visible_projects
from store.attempts import add_event
from store.missing import others, without_nul
from store.overdue import overdue
from store.tables import (
    Attempt,
    Base,
    Catalog,
    Command,
    Grant,
    Job,
    Library,
    Project,
    Resource,
    Secret,
    SqlSession,
    SqlTest,
    TestSet,
    Version,
)

SORTS: dict[str, tuple[Any, type]] = {
    "name": (Job.name, str),
    "state": (Job.state, str),
    "created_at": (Job.created_at, datetime),
    "updated_at": (Job.updated_at, datetime),
}


async def project(session: AsyncSession, name: str, *, lock: bool = False, hold: bool = False) -> Project:
    """A project by its name. Raises `NotFound`, also for one that was deleted. `hold`: nobody archives or deletes it
    before this transaction ends; `lock`: who holds it has committed before."""
    if lock or hold:
        await session.flush()  # what was changed of it is not read over
    how = {"read": True} if hold else True
    name = without_nul(name)
    row = await session.get(Project, name, with_for_update=how, populate_existing=True) if lock or hold else None
    row = row or await find_project(session, name)
    if row is None or row.deleted_at is not None:
        there = await _other_projects(session, name)
        raise NotFound(f"There is no project {name}.", code="project_not_found", field="project", remedy=there)
    return row


async def open_project(session: AsyncSession, name: str) -> Project:
    """The same, held, for what is to be made or started in it. Raises `Conflict` when it is archived."""
    row = await project(session, name, hold=True)
    if row.archived_at is not None:
        raise Conflict(
            f"The project {name} is archived: it takes no new jobs, and none of its jobs starts.",
            code="project_archived",
            remedy=f'Take it back first: PATCH /projects/{name} with {{"archived": false}}.',
        )
    return row


async def _other_projects(session: AsyncSession, name: str) -> str:
    """Those that whoever asks may see: names of others are theirs."""
    which = [Project.deleted_at.is_(None)]
    if (visible := visible_projects()) is not None:
        which.append(Project.name.in_(visible))
    return await others(session, name, Project.name, *which, what="projects")


async def find_project(session: AsyncSession, name: str) -> Project | None:
    """The row of a project, deleted or not; None when there is none."""
    return await session.get(Project, without_nul(name))


async def add_project(session: AsyncSession, name: str, config: dict[str, str], now: datetime) -> Project:
    """Write a project down; the row of one that was deleted becomes the new one's. `Taken` is raised, here or later,
    when somebody else has done so at the same moment."""
    row = await find_project(session, name)
    if row is None:
        row = Project(name=name, config=config, created_at=now)
        session.add(row)
    else:
        row.config, row.created_at, row.archived_at, row.deleted_at = config, now, None, None
    return row


def configure_project(row: Project, config: dict[str, str]) -> None:
    """What all jobs of a project run with, unless they say otherwise."""
    row.config = config


def archive(row: Project, at: datetime | None) -> None:
    """A project takes no new jobs since `at`; None: it does (again)."""
    row.archived_at = at


def delete_project(row: Project, now: datetime) -> None:
    """Take a project that is empty off all lists; its row stays for the record of its jobs, its name is free."""
    row.deleted_at = now


async def projects(session: AsyncSession, only: Collection[str] | None = None) -> Sequence[Project]:
    """All projects, or only some, by name; without those that were deleted."""
    query = select(Project).where(Project.deleted_at.is_(None))
    if only is not None:
        query = query.where(Project.name.in_(only))
    return (await session.scalars(query.order_by(Project.name))).all()


_IN_A_PROJECT: dict[str, type[Base]] = {
    "tables or views": Resource,
    "catalogs": Catalog,
    "secrets": Secret,
    "libraries": Library,
    "test sets": TestSet,
}


async def contents(session: AsyncSession, name: str) -> dict[str, int]:
    """How many of what there is in a project, by what it is; without what there is none of. Deleted jobs do not
    count."""
    counts = {"jobs": await _count(session, Job, Job.project == name, Job.deleted_at.is_(None))}
    for what, table in _IN_A_PROJECT.items():
        counts[what] = await _count(session, table, table.__table__.c.project == name)
    open_ = SqlSession.closed_at.is_(None)
    counts["open sessions"] = await _count(session, SqlSession, SqlSession.project == name, open_)
    counts["tables that were granted to it"] = await _count(session, Grant, Grant.grantee == name)
    return {what: count for what, count in counts.items() if count}


async def _count(session: AsyncSession, table: type[Base], *where: ColumnElement[bool]) -> int:
    return (await session.scalar(select(func.count()).select_from(table).where(*where))) or 0


async def working_in(session: AsyncSession, name: str) -> Sequence[Job]:
    """Jobs of a project of which something runs, or that have a command which has not ended."""
    query = select(Job).where(Job.project == name, Job.deleted_at.is_(None), _works())
    return (await session.scalars(query.order_by(Job.name))).all()


async def working_on(session: AsyncSession, name: str) -> Sequence[Job]:
    """The same of a cluster."""
    query = select(Job).where(Job.cluster == name, Job.deleted_at.is_(None), _works())
    return (await session.scalars(query.order_by(Job.project, Job.name))).all()


def _works() -> ColumnElement[bool]:
    open_ = select(Command.job_id).where(Command.state.not_in([state.value for state in COMMAND_ENDED]))
    live = Job.state.in_([state.value for state in LIVE])
    # Of a job that is BLOCKED something may run.
    unseen = select(Attempt.job_id).where(Attempt.ended_at.is_(None))
    return or_(live, Job.id.in_(open_), Job.id.in_(unseen))


def of_project(name: str) -> Select[Any]:
    """The ids of the jobs of a project."""
    return select(Job.id).where(Job.project == name, Job.deleted_at.is_(None))


def of_cluster(name: str) -> Select[Any]:
    """The ids of the jobs on a cluster."""
    return select(Job.id).where(Job.cluster == name, Job.deleted_at.is_(None))


def workflow_id(job: Job) -> str:
    """Of the job's workflow. A row without one was made by a process of an older version, which uses the old form."""
    return job.workflow_id or old_job_workflow_id(job.project, job.name)


async def get(session: AsyncSession, ref: str, *, lock: bool = False) -> Job:
    """A job by its id or by `project:name`. Raises `NotFound`. `lock`: nobody else who locks it goes on before this
    transaction ends (on SQLite every writing transaction is alone anyway)."""
    query = select(Job).where(Job.deleted_at.is_(None))
    owner, colon, name = ref.partition(":")
    query = query.where(Job.project == owner, Job.name == name) if colon else query.where(Job.id == ref)
    if lock:
        # Not against who only refers to the row: a watch writes lines of its timeline and holds the cluster's row.
        query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    job = (await session.scalars(query)).one_or_none() if "\x00" not in ref else None
    if job is None:
        there = await _other_jobs(session, owner, name) if colon else "Name it by its id or as project:name."
        raise NotFound(f"There is no job {ref[:200]}.", code="job_not_found", remedy=there)
    return job


async def _other_jobs(session: AsyncSession, owner: str, name: str) -> str:
    """What there is in the place of a job that is not there: others of its project, or other projects."""
    row = await find_project(session, owner)
    if row is None or row.deleted_at is not None:
        return f"There is no project {owner[:80]}. {await _other_projects(session, owner)}"
    of_it = (Job.project == owner, Job.deleted_at.is_(None))
    return await others(session, name, Job.name, *of_it, what=f"jobs in the project {owner}", prefix=f"{owner}:")


def not_found(ref: str) -> NotFound:
    """The error of a job that is not there, or not for who asks."""
    return NotFound(
        f"There is no job {ref[:200]}.", code="job_not_found", remedy="Name it by its id or as project:name."
    )


async def by_id(session: AsyncSession, job_id: str, *, lock: bool = False) -> Job | None:
    """The row of a job, deleted or not. `lock` as in `get`."""
    return await session.get(Job, job_id, with_for_update=lock or None, populate_existing=lock)


async def add(
    session: AsyncSession,
    project_name: str,
    name: str,
    spec: dict[str, Any],
    now: datetime,
    *,
    cluster: str,
    note: str,
    labels: dict[str, str],
    policy: dict[str, Any],
    savepoints: dict[str, Any],
    config: dict[str, str],
) -> Job:
    """Write a job down with its version 1: it is CREATED, and no workflow has written of it. Raises
    `store.database.Taken` when its name was taken at this moment."""
    job_id = str(uuid.uuid4())
    job = Job(
        id=job_id,
        workflow_id=job_workflow_id(project_name, name, job_id),
        project=project_name,
        name=name,
        type=spec["type"],
        cluster=cluster,
        state=JobState.CREATED.value,
        reason="",
        version=1,
        labels=labels,
        policy=policy,
        savepoints=savepoints,
        config=config,
        actions=[],
        revision=0,
        created_at=now,
        updated_at=now,
    )
    session.add(job)
    await session.flush()
    session.add(Version(job_id=job.id, number=1, spec=spec, note=note, created_at=now))
    return job


def change(
    job: Job,
    now: datetime,
    *,
    labels: dict[str, str],
    config: dict[str, str],
    policy: dict[str, Any],
    savepoints: dict[str, Any],
) -> None:
    """Change what a person sets of a job without another version."""
    job.labels, job.config, job.policy, job.savepoints = labels, config, policy, savepoints
    job.updated_at = now


async def find(session: AsyncSession, project_name: str, name: str) -> Job | None:
    """A job by its name; None when there is none. Deleted ones are left out."""
    query = select(Job).where(Job.project == project_name, Job.name == name, Job.deleted_at.is_(None))
    return (await session.scalars(query)).one_or_none()


async def of_type(session: AsyncSession, type_: str, name: str) -> Sequence[Job]:
    """Jobs of a type by a name, in all projects."""
    query = select(Job).where(Job.type == type_, Job.name == name, Job.deleted_at.is_(None))
    return (await session.scalars(query)).all()


@dataclass(frozen=True)
class Filter:
    """What jobs are searched by; None is any. `projects` are those that who asks may see; `text` is part of the name or
    the reason."""

    projects: frozenset[str] | None = None
    project: str | None = None
    state: str | None = None
    type: str | None = None
    cluster: str | None = None
    text: str | None = None


async def search(
    session: AsyncSession, criteria: Filter, *, sort: str, limit: int, cursor: str | None
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
        if (value := getattr(criteria, name)) is not None:
            query = query.where(getattr(Job, name) == value)
    if criteria.projects is not None:
        query = query.where(Job.project.in_(criteria.projects))
    if criteria.text:
        pattern = "%" + criteria.text.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_") + "%"
        query = query.where(or_(Job.name.ilike(pattern, escape="\\"), Job.reason.ilike(pattern, escape="\\")))
    if cursor:
        value, id_ = paging.decode(cursor, [type_, str])
        after = column < value if descending else column > value
        query = query.where(or_(after, and_(column == value, Job.id > id_)))
    query = query.order_by(column.desc() if descending else column.asc(), Job.id).limit(limit + 1)
    rows = list((await session.scalars(query)).all())
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], paging.encode([getattr(last, sort.removeprefix("-")), last.id])


async def versions(session: AsyncSession, job_id: str) -> Sequence[Version]:
    """All versions of a job, newest first."""
    return (
        await session.scalars(select(Version).where(Version.job_id == job_id).order_by(Version.number.desc()))
    ).all()


async def version(session: AsyncSession, job: Job, number: int) -> Version:
    """A version of a job by its number. Raises `NotFound`."""
    row = await session.get(Version, (job.id, number)) if 0 < number < 2**31 else None
    if row is None:
        raise NotFound(
            f"Job {job.project}:{job.name} has no version {number}.", code="version_not_found", field="version"
        )
    return row


async def add_version(session: AsyncSession, job: Job, spec: dict[str, Any], note: str, now: datetime) -> Version:
    """Write the next version of a job down. Raises `store.database.Taken` when somebody else did at the same moment."""
    version = Version(
        job_id=job.id, number=await latest_version(session, job.id) + 1, spec=spec, note=note, created_at=now
    )
    session.add(version)
    await session.flush()
    return version


async def take_back(session: AsyncSession, job_id: str, number: int, *, besides: str | None = None) -> bool:
    """Delete a version that was made for a command which came to nothing, unless the job is at it, or anything names
    it by now, `besides` that command itself, by its id. Returns whether it is gone."""
    named = [
        select(table.job_id).where(table.job_id == job_id, table.version == number)
        for table in (Attempt, Command, SqlTest)
    ]
    if besides is not None:
        named[1] = named[1].where(Command.id != besides)
    named.append(select(Job.id).where(Job.id == job_id, Job.version == number))
    newest = select(func.max(Version.number)).where(Version.job_id == job_id).scalar_subquery()
    query = delete_from(Version).where(Version.job_id == job_id, Version.number == number, Version.number == newest)
    done = await session.execute(query.where(*(~rows.exists() for rows in named)).returning(Version.number))
    return done.first() is not None


async def latest_version(session: AsyncSession, job_id: str) -> int:
    """The number of a job's newest version; 0 for a job that is not there."""
    return (await session.scalar(select(func.max(Version.number)).where(Version.job_id == job_id))) or 0


async def latest_versions(session: AsyncSession, job_ids: Sequence[str]) -> dict[str, int]:
    """The same of many jobs, by job id."""
    query = select(Version.job_id, func.max(Version.number)).where(Version.job_id.in_(job_ids)).group_by(Version.job_id)
    return {row[0]: row[1] for row in (await session.execute(query)).all()}


async def warn(session: AsyncSession, job_id: str, attempt: Attempt, words: str | None, now: datetime) -> None:
    """Write down what is wrong with a job that runs; on its timeline once per kind of trouble, and when it is over."""
    job = await session.get(Job, job_id)
    if job is None or job.current_attempt != attempt.number or attempt.ended_at is not None or job.warning == words:
        return
    before, job.warning = job.warning, words
    if kind(before) == kind(words):
        return
    add_event(
        session,
        f"{job_id}/warning/{attempt.number}/{now.isoformat()}",
        job_id,
        kind="alert" if words else "attempt",
        message=words or f"that is over: {before}",
        attempt=attempt.number,
        at=now,
    )


def add_change(
    session: AsyncSession,
    job_id: str,
    what: str,
    requested_by: str,
    reason: str | None,
    now: datetime,
    *,
    how: str = "changed",
) -> None:
    """On the timeline of a job: what somebody has changed of it, or added to it (`how`), and why."""
    why = f": {reason}" if reason else ""
    add_event(
        session,
        f"{job_id}/change/{uuid.uuid4().hex}",
        job_id,
        kind="change",
        message=f"{what}, {how} by {requested_by}{why}",
        at=now,
        data={"requested_by": requested_by},
    )


async def add_change_of_all(session: AsyncSession, ids: Select[Any], what: str, by: str, now: datetime) -> None:
    """The same on the timelines of all jobs whose ids a query gives."""
    for job_id in await session.scalars(ids):
        add_change(session, job_id, what, by, None, now)
    await session.flush()


def begin_deletion(job: Job, now: datetime) -> None:
    """A job takes no more commands, until it is gone (`delete`) or that is taken back (`keep`)."""
    job.deleting_at = now


async def delete(session: AsyncSession, job_id: str, begun: datetime, now: datetime) -> bool:
    """Take a job off all lists; its rows stay for the record, its name is free again. False when the deletion that
    was begun at `begun` has been taken back."""
    query = update(Job).where(Job.id == job_id, Job.deleting_at == begun, Job.deleted_at.is_(None))
    done = await session.execute(query.values(deleted_at=now, updated_at=now).returning(Job.id))
    return done.first() is not None


async def keep(session: AsyncSession, job_id: str, begun: datetime) -> None:
    """Take the deletion back that was begun at `begun`: the job takes commands again."""
    await session.execute(update(Job).where(Job.id == job_id, Job.deleting_at == begun).values(deleting_at=None))


async def deleting(session: AsyncSession, now: datetime, age: timedelta) -> Sequence[Job]:
    """Jobs whose deletion was begun `age` ago, and neither finished nor taken back."""
    query = select(Job).where(overdue(Job.deleting_at, now, age), Job.deleted_at.is_(None)).order_by(Job.deleting_at)
    return (await session.scalars(query)).all()


async def count_by_state(session: AsyncSession) -> list[tuple[str, str, int]]:
    """(cluster, state, how many) of all jobs."""
    query = (
        select(Job.cluster, Job.state, func.count()).where(Job.deleted_at.is_(None)).group_by(Job.cluster, Job.state)
    )
    return [(cluster, state, n) for cluster, state, n in (await session.execute(query)).all()]


def _lived() -> Any:
    """Jobs that a workflow has written of; each has one until its deletion has begun."""
    return and_(Job.deleted_at.is_(None), Job.deleting_at.is_(None), Job.revision > 0)


async def lived_by_id(session: AsyncSession, job_id: str) -> Job | None:
    """A job, if it ought to have a workflow."""
    return (await session.scalars(select(Job).where(Job.id == job_id, _lived()))).one_or_none()


async def count_lived(session: AsyncSession) -> int:
    """How many jobs ought to have a workflow."""
    return (await session.scalar(select(func.count()).select_from(Job).where(_lived()))) or 0


async def workflow_ids(session: AsyncSession) -> set[str]:
    """Of all jobs that are not deleted."""
    query = select(Job.workflow_id, Job.project, Job.name).where(Job.deleted_at.is_(None))
    rows = (await session.execute(query)).all()
    return {own or old_job_workflow_id(project, name) for own, project, name in rows}


async def lived(session: AsyncSession) -> Sequence[Job]:
    """The jobs that ought to have a workflow."""
    return (await session.scalars(select(Job).where(_lived()))).all()
