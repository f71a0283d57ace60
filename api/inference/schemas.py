"""Shapes of inference."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from api.deps import Strict
from core.names import Name
from core.sql.resources import ColumnDefinition


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
    cluster: Name = Field(default="local", description="Where records and samples are read")
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
    read_back: bool = Field(
        default=False,
        description="Whether Flink has read all of them with these columns and options; a note says why not. Always "
        "false where there are none (schemas, databases)",
    )
