"""What endpoints are given: services, and shapes that all lists share.

These functions are coroutines although they wait for nothing: FastAPI hands others to a thread, for each request anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from observation.observer import Observer
from services import Services
from sql.run_registry import Runs
from sql.sessions import Sessions

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    items: list[T]
    next_cursor: str | None = Field(default=None, description="Send it as `cursor` for the next page; null on the last")


class Paging(BaseModel):
    model_config = ConfigDict(extra="forbid")
    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(default=None, max_length=2000)


class Strict(BaseModel):
    """A request body: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


async def services(request: Request) -> Services:
    held: Services = request.app.state.services
    return held


async def observer(request: Request) -> Observer:
    held: Observer = request.app.state.observer
    return held


@dataclass(frozen=True)
class SqlRuntime:
    """What this process runs for those who work on SQL."""

    runs: Runs
    sessions: Sessions


async def sql_runtime(request: Request) -> SqlRuntime:
    held: SqlRuntime = request.app.state.bench
    return held


Workbench = Annotated[SqlRuntime, Depends(sql_runtime)]
Parts = Annotated[Services, Depends(services)]
Watcher = Annotated[Observer, Depends(observer)]
PageQuery = Annotated[Paging, Query()]
JobRef = Annotated[
    str, Path(alias="id", description="Id of the job, or `project:name`", examples=["default:clicks"], max_length=200)
]
