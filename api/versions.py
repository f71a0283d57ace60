"""A version of a job that somebody gives: by itself, or along with a command that brings it."""

from __future__ import annotations

from pydantic import Field

from api.deps import Strict
from core.specs import JobSpec


class NewVersion(Strict):
    spec: JobSpec
    note: str = Field(default="", max_length=2000)
