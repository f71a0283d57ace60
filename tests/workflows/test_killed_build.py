"""A real Maven, and commands that wait for it: it ends with the last of them. On a Temporal dev server, without Flink."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from temporalio import workflow
from temporalio.client import WorkflowHandle
from temporalio.exceptions import ActivityError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities import contracts as c
from activities.build import Builder
from services import Services
from settings import Settings
from settings.waits import HEARTBEAT_THROTTLE
from store.tables import Version
from tests.real.conftest import GitRepository
from tests.store.test_store import T0, add_job
from worker.main import runner
from workflows import calls
from workflows.build import BuildWorkflow

POM = """<project><modelVersion>4.0.0</modelVersion><groupId>g</groupId><artifactId>a</artifactId><version>1</version>
<build><plugins><plugin><artifactId>maven-antrun-plugin</artifactId><version>3.1.0</version><executions><execution>
<phase>validate</phase><goals><goal>run</goal></goals><configuration><target><sleep seconds="{seconds}"/></target>
</configuration></execution></executions></plugin></plugins></build></project>"""


@workflow.defn(name="WaitsForBuild", sandboxed=False)
class WaitsForBuild:
    """As a job does: when its command is killed it gives the build up, and lives on."""

    def __init__(self) -> None:
        self._killed = False

    @workflow.run
    async def run(self, wanted: c.BuildIn) -> c.Built | None:
        build = asyncio.create_task(calls.build(wanted, None))
        await workflow.wait_condition(lambda: build.done() or self._killed)
        if build.done():
            return await build
        build.cancel()
        with contextlib.suppress(ActivityError):
            await build
        await workflow.sleep(3600)
        return None

    @workflow.signal
    def kill(self) -> None:
        self._killed = True


class World:
    def __init__(self, services: Services, environment: WorkflowEnvironment, repository: GitRepository):
        self.services, self.repository = services, repository
        self._client = environment.client
        self.waiting: list[WorkflowHandle[Any, Any]] = []

    async def wait(self) -> WorkflowHandle[Any, c.Built | None]:
        """A command that waits for the build."""
        job = await add_job(self.services.database, uuid.uuid4().hex)
        git = {"url": str(self.repository.folder), "ref": "main"}
        build = {"properties": {"maven.compiler.source": "8", "maven.compiler.target": "8"}}
        spec = {"type": "jar", "git": git, "entry_class": "Main", "build": build}
        async with self.services.database.write() as session:
            session.add(Version(job_id=job.id, number=2, spec=spec, created_at=T0))
        handle = await self._client.start_workflow(
            WaitsForBuild.run,
            c.BuildIn(job_id=job.id, version=2, command_id=None),
            id=f"job-{job.name}",
            task_queue=self.services.installation.queues.main,
        )
        self.waiting.append(handle)
        return handle

    def mavens(self) -> list[psutil.Process]:
        root = str(self.services.settings.home)
        found = []
        for process in psutil.process_iter():
            try:
                if any(root in word for word in process.cmdline()) or process.cwd().startswith(root):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    async def until(self, condition: Callable[[], Any], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not come to that"
            await asyncio.sleep(0.1)


@pytest.fixture
async def world(environment: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[World]:
    settings = Settings(home=tmp_path / "home", database_url="", git_local_roots=[tmp_path])
    services = await Services.make(settings, environment.client).ready()
    builder, queues = Builder(services), services.installation.queues
    async with (
        Worker(
            environment.client,
            task_queue=queues.main,
            workflows=[WaitsForBuild, BuildWorkflow],
            workflow_runner=runner(),
        ),
        Worker(
            environment.client,
            task_queue=queues.build,
            activities=[builder.build, builder.run_build],
            max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        ),
    ):
        made = World(services, environment, GitRepository(tmp_path / "repository"))
        yield made
        for handle in made.waiting:
            with contextlib.suppress(RPCError):  # it has ended
                await handle.terminate()
    await services.close()


async def test_maven_ends_with_the_last_who_waits(world: World):
    world.repository.write({"pom.xml": POM.format(seconds=300)})
    first, second = await world.wait(), await world.wait()
    await world.until(world.mavens)
    await asyncio.sleep(2)
    await first.signal("kill")
    await asyncio.sleep(8)
    assert world.mavens()
    await second.signal("kill")
    await world.until(lambda: not world.mavens(), 12)
    third = await world.wait()  # it is begun anew for who comes later
    await world.until(world.mavens)
    await third.signal("kill")
    await world.until(lambda: not world.mavens(), 12)


async def test_who_waits_with_one_that_is_killed_gets_it(world: World):
    main = "class Main { public static void main(String[] args) {} }"
    world.repository.write({"pom.xml": POM.format(seconds=15), "src/main/java/Main.java": main})
    first, second = await world.wait(), await world.wait()
    await world.until(world.mavens)
    await asyncio.sleep(2)
    await first.signal("kill")
    built = await second.result()
    assert built is not None
    assert built.error is None, built
    assert built.key
