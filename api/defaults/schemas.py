"""Shapes of what counts where nobody has said otherwise."""

from __future__ import annotations

from pydantic import BaseModel, Field

from core.history import HistoryPolicy
from core.jobs.policy import RestartPolicy
from core.jobs.retention import SavepointPolicy


class SettingsOut(BaseModel):
    history: HistoryPolicy = Field(description="How long the past is kept: PENSTOCK_KEEP_* of the API, in days")
    restart_policy: RestartPolicy = Field(description="What counts for jobs that have chosen nothing else; in seconds")
    savepoint_policy: SavepointPolicy = Field(description="The same for savepoints; in seconds")
