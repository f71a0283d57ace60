"""What became of a job: attempts, restore points, timeline. All raise `NotFound` for a job that is not there."""

from __future__ import annotations

from collections.abc import Callable

from api.history.schemas import AttemptOut, EventOut, RestorePointOut
from core.jobs.restore import newest_first
from core.jobs.snapshot import lineage_of
from core.jobs.states import AttemptState
from observation import points
from services import Services
from services.hidden import scrubber
from settings import waits
from settings.waits import within
from store import attempts, jobs
from store.tables import Attempt, RestorePointRow


async def attempts_of(
    services: Services, ref: str, *, limit: int, cursor: str | None
) -> tuple[list[AttemptOut], str | None]:
    """Newest first, with the cursor of the next page, None after the last. Raises `InvalidInput` for a bad cursor."""
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
        rows, following = await attempts.page(session, job.id, limit=limit, cursor=cursor)
        scrubbed = await scrubber(services, session, [job.project])
    return [_attempt(row, scrubbed) for row in rows], following


def _attempt(row: Attempt, scrubbed: Callable[[str], str]) -> AttemptOut:
    return AttemptOut(
        number=row.number,
        flink_job_id=row.flink_job_id,
        version=row.version,
        cluster=row.cluster,
        commit=row.config.get("commit"),
        restored_from=row.restored_from,
        restored_why=row.restored_why,
        state=AttemptState(row.state),
        engine_state=row.seen,
        started_at=row.started_at,
        running_since=row.running_since,
        ended_at=row.ended_at,
        cause=row.cause,
        ended_because=scrubbed(row.why_ended) if row.why_ended else None,
    )


async def restore_points(services: Services, ref: str) -> list[RestorePointOut]:
    """Newest first, gathered now. Raises `TooSlow`."""
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
    if job.current_attempt:
        remedy = "The cluster, the files that it writes, or the database are slow. Try again."
        async with within(waits.GATHER_SECONDS, "Gathering the restore points", code="points_too_slow", remedy=remedy):
            await points.gather(services, job.id)
    async with services.database.read() as session:
        rows = await attempts.points(session, job.id)
    of_row = {row.id: row for row in rows}
    ordered = newest_first([attempts.as_point(row) for row in rows], lineage_of(job.snapshot).taken_up)
    return [_point(of_row[point.id]) for point in ordered]


def _point(row: RestorePointRow) -> RestorePointOut:
    return RestorePointOut(**attempts.as_point(row).model_dump(), pinned=row.pinned, kept=row.kept)


async def keep(services: Services, ref: str, point: str, kept: bool) -> RestorePointOut:
    """Pin a restore point, or let go of it."""
    async with services.database.write() as session:
        row = await attempts.one_point(session, await jobs.get(session, ref), point, lock=True)
        attempts.keep_point(row, kept)
        return _point(row)


async def timeline(
    services: Services, ref: str, *, limit: int, cursor: str | None
) -> tuple[list[EventOut], str | None]:
    """Its events, newest first, with the cursor of the next page, None after the last. Raises `InvalidInput` for a bad
    cursor."""
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
        rows, following = await attempts.events(session, job.id, limit=limit, cursor=cursor)
    items = [
        EventOut(id=e.id, at=e.at, kind=e.kind, message=e.message, attempt=e.attempt, command=e.command, data=e.data)
        for e in rows
    ]
    return items, following
