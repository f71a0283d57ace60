"""Starting a worker, and letting it end without losing work."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from temporalio import activity
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkflowRunner,
)

from activities.adopt import Adopting
from activities.build import Builder
from activities.fence import Fencer
from activities.hosting import Hosting
from activities.library import Librarian
from activities.observe import Observing
from activities.record import Recorder
from activities.recovery import Recovery
from activities.retain import Retaining
from activities.start import Starter
from activities.stop import Stopper
from activities.submit import Submitter
from core.queues import KINDS, Kind
from observation.observer import Observer, keep_forgetting
from services import Services
from settings import Settings, clock, garbage, waits
from worker.temporal import connect, keep_prepared, prepare
from worker.tending import tend
from workflows.build import BuildWorkflow
from workflows.cluster import ClusterWorkflow
from workflows.job import JobWorkflow
from workflows.library import LibraryWorkflow
from workflows.recovery import RecoveryWorkflow

log = structlog.get_logger()

WORKFLOWS: list[type] = [JobWorkflow, ClusterWorkflow, BuildWorkflow, LibraryWorkflow, RecoveryWorkflow]
BUILDS_AT_ONCE = 4


def runner() -> WorkflowRunner:
    """Workflow code as it stands. The SDK's sandbox would have to pass through all that it is made of, to be quick, and
    so would keep nothing from it; that it replays is what the stored histories show."""
    return UnsandboxedWorkflowRunner()


def activities_of(services: Services, observer: Observer) -> dict[Kind, list[Callable[..., Any]]]:
    """All activities, by the kind of queue that each is on."""
    builder, observing = Builder(services), Observing(services, observer)
    recorder, stopper, submitter = Recorder(services), Stopper(services), Submitter(services)
    return {
        "main": [
            recorder.record,
            recorder.open_attempt,
            submitter.submit,
            Starter(services, recorder, submitter, observing).start_attempt,
            observing.look,
            observing.check,
            observing.await_running,
            observing.diagnose,
            observing.gather,
            stopper.stop_with_savepoint,
            stopper.take_savepoint,
            stopper.cancel,
            stopper.cancel_all,
            Fencer(services).fence,
            observing.prove,
            Retaining(services).retain,
            Hosting(services).rescale,
            Adopting(services).adoptable,
            Recovery(services).recover,
        ],
        "build": [builder.build, builder.run_build, Librarian(services).fetch_library],
        "watch": [observing.watch_cluster],
    }


class ByTemporalsClock(Interceptor):
    """Tells each activity when it began by Temporal's clock (`settings.clock.begins`)."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Begins(next)


class _Begins(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        clock.begins(activity.info().started_time)
        return await self.next.execute_activity(input)


def make_workers(services: Services, observer: Observer, kinds: Sequence[Kind] = KINDS) -> list[Worker]:
    """A worker for each queue of `kinds`, over one set of clients."""
    activities = activities_of(services, observer)
    # A build that is followed holds a slot while it waits for one that runs: there are slots for both.
    slots: dict[Kind, int] = {"main": 200, "build": 16 * BUILDS_AT_ONCE, "watch": 500}
    return [
        Worker(
            services.client,
            task_queue=services.installation.queues.of(kind),
            workflows=WORKFLOWS if kind == "main" else [],
            activities=activities[kind],
            workflow_runner=runner(),
            interceptors=[ByTemporalsClock()],
            max_concurrent_activities=slots[kind],
            max_cached_workflows=2000,
            # A cancellation comes with the answer to a heartbeat: what is not wanted any more ends soon.
            max_heartbeat_throttle_interval=(
                waits.WATCH_HEARTBEAT_THROTTLE if kind == "watch" else waits.HEARTBEAT_THROTTLE
            ),
            graceful_shutdown_timeout=waits.WATCH_SHUTDOWN_GRACE if kind == "watch" else waits.SHUTDOWN_GRACE,
        )
        for kind in kinds
    ]


async def run_worker(settings: Settings, kinds: Sequence[Kind] = KINDS) -> None:
    """Serve `wanted` until SIGTERM or SIGINT; running activities get ten seconds to end."""
    client = await connect(settings)
    services = Services.make(settings, client)
    try:
        services = await services.ready()
        await prepare(services)
        await _serve(services, kinds)
    finally:
        await services.close()


async def _serve(services: Services, kinds: Sequence[Kind]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await asyncio.to_thread(services.artifacts.sweep)
    observer = Observer(services, reports=True)
    workers = make_workers(services, observer, kinds)
    async with contextlib.AsyncExitStack() as stack:
        for worker in workers:
            await stack.enter_async_context(worker)
        names = [services.installation.queues.of(kind) for kind in kinds]
        garbage.settle()
        log.info("worker is up", queues=names, namespace=services.client.namespace)
        prepared = asyncio.create_task(keep_prepared(services))
        stack.push_async_callback(_cancel, prepared)
        for beside in (tend(services), keep_forgetting(services, observer)):
            stack.push_async_callback(_cancel, asyncio.create_task(beside))
        await stop.wait()
        log.info("worker is stopping")


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
