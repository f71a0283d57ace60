"""/sql: validate, complete, format."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from api.deps import Page, Parts, Workbench
from api.problems import responses
from api.security import CurrentCaller
from api.sql import schemas as s
from api.sql import service
from sql.templates import Template
from sql.validate import Validation

router = APIRouter(prefix="/sql", tags=["sql"])


@router.post("/validate", responses=responses(404, 422, 503), summary="Check a whole script")
async def validate_script(body: s.ValidateBody, parts: Parts) -> Validation:
    """Statement by statement, by Flink's own parser and planner; nothing of it runs. All errors with their places,
    the planner's advice, and what the script reads and writes."""
    return await service.check(parts, body)


@router.post("/complete", responses=responses(404, 422, 503), summary="What may stand at the cursor")
async def complete(body: s.CompleteBody, parts: Parts, bench: Workbench, caller: CurrentCaller) -> s.CompleteOut:
    """Keywords and functions from Flink's completer, connectors and their options from its factories; tables and
    columns from the project and the text."""
    return await service.complete(parts, bench, caller, body)


@router.post("/format", responses=responses(422), summary="Lay a script out")
def format_script(body: s.FormatBody) -> s.FormatOut:
    """White space, and the case of words that Flink reserves; no token changes otherwise."""
    return service.lay_out(body)


@router.get("/templates", summary="Scripts to begin with")
def list_templates() -> Page[Template]:
    """Each for a purpose, by name. They run as they are: sources make up their rows, and sinks print them."""
    return Page(items=service.all_templates())


@router.get("/templates/{name}", responses=responses(404, 422), summary="One of them")
def get_template(name: Annotated[str, Path(max_length=80)]) -> Template:
    """With its text, and its variables with their defaults."""
    return service.one_template(name)
