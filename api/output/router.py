"""/jobs/{id}/output."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.deps import JobRef, Parts
from api.output import service
from api.output.schemas import OutputOut, OutputQuery
from api.problems import responses

router = APIRouter(tags=["history"])


@router.get("/jobs/{id}/output", responses=responses(404, 422, 503), summary="What it has printed")
async def get_output(ref: JobRef, parts: Parts, query: Annotated[OutputQuery, Query()]) -> OutputOut:
    """The last lines of the stdout of the task managers on which the job's current attempt runs, or ran last: rows of
    the connector `print` among them. All jobs on a task manager share its stdout. Where each `print` table of the job's
    plan has a `print-identifier`, only rows with these are shown. Flink copies a stdout before it gives it, and gives
    that copy for up to half a minute."""
    return await service.output(parts, ref, query)
