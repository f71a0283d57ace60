"""What this installation does where nobody has said otherwise."""

from __future__ import annotations

from api.defaults.schemas import SettingsOut
from core.jobs.policy import RestartPolicy
from core.jobs.retention import SavepointPolicy
from settings import Settings


def settings_of(settings: Settings) -> SettingsOut:
    """By the settings of the API, and the defaults of the policies."""
    return SettingsOut(history=settings.history(), restart_policy=RestartPolicy(), savepoint_policy=SavepointPolicy())
