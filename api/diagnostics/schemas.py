"""Shapes of what a cluster tells of a job that fares ill."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from api.deps import Page


class ExceptionOut(BaseModel):
    at: datetime
    message: str = Field(description="The root cause, in a line")
    task: str | None = Field(description="The task that failed; null when the whole job did, or it is not known")
    place: str | None = Field(description="Host and port of the task manager that it ran on")
    taskmanager: str | None
    stack: str = Field(description="The whole stack, as Flink tells it")


class Exceptions(Page[ExceptionOut]):
    attempt: int | None = Field(description="The attempt that they are of; null for a job that has never run")
    note: str | None = Field(description="Why this may not be all: the cluster does not know the attempt, or is away")


class LogOut(BaseModel):
    part: str = Field(description="`command-N`, `jobmanager`, or a task manager's id", examples=["jobmanager"])
    file: str
    what: str
    size: int | None = Field(description="Bytes; null where it is not known before it is read")
    changed_at: datetime | None


class JobLogs(Page[LogOut]):
    note: str | None = Field(description="Why logs of the cluster are missing here")
