"""/sql/sessions: interactive sessions that outlive their gateway."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from api.deps import Page, Parts, Workbench
from api.problems import responses
from api.security import CurrentCaller
from api.sessions import schemas as s
from api.sessions import service

router = APIRouter(prefix="/sql/sessions", tags=["sql sessions"])
SessionId = Annotated[str, Path(alias="id", max_length=80)]
_ALL = responses(404, 422, 503)


@router.post("", status_code=201, responses=_ALL, summary="Open a session")
async def create_session(body: s.NewSession, bench: Workbench, response: Response) -> s.SessionOut:
    """With the project's tables and the libraries that it names."""
    session = await service.create(bench, body)
    response.headers["Location"] = f"/api/v1/sql/sessions/{session.id}"
    return session


@router.get("", responses=_ALL, summary="Open sessions of a project")
async def list_sessions(
    parts: Parts, caller: CurrentCaller, project: Annotated[str, Query(max_length=80)] = "default"
) -> Page[s.SessionOut]:
    """Your open SQL sessions in a project; all of them for its owners."""
    return Page(items=await service.all_(parts, caller, project))


@router.get("/{id}", responses=_ALL, summary="One session")
async def get_session(id_: SessionId, parts: Parts, caller: CurrentCaller) -> s.SessionOut:
    """A SQL session, with what was made in it."""
    return await service.get(parts, caller, id_)


@router.delete("/{id}", status_code=204, responses=_ALL, summary="Close a session")
async def close_session(id_: SessionId, parts: Parts, bench: Workbench, caller: CurrentCaller) -> None:
    """Close a SQL session. Queries that run in it are stopped."""
    await service.end(parts, bench, caller, id_)


@router.post("/{id}/statements", responses=responses(404, 409, 422, 503), summary="Run a statement")
async def run_statement(
    id_: SessionId, body: s.StatementBody, parts: Parts, bench: Workbench, caller: CurrentCaller
) -> s.StatementOut:
    """DDL, SET, SHOW, DESCRIBE, EXPLAIN give their rows at once; a query gives a preview to listen to. When the session
    had to be made again on another gateway, the answer says what that did not bring back."""
    return await service.execute(parts, bench, caller, id_, body)
