"""What became of a job: attempts, restore points, timeline."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from api.deps import JobRef, Page, PageQuery, Parts
from api.history import service
from api.history.schemas import AttemptOut, EventOut, RestorePointOut
from api.problems import responses

router = APIRouter(tags=["history"])
PointId = Annotated[str, Path(pattern="^rp-[0-9a-f]{16}$", description="Id of a restore point")]


@router.get("/jobs/{id}/attempts", responses=responses(404, 422, 503), summary="List attempts, newest first")
async def list_attempts(ref: JobRef, parts: Parts, paging: PageQuery) -> Page[AttemptOut]:
    """The attempts of a job, the newest first: what each ran, from which state, and how it ended."""
    items, following = await service.attempts_of(parts, ref, limit=paging.limit, cursor=paging.cursor)
    return Page(items=items, next_cursor=following)


@router.get(
    "/jobs/{id}/restore-points", responses=responses(404, 422, 503), summary="List restore points, newest first"
)
async def list_restore_points(ref: JobRef, parts: Parts) -> Page[RestorePointOut]:
    """Gathered from Flink and from the files now; only those whose `_metadata` is there. By attempt, those of one
    attempt by Flink's number."""
    return Page(items=await service.restore_points(parts, ref))


@router.put("/jobs/{id}/restore-points/{point}/pin", responses=responses(404, 422, 503), summary="Keep a restore point")
async def pin_restore_point(ref: JobRef, point: PointId, parts: Parts) -> RestorePointOut:
    """The savepoint policy never deletes it. Checkpoints are Flink's own while the attempt runs: it deletes old ones,
    pinned or not. Once it has ended, one that is pinned keeps the checkpoints of its attempt."""
    return await service.keep(parts, ref, point, True)


@router.delete("/jobs/{id}/restore-points/{point}/pin", responses=responses(404, 422, 503), summary="Keep it no longer")
async def unpin_restore_point(ref: JobRef, point: PointId, parts: Parts) -> RestorePointOut:
    """Let retention delete this restore point again."""
    return await service.keep(parts, ref, point, False)


@router.get("/jobs/{id}/timeline", responses=responses(404, 422, 503), summary="The timeline, newest first")
async def get_timeline(ref: JobRef, parts: Parts, paging: PageQuery) -> Page[EventOut]:
    """Every command, change of state, attempt, savepoint, planned restart and alert, with why."""
    items, following = await service.timeline(parts, ref, limit=paging.limit, cursor=paging.cursor)
    return Page(items=items, next_cursor=following)
