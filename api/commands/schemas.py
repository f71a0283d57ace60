"""Shapes of commands and their logs."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from api.deps import Strict
from core.restore import RestoreRequest
from core.states import CommandKind, CommandState


class NewCommand(Strict):
    kind: CommandKind
    restore: RestoreRequest | None = Field(
        default=None, description="With start, restart and resubmit: which state to start from"
    )
    version: int | None = Field(default=None, ge=1, le=2**31 - 1, description="With start and resubmit")
    reason: str | None = Field(default=None, max_length=2000, description="Why, for the timeline")
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"kind": "start"},
                {"kind": "pause", "reason": "maintenance of the sink"},
                {"kind": "resubmit", "version": 2, "restore": {"mode": "newest"}},
                {"kind": "restart", "restore": {"mode": "point", "point": "rp-0123456789abcdef"}},
            ]
        },
    )


class CommandOut(BaseModel):
    id: str
    number: int
    kind: CommandKind
    state: CommandState
    error: str | None = Field(description="When FAILED: what happened, and what to do")
    error_code: str | None
    restore: RestoreRequest | None
    version: int | None
    reason: str | None
    attempt: int | None = Field(description="The attempt that it was about, or started")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class LogLineOut(BaseModel):
    id: int
    at: datetime
    text: str
