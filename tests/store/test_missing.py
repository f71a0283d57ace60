"""What there is in the place of a name that is not there, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.errors import NotFound
from store import catalogs, clusters, jobs, missing, resources, testsets
from store.database import Database
from store.tables import Job, Secret
from tests.rows import T0
from tests.store.test_store import add_job

GETS: dict[str, Callable[[Any, str], Any]] = {
    "cluster": clusters.get,
    "project": jobs.project,
    "job": lambda session, name: jobs.get(session, f"default:{name}"),
    "job of a project": lambda session, name: jobs.get(session, f"{name}:j"),
    "resource": lambda session, name: resources.get(session, "default", name),
    "catalog": lambda session, name: catalogs.get(session, name, "lake"),
    "library": lambda session, name: resources.library(session, name, "udfs", "1"),
    "secret": lambda session, name: resources.secret(session, "default", name),
    "test set": lambda session, name: testsets.get(session, name, "rows"),
}


@pytest.mark.parametrize("what", GETS)
@pytest.mark.parametrize("name", ["nope", "n\x00pe", ""])
async def test_any_text_is_answered(database: Database, what: str, name: str):
    await add_job(database)
    async with database.read() as session:
        with pytest.raises(NotFound) as refused:
            await GETS[what](session, name)
    assert "There " in str(refused.value.remedy)


async def test_of_very_many_those_that_begin_alike_are_told(database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(missing, "MOST", 3)
    job = await add_job(database)
    async with database.write() as session:
        for name in ("a1", "a2", "a3", "a4", "orders"):
            session.add(Secret(project=job.project, name=name, sealed="", created_at=T0, updated_at=T0))
    async with database.read() as session:
        told = await missing.others(session, "ordres", Secret.name, Secret.project == job.project, what="secrets")
        assert told == "There are: orders, a1, a2."
        assert await missing.others(session, "x", Job.name, Job.name == "", what="jobs") == "There are no jobs."
