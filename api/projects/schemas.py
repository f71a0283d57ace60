"""Shapes of projects."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field, field_validator

from api.deps import Strict
from core.config import check_new_config
from core.names import Name


def _checked(config: dict[str, str] | None) -> dict[str, str] | None:
    if config is not None:
        check_new_config(config, "config")
    return config


class NewProject(Strict):
    name: Name
    config: dict[str, str] = Field(default={}, max_length=200, description="Flink configuration of all its jobs")

    _config = field_validator("config")(_checked)


class ProjectPatch(Strict):
    """What is left out stays. `config` is replaced as a whole."""

    config: dict[str, str] | None = Field(default=None, max_length=200)
    archived: bool | None = Field(
        default=None, description="An archived project takes no new jobs, and none of its jobs starts"
    )

    _config = field_validator("config")(_checked)


class ProjectOut(BaseModel):
    name: str
    config: dict[str, str]
    created_at: datetime
    archived_at: datetime | None
