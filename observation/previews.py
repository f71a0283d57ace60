"""No Flink job of a preview outlives those who look at it.

The API that streams a preview ends it, and renews its lease meanwhile. When that API has died the lease runs out,
and the watch, which sees all jobs of the cluster anyway, cancels what is left.
"""

from __future__ import annotations

from datetime import datetime

import structlog

from clusters.protocol import Engine, Overview
from core.effects import EngineError
from core.jobs.observations import ENDED
from settings import waits
from store import previews
from store.database import Database

log = structlog.get_logger()


async def look(database: Database, engine: Engine, cluster: str, overview: Overview, now: datetime) -> set[str]:
    """Cancel previews whose lease is over; returns the Flink job ids of all previews on the cluster."""
    async with database.read() as session:
        rows = await previews.on_cluster(session, cluster)
    over = [row for row in rows if row.lease_until < now]
    shown = {seen.ref.flink_job_id: seen for seen in overview.jobs.values()} if over else {}
    gone, lost = [], []
    for row in over:
        status = shown.get(row.flink_job_id)
        if row.ended_at is None:
            lost.append(row.id)
        if status is not None and status.state not in ENDED:
            log.info("a preview is left over and is cancelled", cluster=cluster, flink_job=row.flink_job_id)
            try:
                await engine.cancel(status.ref)
            except EngineError as error:
                log.warning("a preview could not be cancelled", flink_job=row.flink_job_id, why=error.message)
        elif now - row.lease_until > waits.SUBMISSION_GRACE or status is not None:
            gone.append(row.id)
    if gone or lost:
        async with database.write() as session:
            if lost:
                await previews.lost(session, lost, now)
            if gone:
                await previews.gone(session, gone, now)
    return {row.flink_job_id for row in rows}
