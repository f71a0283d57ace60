"""Shapes of what a job has printed."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from api.deps import Strict
from core.jobs.output import MAX_LINES

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class OutputQuery(Strict):
    lines: int = Field(default=200, ge=1, le=MAX_LINES, description="Of each task manager, the last ones")
    identifier: list[Identifier] = Field(
        default=[], max_length=20, description="Only rows that a sink with this `print-identifier` has printed"
    )
    everything: bool = Field(default=False, description="Also where the plan has identifiers to choose by")


class TaskManagerOutputOut(BaseModel):
    taskmanager: str = Field(description="Its id in Flink")
    host: str
    lines: list[str]
    left_out: int = Field(description="How many lines like these stand before them")
    size: int | None = Field(description="Of its whole stdout, in bytes; null where it is not known")
    why: str | None = Field(description="Why it has no lines, where they could not be read")


class OutputOut(BaseModel):
    attempt: int | None = Field(description="The job's current attempt; null when it never ran")
    flink_job_id: str | None
    identifiers: list[str] = Field(
        description="Of `print-identifier`: only rows with these are shown. Empty: all lines"
    )
    items: list[TaskManagerOutputOut]
    notes: list[str] = Field(description="What has to be known of these lines")
