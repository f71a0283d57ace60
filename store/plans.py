"""Queries of compiled plans, and which plan a state was made by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from store.tables import Attempt, Job, PlanRow, RestorePointRow, Version


async def get(session: AsyncSession, digest: str | None) -> PlanRow | None:
    return await session.get(PlanRow, digest) if digest else None


async def keep(session: AsyncSession, row: PlanRow) -> None:
    if await session.get(PlanRow, row.digest) is None:
        session.add(row)
        await session.flush()


async def used(session: AsyncSession, job_id: str, number: int, version: int, digest: str | None, why: str) -> None:
    """An attempt is about to run from a plan, or from its text with the reason why."""
    await session.execute(update(Attempt).where(Attempt.job_id == job_id, Attempt.number == number).values(plan=digest))
    await compiled(session, job_id, version, digest, why)


async def compiled(session: AsyncSession, job_id: str, version: int, digest: str | None, why: str) -> None:
    await session.execute(
        update(Version)
        .where(Version.job_id == job_id, Version.number == version)
        .values(plan=digest, plan_why=why or None)
    )


@dataclass(frozen=True)
class Base:
    """The attempt that made a restore point; `plan` None: it ran from its text, or it is no attempt of ours."""

    known: bool
    plan: PlanRow | None


async def of_point(session: AsyncSession, path: str) -> Base:
    """By which plan the state at a path was made."""
    query = (
        select(Attempt.plan)
        .join(RestorePointRow, (RestorePointRow.job_id == Attempt.job_id) & (RestorePointRow.attempt == Attempt.number))
        .where(RestorePointRow.path == path)
        .limit(1)
    )
    row = (await session.execute(query)).one_or_none()
    return Base(known=row is not None, plan=await get(session, row[0]) if row else None)


async def of_attempt(session: AsyncSession, job_id: str, number: int | None) -> Base:
    """By which plan an attempt runs or ran."""
    found = await session.get(Attempt, (job_id, number)) if number is not None else None
    return Base(known=found is not None, plan=await get(session, found.plan) if found else None)


async def lineage(
    session: AsyncSession, project: str | None
) -> Sequence[tuple[Job, dict[str, Any] | None, dict[str, Any]]]:
    """(job, lineage of its current version's plan, spec of that version) of all jobs of a project, or of all."""
    query = (
        select(Job, PlanRow.lineage, Version.spec)
        .join(Version, (Version.job_id == Job.id) & (Version.number == Job.version))
        .outerjoin(PlanRow, PlanRow.digest == Version.plan)
        .where(Job.deleted_at.is_(None))
        .order_by(Job.project, Job.name)
    )
    if project is not None:
        query = query.where(Job.project == project)
    return [(job, found, spec) for job, found, spec in (await session.execute(query)).all()]
