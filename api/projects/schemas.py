"""Shapes of projects."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field, field_validator

from api.deps import ConfigPatch, Strict, checked_config
from core.config import MOST_KEYS
from core.names import Name


class NewProject(Strict):
    name: Name
    config: dict[str, str] = Field(default={}, max_length=MOST_KEYS, description="Flink configuration of all its jobs")

    _config = field_validator("config")(checked_config)


class ProjectPatch(ConfigPatch):
    """What is left out stays. `config` is replaced as a whole, or with `merge` laid over what is there by then."""

    archived: bool | None = Field(
        default=None, description="An archived project takes no new jobs, and none of its jobs starts"
    )


class ProjectOut(BaseModel):
    name: str
    config: dict[str, str]
    created_at: datetime
    archived_at: datetime | None
    notes: list[str] = Field(
        default=[], description="Where its configuration was given: keys in it that are likely to be mistyped"
    )
