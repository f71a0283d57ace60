"""Shapes of a job's past."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from core.jobs.restore import RestoreKind
from core.jobs.states import AttemptState


class AttemptOut(BaseModel):
    number: int
    flink_job_id: str
    version: int
    cluster: str
    commit: str | None = Field(description="The Git commit that it runs, for jar and pyflink")
    restored_from: str | None
    restored_why: str | None
    state: AttemptState
    engine_state: str | None
    started_at: datetime
    running_since: datetime | None
    ended_at: datetime | None
    cause: str = Field(description="Why it was started: a command, or the restart policy")
    ended_because: str | None


class RestorePointOut(BaseModel):
    id: str
    kind: RestoreKind
    path: str
    completed_at: datetime
    attempt: int
    version: int
    number: int | None = Field(description="Flink's number of the checkpoint or savepoint; it grows within an attempt")
    pinned: bool = Field(description="The current attempt came from it and has none of its own yet")
    kept: bool = Field(description="A person pinned it: the savepoint policy never deletes it")


class EventOut(BaseModel):
    id: int
    at: datetime
    kind: str
    message: str
    attempt: int | None
    command: int | None
    data: dict[str, Any]
