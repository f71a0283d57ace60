"""Shapes of validation, completion, previews, debugging, sessions and tests."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from api.deps import Strict
from core.names import Name
from core.specs import MAX_SQL, Use
from sql.runs import Limits

Sql = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SQL)]
Rows = list[dict[str, Any]]
EXAMPLE_QUERY = (
    "CREATE TABLE clicks (id BIGINT, at TIMESTAMP(3)) WITH ('connector' = 'datagen', 'rows-per-second' = '5');\n"
    "SELECT * FROM clicks;"
)


class Script(Strict):
    """A text with what it is run with."""

    project: Name = "default"
    cluster: Name = Field(default="local", description="Whose Flink says what is right")
    sql: Sql
    libraries: list[Use] = Field(default=[], max_length=50)
    config: dict[str, str] = Field(default={}, max_length=200, description="Flink configuration")


class ValidateBody(Script):
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


class Candidate(BaseModel):
    text: str
    kind: str = Field(description="keyword, table, column, function, connector, option or name")
    detail: str = ""


class CompleteOut(BaseModel):
    """`start` is where the word begins that a candidate takes the place of."""

    start: int
    candidates: list[Candidate]


class FormatBody(Strict):
    sql: Sql


class FormatOut(BaseModel):
    sql: str
    changed: bool


class PreviewBody(Script):
    limits: Limits = Limits()
    materialize: bool = Field(default=False, description="Also the table as it is, in `table` events")
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"sql": EXAMPLE_QUERY}]})


class Source(Strict):
    """Rows in place of a table: objects, CSV with a header, or those of a test set."""

    rows: Rows | None = Field(default=None, max_length=10_000)
    csv: Annotated[str, StringConstraints(max_length=10_000_000)] | None = None
    test_set: Name | None = None
    table: str | None = Field(default=None, max_length=200, description="With `test_set`: another table of it")

    @model_validator(mode="after")
    def _one(self) -> Source:
        if sum(x is not None for x in (self.rows, self.csv, self.test_set)) != 1:
            raise ValueError("give one of `rows`, `csv` and `test_set`")
        return self


class DebugBody(Script):
    sources: dict[Annotated[str, StringConstraints(max_length=200)], Source] = Field(
        default={}, max_length=50, description="Rows in place of tables; what is not named is read live"
    )
    limits: Limits = Limits()


class StreamOut(BaseModel):
    stream: str = Field(description="The sink it stands for; empty for a plain query")
    flink_job_id: str
    state: str
    why: str | None
    rows: int
    gone: bool = Field(description="Whether its Flink job has been seen to be gone")


class PreviewOut(BaseModel):
    id: str
    project: str
    cluster: str
    state: str = Field(description="RUNNING, FINISHED, LIMITED, STOPPED, ABANDONED, FAILED or INTERRUPTED")
    streams: list[StreamOut]
    created_at: datetime
    ended_at: datetime | None


class NewSession(Strict):
    project: Name = "default"
    cluster: Name = "local"
    name: str = Field(default="", max_length=80)
    config: dict[str, str] = Field(default={}, max_length=200)
    libraries: list[Use] = Field(default=[], max_length=50)


class SessionOut(BaseModel):
    id: str
    project: str
    cluster: str
    name: str
    config: dict[str, str]
    libraries: list[dict[str, Any]]
    setup: list[str] = Field(description="The statements that make it again on another gateway")
    settings: dict[str, str] = Field(description="SETs; lost when it has to be made again")
    gateway: str | None
    generation: int = Field(description="How often it has been made")
    created_at: datetime
    used_at: datetime


class StatementBody(Strict):
    statement: Sql
    limits: Limits = Limits()
    materialize: bool = False


class RebuiltOut(BaseModel):
    """The session had to be made again, because its gateway had forgotten it or was gone."""

    message: str
    reset: dict[str, str] = Field(description="SETs that are not in force any more")
    lost: list[str] = Field(description="Statements that failed this time, with the reason")


class StatementOut(BaseModel):
    columns: list[dict[str, Any]]
    rows: list[list[Any]]
    truncated: bool
    preview: str | None = Field(description="Of a query: the preview that streams its rows")
    rebuilt: RebuiltOut | None


class TestSetBody(Strict):
    tables: dict[Annotated[str, StringConstraints(max_length=200)], Annotated[Rows, Field(max_length=10_000)]] = Field(
        min_length=1, max_length=50
    )
    description: str = Field(default="", max_length=4000)


class SampleBody(Script):
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


class TestOut(BaseModel):
    version: int
    name: str
    inputs: dict[str, Rows]
    expected: dict[str, Rows]
    created_at: datetime
