"""Shapes of interactive sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from api.deps import Strict
from api.scripts import Sql
from core.names import Name
from core.specs import Use
from sql.streams import Limits


class NewSession(Strict):
    project: Name = "default"
    cluster: Name = "local"
    name: str = Field(default="", max_length=80)
    config: dict[str, str] = Field(default={}, max_length=200)
    libraries: list[Use] = Field(default=[], max_length=50)


class SessionOut(BaseModel):
    id: str
    project: str
    cluster: str
    name: str
    config: dict[str, str]
    libraries: list[dict[str, Any]]
    setup: list[str] = Field(
        description="The statements that make it again on another gateway: none that changed a catalog which lasts"
    )
    settings: dict[str, str] = Field(description="SETs; lost when it has to be made again")
    gateway: str | None
    generation: int = Field(description="How often it has been made")
    created_at: datetime
    used_at: datetime


class StatementBody(Strict):
    statement: Sql
    limits: Limits = Limits()
    materialize: bool = False


class RebuiltOut(BaseModel):
    """The session had to be made again, because its gateway had forgotten it or was gone."""

    message: str
    reset: dict[str, str] = Field(description="SETs that are not in force any more")
    lost: list[str] = Field(description="Statements that failed this time, with the reason")


class StatementOut(BaseModel):
    columns: list[dict[str, Any]]
    rows: list[list[Any]]
    truncated: bool
    preview: str | None = Field(description="Of a query: the preview that streams its rows")
    rebuilt: RebuiltOut | None
