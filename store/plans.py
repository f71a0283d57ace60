"""Queries of compiled plans, and which plan a state was made by."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from core.paths import of_point as one_spelling
from core.sql.lineage import of as lineage_of
from core.sql.plan import Plan
from store import attempts
from store.tables import Attempt, Job, PlanRow, RestorePointRow, Version


async def get(session: AsyncSession, digest: str | None) -> PlanRow | None:
    """A compiled plan by its digest; None when it is not kept."""
    return await session.get(PlanRow, digest) if digest else None


def new(plan: Plan, inputs: str, flink_version: str, now: datetime) -> PlanRow:
    """A compiled plan that is not kept yet. `inputs` is the hash of all that it was made from."""
    return PlanRow(
        digest=plan.digest(),
        inputs=inputs,
        flink_version=flink_version,
        body=plan.body,
        lineage=lineage_of(plan).model_dump(mode="json"),
        created_at=now,
    )


async def keep(session: AsyncSession, row: PlanRow) -> None:
    """Keep a compiled plan. One that is kept already stays, with what is read out of it by the rules of today."""
    is_it = PlanRow.digest == row.digest
    kept = (await session.execute(select(PlanRow.digest, PlanRow.lineage).where(is_it))).first()
    if kept is None:
        session.add(row)
        await session.flush()
    elif kept.lineage != row.lineage:
        await session.execute(update(PlanRow).where(is_it).values(lineage=row.lineage))


async def used(
    session: AsyncSession, attempt: Attempt, version: int, digest: str | None, why: str, made_of: dict[str, Any]
) -> None:
    """An attempt is about to run from a plan, or from its text with the reason why. `made_of` is what the text was
    run with (`Environment.made_of`). `attempt` may have been read by another session: its plan is the new one then,
    too. Raises `NotFound` when it is not there any more."""
    row = await session.get(Attempt, (attempt.job_id, attempt.number))
    if row is None:
        raise NotFound(
            f"The database has no attempt {attempt.number} of job {attempt.job_id}.", code="attempt_not_found"
        )
    row.plan, row.config = digest, {**row.config, "sql": made_of}
    attempt.plan = digest
    await compiled(session, attempt.job_id, version, digest, why)


async def compiled(session: AsyncSession, job_id: str, version: int, digest: str | None, why: str) -> None:
    """Write down which plan a version was compiled to, or `why` to none."""
    await session.execute(
        update(Version)
        .where(Version.job_id == job_id, Version.number == version)
        .values(plan=digest, plan_why=why or None)
    )


@dataclass(frozen=True)
class StateOrigin:
    """What made a state: an attempt of ours (None when it is not known), and the plan that it ran from (None: from
    its text)."""

    attempt: Attempt | None
    plan: PlanRow | None

    def is_made_by(self, job_id: str, version: int, inputs: str) -> bool:
        """Whether it was made by this text with these tables and libraries. Of an attempt that ran from its text before
        that was written down only its version is known, which is immutable."""
        if self.plan is not None:
            return self.plan.inputs == inputs
        if self.attempt is None:
            return False
        made_of = (self.attempt.config.get("sql") or {}).get("inputs")
        if made_of is None and attempts.is_written_again(self.attempt):
            return False
        if made_of is None:
            return (self.attempt.job_id, self.attempt.version) == (job_id, version)
        return bool(made_of == inputs)


UNKNOWN = StateOrigin(None, None)


async def of_point(session: AsyncSession, path: str) -> StateOrigin:
    """What made the state at a path, in any spelling."""
    query = (
        select(Attempt)
        .join(RestorePointRow, (RestorePointRow.job_id == Attempt.job_id) & (RestorePointRow.attempt == Attempt.number))
        .where(RestorePointRow.path == one_spelling(path))
        .order_by(RestorePointRow.id)
        .limit(1)
    )
    attempt = (await session.scalars(query)).one_or_none()
    return StateOrigin(attempt, await get(session, attempt.plan)) if attempt else UNKNOWN


async def of_attempt(session: AsyncSession, job_id: str, number: int | None) -> StateOrigin:
    """The plan by which an attempt runs or ran."""
    attempt = await session.get(Attempt, (job_id, number)) if number is not None else None
    return StateOrigin(attempt, await get(session, attempt.plan)) if attempt else UNKNOWN


async def lineage(
    session: AsyncSession, project: str | None, only: Collection[str] | None = None
) -> Sequence[tuple[Job, dict[str, Any] | None, Version]]:
    """(job, lineage of its current version's plan, that version) of all jobs of a project, of `only` some, or of
    all."""
    query = (
        select(Job, PlanRow.lineage, Version)
        .join(Version, (Version.job_id == Job.id) & (Version.number == Job.version))
        .outerjoin(PlanRow, PlanRow.digest == Version.plan)
        .where(Job.deleted_at.is_(None))
        .order_by(Job.project, Job.name)
    )
    if project is not None:
        query = query.where(Job.project == project)
    if only is not None:
        query = query.where(Job.project.in_(only))
    return [(job, of_plan, version) for job, of_plan, version in (await session.execute(query)).all()]
