"""Shapes of libraries."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from core.libraries import LibraryState


class FileOut(BaseModel):
    name: str
    sha256: str
    size: int


class LibraryOut(BaseModel):
    project: str
    name: str
    version: str
    kind: Literal["jar", "python"]
    source: dict[str, Any]
    state: LibraryState
    why: str | None = Field(description="When FAILED")
    files: list[FileOut]
    functions: list[dict[str, Any]]
    description: str
    created_at: datetime
