"""/lineage and /jobs/{id}/lineage: which jobs and columns hang together."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.deps import JobRef, Parts
from api.lineage import service
from api.lineage.schemas import Direction, Place, Project
from api.problems import responses
from api.security import CurrentCaller
from core.sql.lineage import GraphView, Impact, Lineage

router = APIRouter(tags=["lineage"])


@router.get("/lineage", responses=responses(404, 422, 503), summary="Jobs and what they read and write")
async def get_graph(
    parts: Parts,
    caller: CurrentCaller,
    project: Project = None,
    job: Annotated[str | None, Query(max_length=200, description="Only what hangs together with this job")] = None,
    place: Annotated[str | None, Query(max_length=2000, description="Only what hangs together with this place")] = None,
    direction: Direction = "both",
) -> GraphView:
    """Of the current version of each job. Jobs meet where they read and write the same place, whatever each of them
    calls it."""
    return await service.whole(parts, project, job, place, direction, caller.principal.projects())


@router.get("/lineage/impact", responses=responses(404, 422, 503), summary="What a changed column would touch")
async def get_impact(
    parts: Parts,
    place: Place,
    column: Annotated[str, Query(max_length=500, description="A column, `addr.city` for a field of a ROW")],
    caller: CurrentCaller,
    project: Project = None,
) -> Impact:
    """Every column that values of this column come to, through any number of jobs; the nearest first. A place that no
    job is known to read or write is not found."""
    return await service.reach(parts, project, place, column, caller.principal.projects())


@router.get("/jobs/{id}/lineage", responses=responses(404, 422, 503), summary="What a job reads and writes")
async def get_lineage(
    ref: JobRef,
    parts: Parts,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="The current one by default")] = None,
) -> Lineage:
    """Tables, and for SQL the columns that each written column comes from. A version that has not run is compiled for
    it; of what cannot be compiled the tables are known, and `why` says why no more is."""
    return await service.of_job(parts, ref, version)
