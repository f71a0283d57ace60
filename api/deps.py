"""What endpoints are given: services, and shapes that all lists share.

These functions are coroutines although they wait for nothing: FastAPI hands others to a thread, for each request anew.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Annotated, Generic, Self, TypeVar

from fastapi import Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from api.rules import LONGEST_REF
from core.config import MOST_KEYS, check_new_config
from core.errors import InvalidInput
from observation.observer import Observer
from services import Services
from sql.completer import Completer
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


_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


async def whole_characters(request: Request) -> None:
    """Raises `InvalidInput` for a JSON body with half of a surrogate pair: JSON can write it, and neither a database
    nor an answer can. What was stored with it could not be shown any more, nor any list that it is in."""
    if "json" not in request.headers.get("content-type", "json").lower():
        return  # an upload, which is not read into memory
    body = await request.body()
    if _HALF.search(body) is None:
        return
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"The request has half of a character ({error.object[error.start]!a}): a surrogate without its pair.",
            code="half_a_character",
            remedy="Send the text as UTF-8.",
        ) from error
    except (ValueError, RecursionError):
        return  # no JSON text, or too deep: who reads it says so


class Strict(BaseModel):
    """A request body: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


def checked_config(config: dict[str, str] | None) -> dict[str, str] | None:
    """For the field `config` of a body, where one may be given. Raises `InvalidInput`."""
    if config is not None:
        check_new_config(config, "config")
    return config


class ConfigPatch(Strict):
    """A change of what has `config`: that is replaced as a whole, or with `merge` laid over what is there by then."""

    merge: bool = Field(default=False, description="Keys that are not given stay as they are, whoever has set them")
    unset: list[str] = Field(
        default=[], max_length=MOST_KEYS, description="Goes with `merge`: keys of `config` that are taken away"
    )
    config: dict[str, str] | None = Field(default=None, max_length=MOST_KEYS)

    _config = field_validator("config")(checked_config)

    @model_validator(mode="after")
    def _only_with_merge(self) -> Self:
        if self.unset and not self.merge:
            raise ValueError("`unset` goes with `merge`: without it, what is to go is left out")
        return self


async def services(request: Request) -> Services:
    """What endpoints ask for as `Parts`: one for the whole process."""
    held: Services = request.app.state.services
    return held


async def observer(request: Request) -> Observer:
    """What endpoints ask for as `Watcher`: one for the whole process."""
    held: Observer = request.app.state.observer
    return held


@dataclass(frozen=True)
class SqlRuntime:
    """What this process runs for those who work on SQL."""

    runs: Runs
    sessions: Sessions
    completer: Completer


async def sql_runtime(request: Request) -> SqlRuntime:
    """What endpoints ask for as `Workbench`: sessions and runs of this process, and its completer."""
    held: SqlRuntime = request.app.state.bench
    return held


Workbench = Annotated[SqlRuntime, Depends(sql_runtime)]
Parts = Annotated[Services, Depends(services)]
Watcher = Annotated[Observer, Depends(observer)]
PageQuery = Annotated[Paging, Query()]
JobRef = Annotated[
    str,
    Path(
        alias="id",
        description="Id of the job, or `project:name`",
        examples=["default:clicks"],
        max_length=LONGEST_REF,
    ),
]
