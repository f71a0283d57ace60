"""What became of a job: attempts, restore points, timeline."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from api.deps import JobRef, Page, PageQuery, Parts
from api.problems import responses
from core.jobs.restore import RestoreKind, newest_first
from core.jobs.snapshot import lineage_of
from core.jobs.states import AttemptState
from observation import points
from services import Services
from settings.waits import within
from store import attempts, jobs
from store.tables import RestorePointRow

router = APIRouter(tags=["history"])
GATHER_TIMEOUT = 10.0
PointId = Annotated[str, Path(pattern="^rp-[0-9a-f]{16}$", description="Id of a restore point")]


class AttemptOut(BaseModel):
    number: int
    flink_job_id: str
    version: int
    cluster: str
    commit: str | None = Field(description="The Git commit that it runs, for jar and pyflink")
    restored_from: str | None
    restored_why: str | None
    state: AttemptState
    engine_state: str | None
    started_at: datetime
    running_since: datetime | None
    ended_at: datetime | None
    cause: str = Field(description="Why it was started: a command, or the restart policy")
    ended_because: str | None


class RestorePointOut(BaseModel):
    id: str
    kind: RestoreKind
    path: str
    completed_at: datetime
    attempt: int
    version: int
    number: int | None = Field(description="Flink's number of the checkpoint or savepoint; it grows within an attempt")
    pinned: bool = Field(description="The current attempt came from it and has none of its own yet")
    kept: bool = Field(description="A person pinned it: the savepoint policy never deletes it")


class EventOut(BaseModel):
    id: int
    at: datetime
    kind: str
    message: str
    attempt: int | None
    command: int | None
    data: dict[str, Any]


@router.get("/jobs/{id}/attempts", responses=responses(404, 422, 503), summary="List attempts, newest first")
async def list_attempts(ref: JobRef, parts: Parts, paging: PageQuery) -> Page[AttemptOut]:
    async with parts.database.read() as session:
        job = await jobs.get(session, ref)
        found, following = await attempts.page(session, job.id, limit=paging.limit, cursor=paging.cursor)
    items = [
        AttemptOut(
            number=a.number,
            flink_job_id=a.flink_job_id,
            version=a.version,
            cluster=a.cluster,
            commit=a.config.get("commit"),
            restored_from=a.restored_from,
            restored_why=a.restored_why,
            state=AttemptState(a.state),
            engine_state=a.seen,
            started_at=a.started_at,
            running_since=a.running_since,
            ended_at=a.ended_at,
            cause=a.cause,
            ended_because=a.why_ended,
        )
        for a in found
    ]
    return Page(items=items, next_cursor=following)


@router.get(
    "/jobs/{id}/restore-points", responses=responses(404, 422, 503), summary="List restore points, newest first"
)
async def list_restore_points(ref: JobRef, parts: Parts) -> Page[RestorePointOut]:
    """Gathered from Flink and from the files now; only those whose `_metadata` is there. By attempt, those of one
    attempt by Flink's number."""
    async with parts.database.read() as session:
        job = await jobs.get(session, ref)
    if job.current_attempt:
        remedy = "The cluster, or the files that it writes, are slow to read. Try again."
        async with within(GATHER_TIMEOUT, "Gathering the restore points", code="points_too_slow", remedy=remedy):
            await points.gather(parts, job.id)
    async with parts.database.read() as session:
        rows = await attempts.points(session, job.id)
    of_row = {row.id: row for row in rows}
    ordered = newest_first([attempts.as_point(row) for row in rows], lineage_of(job.snapshot).taken_up)
    return Page(items=[_point(of_row[point.id]) for point in ordered])


def _point(row: RestorePointRow) -> RestorePointOut:
    return RestorePointOut(**attempts.as_point(row).model_dump(), pinned=row.pinned, kept=row.kept)


async def _keep(parts: Services, ref: str, point: str, kept: bool) -> RestorePointOut:
    async with parts.database.write() as session:
        row = await attempts.one_point(session, await jobs.get(session, ref), point)
        row.kept = kept
        return _point(row)


@router.put("/jobs/{id}/restore-points/{point}/pin", responses=responses(404, 422, 503), summary="Keep a restore point")
async def pin_restore_point(ref: JobRef, point: PointId, parts: Parts) -> RestorePointOut:
    """The savepoint policy never deletes it. Checkpoints are Flink's own while the attempt runs: it deletes old ones,
    pinned or not. Once it has ended, one that is pinned keeps the checkpoints of its attempt."""
    return await _keep(parts, ref, point, True)


@router.delete("/jobs/{id}/restore-points/{point}/pin", responses=responses(404, 422, 503), summary="Keep it no longer")
async def unpin_restore_point(ref: JobRef, point: PointId, parts: Parts) -> RestorePointOut:
    return await _keep(parts, ref, point, False)


@router.get("/jobs/{id}/timeline", responses=responses(404, 422, 503), summary="The timeline, newest first")
async def get_timeline(ref: JobRef, parts: Parts, paging: PageQuery) -> Page[EventOut]:
    """Every command, change of state, attempt, savepoint, planned restart and alert, with why."""
    async with parts.database.read() as session:
        job = await jobs.get(session, ref)
        found, following = await attempts.events(session, job.id, limit=paging.limit, cursor=paging.cursor)
    items = [
        EventOut(id=e.id, at=e.at, kind=e.kind, message=e.message, attempt=e.attempt, command=e.command, data=e.data)
        for e in found
    ]
    return Page(items=items, next_cursor=following)
