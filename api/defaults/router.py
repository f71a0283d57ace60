"""/settings: what this installation does where nobody has said otherwise."""

from __future__ import annotations

from fastapi import APIRouter

from api.defaults import service
from api.defaults.schemas import SettingsOut
from api.deps import Parts

router = APIRouter(tags=["system"])


@router.get("/settings", summary="Defaults of this installation")
async def get_settings(parts: Parts) -> SettingsOut:
    """How long the past is kept, and the defaults of the policies of jobs. Rows that are older are deleted by the
    recovery, some at a time, once an hour; never the last ones of a job, commands that have not ended, and attempts
    that are needed: the current one, those whose restore points or folders exist, the last one of each version."""
    return service.settings_of(parts.settings)
