"""Bringing commands to job workflows, and starting workflows that ought to be there."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from typing import Any

from temporalio.client import (
    RPCTimeoutOrCancelledError,
    WithStartWorkflowOperation,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from core import search
from core.errors import Conflict
from core.jobs import messages
from core.jobs.commands import CommandRequest
from core.jobs.policy import RestartPolicy
from core.jobs.retention import SavepointPolicy
from core.jobs.snapshot import GENERATION, REVISIONS_APART, JobSnapshot, renewed
from core.names import old_job_workflow_id
from services import Services
from settings import Settings, clock
from settings.waits import ANSWER_TIMEOUT
from store import commands, jobs
from store.tables import Cluster, Command, Job
from temporal.client import ask_for, tell

NO_ANSWER = (RPCError, RPCTimeoutOrCancelledError, TimeoutError, RuntimeError)
"""What Temporal's client raises when Temporal is away, or a workflow does not answer in time."""


def policies_of(job: Job) -> tuple[RestartPolicy, SavepointPolicy]:
    """What a person has chosen for a job, and the defaults of now for the rest. A workflow is told them whole: what it
    does must not depend on the defaults of whoever replays it."""
    return RestartPolicy.model_validate(job.policy), SavepointPolicy.model_validate(job.savepoints or {})


def snapshot_of(job: Job, cluster: Cluster, settings: Settings) -> JobSnapshot:
    """Where a job's workflow begins: at the last snapshot that was written, or at the very start."""
    policy, savepoints = policies_of(job)
    interval = settings.check_interval
    if job.snapshot:
        kept = renewed(JobSnapshot.model_validate(job.snapshot))
        return kept.model_copy(
            update={
                "queue": [],
                "seen": None,
                "check_at": clock.now(),  # what its predecessor was told, and had not written, it has not heard
                "revision": job.revision + REVISIONS_APART,
                "policy": policy,
                "savepoints": savepoints,
                "check_interval": interval,
            }
        )
    return JobSnapshot(
        generation=GENERATION,
        job_id=job.id,
        project=job.project,
        name=job.name,
        type=job.type,
        cluster=job.cluster,
        state_dir=cluster.state_dir,
        version=job.version,
        policy=policy,
        savepoints=savepoints,
        check_interval=interval,
    )


def expires_at(command: Command, settings: Settings) -> datetime:
    """From then on its workflow does not take it."""
    return command.created_at + timedelta(seconds=settings.command_expiry)


def request_of(command: Command, settings: Settings) -> CommandRequest:
    """The command as its workflow is given it."""
    return CommandRequest(
        **commands.asked_of(command).model_dump(),
        id=command.id,
        number=command.number,
        job_id=command.job_id,
        expires_at=expires_at(command, settings),
    )


def _start_arguments(services: Services, job: Job, snapshot: JobSnapshot) -> dict[str, Any]:
    keys = {
        search.PROJECT: snapshot.project,
        search.JOB: snapshot.name,
        search.STATE: snapshot.state.value,
        search.TYPE: snapshot.type,
        search.CLUSTER: snapshot.cluster,
    }
    pairs = [SearchAttributePair(SearchAttributeKey.for_keyword(k), v) for k, v in keys.items()]
    return {
        "id": jobs.workflow_id(job),
        "task_queue": services.installation.queues.main,
        "id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING,
        "search_attributes": TypedSearchAttributes(pairs),
        "static_summary": f"{snapshot.type} job {snapshot.project}:{snapshot.name} on {snapshot.cluster}",
    }


async def deliver(services: Services, job: Job, cluster: Cluster, command: Command) -> None:
    """Bring a command to its job's workflow, which is started if it is not there. Doing it again is safe.

    Raises `Conflict` when the workflow does not take it, and one of `NO_ANSWER` when Temporal or the workflow did not
    answer: then it may have been taken, or be taken later.
    """
    snapshot, request = snapshot_of(job, cluster, services.settings), request_of(command, services.settings)
    start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
        messages.JOB, snapshot, **_start_arguments(services, job, snapshot)
    )
    try:
        await services.client.execute_update_with_start_workflow(
            messages.COMMAND.name, request, start_workflow_operation=start, id=request.id, rpc_timeout=ANSWER_TIMEOUT
        )
    except WorkflowUpdateFailedError as error:
        await tell_revision(services, job)
        raise _refusal(error) from error


async def known_to_workflow(services: Services, job: Job) -> JobSnapshot | None:
    """What the workflow of a job knows; None when it does not answer."""
    handle = services.client.get_workflow_handle(jobs.workflow_id(job))
    try:
        return await ask_for(handle, messages.SNAPSHOT)
    except (*NO_ANSWER, WorkflowQueryFailedError):
        return None


async def tell_revision(services: Services, job: Job) -> None:
    """A workflow that refuses what the row allows was perhaps set back behind it: it is told how far that is. Who asks
    again a moment later is answered by what it learns from that."""
    handle = services.client.get_workflow_handle(jobs.workflow_id(job))
    with contextlib.suppress(*NO_ANSWER):
        await tell(handle, messages.REVISED, job.revision)


async def ask(services: Services, job: Job, command: Command) -> bool:
    """The same, but no workflow is started for it: False when there is none. True: it has the command, now or since
    before."""
    request = request_of(command, services.settings)
    handle = services.client.get_workflow_handle(jobs.workflow_id(job))
    try:
        await handle.execute_update(messages.COMMAND.name, request, id=request.id, rpc_timeout=ANSWER_TIMEOUT)
    except WorkflowUpdateFailedError as error:
        await tell_revision(services, job)
        raise _refusal(error) from error
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True


async def was_taken(services: Services, job: Job, command: Command) -> bool:
    """Whether a workflow has taken a command, as Temporal knows also of one that does not answer."""
    handle = services.client.get_workflow_handle(jobs.workflow_id(job)).get_update_handle(command.id)
    try:
        await handle.result(rpc_timeout=ANSWER_TIMEOUT)
    except (RPCTimeoutOrCancelledError, WorkflowUpdateFailedError):  # it waits to be looked at, or was refused
        return False
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True


def _refusal(error: WorkflowUpdateFailedError) -> Conflict:
    cause = error.cause
    if not isinstance(cause, ApplicationError):
        return Conflict(str(cause))
    allowed = cause.details[0] if cause.details else None
    return Conflict(str(cause.message), code=cause.type or "conflict", allowed=allowed)


async def retire(services: Services, job: Job) -> None:
    """End the workflow of a job that is being deleted; one that is not there has ended.

    Raises `Conflict` when it refuses, as something of the job may run, and one of `NO_ANSWER` as `deliver` does.
    """
    id_ = jobs.workflow_id(job)
    handle = services.client.get_workflow_handle(id_)
    try:
        if id_ == old_job_workflow_id(job.project, job.name):
            # It may be the workflow of an earlier job of this name.
            snapshot = await ask_for(handle, messages.SNAPSHOT)
            if snapshot.job_id != job.id:
                return
        await handle.execute_update(messages.RETIRE.name, rpc_timeout=ANSWER_TIMEOUT)
    except WorkflowUpdateFailedError as error:
        cause = error.cause
        if isinstance(cause, ApplicationError) and cause.type == "AcceptedUpdateCompletedWorkflow":
            return
        message = cause.message if isinstance(cause, ApplicationError) else str(cause)
        raise Conflict(str(message), code="job_not_deletable", remedy="Kill it first.") from error
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise


async def start_job(services: Services, job: Job, cluster: Cluster) -> None:
    """Start a job's workflow without a command, where it was lost."""
    snapshot = snapshot_of(job, cluster, services.settings)
    await services.client.start_workflow(
        messages.JOB, snapshot, **_start_arguments(services, job, snapshot), rpc_timeout=ANSWER_TIMEOUT
    )


async def stop_watch(services: Services, cluster: str) -> None:
    """A cluster whose row is gone is watched no longer. Where Temporal is away the watch ends by itself."""
    with contextlib.suppress(*NO_ANSWER):
        handle = services.client.get_workflow_handle(services.installation.cluster_workflow_id(cluster))
        await handle.cancel(rpc_timeout=ANSWER_TIMEOUT)


async def start_watch(services: Services, cluster: str) -> None:
    """See that a cluster is watched."""
    await services.client.start_workflow(
        messages.CLUSTER,
        cluster,
        id=services.installation.cluster_workflow_id(cluster),
        task_queue=services.installation.queues.main,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"watch of cluster {cluster}",
        rpc_timeout=ANSWER_TIMEOUT,
    )
