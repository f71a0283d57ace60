"""What a process keeps of a cluster goes with it, whoever has removed it."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import update

from observation import observer as observing
from observation.observer import Look, Observer, forget_removed, keep_forgetting
from services import Services
from settings import clock, waits
from store import clusters
from store.database import Database, DatabaseUnavailable
from store.tables import Job
from tests.api.conftest import refused_client
from tests.recovery.conftest import services_of
from tests.rows import cluster_row, job_row
from tests.store.test_store import add_job


class Engines:
    def __init__(self, *names: str):
        self.left = set(names)

    def names(self) -> set[str]:
        return set(self.left)

    def forget(self, name: str) -> None:
        self.left.discard(name)


@pytest.fixture
async def services(sqlite: Database) -> Services:
    made = await services_of(await refused_client(), sqlite)
    await add_job(sqlite)
    async with sqlite.write() as session:
        for name in ("removed", "of-a-deleted-job"):
            session.add(job_row(name, name=name, type="session-cluster", state="KILLED", workflow_id=name))
            await session.flush()
            session.add(cluster_row(name, managed_by=name))
        await session.flush()
        await clusters.remove(session, await clusters.get(session, "removed"), clock.now())
        await session.execute(update(Job).where(Job.id == "of-a-deleted-job").values(deleted_at=clock.now()))
    object.__setattr__(made, "engines", Engines("local", "removed", "of-a-deleted-job", "never-was"))
    return made


def seen(observer: Observer, *names: str) -> None:
    for name in names:
        observer._last[name] = (0.0, Look(clock.now(), reachable=True, busy=False))


async def test_what_others_have_removed(services: Services):
    observer = Observer(services)
    seen(observer, "local", "removed", "elsewhere")
    await forget_removed(services, observer)
    assert (services.engines.names(), observer.names()) == ({"local"}, {"local"})


async def test_it_is_done_again_and_again_whatever_the_database_says(
    services: Services, monkeypatch: pytest.MonkeyPatch
):
    tries = []

    async def at_first_away(*_: object) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise DatabaseUnavailable("switched off")

    monkeypatch.setattr(waits, "FORGET_REMOVED_SECONDS", 0.001)
    monkeypatch.setattr(observing, "forget_removed", at_first_away)
    task = asyncio.create_task(keep_forgetting(services, Observer(services)))
    async with asyncio.timeout(10):
        while len(tries) < 3:
            await asyncio.sleep(0.001)
    task.cancel()
