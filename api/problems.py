"""Errors as problem+json (RFC 9457): what happened, at which field, what to do."""

from __future__ import annotations

import re
from typing import Any, get_args

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from temporalio.client import RPCTimeoutOrCancelledError
from temporalio.service import RPCError

from api.words import words
from clusters.protocol import Unclear, Unreachable
from clusters.sql import SessionGone
from core.effects import EngineError, NotNow, ProgramTrouble
from core.errors import Conflict, PenstockError
from core.specs import BUILD_TOOLS, JobType
from store.database import CommittedWrites, DatabaseUnavailable, Taken

MEDIA_TYPE = "application/problem+json"
log = structlog.get_logger()


class FieldError(BaseModel):
    field: str = Field(examples=["spec.git.url"])
    message: str


class Problem(BaseModel):
    """RFC 9457. `code` is a stable word for programs; `remedy` says what to do next."""

    type: str = Field(examples=["https://penstock.invalid/problems/command_not_allowed"])
    title: str = Field(examples=["Conflict"])
    status: int = Field(examples=[409])
    detail: str = Field(examples=["Job default:clicks is CREATED, which does not allow pause."])
    code: str = Field(examples=["command_not_allowed"])
    field: str | None = None
    remedy: str | None = Field(default=None, examples=["Allowed now: start."])
    allowed: list[str] | None = Field(default=None, description="With 409: the commands that the state allows")
    errors: list[FieldError] | None = Field(default=None, description="With 422: every field at fault")


_TITLES = {
    400: "Bad request",
    401: "Unauthenticated",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    421: "Misdirected request",
    422: "Invalid input",
    500: "Internal error",
    503: "Unavailable",
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The entry for FastAPI's `responses`: these statuses answer with a problem."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _TITLES[status], "content": content} for status in statuses}


def made_or_changed(model: type[BaseModel], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same for a PUT that answers 201 when it made something, and 200 when that was there."""
    return {201: {"model": model, "description": "Created"}, **responses(*statuses)}


def answer(status: int, detail: str, code: str, **more: Any) -> JSONResponse:
    """A problem as RFC 9457 has it: `detail` is for a person, `code` for a program, `more` are fields beside them."""
    problem = Problem(
        type=f"https://penstock.invalid/problems/{code}",
        title=_TITLES.get(status, "Error"),
        status=status,
        detail=detail,
        code=code,
        **more,
    )
    return JSONResponse(problem.model_dump(exclude_none=True), status_code=status, media_type=MEDIA_TYPE)


def told(error: PenstockError) -> JSONResponse:
    """An error of ours as it leaves."""
    allowed = error.allowed if isinstance(error, Conflict) else None
    return answer(error.status, error.message, error.code, field=error.field, remedy=error.remedy, allowed=allowed)


def install(app: FastAPI) -> None:
    """Every error of the application leaves as a problem."""

    @app.exception_handler(PenstockError)
    async def ours(_: Request, error: PenstockError) -> JSONResponse:
        return told(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        told = {(_field(e["loc"]), words(e)): None for e in error.errors()}  # each once, in order
        errors = [FieldError(field=field, message=message) for field, message in told][:50]
        detail = "; ".join(f"{e.field}: {e.message}" for e in errors[:3])
        return answer(422, detail, "invalid_input", field=errors[0].field if errors else None, errors=errors)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        response = answer(error.status_code, str(error.detail), f"http_{error.status_code}")
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(EngineError)
    async def engine(request: Request, error: EngineError) -> JSONResponse:
        if isinstance(error, Unreachable | SessionGone):
            what = "What was sent may have arrived: look" if error.sent else "Nothing was sent: try again"
            return answer(503, error.sentence, "cluster_unreachable", remedy=f"{what} when it answers.")
        if isinstance(error, Unclear):
            remedy = "What was sent may have arrived: look before you send it again."
            return answer(503, error.sentence, "outcome_unclear", remedy=remedy)
        if isinstance(error, NotNow):
            return answer(503, error.sentence, "not_now", remedy="Nothing was done: try again shortly.")
        if isinstance(error, ProgramTrouble):
            log.error("a program that is run for a request fails", why=error.message)
            return answer(503, error.sentence, "program_failed", remedy=_so_far(request))
        return answer(422, error.message, "flink_refused")

    @app.exception_handler(RPCError)
    async def temporal(request: Request, error: RPCError) -> JSONResponse:
        log.warning("temporal does not answer", why=str(error))
        return answer(503, "Temporal does not answer.", "temporal_unavailable", remedy=_so_far(request))

    @app.exception_handler(RPCTimeoutOrCancelledError)
    async def unanswered(request: Request, error: RPCTimeoutOrCancelledError) -> JSONResponse:
        log.warning("a workflow does not answer", why=type(error).__name__)
        return answer(
            503,
            "A workflow did not answer in time; it may answer this later.",
            "workflow_unanswered",
            remedy="Is a worker running? The Temporal UI shows a workflow whose tasks fail: mend or roll back the "
            f"worker, and it goes on. {_so_far(request)}",
        )

    @app.exception_handler(DatabaseUnavailable)
    async def database(request: Request, error: DatabaseUnavailable) -> JSONResponse:
        return unavailable(request, error)

    @app.exception_handler(OSError)
    async def machine(request: Request, error: OSError) -> JSONResponse:
        """Time-outs are some. Who knows more says more, where it happens."""
        log.error("the machine refuses something", exc_info=error)
        words = error.strerror or ("it took too long" if isinstance(error, TimeoutError) else type(error).__name__)
        detail = f"The machine of the API could not do its part: {words}. The API's log has the details."
        return answer(503, detail, "machine_trouble", remedy=_so_far(request))

    @app.exception_handler(Taken)
    async def race(_: Request, error: Taken) -> JSONResponse:
        return answer(409, "Someone else was changing the same thing.", "conflict", remedy="Look at it and try again.")

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.exception("request failed", path=request.url.path, exc_info=error)
        detail = "This is a defect of Penstock; the API's log has the details."
        return answer(500, detail, "internal", remedy=_so_far(request))


def unavailable(request: Request, error: DatabaseUnavailable) -> JSONResponse:
    """What is answered while the database cannot be used."""
    log.error("the database cannot be used", why=error.why, exc_info=error)
    return answer(503, f"{error}.", "database_unavailable", remedy=_so_far(request))


def _so_far(request: Request) -> str:
    """What a request that failed has written by then, and what to do."""
    written: CommittedWrites = getattr(request.state, "written", CommittedWrites())
    if written.unclear:
        return "Whether the last change was kept is not known: look before you send it again."
    if written.kept:
        return "What was written before that stays: look at it before you send this again."
    return "Nothing was written; try again shortly."


_OF_THE_LIBRARY = re.compile(r"^constrained-|[\[(]")
"""Parts of a place that name a type, not a field."""


def _field(location: tuple[int | str, ...]) -> str:
    parts = [str(p) for p in location if p not in ("body", "query", "path", "header")]
    parts = [p for p in parts if not _OF_THE_LIBRARY.search(p)]
    parts = [p for p in parts if p not in get_args(JobType) or parts.index(p) > 1]
    parts = [p for before, p in zip(["", *parts], parts, strict=False) if before != "build" or p not in BUILD_TOOLS]
    return ".".join(parts) or str(location[0])
