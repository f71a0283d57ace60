"""Queries of clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Table, bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from core.near import offered
from store.tables import Cluster, Event, Job, Orphan, Preview, SqlSession

# Made once, as every look asks these: to make a statement takes as long as to carry it out.
_BY_NAME = select(Cluster).where(Cluster.name == bindparam("name"))
_CLUSTERS = cast(Table, Cluster.__table__)
_ANSWERED = (
    update(_CLUSTERS)
    .where(_CLUSTERS.c.name == bindparam("cluster"))
    .values(observed_at=bindparam("at"), unreachable_since=None, unreachable_why=None, cannot_tell_at=None)
)
_WITH_HEALTH = _ANSWERED.values(health=bindparam("told"))


async def get(session: AsyncSession, name: str, *, lock: bool = False, hold: bool = False) -> Cluster:
    """Raises `NotFound` also for one that is there for the record only. `hold` as in `held`; `lock`: who holds it has
    written what relies on it, or sees what becomes of it now."""
    cluster = None
    if "\x00" not in name and hold:
        cluster = await held(session, name)
    elif "\x00" not in name and lock:
        cluster = await session.get(Cluster, name, with_for_update=True, populate_existing=True)
    elif "\x00" not in name:
        cluster = await find(session, name)
    if cluster is None or await is_left(session, cluster):
        raise NotFound(
            f"There is no cluster {name[:200]}.",
            code="cluster_not_found",
            field="cluster",
            remedy=offered(name, await names(session), "clusters"),
        )
    return cluster


async def find(session: AsyncSession, name: str) -> Cluster | None:
    """The row of a cluster, removed or not."""
    return (await session.scalars(_BY_NAME, {"name": name})).one_or_none()


async def held(session: AsyncSession, name: str) -> Cluster | None:
    """The row of a cluster as it is until this transaction ends: nobody gives it another address, or removes it. To be
    asked after whatever else is locked: a look at the cluster writes to its row last."""
    return await session.get(Cluster, name, with_for_update={"read": True}, populate_existing=True)


async def lock(session: AsyncSession, name: str) -> None:
    """Wait for those who have `held` the row of a cluster, and keep others from it until this transaction ends."""
    await session.get(Cluster, name, with_for_update={"key_share": True}, populate_existing=True)


async def all_(session: AsyncSession) -> Sequence[Cluster]:
    """All but those that have been removed, or whose job has been deleted: their rows are there for the record."""
    query = select(Cluster).outerjoin(Job, Job.id == Cluster.managed_by)
    query = query.where(Job.deleted_at.is_(None), Cluster.deleted_at.is_(None))
    return (await session.scalars(query.order_by(Cluster.name))).all()


async def names(session: AsyncSession) -> set[str]:
    """Of the same."""
    return {row.name for row in await all_(session)}


async def by_names(session: AsyncSession, names: set[str]) -> dict[str, Cluster]:
    """Rows by name, of those that are there, removed or not."""
    rows = await session.scalars(select(Cluster).where(Cluster.name.in_(names)))
    return {row.name: row for row in rows}


async def jobs_on(session: AsyncSession, name: str) -> int:
    """How many jobs are on a cluster, whatever state they are in; deleted ones do not count."""
    query = select(func.count()).select_from(Job).where(Job.cluster == name, Job.deleted_at.is_(None))
    return (await session.scalar(query)) or 0


async def managed_by(session: AsyncSession, job_id: str) -> Cluster | None:
    """The cluster that a session-cluster job runs; None before its first start."""
    return (await session.scalars(select(Cluster).where(Cluster.managed_by == job_id))).one_or_none()


async def is_left(session: AsyncSession, cluster: Cluster) -> bool:
    """Whether it has been removed, or was run by a job that has been deleted: its name is free."""
    if cluster.deleted_at is not None:
        return True
    keeper = await session.get(Job, cluster.managed_by) if cluster.managed_by else None
    return keeper is not None and keeper.deleted_at is not None


async def keepers(session: AsyncSession, rows: Sequence[Cluster]) -> dict[str, Job]:
    """The jobs that run these clusters, by id."""
    ids = {row.managed_by for row in rows if row.managed_by}
    query = select(Job).where(Job.id.in_(ids), Job.deleted_at.is_(None))
    return {job.id: job for job in await session.scalars(query)} if ids else {}


async def same_flink(
    session: AsyncSession, identity: str | None, leader: str | None, *, besides: str
) -> Cluster | None:
    """Another cluster that is the same Flink: by its identity, or by who leads it as of the last look."""
    query = select(Cluster).where(Cluster.name != besides, Cluster.deleted_at.is_(None)).order_by(Cluster.name)
    for row in await session.scalars(query):
        if identity is not None and row.identity == identity:
            return row
        if leader is not None and (row.health or {}).get("leader") == leader:
            return row
    return None


async def add(
    session: AsyncSession,
    name: str,
    kind: str,
    address: Mapping[str, Any],
    now: datetime,
    *,
    flink_version: str,
    state_dir: str,
    config: dict[str, str],
    identity: str | None = None,
) -> Cluster:
    """Write a cluster down under a name that is free. A row that is there for the record becomes the new one's.
    `address` are the columns that say where it is (`clusters.registry.columns_of`)."""
    new = Cluster(
        name=name,
        kind=kind,
        **address,
        flink_version=flink_version,
        state_dir=state_dir,
        config=config,
        identity=identity,
        created_at=now,
    )
    row = await session.get(Cluster, name)
    if row is None:
        session.add(new)
        return new
    for column in Cluster.__table__.columns:
        if not column.primary_key:
            setattr(row, column.name, getattr(new, column.name))
    return row


def change(row: Cluster, columns: Mapping[str, Any]) -> None:
    """Change what a person says of a cluster, by the names of its columns."""
    for name, value in columns.items():
        setattr(row, name, value)


def runs_for(row: Cluster, job_id: str, flink_version: str, state_dir: str) -> None:
    """A cluster is the one that a job runs."""
    row.managed_by, row.flink_version, row.state_dir = job_id, flink_version, state_dir


def moves(row: Cluster, address: Mapping[str, Any]) -> None:
    """A cluster that a job runs is started again at an address (`add`): whoever answers there next is it."""
    change(row, {**address, "identity": None})


async def remove(session: AsyncSession, row: Cluster, now: datetime) -> None:
    """Take a cluster off all lists. Its row stays as long as something that is kept names it; sessions on it end."""
    if not await ever_used(session, row.name):
        await session.delete(row)
        return
    row.deleted_at = now
    on_it = (SqlSession.cluster == row.name) & SqlSession.closed_at.is_(None)
    await session.execute(update(SqlSession).where(on_it).values(closed_at=now))
    await session.execute(
        update(Orphan).where(Orphan.cluster == row.name, Orphan.gone_at.is_(None)).values(gone_at=now)
    )


async def ever_used(session: AsyncSession, name: str) -> bool:
    """Whether anything that is kept for the record names the cluster: jobs, deleted ones too, sessions, previews."""
    for table in (Job, SqlSession, Preview):
        if (await session.scalar(select(table.id).where(table.cluster == name).limit(1))) is not None:
            return True
    return False


async def answered(session: AsyncSession, name: str, at: datetime, health: dict[str, Any] | None) -> None:
    """The cluster answered `at` this moment; `health` None leaves the last one."""
    if health is None:
        await session.execute(_ANSWERED, {"cluster": name, "at": at})
    else:
        await session.execute(_WITH_HEALTH, {"cluster": name, "at": at, "told": health})


async def identified(session: AsyncSession, cluster: Cluster, identity: str) -> None:
    """Write down which Flink has answered, the first time; not when the cluster has got another address since it was
    asked."""
    row = await session.get(Cluster, cluster.name, with_for_update=True)
    asked = (cluster.kind, cluster.jobmanager_url, cluster.address)
    if row is not None and row.identity is None and (row.kind, row.jobmanager_url, row.address) == asked:
        row.identity = identity


async def did_not_answer(session: AsyncSession, name: str, at: datetime, why: str) -> None:
    """The first failure since the last answer sets `unreachable_since`; later ones leave it."""
    await session.execute(
        update(Cluster)
        .where(Cluster.name == name)
        .values(unreachable_since=func.coalesce(Cluster.unreachable_since, at), unreachable_why=why)
    )


async def tell_jobs(
    session: AsyncSession, cluster: Cluster, jobs: Sequence[Mapping[str, Any]], now: datetime, *, back: bool
) -> None:
    """One line on the timeline of each job with a living attempt on a cluster that cannot be asked; another when it can
    be asked again (`back`). `jobs` are rows of `attempts.open_on`. Several processes look at a cluster: that it cannot
    be asked is not told once another one has had an answer, and that it can be is told by the first of them."""
    since = cluster.unreachable_since
    if since is None:
        return
    column = Cluster.cannot_tell_at if back else Cluster.unreachable_since
    this = update(Cluster).where(Cluster.name == cluster.name, column.is_not(None))
    changed = this.values(cannot_tell_at=None if back else now).returning(Cluster.name)
    if (await session.execute(changed)).first() is None:
        return
    seconds = int((now - since).total_seconds())
    words = (
        f"{cluster.name} answers again, after {seconds} s"
        if back
        else f"cannot tell how the job is: {cluster.name} has not answered for {seconds} s ({cluster.unreachable_why})"
    )
    rows = [
        {
            "key": f"{row['job_id']}/{'back' if back else 'cannot-tell'}/{since.isoformat()}",
            "job_id": row["job_id"],
            "at": now,
            "kind": "cluster" if back else "alert",
            "message": words,
            "attempt": row["number"],
            "data": {"cluster": cluster.name, "unreachable_since": since.isoformat()},
        }
        for row in jobs
    ]
    if rows:
        await session.execute(insert(Event), rows)
