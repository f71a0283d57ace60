"""Shapes of test sets and tests."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from api.deps import Strict
from api.scripts import Rows, ScriptBody, Source
from core.specs import MAX_SQL
from core.sql.verdict import StateVerdict
from sql.testing import SinkChange


class TestSetBody(Strict):
    tables: dict[Annotated[str, StringConstraints(max_length=200)], Annotated[Rows, Field(max_length=10_000)]] = Field(
        min_length=1, max_length=50
    )
    description: str = Field(default="", max_length=4000)


class SampleBody(ScriptBody):
    """Rows of live sources, kept as a test set. `sql` is what makes the tables; it may be empty of INSERTs."""

    sql: Annotated[str, StringConstraints(max_length=MAX_SQL)] = ""
    tables: list[Annotated[str, StringConstraints(min_length=1, max_length=200)]] = Field(min_length=1, max_length=20)
    rows: int = Field(default=20, ge=1, le=1000)
    seconds: float = Field(default=30, ge=1, le=300)
    description: str = Field(default="", max_length=4000)


class TestSetOut(BaseModel):
    project: str
    name: str
    tables: dict[str, Rows]
    description: str
    created_at: datetime
    updated_at: datetime


class TestBody(Strict):
    """`expected` may be left out: then it is what the script writes now."""

    inputs: dict[Annotated[str, StringConstraints(max_length=200)], Source] = Field(min_length=1, max_length=50)
    expected: dict[Annotated[str, StringConstraints(max_length=200)], Rows] | None = Field(default=None, max_length=50)


class CompareBody(Strict):
    sources: dict[Annotated[str, StringConstraints(max_length=200)], Source] = Field(
        min_length=1, max_length=50, description="Rows for every table that either version reads"
    )


class ComparisonOut(BaseModel):
    before: int = Field(description="Number of a version")
    after: int = Field(description="Number of a version")
    same: bool
    sinks: list[SinkChange]
    state: StateVerdict = Field(
        description="Whether the version after can go on from the newest state that the job has, as a resubmit would"
    )


class TestOut(BaseModel):
    version: int
    name: str
    inputs: dict[str, Rows]
    expected: dict[str, Rows]
    created_at: datetime
