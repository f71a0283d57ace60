"""Shapes of projects."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import BaseModel, Field, field_validator, model_validator

from api.deps import Strict, checked_config
from core.config import MOST_KEYS
from core.names import Name


class NewProject(Strict):
    name: Name
    config: dict[str, str] = Field(default={}, max_length=MOST_KEYS, description="Flink configuration of all its jobs")

    _config = field_validator("config")(checked_config)


class ProjectPatch(Strict):
    """What is left out stays. `config` is replaced as a whole, or with `merge` laid over what is there by then."""

    merge: bool = Field(default=False, description="Keys that are not given stay as they are, whoever has set them")
    unset: list[str] = Field(
        default=[], max_length=MOST_KEYS, description="Goes with `merge`: keys of `config` that are taken away"
    )
    config: dict[str, str] | None = Field(default=None, max_length=MOST_KEYS)
    archived: bool | None = Field(
        default=None, description="An archived project takes no new jobs, and none of its jobs starts"
    )

    _config = field_validator("config")(checked_config)

    @model_validator(mode="after")
    def _only_with_merge(self) -> Self:
        if self.unset and not self.merge:
            raise ValueError("`unset` goes with `merge`: without it, what is to go is left out")
        return self


class ProjectOut(BaseModel):
    name: str
    config: dict[str, str]
    created_at: datetime
    archived_at: datetime | None
    notes: list[str] = Field(
        default=[], description="Where its configuration was given: keys in it that are likely to be mistyped"
    )
