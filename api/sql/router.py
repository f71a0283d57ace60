"""/sql: validate, complete, format, preview, debug."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.deps import Page, Parts, Workbench
from api.problems import responses
from api.sql import schemas as s
from core.config import check_config
from core.effects import Rejected
from core.errors import InvalidInput
from services import Services
from settings.waits import planning
from sql.complete import candidates
from sql.environment import environment, python_properties
from sql.layout import formatted
from sql.previews import Given, Wanted, given, start
from sql.runs import Event, Run
from sql.validate import Validation, of_text, summary, validate
from store import clusters, jobs, previews, testsets
from store.tables import Preview

router = APIRouter(prefix="/sql", tags=["sql"])
RunId = Annotated[str, Path(alias="id", max_length=80)]
_ALL = responses(404, 422, 503)


@router.post("/validate", responses=_ALL, summary="Check a whole script")
async def validate_script(body: s.ValidateBody, parts: Parts) -> Validation:
    """Statement by statement, by Flink's own parser and planner; nothing of it runs. All errors with their places,
    the planner's advice, and what the script reads and writes."""
    check_config(body.config, "config")
    async with parts.database.read() as session:
        await jobs.project(session, body.project)
        cluster = await clusters.get(session, body.cluster)
        script, report = of_text(body.sql, queries=body.queries)
        # A catalog is connected to when it is made; nothing else needs a secret to be checked.
        secrets = re.search(r"\bCREATE\s+CATALOG\b", body.sql, re.IGNORECASE) is not None
        if script is None:
            made = await environment(parts, session, body.project, "", open_secrets=False)
            return summary(report, made)
        made = await environment(parts, session, body.project, body.sql, uses=body.libraries, open_secrets=secrets)
    properties = {**body.config, **python_properties(parts, cluster, made)}
    try:
        async with planning(parts.settings, "Checking the script"):
            return await validate(parts.engines.compiler(cluster), made, properties, queries=body.queries)
    except Rejected as error:
        raise InvalidInput(error.message, code="sql_invalid", field="sql") from error


@router.post("/complete", responses=_ALL, summary="What may stand at the cursor")
async def complete(body: s.CompleteBody, parts: Parts, bench: Workbench) -> s.CompleteOut:
    """Keywords and functions from Flink's completer, connectors and their options from its factories; tables and
    columns from the project and the text."""
    words, uses = None, body.libraries
    if body.session is not None:
        words = await bench.sessions.complete(body.session, body.sql, body.position)
        uses = await bench.sessions.libraries(body.session)
    at, found = await candidates(parts, body.project, body.cluster, body.sql, body.position, words, uses)
    return s.CompleteOut(start=at, candidates=[s.Candidate(text=c.text, kind=c.kind, detail=c.detail) for c in found])


@router.post("/format", responses=responses(422), summary="Lay a script out")
async def format_script(body: s.FormatBody) -> s.FormatOut:
    """White space and the case of keywords; what it means is never changed."""
    made = formatted(body.sql)
    return s.FormatOut(sql=made, changed=made != body.sql)


# Previews -------------------------------------------------------------------------------------


@router.post("/previews", status_code=201, responses=responses(404, 409, 422, 503), summary="Look at a query's rows")
async def create_preview(body: s.PreviewBody, parts: Parts, bench: Workbench, response: Response) -> s.PreviewOut:
    """One SELECT, with what it needs in front. It runs at once; read its rows as server-sent events. Its Flink job
    ends with it, also when nobody listens for 15 seconds, or this process dies."""
    check_config(body.config, "config")
    wanted = Wanted(
        project=body.project,
        cluster=body.cluster,
        sql=body.sql,
        libraries=body.libraries,
        limits=body.limits,
        materialize=body.materialize,
        config=body.config,
        request={"kind": "preview", **body.model_dump(mode="json")},
    )
    return await _started(parts, bench, wanted, response)


@router.post(
    "/debug", status_code=201, responses=responses(404, 409, 422, 503), summary="Run a job's script, writing nothing"
)
async def debug(body: s.DebugBody, parts: Parts, bench: Workbench, response: Response) -> s.PreviewOut:
    """The same text as in production. Every INSERT is a stream of the rows that it would write, all of them side by
    side; no sink is opened. Sources are read live, or stand for rows that you give."""
    check_config(body.config, "config")
    wanted = Wanted(
        project=body.project,
        cluster=body.cluster,
        sql=body.sql,
        libraries=body.libraries,
        limits=body.limits,
        materialize=True,
        config=body.config,
        request={"kind": "debug", **body.model_dump(mode="json")},
        sources={name: await rows_of(parts, body.project, name, source) for name, source in body.sources.items()},
    )
    return await _started(parts, bench, wanted, response)


async def rows_of(services: Services, project: str, name: str, source: s.Source) -> Given:
    if source.test_set is None:
        return given(name, source.rows, source.csv)
    async with services.database.read() as session:
        found = await testsets.get(session, project, source.test_set)
    table = source.table or name
    if table not in found.tables:
        raise InvalidInput(
            f"The test set {found.name} has no rows for {table}.",
            code="table_not_in_test_set",
            field=f"sources.{name}",
            remedy=f"It has: {', '.join(found.tables)}.",
        )
    return Given(found.tables[table])


async def _started(parts: Services, bench: Workbench, wanted: Wanted, response: Response) -> s.PreviewOut:
    run = await start(parts, bench.runs, wanted)
    response.headers["Location"] = f"/api/v1/sql/previews/{run.id}"
    return await _shown(parts, run.id)


async def _shown(parts: Services, id_: str) -> s.PreviewOut:
    async with parts.database.read() as session:
        return show(await previews.of_run(session, id_))


def show(found: Sequence[Preview]) -> s.PreviewOut:
    first = found[0]
    open_ = [r for r in found if r.ended_at is None]
    order = ["FAILED", "INTERRUPTED", "ABANDONED", "STOPPED", "LIMITED", "FINISHED"]
    return s.PreviewOut(
        id=first.run,
        project=first.project,
        cluster=first.cluster,
        state="RUNNING" if open_ else min((r.state for r in found), key=order.index),
        streams=[
            s.StreamOut(
                stream=r.stream,
                flink_job_id=r.flink_job_id,
                state=r.state,
                why=r.why,
                rows=r.rows,
                gone=r.gone_at is not None,
            )
            for r in found
        ],
        created_at=first.created_at,
        ended_at=None if open_ else max(r.ended_at for r in found if r.ended_at),
    )


@router.get("/previews", responses=_ALL, summary="Previews of a project, newest first")
async def list_previews(parts: Parts, project: Annotated[str, Query(max_length=80)] = "default") -> Page[s.PreviewOut]:
    async with parts.database.read() as session:
        await jobs.project(session, project)
        rows = await previews.latest(session, project, 100)
    runs: dict[str, list[Preview]] = {}
    for row in rows:
        runs.setdefault(row.run, []).append(row)
    return Page(items=[show(found) for found in runs.values()])


@router.get("/previews/{id}", responses=_ALL, summary="One preview")
async def get_preview(id_: RunId, parts: Parts) -> s.PreviewOut:
    return await _shown(parts, id_)


@router.delete("/previews/{id}", status_code=204, responses=_ALL, summary="Stop a preview")
async def stop_preview(id_: RunId, parts: Parts, bench: Workbench) -> None:
    """Fine when it has ended. One that another API process streams is stopped by giving its lease up."""
    async with parts.database.read() as session:
        rows = await previews.of_run(session, id_)
    if (run := bench.runs.find(id_)) is not None:
        run.stop()
        await run.done.wait()
    elif any(r.ended_at is None for r in rows):
        await previews.give_up(parts.database, id_)


@router.post("/previews/{id}/resume", status_code=201, responses=responses(404, 409, 422, 503), summary="Run it again")
async def resume_preview(id_: RunId, parts: Parts, bench: Workbench, response: Response) -> s.PreviewOut:
    """The same request as a new preview, after it was interrupted. Rows come from the beginning again."""
    async with parts.database.read() as session:
        request = dict((await previews.of_run(session, id_))[0].request)
    kind = request.pop("kind", "")
    if kind == "preview":
        return await create_preview(s.PreviewBody.model_validate(request), parts, bench, response)
    if kind == "debug":
        return await debug(s.DebugBody.model_validate(request), parts, bench, response)
    raise InvalidInput("Only previews and debug runs can be run again.", code="not_resumable", field="id")


async def _listening(
    id_: RunId,
    parts: Parts,
    bench: Workbench,
    last: Annotated[str | None, Header(alias="Last-Event-ID", max_length=20)] = None,
) -> tuple[Run | None, s.PreviewOut, int]:
    """Found before the stream begins, so that a 404 is a 404."""
    if last is not None and not (last.isascii() and last.isdigit()):
        raise InvalidInput(
            "Last-Event-ID is the id of an event of this preview.", code="bad_event", field="Last-Event-ID"
        )
    return bench.runs.find(id_), await _shown(parts, id_), int(last or 0)


@router.get(
    "/previews/{id}/events",
    responses=_ALL,
    response_class=EventSourceResponse,
    summary="Rows as they come (server-sent events)",
)
async def stream_preview(
    found: Annotated[tuple[Run | None, s.PreviewOut, int], Depends(_listening)],
) -> AsyncIterator[ServerSentEvent]:
    """Events `start`, `columns`, `rows` (`{"stream", "rows": [{"kind": "+I", "fields"}]}`), `table` (the table as it
    is), `progress` once a second, `ended` for each stream and `end`. Send `Last-Event-ID` to go on after a break."""
    run, shown, after = found
    if run is None:
        yield _event(_elsewhere(shown))
        return
    async for event in run.listen(after):
        yield _event(event)


def _event(event: Event) -> ServerSentEvent:
    return ServerSentEvent(event=event.event, id=str(event.id), data=event.data)


def _elsewhere(shown: s.PreviewOut) -> Event:
    """Its rows are not in this process: another one streams it, or it was lost."""
    if shown.state == "RUNNING":
        why = "another API process streams it: ask that one, or run it again"
    else:
        why = shown.streams[0].why or "it has ended, and its rows are not kept"
    data = {
        "run": shown.id,
        "state": shown.state if shown.ended_at else "INTERRUPTED",
        "why": why,
        "resume": f"POST /api/v1/sql/previews/{shown.id}/resume",
    }
    return Event(id=1, event="end", data=data)
