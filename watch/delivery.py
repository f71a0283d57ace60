"""Bringing commands to job workflows, and starting workflows that ought to be there."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WithStartWorkflowOperation, WorkflowUpdateFailedError
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from core import queues, search
from core.errors import Conflict
from core.names import cluster_workflow_id, job_workflow_id
from core.policy import RestartPolicy
from core.restore import RestoreRequest
from core.retention import SavepointPolicy
from core.snapshot import GENERATION, CommandRequest, JobSnapshot
from core.states import CommandKind
from settings import Settings
from store.tables import Cluster, Command, Job


def snapshot_of(job: Job, cluster: Cluster, settings: Settings) -> JobSnapshot:
    """Where a job's workflow begins: at the last snapshot that was written, or at the very start."""
    if job.snapshot:
        kept = JobSnapshot.model_validate(job.snapshot)
        return kept.model_copy(
            update={
                "generation": GENERATION,
                "queue": [],
                "seen": None,
                "check_at": None,
                "revision": job.revision,
                "policy": RestartPolicy.model_validate(job.policy),
                "savepoints": SavepointPolicy.model_validate(job.savepoints or {}),
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
        policy=RestartPolicy.model_validate(job.policy),
        savepoints=SavepointPolicy.model_validate(job.savepoints or {}),
        check_interval=settings.check_interval,
    )


def request_of(command: Command) -> CommandRequest:
    return CommandRequest(
        id=command.id,
        number=command.number,
        kind=CommandKind(command.kind),
        restore=RestoreRequest.model_validate(command.restore) if command.restore else None,
        version=command.version,
        rollback_within=command.rollback_within,
        flink_job_id=command.flink_job_id,
    )


def _start_arguments(snapshot: JobSnapshot) -> dict[str, Any]:
    keys = {
        search.PROJECT: snapshot.project,
        search.JOB: snapshot.name,
        search.STATE: snapshot.state.value,
        search.TYPE: snapshot.type,
        search.CLUSTER: snapshot.cluster,
    }
    pairs = [SearchAttributePair(SearchAttributeKey.for_keyword(k), v) for k, v in keys.items()]
    return {
        "id": job_workflow_id(snapshot.project, snapshot.name),
        "task_queue": queues.MAIN,
        "id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING,
        "search_attributes": TypedSearchAttributes(pairs),
        "static_summary": f"{snapshot.type} job {snapshot.project}:{snapshot.name} on {snapshot.cluster}",
    }


async def deliver(client: Client, snapshot: JobSnapshot, request: CommandRequest) -> None:
    """Bring a command to its job's workflow, which is started if it is not there. Doing it again is safe.

    Raises `Conflict` when the workflow does not take it; what Temporal's client raises when it is away.
    """
    start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
        "JobWorkflow", snapshot, **_start_arguments(snapshot)
    )
    try:
        await client.execute_update_with_start_workflow(
            "command",
            request,
            start_workflow_operation=start,
            id=request.id,
            rpc_timeout=timedelta(seconds=5),
        )
    except WorkflowUpdateFailedError as error:
        cause = error.cause
        if isinstance(cause, ApplicationError):
            allowed = cause.details[0] if cause.details else None
            raise Conflict(str(cause.message), code=cause.type or "conflict", allowed=allowed) from error
        raise


async def start_job(client: Client, snapshot: JobSnapshot) -> None:
    """Start a job's workflow without a command, where it was lost."""
    await client.start_workflow("JobWorkflow", snapshot, **_start_arguments(snapshot))


async def stop_watch(client: Client, cluster: str) -> None:
    """A cluster whose row is gone is watched no longer. Where Temporal is away the watch ends by itself."""
    with contextlib.suppress(RPCError, RuntimeError):
        await client.get_workflow_handle(cluster_workflow_id(cluster)).cancel()


async def start_watch(client: Client, cluster: str) -> None:
    """See that a cluster is watched."""
    await client.start_workflow(
        "ClusterWorkflow",
        cluster,
        id=cluster_workflow_id(cluster),
        task_queue=queues.MAIN,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"watch of cluster {cluster}",
    )
