"""Rows, workflows and recovery together: a real Temporal, a real database, the real record; a scripted cluster."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import ActivityEnvironment, WorkflowEnvironment
from temporalio.worker import Worker

from activities import contracts as c
from activities.record import Recorder
from activities.recovery import Recovery
from api.commands import service as command_service
from api.commands.schemas import CommandOut, NewCommand
from api.jobs import schemas
from api.jobs import service as job_service
from api.security import EVERYBODY
from clusters.protocol import EngineHealth, Overview, Ref, Unreachable
from clusters.registry import Engines
from core import search
from core.jobs.commands import AskedCommand
from core.jobs.observations import EngineState, Observation
from observation.observer import Observer
from services import Services
from settings import Settings
from stack.parts import StackParts
from store import attempts, jobs
from store.database import Database
from store.tables import Cluster, Command, Job, Project
from tests.rows import cluster_row
from tests.store.test_store import T0
from tests.workflows.conftest import Cluster as Script
from worker.main import runner
from workflows.job import JobWorkflow

SQL = "CREATE TABLE t (id BIGINT) WITH ('connector'='blackhole'); INSERT INTO t SELECT 1;"


@asynccontextmanager
async def dev_server(parts: StackParts) -> AsyncIterator[Client]:
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(parts.temporal()),
        data_converter=pydantic_data_converter,
        search_attributes=[SearchAttributeKey.for_keyword(name) for name in search.ATTRIBUTES],
        dev_server_log_level="error",
    ) as made:
        yield made.client


@pytest.fixture(scope="session")
async def temporal(parts: StackParts) -> AsyncIterator[Client]:
    """One server for all: each test's database is an installation of its own, with queues and names of its own."""
    async with dev_server(parts) as client:
        yield client


@pytest.fixture
async def temporal_of_its_own(parts: StackParts) -> AsyncIterator[Client]:
    """For tests of what an installation finds that has no id, or finds without a row: that of others would be among
    it. Their files call it `temporal`."""
    async with dev_server(parts) as client:
        yield client


class _Engine:
    """What the record and the API ask a cluster."""

    async def overview(self) -> Overview:
        return Overview({})

    async def health(self) -> EngineHealth:
        return EngineHealth(slots_total=1, leader="jm")

    async def reserve(self, flink_job_id: str) -> str:
        return flink_job_id

    async def ref_of(self, flink_job_id: str) -> Ref:
        return Ref(flink_job_id, flink_job_id)

    async def open_session(self, _: Any) -> Any:
        raise Unreachable("there is no gateway")


class _Engines:
    def get(self, _: Cluster) -> _Engine:
        return _Engine()

    compiler = workbench = get

    def forget(self, _: str) -> None:
        return


class House:
    """One installation: services over a database, a worker whose record is real, and whose cluster is scripted."""

    def __init__(self, services: Services):
        self.services = services
        self.script = Script()
        self.script.runs = self.script.looks = self._runs
        self.worker = AsyncExitStack()

    async def _runs(self, wanted: c.AttemptIn) -> c.Seen:
        async with self.services.database.read() as session:
            attempt = await attempts.get(session, wanted.job_id, wanted.number)
        assert attempt is not None
        observation = Observation(
            attempt=wanted.number,
            flink_job_id=attempt.flink_job_id,
            sequence=self.script.tick(),
            state=EngineState.RUNNING,
        )
        return c.Seen(observation=observation)

    async def start(
        self,
        *,
        workflows: Sequence[type] = (),
        activities: Sequence[Callable[..., Any]] = (),
        watches: Sequence[Callable[..., Any]] = (),
    ) -> None:
        """Start the workers, with more workflows and activities than those of jobs; `worker.aclose()` stops them."""
        recorder = Recorder(self.services)
        self.script.open = recorder.open_attempt  # type: ignore[method-assign]
        scripted = [a for a in self.script.activities() if a.__name__ not in ("record", "open_attempt")]
        own: list[Callable[..., Any]] = [recorder.record, recorder.open_attempt, *scripted, *activities]
        queues = self.services.installation.queues
        if watches:
            watch = Worker(self.services.client, task_queue=queues.watch, activities=watches)
            await self.worker.enter_async_context(watch)
        for queue in (queues.main, queues.build):
            await self.worker.enter_async_context(
                Worker(
                    self.services.client,
                    task_queue=queue,
                    workflows=[JobWorkflow, *workflows] if queue == queues.main else [],
                    activities=own,
                    workflow_runner=runner(),
                )
            )

    async def create(self, name: str | None = None) -> Job:
        new = schemas.NewJob.model_validate(
            {"name": name or f"j-{uuid.uuid4().hex[:8]}", "spec": {"type": "sql", "sql": SQL}, "cluster": "local"}
        )
        made = await job_service.create(self.services, new)
        return await self.job(made.id)

    async def job(self, id_: str) -> Job:
        async with self.services.database.read() as session:
            found = await jobs.by_id(session, id_)
            assert found is not None
            return found

    async def send(self, job: Job, kind: str, **more: Any) -> CommandOut:
        return await command_service.send(
            self.services, EVERYBODY, job.id, NewCommand.model_validate({"kind": kind, **more}), None
        )

    async def written(self, job: Job, kind: str) -> Command:
        """As if the API had died right after the row was written."""
        new = AskedCommand.model_validate({"kind": kind})
        made = await command_service._write(self.services, job.id, new, None)
        assert isinstance(made, tuple)
        return made[0]

    async def command(self, id_: str) -> Command:
        async with self.services.database.read() as session:
            found = await session.get(Command, id_)
            assert found is not None
            return found

    async def do(self, job: Job, kind: str, **more: Any) -> Command:
        return await self.ended((await self.send(job, kind, **more)).id)

    async def ended(self, id_: str) -> Command:
        for _ in range(1500):
            if (found := await self.command(id_)).state not in ("PENDING", "RUNNING"):
                return found
            await asyncio.sleep(0.02)
        raise AssertionError("the command did not end")

    async def delete(self, job: Job) -> None:
        await job_service.delete(self.services, Observer(self.services), job.id)

    async def recover(self, *, dry: bool = False) -> list[c.Finding]:
        found: c.Recovered = await ActivityEnvironment().run(Recovery(self.services).recover, c.RecoverIn(dry_run=dry))
        return found.findings


@pytest.fixture
async def house(temporal: Client, database: Database) -> AsyncIterator[House]:
    made = House(await services_of(temporal, database))
    await made.start()
    yield made
    await made.worker.aclose()


async def services_of(client: Client, database: Database, settings: Settings | None = None) -> Services:
    settings = settings or Settings(home=os.devnull, authentication=False, secret_key="x" * 43 + "=")  # type: ignore[arg-type]
    async with database.write() as session:
        session.add(Project(name="default", config={}, created_at=T0))
        session.add(cluster_row())
    services = Services(
        settings=settings,
        database=database,
        engines=cast(Engines, _Engines()),
        artifacts=cast(Any, None),
        vault=cast(Any, None),
        client=client,
    )
    return await services.ready()
