"""Temporal loses all it knew while workers run: everything is started again from the rows, by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.service import RPCError

from activities.observe import Observing
from activities.recovery import Recovery
from observation.observer import Observer
from processes.supervised import Spec, free_port
from settings import ApiSettings, Settings, StackSettings
from stack.local import LocalStack
from stack.parts import StackParts
from store.database import Database
from store.migrate import upgrade
from temporal.client import connect
from tests.recovery.conftest import House, services_of
from worker.temporal import keep_prepared, prepare
from workflows.cluster import ClusterWorkflow
from workflows.recovery import RecoveryWorkflow


class Server:
    def __init__(self, parts: StackParts, home: Path):
        self.home = home
        stack = StackSettings(temporal_port=free_port(), temporal_ui_port=free_port())
        self.settings = Settings(
            home=home, temporal_address=f"127.0.0.1:{stack.temporal_port}", recovery_interval=5, watch_interval=1
        )
        self.local = LocalStack(self.settings, stack, ApiSettings(), parts)
        self.spec: Spec = self.local.temporal()

    async def start(self) -> None:
        await asyncio.to_thread(self.local.processes.start, self.spec, timeout=60)

    async def wipe(self) -> None:
        process = self.local.processes.find("temporal")
        assert process is not None
        process.kill()
        while self.local.processes.find("temporal") is not None:
            await asyncio.sleep(0.05)
        for path in self.home.glob("temporal.db*"):
            path.unlink()
        await self.start()


@pytest.fixture
async def server(parts: StackParts, tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(parts, tmp_path)
    await made.start()
    yield made
    made.local.processes.stop("temporal", grace=5)


async def runs(client: Client, workflow_id: str) -> bool:
    try:
        status = (await client.get_workflow_handle(workflow_id).describe()).status
        return status is not None and status.name == "RUNNING"
    except RPCError:
        return False


async def test_schedule_watches_and_workflows_come_back_while_the_worker_runs(server: Server, tmp_path: Path):
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'test.db'}")
    await upgrade(database)
    client = await connect(server.settings)
    house = House(await services_of(client, database, server.settings))
    services = house.services
    await prepare(services)
    await house.start(
        workflows=[RecoveryWorkflow, ClusterWorkflow],
        activities=[Recovery(services).recover],
        watches=[Observing(services, Observer(services, reports=True)).watch_cluster],
    )
    prepared = asyncio.create_task(keep_prepared(services, every=2))
    running, killed = await house.create(), await house.create()
    for job in (running, killed):
        assert (await house.do(job, "start")).state == "SUCCEEDED"
    await house.do(killed, "kill")
    watch = services.installation.cluster_workflow_id("local")

    async def until(what: str, *workflows: str) -> None:
        for _ in range(600):
            if all([await runs(client, id_) for id_ in workflows]):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(what)

    everything = (watch, str(running.workflow_id), str(killed.workflow_id))
    await until("before", *everything)
    attempt = (await house.job(running.id)).current_attempt

    await server.wipe()
    began = time.monotonic()
    assert not await runs(client, str(running.workflow_id)), "it knows nothing"
    await until("all of them run again", *everything)
    took = time.monotonic() - began
    assert (await client.get_schedule_handle(services.installation.recovery_id).describe()).id
    assert (await house.do(running, "kill")).state == "SUCCEEDED"
    assert (await house.do(killed, "start", restore={"mode": "none"})).state == "SUCCEEDED"
    assert (await house.job(running.id)).current_attempt == attempt
    assert took < 60, f"{took:.0f} s"
    prepared.cancel()
    await house.worker.aclose()
    await database.close()
