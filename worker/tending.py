"""What a worker sees to beside its work: that what is kept for people to look at does not grow without end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.service import RPCError, RPCStatusCode

from clusters.protocol import Loss
from clusters.registry import forget_here, kept_here
from core.jobs import messages
from observation.losses import Losses
from processes import logs
from processes.kept import PartDied, StackReport
from processes.supervised import Processes
from services import Services
from settings import clock, waits
from store import attempts

log = structlog.get_logger()
RUNS = 200
"""Runs of the recovery that are deleted at once, at most."""


async def tend(services: Services) -> None:
    """Until it is cancelled. Logs of the local stack, if one is here, and who writes them are looked after: its
    processes have nobody else who does, as session clusters have their keepers."""
    swept, deaths = clock.monotonic(), StackDeaths(services)
    while True:
        await asyncio.sleep(waits.LOGS_SECONDS)
        steps: list[Callable[[Services], Awaitable[None]]] = [bound_logs, deaths.tell]
        if clock.monotonic() - swept > waits.SWEEP_SECONDS:
            swept = clock.monotonic()
            steps += [sweep, forget_recoveries]
        for step in steps:
            try:
                await step(services)
            except Exception as error:  # the next time comes soon, and the other steps are not concerned
                log.warning("could not tidy up", step=step.__qualname__, why=str(error) or type(error).__name__)


async def bound_logs(services: Services) -> None:
    """Of the local stack, if one is here."""
    home = services.settings.home
    if (home / "run").exists():
        await asyncio.to_thread(Processes(home).tend_logs)
        await asyncio.to_thread(logs.tend, home / "flink" / "log")


class StackDeaths:
    """Deaths of parts of the local stack, told as its keeper has seen them."""

    def __init__(self, services: Services):
        self._losses = Losses(services)
        self._told: list[PartDied] = []

    async def tell(self, services: Services) -> None:
        """On the timelines of the jobs that run on it."""
        report = await asyncio.to_thread(StackReport.read, StackReport.path(services.settings.home))
        if report is None or report.died == self._told:
            return
        died = [Loss(death.part, death.at, death.why) for death in report.died]
        async with services.database.write() as session:
            await self._losses.tell_of_stack(session, report.jobmanager_url, died, clock.now())
        self._told = report.died


async def sweep(services: Services) -> None:
    """Delete what attempts of deleted jobs have left on this machine: logs of session clusters."""
    kept = await asyncio.to_thread(kept_here, services.settings)
    handles = [attempt.folder.name for attempt in kept if not attempt.runs]
    if not handles:
        return
    async with services.database.read() as session:
        gone = await attempts.of_deleted_jobs(session, handles)
    await asyncio.to_thread(forget_here, services.settings, gone)


async def forget_recoveries(services: Services) -> None:
    """Delete from Temporal the runs of this installation's recovery that ended well a while ago: one a minute would
    bury the jobs. What they did is in the workers' logs and on timelines; those that failed stay as long as all do."""
    client, queue = services.client, services.installation.queues.main
    before = (clock.now() - timedelta(seconds=waits.RECOVERY_KEPT_SECONDS)).isoformat()
    query = f"WorkflowType = '{messages.RECOVERY}' AND TaskQueue = '{queue}' AND ExecutionStatus = 'Completed'"
    runs = client.list_workflows(f"{query} AND CloseTime < '{before}'", limit=RUNS, rpc_timeout=waits.LIST_TIMEOUT)
    async for run in runs:
        execution = WorkflowExecution(workflow_id=run.id, run_id=run.run_id)
        request = DeleteWorkflowExecutionRequest(namespace=client.namespace, workflow_execution=execution)
        try:
            await client.workflow_service.delete_workflow_execution(request, timeout=waits.ANSWER_TIMEOUT)
        except RPCError as error:  # the list is a little behind, and another worker tidies up, too
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
