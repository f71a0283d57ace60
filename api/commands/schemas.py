"""Shapes of commands and their logs."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from core.jobs.commands import AskedCommand, CommandFields
from core.jobs.states import CommandState
from core.sql.verdict import StateVerdict


class NewCommand(CommandFields):
    """What a caller may say is in `core.jobs.commands.CommandFields`; unknown fields are errors."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"kind": "start"},
                {"kind": "pause", "reason": "maintenance of the sink"},
                {"kind": "resubmit", "version": 2, "restore": {"mode": "newest"}},
                {"kind": "resubmit", "version": 2, "restore": {"mode": "newest"}, "rollback_within": 300},
                {"kind": "adopt", "flink_job_id": "0123456789abcdef0123456789abcdef"},
                {"kind": "restart", "restore": {"mode": "point", "point": "rp-0123456789abcdef"}},
                {
                    "kind": "start",
                    "restore": {"mode": "point", "point": "s3://elsewhere/savepoint-1", "accept_unknown_state": True},
                },
            ]
        },
    )


class CommandOut(AskedCommand):
    """What was asked, and what became of it."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)
    id: str
    number: int
    state: CommandState
    error: str | None = Field(description="When FAILED: what happened, and what to do")
    error_code: str | None
    attempt: int | None = Field(description="The attempt that it was about, or started")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    state_verdict: StateVerdict | None = Field(
        default=None, description="Of a resubmit of a SQL job, in the answer to it: whether the state fits the version"
    )


class LogLineOut(BaseModel):
    id: int
    at: datetime
    text: str
