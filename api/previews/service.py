"""Previews: a query's rows, or what a job's script would write."""

from __future__ import annotations

from collections.abc import Sequence

from api.deps import SqlRuntime
from api.previews import schemas as out
from api.rules import Caller
from api.scripts import rows_of
from core.access import Right
from core.config import check_new_config
from core.errors import InvalidInput
from core.sql.script import parse
from core.sql.variables import filled
from services import Services
from sql.previews import RunRequest, start
from sql.streams import StreamEvent
from store import jobs, previews
from store.database import Session
from store.tables import Preview

ORDER = ["FAILED", "INTERRUPTED", "ABANDONED", "STOPPED", "LIMITED", "FINISHED"]
"""Of the ends of its streams a preview has the first one in this order."""


async def preview(services: Services, bench: SqlRuntime, caller: Caller, body: out.PreviewBody) -> out.PreviewOut:
    """Start one. Raises `InvalidInput`, `Conflict`."""
    check_new_config(body.config, "config")
    request = RunRequest(
        project=body.project,
        cluster=body.cluster,
        script=parse(filled(body.sql, body.variables, field="variables")),
        libraries=body.libraries,
        limits=body.limits,
        materialize=body.materialize,
        config=body.config,
        asked={"kind": "preview", **body.model_dump(mode="json")},
    )
    return await get(services, caller, (await start(services, bench.runs, request)).id)


async def debug(services: Services, bench: SqlRuntime, caller: Caller, body: out.DebugBody) -> out.PreviewOut:
    """Start one of a whole script. Raises `InvalidInput`, `Conflict`."""
    check_new_config(body.config, "config")
    request = RunRequest(
        project=body.project,
        cluster=body.cluster,
        script=parse(filled(body.sql, body.variables, field="variables")),
        libraries=body.libraries,
        limits=body.limits,
        materialize=True,
        config=body.config,
        asked={"kind": "debug", **body.model_dump(mode="json")},
        sources={name: await rows_of(services, body.project, name, source) for name, source in body.sources.items()},
    )
    return await get(services, caller, (await start(services, bench.runs, request)).id)


async def get(services: Services, caller: Caller, run_id: str) -> out.PreviewOut:
    """Raises `NotFound`."""
    async with services.database.read() as session:
        return _show(await _own(session, caller, run_id))


async def _own(session: Session, caller: Caller, run_id: str) -> Sequence[Preview]:
    """The streams of a preview. Raises `NotFound`, also for who may not see it."""
    rows = await previews.of_run(session, run_id)
    first = rows[0]
    caller.check_own(Right.WRITE_CODE, first.project, first.opened_by, previews.not_found(run_id))
    return rows


def _show(streams: Sequence[Preview]) -> out.PreviewOut:
    first = streams[0]
    open_ = [r for r in streams if r.ended_at is None]
    return out.PreviewOut(
        id=first.run,
        project=first.project,
        cluster=first.cluster,
        state="RUNNING" if open_ else min((r.state for r in streams), key=ORDER.index),
        streams=[
            out.StreamOut(
                stream=r.stream,
                flink_job_id=r.flink_job_id,
                state=r.state,
                why=r.why,
                rows=r.rows,
                gone=r.gone_at is not None,
            )
            for r in streams
        ],
        created_at=first.created_at,
        ended_at=None if open_ else max(r.ended_at for r in streams if r.ended_at),
    )


async def latest(services: Services, caller: Caller, project: str) -> list[out.PreviewOut]:
    """The newest of a project, newest first. Raises `NotFound`."""
    async with services.database.read() as session:
        await jobs.project(session, project)
        rows = await previews.latest(session, project, 100)
    runs: dict[str, list[Preview]] = {}
    for row in (row for row in rows if caller.has(row.project, row.opened_by)):
        runs.setdefault(row.run, []).append(row)
    return [_show(streams) for streams in runs.values()]


async def stop(services: Services, bench: SqlRuntime, caller: Caller, run_id: str) -> None:
    """Fine when it has ended. One that another API process streams is stopped by giving its lease up."""
    async with services.database.read() as session:
        rows = await _own(session, caller, run_id)
    if (run := bench.runs.find(run_id)) is not None:
        run.stop()
        await run.done.wait()
    elif any(row.ended_at is None for row in rows):
        await previews.give_up(services.database, run_id)


async def resume(services: Services, bench: SqlRuntime, caller: Caller, run_id: str) -> out.PreviewOut:
    """The same request as a new preview. Raises `InvalidInput` for what was no request of a person."""
    async with services.database.read() as session:
        request = dict((await _own(session, caller, run_id))[0].request)
    kind = request.pop("kind", "")
    if kind == "preview":
        return await preview(services, bench, caller, out.PreviewBody.model_validate(request))
    if kind == "debug":
        return await debug(services, bench, caller, out.DebugBody.model_validate(request))
    raise InvalidInput("Only previews and debug runs can be run again.", code="not_resumable", field="id")


def elsewhere(shown: out.PreviewOut) -> StreamEvent:
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
    return StreamEvent(id=1, event="end", data=data)
