"""Job workflows on Temporal's time-skipping server.

The activities are doubles here: they give the answers that no real cluster can be made to give on
demand (lost answers, outages of hours), and they remember what they were asked. What the real ones do is
tested in `tests/real`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities import contracts as c
from core import search
from core.jobs.commands import CommandRequest
from core.jobs.observations import EngineState, Observation
from core.jobs.policy import RestartPolicy
from core.jobs.records import Record
from core.jobs.restore import RestoreKind, RestorePoint
from core.jobs.snapshot import GENERATION, JobSnapshot
from core.jobs.states import CommandKind
from core.queues import Queues
from processes.supervised import Port, Processes, Spec, free_port, listens
from stack.parts import StackParts
from worker.main import runner
from workflows.job import JobWorkflow

SKIPS_WITHIN = 2.0  # seconds of ours; a machine that is slower has a new server more often, and no other result


class Servers:
    """The servers that the tests use one after another. A time-skipping one whose clock is held is given up: an activity
    that a test has left hanging keeps it from skipping."""

    def __init__(self, parts: StackParts, folder: Path):
        self._parts = parts
        self._folder = folder
        self._dev = AsyncExitStack()
        self._dev_made: WorkflowEnvironment | None = None
        self._skipping = AsyncExitStack()
        self._skipping_made: WorkflowEnvironment | None = None

    async def dev(self) -> WorkflowEnvironment:
        if self._dev_made is None:
            starting = WorkflowEnvironment.start_local(
                dev_server_existing_path=str(self._parts.temporal()),
                data_converter=pydantic_data_converter,
                search_attributes=[SearchAttributeKey.for_keyword(name) for name in search.ATTRIBUTES],
                dev_server_log_level="error",
                dev_server_extra_args=["--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=200"],
            )
            self._dev_made = await self._dev.enter_async_context(await starting)
        return self._dev_made

    async def skipping(self) -> WorkflowEnvironment:
        if self._skipping_made is None:
            made = await self._skipping.enter_async_context(await self._start_skipping())
            keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
            await made.client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(
                    namespace=made.client.namespace, search_attributes=dict.fromkeys(search.ATTRIBUTES, keyword)
                )
            )
            self._skipping_made = made
        return self._skipping_made

    async def _start_skipping(self) -> WorkflowEnvironment:
        """The SDK gives a server that it starts five seconds, which a JVM on a loaded machine may need more than: so the
        server is started here, and what the SDK starts is nothing."""
        port, processes = free_port(), Processes(self._folder)
        nothing = self._folder / "nothing"
        nothing.write_text("#!/bin/sh\nexec sleep infinity\n")
        nothing.chmod(0o755)
        command = [str(self._parts.test_server()), str(port)]
        self._skipping.callback(processes.stop, "test-server")
        spec = Spec("test-server", command, ports=[Port(port)], ready=listens(port), bound=True)
        processes.start(spec, timeout=240)
        return await WorkflowEnvironment.start_time_skipping(
            test_server_existing_path=str(nothing), port=port, data_converter=pydantic_data_converter
        )

    async def give_back(self) -> None:
        """Keep the time-skipping server for the next test if it skips a minute at once."""
        assert self._skipping_made is not None
        try:
            await asyncio.wait_for(self._skipping_made.sleep(60), SKIPS_WITHIN)
        except TimeoutError:
            await self._skipping.aclose()
            self._skipping_made = None

    async def close(self) -> None:
        await self._skipping.aclose()
        await self._dev.aclose()


@pytest.fixture(scope="session")
async def servers(parts: StackParts, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    made = Servers(parts, tmp_path_factory.mktemp("servers"))
    yield made
    await made.close()


@pytest.fixture
async def environment(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[WorkflowEnvironment]:
    """A dev server; for a test that is marked `skips_time` a time-skipping one that nothing else runs on, which takes ten
    times as much of a processor."""
    if request.node.get_closest_marker("skips_time") is None:
        yield await servers.dev()
        return
    yield await servers.skipping()
    await servers.give_back()


def point(attempt: int = 1, kind: RestoreKind = RestoreKind.CHECKPOINT, n: int = 1) -> RestorePoint:
    path = f"file:///s/{attempt}/{kind.value}-{n}"
    return RestorePoint(
        id=f"rp-{attempt}-{n}",
        kind=kind,
        path=path,
        completed_at=datetime(2026, 1, 1, 0, attempt, n, tzinfo=UTC),
        attempt=attempt,
        version=1,
    )


class Cluster:
    """A scripted cluster: what each activity answers can be replaced; what was asked is kept."""

    def __init__(self) -> None:
        self.opened: list[c.OpenAttempt] = []
        self.records: list[Record] = []
        self.asked: list[str] = []
        self.points: list[RestorePoint] = []
        self.sequence = 0
        self.submitted: Callable[[c.AttemptIn], Any] = lambda _: c.Submitted(state=c.SubmitState.ACCEPTED)
        self.runs: Callable[[c.AttemptIn], Any] = lambda a: self.seen(a.number, EngineState.RUNNING)
        self.looks: Callable[[c.AttemptIn], Any] = lambda a: self.seen(a.number, EngineState.RUNNING)
        self.stops: Callable[[c.TriggerIn], Any] = self._stops
        self.cancels: Callable[[c.AttemptIn], Any] = lambda _: c.Stopped(
            state=EngineState.CANCELED, sequence=self.tick()
        )
        self.diagnosis: Callable[[c.DiagnoseIn], Any] = lambda _: c.Diagnosis(cause="boom")
        self.savepoints: Callable[[c.TriggerIn], Any] = self._takes
        self.proves: Callable[[c.ProveIn], Any] = lambda a: c.Proven(
            healthy=True, observation=self.observation(a.number, EngineState.RUNNING)
        )
        self.retains: Callable[[c.RetainIn], Any] = lambda _: c.Retained()
        self.adopts: Callable[[c.AdoptIn], Any] = lambda _: c.Adoptable(error="nothing there", code="not_adoptable")
        self.fences: Callable[[c.AttemptIn], Any] = lambda _: c.Fenced(fenced=True)
        self.cancels_all: Callable[[c.AttemptIn], Any] = lambda _: c.Stopped(
            state=EngineState.CANCELED, sequence=self.tick()
        )
        self.gathers: Callable[[c.GatherIn], Any] = lambda _: c.Gathered(points=self.points)
        self.opens: Callable[[c.OpenAttempt], Any] = lambda _: c.OpenedAttempt()
        self.builds: Callable[[c.BuildIn], Any] = lambda _: c.Built(key="k", commit="c")
        self.recorded: Callable[[Record], c.Recorded | None] = lambda _: None
        self.begun: list[int] = []
        self.runs_soon = True
        """A start sees it run; else that is asked for by a step of its own."""

    async def begins(self, wanted: c.StartAttempt) -> None:
        """Before a start has written anything."""

    async def open(self, wanted: c.OpenAttempt) -> c.OpenedAttempt:
        answer: c.OpenedAttempt = self.opens(wanted)
        if not answer.conflict and not answer.owner and wanted.flink_job_id not in self.flink_ids:
            self.opened.append(wanted)
            self.records.append(wanted.record)
        return answer

    def tick(self) -> int:
        self.sequence += 10
        return self.sequence

    def observation(self, number: int, state: EngineState) -> Observation:
        opened = next(o for o in self.opened if o.number == number)
        return Observation(attempt=number, flink_job_id=opened.flink_job_id, sequence=self.tick(), state=state)

    def seen(self, number: int, state: EngineState) -> c.Seen:
        return c.Seen(observation=self.observation(number, state))

    def _stops(self, wanted: c.TriggerIn) -> c.Stopped:
        taken = point(wanted.number, RestoreKind.SAVEPOINT, 59)
        self.points.append(taken)
        return c.Stopped(state=EngineState.FINISHED, sequence=self.tick(), savepoint=taken)

    def _takes(self, wanted: c.TriggerIn) -> c.Stopped:
        taken = point(wanted.number, RestoreKind.SAVEPOINT, len(self.points) + 1)
        self.points.append(taken)
        return c.Stopped(savepoint=taken)

    @property
    def flink_ids(self) -> list[str]:
        return [o.flink_job_id for o in self.opened]

    def events(self, kind: str) -> list[str]:
        return [e.message for r in self.records for e in r.events if e.kind == kind]

    def ended(self, number: int) -> Any:
        changes = [ch for r in self.records for ch in r.commands if ch.id.endswith(f"#{number}")]
        # As in the store: an ended command stays ended, in whatever order the records come.
        return next((ch for ch in changes if ch.state != "RUNNING"), changes[-1] if changes else None)

    def activities(self) -> list[Callable[..., Any]]:
        async def answer(name: str, how: Callable[[Any], Any], wanted: Any) -> Any:
            self.asked.append(name)
            result = how(wanted)
            return await result if asyncio.iscoroutine(result) else result

        @activity.defn(name=c.RECORD)
        async def record(wanted: Record) -> c.Recorded | None:
            self.records.append(wanted)
            return self.recorded(wanted)

        @activity.defn(name=c.OPEN_ATTEMPT)
        async def open_attempt(wanted: c.OpenAttempt) -> c.OpenedAttempt:
            return await self.open(wanted)

        @activity.defn(name=c.START_ATTEMPT)
        async def start_attempt(wanted: c.StartAttempt) -> c.Started:
            self.begun.append(wanted.number)
            await self.begins(wanted)
            opened = await self.open(wanted)
            if opened.conflict:
                return c.Started(conflict=opened)
            attempt = c.AttemptIn(job_id=wanted.job_id, number=wanted.number, command_id=wanted.command_id)
            submitted = await answer("submit", self.submitted, attempt)
            if submitted.state is not c.SubmitState.ACCEPTED or not self.runs_soon:
                return c.Started(submitted=submitted)
            return c.Started(submitted=submitted, seen=await answer("await", self.runs, attempt))

        @activity.defn(name=c.SUBMIT)
        async def submit(wanted: c.AttemptIn) -> c.Submitted:
            return await answer("submit", self.submitted, wanted)

        @activity.defn(name=c.AWAIT_RUNNING)
        async def await_running(wanted: c.AttemptIn) -> c.Seen:
            return await answer("await", self.runs, wanted)

        @activity.defn(name=c.LOOK)
        async def look(wanted: c.AttemptIn) -> c.Seen:
            return await answer("look", self.looks, wanted)

        @activity.defn(name="check")
        async def check(wanted: c.AttemptIn) -> c.Seen:
            return await answer("check", self.looks, wanted)

        @activity.defn(name=c.DIAGNOSE)
        async def diagnose(wanted: c.DiagnoseIn) -> c.Diagnosis:
            return await answer("diagnose", self.diagnosis, wanted)

        @activity.defn(name=c.GATHER)
        async def gather(wanted: c.GatherIn) -> c.Gathered:
            return await answer("gather", self.gathers, wanted)

        @activity.defn(name=c.STOP)
        async def stop(wanted: c.TriggerIn) -> c.Stopped:
            return await answer("stop", self.stops, wanted)

        @activity.defn(name=c.SAVEPOINT)
        async def savepoint(wanted: c.TriggerIn) -> c.Stopped:
            return await answer("savepoint", self.savepoints, wanted)

        @activity.defn(name=c.PROVE)
        async def prove(wanted: c.ProveIn) -> c.Proven:
            return await answer("prove", self.proves, wanted)

        @activity.defn(name=c.RETAIN)
        async def retain(wanted: c.RetainIn) -> c.Retained:
            return await answer("retain", self.retains, wanted)

        @activity.defn(name=c.ADOPTABLE)
        async def adoptable(wanted: c.AdoptIn) -> c.Adoptable:
            return await answer("adoptable", self.adopts, wanted)

        @activity.defn(name=c.CANCEL)
        async def cancel(wanted: c.AttemptIn) -> c.Stopped:
            return await answer("cancel", self.cancels, wanted)

        @activity.defn(name=c.CANCEL_ALL)
        async def cancel_all(wanted: c.AttemptIn) -> c.Stopped:
            return await answer("cancel_all", self.cancels_all, wanted)

        @activity.defn(name=c.FENCE)
        async def fence(wanted: c.AttemptIn) -> c.Fenced:
            return await answer("fence", self.fences, wanted)

        @activity.defn(name=c.BUILD)
        async def build(wanted: c.BuildIn) -> c.Built:
            return await answer("build", self.builds, wanted)

        return [
            record,
            open_attempt,
            start_attempt,
            submit,
            await_running,
            look,
            check,
            diagnose,
            gather,
            stop,
            cancel,
            build,
            savepoint,
            prove,
            retain,
            adoptable,
            cancel_all,
            fence,
        ]


class Life:
    """One job's workflow against a scripted cluster."""

    def __init__(self, handle: WorkflowHandle[Any, Any], cluster: Cluster, environment: Any):
        self.handle = handle
        self._environment = environment
        self.now = environment.get_current_time  # of the server, which has skipped what the tests before wanted it to
        self.cluster = cluster
        self._number = 0

    async def skip(self, seconds: float) -> None:
        """Let virtual time pass, in a test that is marked `skips_time`."""
        assert self._environment.supports_time_skipping, "mark the test with skips_time"
        await self._environment.sleep(seconds)

    async def send(self, kind: str, **more: Any) -> int:
        self._number += 1
        request = CommandRequest(id=f"c#{self._number}", number=self._number, kind=CommandKind(kind), **more)
        await self.handle.execute_update("command", request, id=request.id)
        return self._number

    async def do(self, kind: str, **more: Any) -> Any:
        number = await self.send(kind, **more)
        return await self.until(lambda: (e := self.cluster.ended(number)) and e.state != "RUNNING" and e)

    async def until(self, condition: Callable[[], Any]) -> Any:
        """What `condition` gives, or what it is waited for to give, once that is true."""
        for _ in range(2000):
            found = condition()
            if found := (await found if inspect.isawaitable(found) else found):
                return found
            await asyncio.sleep(0.01)
        raise AssertionError("it did not come to that")

    async def becomes(self, state: str) -> None:
        async def is_so() -> bool:
            return await self.state() == state

        await self.until(is_so)

    async def snapshot(self) -> JobSnapshot:
        return await self.handle.query("snapshot", result_type=JobSnapshot)

    async def state(self) -> str:
        return (await self.snapshot()).state.value

    async def observe(self, state: EngineState, number: int | None = None) -> None:
        seen = self.cluster.observation(number or self.cluster.opened[-1].number, state)
        await self.handle.signal("observed", seen)


async def is_at_rest(handle: WorkflowHandle[Any, Any]) -> bool:
    """Whether no activity of a workflow and no task of its own is under way."""
    found = (await handle.describe()).raw_description
    return not found.pending_activities and not found.HasField("pending_workflow_task")


async def _comes_to_rest(handle: WorkflowHandle[Any, Any]) -> None:
    """Wait, for half a second at the most, until nothing of a workflow is under way: what its worker is taken away from
    keeps a time-skipping server from skipping ever after."""
    looks = 0  # one of them may come between the end of an activity and the task that tells the workflow
    for _ in range(20):
        looks = looks + 1 if await is_at_rest(handle) else 0
        if looks == 3:
            return
        await asyncio.sleep(0.025)


async def begun(
    environment: Any,
    cluster: Cluster,
    queue: str,
    *,
    type_: str = "sql",
    policy: RestartPolicy | None = None,
    **more: Any,
) -> Life:
    """A job's workflow, started on `queue`."""
    name = f"j-{uuid.uuid4().hex[:8]}"
    snapshot = JobSnapshot(
        job_id=str(uuid.uuid4()),
        project="p",
        name=name,
        type=type_,
        cluster="c",
        state_dir="file:///s",
        policy=policy or RestartPolicy(),
        **{"generation": GENERATION, "check_interval": 3600 * 24 * 365, **more},
    )
    keys = [SearchAttributePair(SearchAttributeKey.for_keyword(search.STATE), "CREATED")]
    handle = await environment.client.start_workflow(
        JobWorkflow.run,
        snapshot,
        id=f"job-p:{name}",
        task_queue=queue,
        search_attributes=TypedSearchAttributes(keys),
    )
    return Life(handle, cluster, environment)


@pytest.fixture
async def start(environment: WorkflowEnvironment) -> AsyncIterator[Callable[..., Any]]:
    """Start a job's workflow: `await start(cluster, type="sql", policy=...)`."""
    client: Client = environment.client
    stack: list[Any] = []

    async def begin(cluster: Cluster, **more: Any) -> Life:
        queue = f"q-{uuid.uuid4().hex}"
        activities = cluster.activities()
        builds = Worker(client, task_queue=Queues(queue).build, activities=activities)
        rest = Worker(
            client, task_queue=queue, workflows=[JobWorkflow], activities=activities, workflow_runner=runner()
        )
        for worker in (builds, rest):
            await worker.__aenter__()
            stack.append(worker)
        life = await begun(environment, cluster, queue, **more)
        stack.append(life.handle)
        return life

    yield begin
    handles = [item for item in stack if not isinstance(item, Worker)]
    if folder := os.environ.get("PENSTOCK_KEEP_HISTORIES"):
        for handle in handles:
            history = await handle.fetch_history()
            test = re.sub(r"\W.*", "", os.environ["PYTEST_CURRENT_TEST"].split("::")[-1])
            text = re.sub(r'"identity": ?"[^"]*"', '"identity": "worker"', history.to_json())
            path = Path(folder, f"{test}.json")
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():  # what was kept stays as it is
                path.write_text(json.dumps(json.loads(text)))
    for handle in handles:
        await _comes_to_rest(handle)
    # An activity that hangs is ended by its worker: of a workflow that was terminated, the server would not hear it.
    for worker in reversed(stack):
        if isinstance(worker, Worker):
            await worker.__aexit__(None, None, None)
    for handle in handles:
        await handle.terminate()
