"""Changes that a job's workflow writes down: one record a step, applied as a whole."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from core.jobs.restore import RestoreKind
from core.jobs.states import AttemptState, CommandState, JobState
from core.paths import PointPath


class JobChange(BaseModel):
    """`snapshot` is `core.jobs.snapshot.JobSnapshot` as JSON. `revision` grows with every change; a record with
    an older one than the row's does not touch the row."""

    revision: int
    state: JobState
    reason: str
    version: int | None
    current_attempt: int | None
    busy: str | None = None
    restart_at: datetime | None = None
    actions: list[dict[str, Any]] = []
    snapshot: dict[str, Any]


class CommandChange(BaseModel):
    id: str
    state: CommandState
    at: datetime
    error: str | None = None
    error_code: str | None = None
    attempt: int | None = None


class AttemptChange(BaseModel):
    number: int
    state: AttemptState
    at: datetime
    why: str | None = None
    running: bool = False
    reopen: bool = False
    """It was believed to have ended, and is alive."""
    version: int | None = None
    """It runs this version from now on."""


class NewEvent(BaseModel):
    """One line of the timeline. `key` makes writing it twice the same as writing it once."""

    key: str
    at: datetime
    kind: str
    message: str
    attempt: int | None = None
    command: int | None = None
    data: dict[str, Any] = {}


class NewPoint(BaseModel):
    kind: RestoreKind
    path: PointPath
    completed_at: datetime
    attempt: int
    version: int
    number: int | None = None


class Record(BaseModel):
    job_id: str
    job: JobChange | None = None
    commands: list[CommandChange] = []
    attempts: list[AttemptChange] = []
    events: list[NewEvent] = []
    points: list[NewPoint] = []
    pin: str | None = None
    """Path of the restore point in use; `""` lets go of the pin."""
