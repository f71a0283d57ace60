"""A build goes on as long as somebody waits for it, and no longer. The activity is a double that never ends by itself."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities import contracts as c
from worker.main import runner
from workflows.build import BuildWorkflow

BEATS = timedelta(seconds=0.2)
RUN = c.RunBuild(key="k", commit="c" * 40, cluster_flink_version="2.3.0", spec={})


class Builds:
    """What became of each time that the build was begun. `slow` seconds pass until a cancelled one has ended."""

    def __init__(self) -> None:
        self.begun, self.ended, self.slow = 0, 0, 0.0
        self.done = asyncio.Event()

    @activity.defn(name=c.RUN_BUILD)
    async def run(self, wanted: c.RunBuild) -> c.Built:
        self.begun += 1
        try:
            while not self.done.is_set():
                activity.heartbeat()
                await asyncio.sleep(0.05)
            return c.Built(key=wanted.key, commit=wanted.commit)
        except asyncio.CancelledError:
            await asyncio.sleep(self.slow)
            self.ended += 1
            raise


class Followers:
    def __init__(self, client: Client, queue: str):
        self._client, self._queue, self._id = client, queue, f"build-{uuid.uuid4().hex}"

    async def join(self, who: str | None) -> WorkflowHandle[Any, c.Built]:
        more: dict[str, Any] = {"start_signal": "follow", "start_signal_args": [who]} if who else {}
        return await self._client.start_workflow(
            BuildWorkflow.run,
            RUN,
            id=self._id,
            task_queue=self._queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            **more,
        )

    async def leave(self, who: str) -> None:
        await self._client.get_workflow_handle(self._id).signal("leave", who)


@pytest.fixture
async def builds() -> Builds:
    return Builds()


@pytest.fixture
async def followers(environment: WorkflowEnvironment, builds: Builds) -> AsyncIterator[Followers]:
    queue = f"q-{uuid.uuid4().hex}"
    async with (
        Worker(environment.client, task_queue=queue, workflows=[BuildWorkflow], workflow_runner=runner()),
        Worker(
            environment.client,
            task_queue=f"{queue}-build",
            activities=[builds.run],
            max_heartbeat_throttle_interval=BEATS,
        ),
    ):
        yield Followers(environment.client, queue)
        builds.done.set()


async def until(condition: Callable[[], Any]) -> None:
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to that")


async def test_it_ends_when_the_last_one_has_left(followers: Followers, builds: Builds):
    first, _ = await followers.join("a"), await followers.join("b")
    await until(lambda: builds.begun)
    await followers.leave("a")
    await followers.leave("a")
    await followers.leave("x")
    await asyncio.sleep(1.5)
    assert (builds.begun, builds.ended) == (1, 0)
    await followers.leave("b")
    built = await first.result()
    assert built.code == c.BUILD_ABANDONED
    assert (builds.begun, builds.ended) == (1, 1)


async def test_who_joins_while_it_is_being_ended_gets_it(followers: Followers, builds: Builds):
    builds.slow = 1.5
    await followers.join("a")
    await until(lambda: builds.begun)
    await followers.leave("a")
    await asyncio.sleep(0.5)
    handle = await followers.join("b")
    await until(lambda: builds.begun == 2)
    assert builds.ended == 1
    builds.done.set()
    assert (await handle.result()).key == "k"


async def test_who_joins_at_the_same_moment_as_the_last_one_leaves(followers: Followers, builds: Builds):
    """Whichever comes first: nobody who waits is left with nothing."""
    for n in range(10):
        await followers.join(f"a{n}")
        await until(lambda: builds.begun > builds.ended)
        _, handle = await asyncio.gather(followers.leave(f"a{n}"), followers.join(f"b{n}"))
        await asyncio.sleep(0.02 * n)
        described = await handle.describe()
        if described.status is not None and described.status.name != "RUNNING":
            assert (await handle.result()).code == c.BUILD_ABANDONED
            handle = await followers.join(f"b{n}")
        await until(lambda: builds.begun > builds.ended)
        await followers.leave(f"b{n}")
        assert (await handle.result()).code == c.BUILD_ABANDONED
    assert builds.begun == builds.ended


async def test_one_that_is_followed_by_an_older_version_goes_on(followers: Followers, builds: Builds):
    handle = await followers.join(None)
    await until(lambda: builds.begun)
    await asyncio.sleep(0.5)
    builds.done.set()
    assert (await handle.result()).key == "k"
    assert (builds.begun, builds.ended) == (1, 0)
