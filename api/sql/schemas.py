"""Shapes of validation, completion and layout."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.deps import Strict
from api.scripts import EXAMPLE_QUERY, ScriptBody, Sql
from core.names import Name
from core.specs import MAX_SQL, Use
from sql.complete import Candidate


class ValidateBody(ScriptBody):
    queries: bool = Field(default=False, description="SELECTs are welcome, and no INSERT is needed")
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"sql": EXAMPLE_QUERY, "queries": True}]})


class CompleteBody(Strict):
    project: Name = "default"
    cluster: Name = "local"
    session: str | None = Field(default=None, max_length=80, description="With it, also what was made in the session")
    libraries: list[Use] = Field(
        default=[],
        max_length=50,
        description="Whose connectors count; by default the session's, or the newest of each of the project",
    )
    sql: Annotated[str, StringConstraints(max_length=MAX_SQL)]
    position: int = Field(ge=0, le=MAX_SQL, description="Characters before the cursor")


class CompleteOut(BaseModel):
    """`start` is where the word begins that a candidate takes the place of."""

    start: int
    candidates: list[Candidate]


class FormatBody(Strict):
    sql: Sql


class FormatOut(BaseModel):
    sql: str
    changed: bool
