"""/jobs/{id}/exceptions and /jobs/{id}/logs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import PlainTextResponse

from api.deps import JobRef, Parts
from api.diagnostics import service
from api.diagnostics.schemas import Exceptions, JobLogs
from api.problems import responses

router = APIRouter(tags=["history"])
Attempt = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Number of the attempt; the last by default")]
Part = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,199}$", description="As the list of logs has it")]
File = Annotated[str, Path(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._:@-]{0,199}$", description="As the list of logs has it")]


@router.get("/jobs/{id}/exceptions", responses=responses(404, 422, 503), summary="Exceptions of an attempt")
async def list_exceptions(ref: JobRef, parts: Parts, attempt: Attempt = None) -> Exceptions:
    """What failed, when, in which task: asked of Flink now, newest first. Of an attempt that Flink does not know any
    more there is what Penstock saw of its end."""
    return await service.exceptions(parts, ref, attempt)


@router.get("/jobs/{id}/logs", responses=responses(404, 422, 503), summary="Logs that can be read")
async def list_logs(ref: JobRef, parts: Parts, attempt: Attempt = None) -> JobLogs:
    """Of its last commands (builds and submissions are in them), and of the parts of its cluster; of a session cluster
    that Penstock runs, what its processes have written."""
    return await service.logs(parts, ref, attempt)


@router.get(
    "/jobs/{id}/logs/{part}/{file}",
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "The log as text"},
        **responses(404, 422, 503),
    },
    response_class=PlainTextResponse,
    summary="The end of a log",
)
async def read_log(
    ref: JobRef,
    part: Part,
    file: File,
    parts: Parts,
    attempt: Attempt = None,
    lines: Annotated[int, Query(ge=1, le=10_000, description="How many lines, from the end")] = 500,
) -> str:
    """The last lines of one log, 4 MB at most. Values of secrets of the project are left out."""
    return await service.log(parts, ref, part, file, attempt=attempt, lines=lines)
