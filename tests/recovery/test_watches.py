"""The watch of a cluster that is gone ends: by itself, and by the recovery where nobody serves its queue."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import update
from temporalio.client import Client, WorkflowExecutionStatus

from activities.observe import Observing
from activities.recovery import Recovery
from observation.observer import Observer
from settings import Settings
from store.database import Database
from store.tables import Cluster, Job
from temporal.delivery import start_watch
from tests.recovery.conftest import House, services_of
from tests.recovery.test_deletion import status
from tests.store.test_store import T0, add_job
from workflows.cluster import ClusterWorkflow

COMPLETED, CANCELED = WorkflowExecutionStatus.COMPLETED, WorkflowExecutionStatus.CANCELED
RUNNING = WorkflowExecutionStatus.RUNNING


@pytest.fixture
async def house(temporal: Client, database: Database) -> AsyncIterator[House]:
    settings = Settings(home=os.devnull, secret_key="x" * 43 + "=", watch_interval=0.2)  # type: ignore[arg-type]
    made = House(await services_of(temporal, database, settings))
    yield made
    if await runs(made):
        await temporal.get_workflow_handle(watch_of(made)).terminate()
    await made.worker.aclose()


async def runs(house: House) -> bool:
    return await status(house.services.client, watch_of(house)) is RUNNING


def watch_of(house: House) -> str:
    return house.services.installation.cluster_workflow_id("local")


async def serve(house: House, *, watch: bool) -> None:
    services = house.services
    watches = [Observing(services, Observer(services, reports=True)).watch_cluster] if watch else []
    await house.start(workflows=[ClusterWorkflow], activities=[Recovery(services).recover], watches=watches)


async def removed(house: House) -> None:
    """As if Temporal had been away when the cluster was removed: nobody has told the watch."""
    async with house.services.database.write() as session:
        await session.execute(update(Cluster).where(Cluster.name == "local").values(deleted_at=T0))


async def left_by_its_job(house: House) -> None:
    """A row from before there was `deleted_at`: its job is deleted, so that it is on no list."""
    job = await add_job(house.services.database, "keeper")
    async with house.services.database.write() as session:
        await session.execute(update(Job).where(Job.id == job.id).values(deleted_at=T0))
        await session.execute(update(Cluster).where(Cluster.name == "local").values(managed_by=job.id))


async def until(house: House, wanted: WorkflowExecutionStatus) -> None:
    for _ in range(150):
        if (found := await status(house.services.client, watch_of(house))) is wanted:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(found)


@pytest.mark.parametrize("gone", [removed, left_by_its_job])
async def test_by_itself(house: House, gone):
    await serve(house, watch=True)
    await start_watch(house.services, "local")
    await asyncio.sleep(0.5)
    assert await status(house.services.client, watch_of(house)) is RUNNING
    await gone(house)
    await until(house, COMPLETED)
    assert [f for f in await house.recover() if f.kind == "watch"] == [], "and nobody begins it again"


@pytest.mark.parametrize("gone", [removed, left_by_its_job])
async def test_by_the_recovery(house: House, gone):
    await serve(house, watch=False)
    await start_watch(house.services, "local")
    await gone(house)
    for _ in range(100):  # until Temporal lists it
        if found := [f for f in await house.recover(dry=True) if f.kind == "watch"]:
            break
        await asyncio.sleep(0.1)
    assert [(f.subject, f.what, f.safe) for f in found] == [
        (watch_of(house), "a watch runs whose cluster is gone", True)
    ]
    assert await status(house.services.client, watch_of(house)) is RUNNING, "a dry run"
    assert [f.done for f in await house.recover() if f.kind == "watch"] == [True]
    await until(house, CANCELED)


async def test_one_of_a_cluster_that_is_there_goes_on(house: House):
    await serve(house, watch=True)
    await start_watch(house.services, "local")
    await asyncio.sleep(1)
    for _ in range(3):
        await house.recover()
    assert await status(house.services.client, watch_of(house)) is RUNNING
