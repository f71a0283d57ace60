"""Queries of previews: Flink jobs that somebody looks at, and who has to see that they end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from settings import clock
from store.acting import acting
from store.database import Database
from store.tables import Preview


async def of_run(session: AsyncSession, run: str) -> Sequence[Preview]:
    """The streams of a run. Raises `NotFound`."""
    rows = []
    if "\x00" not in run:
        rows = list((await session.scalars(select(Preview).where(Preview.run == run).order_by(Preview.id))).all())
    if not rows:
        raise not_found(run)
    return rows


def not_found(run: str) -> NotFound:
    """The error of a preview that is not there, or not for who asks."""
    return NotFound(f"There is no preview {run[:80]}.", code="preview_not_found")


async def add(
    session: AsyncSession,
    id_: str,
    *,
    project: str,
    cluster: str,
    stream: str,
    flink_job_id: str,
    run: str,
    request: dict[str, Any],
    lease_until: datetime,
    now: datetime,
) -> None:
    """Write a stream down before anything of it is sent."""
    session.add(
        Preview(
            id=id_,
            project=project,
            cluster=cluster,
            stream=stream,
            flink_job_id=flink_job_id,
            run=run,
            request=request,
            state="RUNNING",
            rows=0,
            lease_until=lease_until,
            created_at=now,
            opened_by=acting(),
        )
    )


async def latest(session: AsyncSession, project: str, limit: int) -> Sequence[Preview]:
    """Streams of previews of a project, newest first; at most `limit`."""
    query = select(Preview).where(Preview.project == project).order_by(Preview.created_at.desc()).limit(limit)
    return (await session.scalars(query)).all()


_ON_CLUSTER = select(Preview).where(Preview.cluster == bindparam("name"), Preview.gone_at.is_(None))


async def on_cluster(session: AsyncSession, cluster: str) -> Sequence[Preview]:
    """Those whose Flink job has not been seen to be gone."""
    return (await session.scalars(_ON_CLUSTER, {"name": cluster})).all()


async def known(session: AsyncSession, flink_job_ids: Collection[str]) -> set[str]:
    """Those of these Flink jobs that are previews which have not been seen to be gone, on whatever cluster."""
    query = select(Preview.flink_job_id).where(Preview.flink_job_id.in_(flink_job_ids), Preview.gone_at.is_(None))
    return set(await session.scalars(query))


async def running(session: AsyncSession, cluster: str, now: datetime) -> int:
    """How many streams on a cluster somebody looks at."""
    rows = await on_cluster(session, cluster)
    return sum(row.ended_at is None and row.lease_until > now for row in rows)


async def renew(session: AsyncSession, runs: Collection[str], until: datetime) -> None:
    """Move the lease of the streams of these runs that have not ended to `until`."""
    await session.execute(
        update(Preview).where(Preview.run.in_(runs), Preview.ended_at.is_(None)).values(lease_until=until)
    )


async def end(session: AsyncSession, id_: str, state: str, why: str | None, rows: int, now: datetime) -> None:
    """A stream has ended; one that had ended before is left as it was."""
    await session.execute(
        update(Preview)
        .where(Preview.id == id_, Preview.ended_at.is_(None))
        .values(state=state, why=why, rows=rows, ended_at=now, lease_until=now)
    )


async def gone(session: AsyncSession, ids: Collection[str], now: datetime) -> None:
    """The Flink jobs of these streams are not there any more."""
    await session.execute(update(Preview).where(Preview.id.in_(ids)).values(gone_at=now))


async def lost(session: AsyncSession, ids: Collection[str], now: datetime) -> None:
    """The process that streamed them has died."""
    await session.execute(
        update(Preview)
        .where(Preview.id.in_(ids), Preview.ended_at.is_(None))
        .values(state="INTERRUPTED", why="the API that streamed it has died", ended_at=now)
    )


async def give_up(database: Database, run: str) -> None:
    """End the lease of a run that another process streams: the cluster's watch cancels its jobs."""
    past = datetime(1970, 1, 1, tzinfo=UTC)
    async with database.write() as session:
        await session.execute(
            update(Preview)
            .where(Preview.run == run, Preview.ended_at.is_(None))
            .values(state="STOPPED", why="it was stopped", ended_at=clock.now(), lease_until=past)
        )
