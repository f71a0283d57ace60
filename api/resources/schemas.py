"""Shapes of registered tables, grants, secrets and libraries."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints
from pydantic.config import JsonDict

from api.deps import Strict
from core.libraries import LibraryState
from core.names import Name
from core.sql.resources import ColumnDefinition, TableDefinition

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
    definition: TableDefinition
    description: str = Field(default="", max_length=4000)
    owner: str = Field(default="", max_length=200)
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})


class GrantOut(BaseModel):
    project: str = Field(description="The project that it is granted to")
    read: bool
    write: bool
    created_at: datetime


class ResourceOut(BaseModel):
    project: str
    name: str
    definition: TableDefinition
    ddl: str = Field(description="The CREATE TABLE that is put in front of scripts that name it")
    description: str
    owner: str
    read: bool = Field(description="Whether the asking project may read it")
    write: bool
    revision: int
    grants: list[GrantOut] | None = Field(description="For its own project: who else may use it")
    created_at: datetime
    updated_at: datetime


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


class InferenceBody(Strict):
    """One of: JSON samples, a schema as text, a table of a database, or a topic."""

    kind: Literal["json", "avro", "json-schema", "database", "kafka"]
    samples: list[Annotated[str, StringConstraints(max_length=1_000_000)]] = Field(
        default=[], max_length=1000, description="With json: one JSON object each"
    )
    document: str | None = Field(default=None, max_length=1_000_000, description="With avro and json-schema")
    url: str | None = Field(
        default=None,
        max_length=2000,
        description="With database: jdbc:postgresql://host:port/database, without user and password",
    )
    user: str | None = Field(default=None, max_length=200)
    password: str | None = Field(default=None, max_length=200, description="A reference: ${secret:name}")
    table: str | None = Field(default=None, max_length=200, description="With database: `table` or `schema.table`")
    cluster: Name = Field(default="local", description="With kafka: where the records are read")
    options: dict[str, str] = Field(default={}, max_length=100, description="With kafka: options of the connector")
    libraries: list[dict[str, str]] = Field(default=[], max_length=20, description="With kafka: the connector")
    records: int = Field(default=100, ge=1, le=1000, description="With kafka: how many records are looked at")


class InferenceOut(BaseModel):
    columns: list[ColumnDefinition]
    primary_key: list[str]
    options: dict[str, str] = Field(description="Options of the format or connector that go with them")
    notes: list[str] = Field(description="What had to be decided")
    records: int | None = Field(description="How many records it is taken from")
    sample: list[Any] = Field(description="Some of them")


class FileOut(BaseModel):
    name: str
    sha256: str
    size: int


class LibraryOut(BaseModel):
    project: str
    name: str
    version: str
    kind: Literal["jar", "python"]
    source: dict[str, Any]
    state: LibraryState
    why: str | None = Field(description="When FAILED")
    files: list[FileOut]
    functions: list[dict[str, Any]]
    description: str
    created_at: datetime
