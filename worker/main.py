"""Starting a worker, and letting it end without losing work."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import structlog
from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.adopt import Adopting
from activities.build import Builder
from activities.hosting import Hosting
from activities.library import Librarian
from activities.observe import Observing
from activities.record import Recorder
from activities.recovery import Recovery
from activities.retain import Retaining
from activities.stop import Stopper
from activities.submit import Submitter
from core import queues
from settings import Settings
from store.migrate import upgrade
from watch.observer import Observer
from watch.services import Services
from worker.temporal import connect, prepare
from workflows.build import BuildWorkflow
from workflows.cluster import ClusterWorkflow
from workflows.job import JobWorkflow
from workflows.library import LibraryWorkflow
from workflows.recovery import RecoveryWorkflow

log = structlog.get_logger()

WORKFLOWS: list[type] = [JobWorkflow, ClusterWorkflow, BuildWorkflow, LibraryWorkflow, RecoveryWorkflow]
ALL_QUEUES = (queues.MAIN, queues.BUILD, queues.WATCH)
GRACE = timedelta(seconds=10)
BUILDS_AT_ONCE = 4

# Pure modules and pydantic need no second copy for each workflow: 5 ms a workflow instead of 77 ms.
PASSED_THROUGH = (
    "core",
    "activities.contracts",
    "activities",
    "workflows",
    "pydantic",
    "pydantic_core",
    "annotated_types",
)


def runner() -> SandboxedWorkflowRunner:
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH))


def activities_of(services: Services) -> dict[str, list[Callable[..., Any]]]:
    """All activities, by the queue that each is on."""
    builder, observing = Builder(services), Observing(services, Observer(services, reports=True))
    recorder, stopper = Recorder(services), Stopper(services)
    return {
        queues.MAIN: [
            recorder.record,
            recorder.open_attempt,
            Submitter(services).submit,
            observing.look,
            observing.check,
            observing.await_running,
            observing.diagnose,
            observing.gather,
            stopper.stop_with_savepoint,
            stopper.take_savepoint,
            stopper.cancel,
            observing.prove,
            Retaining(services).retain,
            Hosting(services).rescale,
            Adopting(services).adoptable,
            Recovery(services).recover,
        ],
        queues.BUILD: [builder.build, builder.run_build, Librarian(services).fetch_library],
        queues.WATCH: [observing.watch_cluster],
    }


def make_workers(services: Services, wanted: Sequence[str] = ALL_QUEUES) -> list[Worker]:
    """A worker for each queue of `wanted`, over one set of clients."""
    activities = activities_of(services)
    # A build that is followed holds a slot while it waits for one that runs: there are slots for both.
    slots = {queues.MAIN: 200, queues.BUILD: 16 * BUILDS_AT_ONCE, queues.WATCH: 500}
    return [
        Worker(
            services.client,
            task_queue=queue,
            workflows=WORKFLOWS if queue == queues.MAIN else [],
            activities=activities[queue],
            workflow_runner=runner(),
            max_concurrent_activities=slots[queue],
            max_cached_workflows=2000,
            graceful_shutdown_timeout=timedelta(seconds=1) if queue == queues.WATCH else GRACE,
        )
        for queue in wanted
    ]


async def run_worker(settings: Settings, wanted: Sequence[str] = ALL_QUEUES) -> None:
    """Serve `wanted` until SIGTERM or SIGINT; running activities get ten seconds to end."""
    client = await connect(settings)
    services = Services.make(settings, client)
    try:
        await upgrade(services.database)
        await prepare(client, settings)
        await _serve(client, services, wanted)
    finally:
        await services.close()


async def _serve(client: Client, services: Services, wanted: Sequence[str]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await asyncio.to_thread(services.artifacts.sweep)
    workers = make_workers(services, wanted)
    async with contextlib.AsyncExitStack() as stack:
        for worker in workers:
            await stack.enter_async_context(worker)
        log.info("worker is up", queues=list(wanted), namespace=client.namespace)
        await stop.wait()
        log.info("worker is stopping")
