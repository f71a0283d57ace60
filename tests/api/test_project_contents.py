"""A project that is deleted at the moment in which something is made in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from api.libraries import service as libraries
from api.projects import service as projects
from api.resources import service as resources
from api.resources.schemas import ResourceBody
from api.testing import service as testing
from core.errors import Conflict
from core.libraries import NewLibrary
from services import Services
from settings import clock
from store import jobs
from store.database import Database
from tests.api.conftest import refused_client
from tests.recovery.conftest import services_of

TABLE = ResourceBody.model_validate(
    {"definition": {"columns": [{"name": "id", "type": "INT"}], "options": {"connector": "datagen"}}}
)
LIBRARY = NewLibrary.model_validate(
    {"name": "l", "version": "1", "kind": "jar", "source": {"type": "upload", "file": "l.jar"}}
)
MAKES: dict[str, Callable[[Services], Awaitable[Any]]] = {
    "secrets": lambda services: resources.put_secret(services, "shop", "s", "x"),
    "tables or views": lambda services: resources.put_table(services, "shop", "t", TABLE),
    "libraries": lambda services: libraries.add(services, "shop", LIBRARY),
    "test sets": lambda services: testing.put(services, "shop", "t", {}, ""),
}


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("what", MAKES)
async def test_it_stays(database: Database, what: str, monkeypatch: pytest.MonkeyPatch):
    """Who makes it has seen the project before the other one deletes that, and is there after."""
    vault: Any = SimpleNamespace(seal=str, open=str)
    services = replace(await services_of(await refused_client(), database), vault=vault)
    async with database.write() as session:
        await jobs.add_project(session, "shop", {}, clock.now())
    deleting: list[asyncio.Task[None]] = []
    look = jobs.project

    async def looks(*args: Any, **how: Any) -> Any:
        row = await look(*args, **how)
        if not deleting:
            deleting.append(asyncio.create_task(projects.delete(services, "shop")))
            await asyncio.wait(deleting, timeout=0.5)
        return row

    monkeypatch.setattr(jobs, "project", looks)
    await MAKES[what](services)
    with pytest.raises(Conflict, match=f"1 {what}"):
        await deleting[0]
