"""/settings: what this installation does where nobody has said otherwise."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.deps import Parts
from core.history import HistoryPolicy
from core.jobs.policy import RestartPolicy
from core.jobs.retention import SavepointPolicy

router = APIRouter(tags=["system"])


class SettingsOut(BaseModel):
    history: HistoryPolicy = Field(description="How long the past is kept: PENSTOCK_KEEP_* of the API, in days")
    restart_policy: RestartPolicy = Field(description="What counts for jobs that have chosen nothing else; in seconds")
    savepoint_policy: SavepointPolicy = Field(description="The same for savepoints; in seconds")


@router.get("/settings", summary="Defaults of this installation")
async def get_settings(parts: Parts) -> SettingsOut:
    """How long the past is kept, and the defaults of the policies of jobs. Rows that are older are deleted by the
    recovery, some at a time, once an hour; never the last ones of a job, commands that have not ended, and attempts
    that are needed: the current one, those whose restore points or folders exist, the last one of each version."""
    return SettingsOut(
        history=parts.settings.history(), restart_policy=RestartPolicy(), savepoint_policy=SavepointPolicy()
    )
