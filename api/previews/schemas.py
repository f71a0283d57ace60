"""Shapes of previews and debug runs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.scripts import EXAMPLE_QUERY, ScriptBody, Source
from sql.streams import Limits


class PreviewBody(ScriptBody):
    limits: Limits = Limits()
    materialize: bool = Field(default=False, description="Also the table as it is, in `table` events")
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"sql": EXAMPLE_QUERY}]})


class DebugBody(ScriptBody):
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
