"""Shapes of the recovery and of orphans."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from activities.contracts import Finding
from api.deps import Strict


class Recover(Strict):
    dry_run: bool = Field(default=False, description="Look, and change nothing")


class Findings(BaseModel):
    findings: list[Finding] = Field(description="At most 200, those first that were not mended")
    more: dict[str, int] = Field(default={}, description="How many of each kind there are beside those")


class OrphanOut(BaseModel):
    """A Flink job that is alive on a cluster, and that no job of Penstock owns."""

    cluster: str
    flink_job_id: str
    name: str = Field(description="As Flink shows it")
    detail: str | None
    job: str | None = Field(description="The job whose attempt it was, when it was one")
    attempt: int | None
    asked: str | None = Field(description="cancel or stop, once a person has asked for it")
    savepoint_directory: str | None = Field(description="Where its savepoint goes, once `stop` has been asked for")
    first_seen_at: datetime


class StopOrphan(Strict):
    mode: Literal["cancel", "stop"] = Field(description="stop: with a savepoint below the cluster's state_dir")
