"""/sql/previews and /sql/debug: rows as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.deps import Page, Parts, Workbench
from api.exact import ExactRoute
from api.previews import schemas as s
from api.previews import service
from api.problems import responses
from api.security import CurrentCaller
from core.errors import InvalidInput
from sql.runs import Run
from sql.streams import StreamEvent

router = APIRouter(prefix="/sql", tags=["sql"], route_class=ExactRoute)
RunId = Annotated[str, Path(alias="id", max_length=80)]
_ALL = responses(404, 422, 503)


@router.post("/previews", status_code=201, responses=responses(404, 409, 422, 503), summary="Look at a query's rows")
async def create_preview(
    body: s.PreviewBody, parts: Parts, bench: Workbench, caller: CurrentCaller, response: Response
) -> s.PreviewOut:
    """One SELECT, with what it needs in front. It runs at once; read its rows as server-sent events. Its Flink job
    ends with it, also when nobody listens for 15 seconds, or this process dies."""
    return _located(response, await service.preview(parts, bench, caller, body))


@router.post(
    "/debug", status_code=201, responses=responses(404, 409, 422, 503), summary="Run a job's script, writing nothing"
)
async def debug(
    body: s.DebugBody, parts: Parts, bench: Workbench, caller: CurrentCaller, response: Response
) -> s.PreviewOut:
    """The same text as in production. Every INSERT is a stream of the rows that its sink is given, cast to the types of
    its columns, all of them side by side; no sink is opened. Sources are read live, or stand for rows that you give."""
    return _located(response, await service.debug(parts, bench, caller, body))


def _located(response: Response, preview: s.PreviewOut) -> s.PreviewOut:
    response.headers["Location"] = f"/api/v1/sql/previews/{preview.id}"
    return preview


@router.get("/previews", responses=_ALL, summary="Previews of a project, newest first")
async def list_previews(
    parts: Parts, caller: CurrentCaller, project: Annotated[str, Query(max_length=80)] = "default"
) -> Page[s.PreviewOut]:
    """Your previews and debug runs in a project, the newest first; of all for its owners."""
    return Page(items=await service.latest(parts, caller, project))


@router.get("/previews/{id}", responses=_ALL, summary="One preview")
async def get_preview(id_: RunId, parts: Parts, caller: CurrentCaller) -> s.PreviewOut:
    """A preview or debug run, with the rows that it has so far."""
    return await service.get(parts, caller, id_)


@router.delete("/previews/{id}", status_code=204, responses=_ALL, summary="Stop a preview")
async def stop_preview(id_: RunId, parts: Parts, bench: Workbench, caller: CurrentCaller) -> None:
    """Fine when it has ended. One that another API process streams is stopped by giving its lease up."""
    await service.stop(parts, bench, caller, id_)


@router.post("/previews/{id}/resume", status_code=201, responses=responses(404, 409, 422, 503), summary="Run it again")
async def resume_preview(
    id_: RunId, parts: Parts, bench: Workbench, caller: CurrentCaller, response: Response
) -> s.PreviewOut:
    """The same request as a new preview, after it was interrupted. Rows come from the beginning again."""
    return _located(response, await service.resume(parts, bench, caller, id_))


async def _listening(
    id_: RunId,
    parts: Parts,
    bench: Workbench,
    caller: CurrentCaller,
    last: Annotated[str | None, Header(alias="Last-Event-ID", max_length=20)] = None,
) -> tuple[Run | None, s.PreviewOut, int]:
    """Found before the stream begins, so that a 404 is a 404."""
    if last is not None and not (last.isascii() and last.isdigit()):
        raise InvalidInput(
            "Last-Event-ID is the id of an event of this preview.", code="bad_event", field="Last-Event-ID"
        )
    shown = await service.get(parts, caller, id_)
    return bench.runs.find(id_), shown, int(last or 0)


@router.get(
    "/previews/{id}/events",
    responses=_ALL,
    response_class=EventSourceResponse,
    summary="Rows as they come (server-sent events)",
)
async def stream_preview(
    listening: Annotated[tuple[Run | None, s.PreviewOut, int], Depends(_listening)],
) -> AsyncIterator[ServerSentEvent]:
    """Events `start`, `columns`, `rows` (`{"stream", "rows": [{"kind": "+I", "fields"}]}`), `table` (the table as it
    is), `progress` once a second, `ended` for each stream and `end`. Values of DECIMAL are text with all their digits.
    Send `Last-Event-ID` to go on after a break."""
    run, shown, after = listening
    if run is None:
        yield _event(service.elsewhere(shown))
        return
    async for event in run.listen(after):
        yield _event(event)


def _event(event: StreamEvent) -> ServerSentEvent:
    return ServerSentEvent(event=event.event, id=str(event.id), data=event.data)
