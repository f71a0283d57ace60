"""Queries of clusters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from store.tables import Cluster, Job


async def get(session: AsyncSession, name: str) -> Cluster:
    found = await session.get(Cluster, name) if "\x00" not in name else None
    if found is None:
        raise NotFound(f"There is no cluster {name[:200]}.", code="cluster_not_found", field="cluster")
    return found


async def all_(session: AsyncSession) -> Sequence[Cluster]:
    return (await session.scalars(select(Cluster).order_by(Cluster.name))).all()


async def by_names(session: AsyncSession, names: set[str]) -> dict[str, Cluster]:
    rows = await session.scalars(select(Cluster).where(Cluster.name.in_(names)))
    return {row.name: row for row in rows}


async def jobs_on(session: AsyncSession, name: str) -> int:
    query = select(func.count()).select_from(Job).where(Job.cluster == name, Job.deleted_at.is_(None))
    return (await session.scalar(query)) or 0


async def ever_used(session: AsyncSession, name: str) -> bool:
    """Whether any job, deleted ones too, names the cluster."""
    return (await session.scalar(select(Job.id).where(Job.cluster == name).limit(1))) is not None


async def answered(session: AsyncSession, name: str, at: datetime, health: dict[str, Any] | None) -> None:
    values: dict[str, Any] = {"observed_at": at, "unreachable_since": None, "unreachable_why": None}
    if health is not None:
        values["health"] = health
    await session.execute(update(Cluster).where(Cluster.name == name).values(**values))


async def did_not_answer(session: AsyncSession, name: str, at: datetime, why: str) -> None:
    """The first failure since the last answer sets `unreachable_since`; later ones leave it."""
    await session.execute(
        update(Cluster)
        .where(Cluster.name == name)
        .values(unreachable_since=func.coalesce(Cluster.unreachable_since, at), unreachable_why=why)
    )
