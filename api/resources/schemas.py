"""Shapes of registered tables, grants and secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic.config import JsonDict

from api.deps import Strict
from core.specs import MAX_SQL, Use
from core.sql.resources import TableDefinition
from core.sql.views import Definition, Query, ViewDefinition

EXAMPLE: JsonDict = {
    "definition": {
        "columns": [
            {"name": "id", "type": "BIGINT"},
            {"name": "at", "type": "TIMESTAMP(3)"},
        ],
        "watermark": {"column": "at", "expression": "at - INTERVAL '5' SECOND"},
        "options": {"connector": "datagen", "rows-per-second": "5"},
    },
    "description": "Clicks on the shop",
    "owner": "team-shop",
}


class ResourceBody(Strict):
    """A table with its `definition`, or a view (`"kind": "view"`) with its `query`."""

    kind: Literal["table", "view"] = "table"
    definition: TableDefinition | None = Field(default=None, description="Of a table")
    query: Query | None = Field(default=None, description="Of a view: one query", examples=["SELECT id FROM clicks"])
    description: str = Field(default="", max_length=4000)
    owner: str = Field(default="", max_length=200)
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    @model_validator(mode="after")
    def _one(self) -> ResourceBody:
        wanted, other = ("query", "definition") if self.kind == "view" else ("definition", "query")
        if getattr(self, wanted) is None or getattr(self, other) is not None:
            raise ValueError(f"a {self.kind} has a `{wanted}` and no `{other}`")
        return self

    @property
    def resource(self) -> Definition:
        """What is registered."""
        if self.definition is not None:
            return self.definition
        return ViewDefinition(query=self.query or "")


class GrantOut(BaseModel):
    project: str = Field(description="The project that it is granted to")
    read: bool
    write: bool
    created_at: datetime


class ResourceOut(BaseModel):
    project: str
    name: str
    kind: Literal["table", "view"]
    definition: TableDefinition | None = Field(description="Of a table; null for a view")
    query: str | None = Field(description="Of a view; null for a table")
    ddl: str = Field(description="The CREATE that is put in front of scripts that name it")
    description: str
    owner: str
    read: bool = Field(description="Whether the asking project may read it")
    write: bool
    revision: int
    grants: list[GrantOut] | None = Field(description="For its own project: who else may use it")
    created_at: datetime
    updated_at: datetime


class ImportBody(Strict):
    sql: str = Field(
        max_length=MAX_SQL, description="CREATE TABLE and CREATE VIEW statements, as they stand in a script"
    )
    cluster: str = Field(default="local", max_length=80, description="The cluster whose Flink reads them")
    libraries: list[Use] = Field(default=[], max_length=50)
    dry_run: bool = Field(default=False, description="Say what would be done, and do nothing")


class ImportedOut(BaseModel):
    name: str
    action: Literal["created", "changed", "unchanged"]
    kind: Literal["table", "view"]
    definition: TableDefinition | None = Field(description="Of a table; null for a view")
    query: str | None = Field(description="Of a view; null for a table")
    ddl: str = Field(description="The CREATE that is put in front of scripts that name it")


class GrantBody(Strict):
    read: bool = True
    write: bool = False


class SecretBody(Strict):
    value: SecretStr = Field(min_length=1, max_length=65536)


class SecretOut(BaseModel):
    """Never the value."""

    name: str
    reference: str = Field(description="How it is written in options and scripts", examples=["${secret:db-password}"])
    created_at: datetime
    updated_at: datetime
