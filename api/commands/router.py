"""/jobs/{id}/commands and their logs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from fastapi.responses import PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.commands import reading, service
from api.commands.schemas import CommandOut, NewCommand
from api.deps import JobRef, Page, PageQuery, Parts
from api.problems import responses
from api.security import CurrentCaller
from core.errors import InvalidInput

router = APIRouter(tags=["commands"])
Number = Annotated[int, Path(ge=1, le=2**31 - 1, description="Number of the command")]
Wait = Annotated[
    float,
    Query(ge=0, le=60, description="Answer when the command has ended, or after so many seconds with how it is then"),
]
Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=255, description="The same key gives the same command"),
]


@router.post("/jobs/{id}/commands", status_code=202, responses=responses(404, 409, 422, 503), summary="Send a command")
async def send_command(
    ref: JobRef, new: NewCommand, parts: Parts, caller: CurrentCaller, response: Response, key: Key = None
) -> CommandOut:
    """Returns at once. Follow the command by GET with `wait`, or its log by server-sent events.

    A start or restart of a paused or failed job takes the newest restore point. A resubmit, and
    anything after a kill, needs `restore`: only the caller can say what the state is worth.

    A start or restart runs what ran last (its commit; its compiled plan, tables and libraries); a resubmit looks at
    the branch and compiles anew. 409 `state_incompatible`, `state_loss` and `state_unknown` stop nothing, and say what
    has to be accepted.
    """
    command = await service.send(parts, caller, ref, new, key)
    response.headers["Location"] = f"/api/v1/jobs/{ref}/commands/{command.number}".encode("ascii", "ignore").decode()
    return command


@router.get("/jobs/{id}/commands", responses=responses(404, 422, 503), summary="List commands, newest first")
async def list_commands(ref: JobRef, parts: Parts, paging: PageQuery) -> Page[CommandOut]:
    """The commands of a job, the newest first."""
    items, following = await reading.page(parts, ref, limit=paging.limit, cursor=paging.cursor)
    return Page(items=items, next_cursor=following)


@router.get("/jobs/{id}/commands/{number}", responses=responses(404, 422, 503), summary="One command")
async def get_command(ref: JobRef, number: Number, parts: Parts, wait: Wait = 0) -> CommandOut:
    """One command: who asked for it, its state, and why it failed. With `wait` as soon as it has ended."""
    return await reading.get(parts, ref, number, wait=wait)


@router.get(
    "/jobs/{id}/commands/{number}/log",
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "The log as text"},
        **responses(404, 422, 503),
    },
    response_class=PlainTextResponse,
    summary="The whole log of a command",
)
async def get_log(ref: JobRef, number: Number, parts: Parts) -> str:
    """What was done for a command, line by line."""
    lines = await reading.lines(parts, ref, number)
    return "".join(f"{line.at:%Y-%m-%dT%H:%M:%S}Z {line.text}\n" for line in lines)


async def _followed(
    ref: JobRef,
    number: Number,
    parts: Parts,
    last: Annotated[str | None, Header(alias="Last-Event-ID", max_length=40)] = None,
) -> tuple[str, int]:
    """Found before the stream begins, so that a 404 is a 404."""
    if last is not None and not (last.isascii() and last.isdigit() and int(last) < 2**63):
        raise InvalidInput("Last-Event-ID is the id of an event of this log.", code="bad_event", field="Last-Event-ID")
    return await reading.command_id(parts, ref, number), int(last or 0)


@router.get(
    "/jobs/{id}/commands/{number}/log/stream",
    responses=responses(404, 422, 503),
    response_class=EventSourceResponse,
    summary="The log as it grows (server-sent events)",
)
async def stream_log(
    parts: Parts, followed: Annotated[tuple[str, int], Depends(_followed)]
) -> AsyncIterator[ServerSentEvent]:
    """Events `line` (data `{"id", "at", "text"}`) until the command has ended, then one `end` with the command.
    Send `Last-Event-ID` to go on after a break."""
    command_id, after = followed
    async for line in reading.follow(parts, command_id, wait=True, after=after):
        yield ServerSentEvent(event="line", id=str(line.id), data=line)
    yield ServerSentEvent(event="end", data=await reading.by_id(parts, command_id))
