"""Queries of orphans: Flink jobs that are alive and that no open attempt owns."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from store.tables import Attempt, Cluster, Job, Orphan

_OLDEST_FIRST = (Orphan.first_seen_at, Orphan.flink_job_id)


def _there_now(cluster: str | None) -> ColumnElement[bool]:
    there = Orphan.gone_at.is_(None)
    return there & (Orphan.cluster == cluster) if cluster else there


async def all_(session: AsyncSession, cluster: str | None = None) -> Sequence[Orphan]:
    """Those that are there now, oldest first; `cluster` None: on all clusters."""
    return (await session.scalars(select(Orphan).where(_there_now(cluster)).order_by(*_OLDEST_FIRST))).all()


async def with_jobs(session: AsyncSession, cluster: str | None) -> list[tuple[Orphan, Job | None, Cluster]]:
    """The same with the job whose attempt each was, and its cluster, in one query."""
    query = (
        select(Orphan, Job, Cluster)
        .outerjoin(Job, Job.id == Orphan.job_id)
        .join(Cluster, Cluster.name == Orphan.cluster)
        .where(_there_now(cluster))
        .order_by(*_OLDEST_FIRST)
    )
    return [(orphan, job, place) for orphan, job, place in (await session.execute(query)).all()]


async def get(session: AsyncSession, cluster: str, flink_job_id: str, *, lock: bool = False) -> Orphan:
    """One that is there now. Raises `NotFound`. `lock`: who adopts it meanwhile waits, or has done so already."""
    known = "\x00" not in cluster + flink_job_id
    orphan = await session.get(Orphan, (cluster, flink_job_id), with_for_update=lock or None) if known else None
    if orphan is None or orphan.gone_at is not None:
        raise NotFound(
            f"There is no Flink job {flink_job_id[:40]} without an owner on {cluster[:100]}.",
            code="orphan_not_found",
            remedy="GET /orphans lists them.",
        )
    return orphan


_OWNERS = (
    select(Attempt, Job)
    .join(Job, Job.id == Attempt.job_id)
    .where(Attempt.flink_job_id.in_(bindparam("ids", expanding=True)))
)
"""Made once: a watch with orphans asks it at every look."""


async def owners(session: AsyncSession, flink_job_ids: Collection[str]) -> dict[str, tuple[Attempt, Job]]:
    """The attempts, ended or not, by their Flink job ids."""
    found = await session.execute(_OWNERS, {"ids": list(flink_job_ids)})
    return {attempt.flink_job_id: (attempt, job) for attempt, job in found.all()}


async def open_owners(session: AsyncSession, flink_job_ids: Collection[str]) -> dict[str, tuple[Attempt, Job]]:
    """Those of them that have not been seen to end, and whose job is there."""
    found = await owners(session, flink_job_ids)
    return {id_: (attempt, job) for id_, (attempt, job) in found.items() if is_open(attempt, job)}


def is_open(attempt: Attempt, job: Job) -> bool:
    """Whether a job may still have the attempt run."""
    return attempt.ended_at is None and job.deleted_at is None


async def report(
    session: AsyncSession,
    cluster: str,
    flink_job_id: str,
    name: str,
    detail: str | None,
    attempt: Attempt | None,
    now: datetime,
) -> bool:
    """Write one down, with the `attempt` that it was; True when it is news."""
    row = await session.get(Orphan, (cluster, flink_job_id))
    is_news = row is None or row.gone_at is not None
    if row is None:
        row = Orphan(cluster=cluster, flink_job_id=flink_job_id, name=name, first_seen_at=now)
        session.add(row)
    row.gone_at, row.detail = None, detail
    row.job_id, row.attempt = (attempt.job_id, attempt.number) if attempt is not None else (None, None)
    return is_news


def ask_to_stop(row: Orphan, how: str) -> str:
    """Write down that a person wants an orphan stopped, and `how`. Gives the id of its savepoint's trigger, the same
    each time: what is asked again is taken once."""
    row.asked = how
    row.trigger_id = row.trigger_id or uuid.uuid4().hex
    return row.trigger_id


async def gone(session: AsyncSession, cluster: str, flink_job_ids: Collection[str], now: datetime) -> None:
    """These of a cluster are not alive any more."""
    await session.execute(
        update(Orphan)
        .where(Orphan.cluster == cluster, Orphan.flink_job_id.in_(flink_job_ids), Orphan.gone_at.is_(None))
        .values(gone_at=now)
    )
