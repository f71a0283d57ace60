"""/sql/sessions: interactive sessions that outlive their gateway."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from api.deps import Page, Parts, Workbench
from api.problems import responses
from api.sql import schemas as s
from core import config as rules
from sql import sessions
from store import jobs
from store.tables import SqlSession

router = APIRouter(prefix="/sql/sessions", tags=["sql sessions"])
SessionId = Annotated[str, Path(alias="id", max_length=80)]
_ALL = responses(404, 422, 503)


@router.post("", status_code=201, responses=_ALL, summary="Open a session")
async def create_session(body: s.NewSession, bench: Workbench, response: Response) -> s.SessionOut:
    """With the project's tables and the libraries that it names."""
    row = await bench.sessions.create(body.project, body.cluster, body.name, body.config, body.libraries)
    response.headers["Location"] = f"/api/v1/sql/sessions/{row.id}"
    return _show(row)


@router.get("", responses=_ALL, summary="Open sessions of a project")
async def list_sessions(parts: Parts, project: Annotated[str, Query(max_length=80)] = "default") -> Page[s.SessionOut]:
    async with parts.database.read() as session:
        await jobs.project(session, project)
        return Page(items=[_show(row) for row in await sessions.all_(session, project)])


@router.get("/{id}", responses=_ALL, summary="One session")
async def get_session(id_: SessionId, parts: Parts) -> s.SessionOut:
    async with parts.database.read() as session:
        return _show(await sessions.get(session, id_))


@router.delete("/{id}", status_code=204, responses=_ALL, summary="Close a session")
async def close_session(id_: SessionId, bench: Workbench) -> None:
    await bench.sessions.end(id_)


@router.post("/{id}/statements", responses=responses(404, 409, 422, 503), summary="Run a statement")
async def run_statement(id_: SessionId, body: s.StatementBody, bench: Workbench) -> s.StatementOut:
    """DDL, SET, SHOW, DESCRIBE, EXPLAIN give their rows at once; a query gives a preview to listen to. When the session
    had to be made again on another gateway, the answer says what that did not bring back."""
    found = await bench.sessions.execute(id_, body.statement, body.limits, materialize=body.materialize)
    rebuilt = None
    if found.rebuilt is not None:
        message = "The gateway had forgotten the session, or was gone: it was made again."
        if found.rebuilt.reset:
            message += f" These settings are not in force any more: {', '.join(found.rebuilt.reset)}."
        rebuilt = s.RebuiltOut(
            message=message,
            reset={k: rules.shown(k, v) for k, v in found.rebuilt.reset.items()},
            lost=found.rebuilt.lost,
        )
    return s.StatementOut(
        columns=found.columns,
        rows=found.rows,
        truncated=found.truncated,
        preview=found.run.id if found.run else None,
        rebuilt=rebuilt,
    )


def _show(row: SqlSession) -> s.SessionOut:
    return s.SessionOut(
        id=row.id,
        project=row.project,
        cluster=row.cluster,
        name=row.name,
        config={k: rules.shown(k, v) for k, v in row.config.items()},
        libraries=row.libraries,
        setup=row.setup,
        settings={k: rules.shown(k, v) for k, v in row.settings.items()},
        gateway=row.gateway_url,
        generation=row.generation,
        created_at=row.created_at,
        used_at=row.used_at,
    )
