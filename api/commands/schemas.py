"""Shapes of commands and their logs."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from api.deps import Strict
from core.jobs.restore import RestoreRequest
from core.jobs.states import CommandKind, CommandState
from core.names import FlinkJobId
from core.sql.verdict import StateVerdict


class NewCommand(Strict):
    kind: CommandKind
    restore: RestoreRequest | None = Field(
        default=None, description="With start, restart and resubmit: which state to start from"
    )
    version: int | None = Field(default=None, ge=1, le=2**31 - 1, description="With start and resubmit")
    rollback_within: float | None = Field(
        default=None,
        ge=5,
        le=86_400,
        description="With resubmit: seconds to become healthy (all tasks running, one checkpoint completed); "
        "if it does not, the job goes back to the version and the state before",
    )
    force: bool = Field(
        default=False,
        description="With start, restart and resubmit: also when the state does not fit the version (verdict "
        "INCOMPATIBLE); the state of the operators that changed is dropped, the rest goes on. The same as "
        "restore.accept_changed_state with restore.allow_non_restored_state",
    )
    flink_job_id: FlinkJobId | None = Field(default=None, description="With adopt: the Flink job that it takes over")
    reason: str | None = Field(default=None, max_length=2000, description="Why, for the timeline")
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


class CommandOut(BaseModel):
    id: str
    number: int
    kind: CommandKind
    state: CommandState
    error: str | None = Field(description="When FAILED: what happened, and what to do")
    error_code: str | None
    restore: RestoreRequest | None
    version: int | None
    rollback_within: float | None
    flink_job_id: str | None
    reason: str | None
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
