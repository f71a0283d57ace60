"""/recovery and /orphans: what is not as it ought to be, and what can be done about it."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from temporalio.client import WorkflowFailureError

from api.deps import Page, Parts, Strict
from api.problems import responses
from api.temporal import asking
from clusters.protocol import Ref, Savepoints
from core.effects import EngineError, Rejected
from core.errors import Conflict
from store import clusters, orphans
from store.tables import Cluster, Job, Orphan

router = APIRouter(tags=["recovery"])
ClusterName = Annotated[str, Path(max_length=100)]
FlinkId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
LIMIT = timedelta(minutes=5)


class Recover(Strict):
    dry_run: bool = Field(default=False, description="Look, and change nothing")


class Finding(BaseModel):
    kind: str = Field(description="watch, workflow, row, policy, deletion, command, attempt or orphan")
    subject: str
    what: str
    action: str = Field(description="What is done about it, or what a person can do")
    safe: bool = Field(description="It is mended by itself; otherwise a person has to decide")
    done: bool = Field(description="It was mended")


class Findings(BaseModel):
    findings: list[Finding] = Field(description="At most 200, those first that were not mended")
    more: dict[str, int] = Field(default={}, description="How many of each kind there are beside those")


class OrphanOut(BaseModel):
    """A Flink job that is alive on a cluster, and that no job of Penstock owns."""

    cluster: str
    flink_job_id: str
    name: str = Field(description="As Flink shows it")
    detail: str | None
    job: str | None = Field(description="The job whose attempt it was, when it was one")
    attempt: int | None
    asked: str | None = Field(description="cancel or stop, once a person has asked for it")
    savepoint_directory: str | None = Field(description="Where its savepoint goes, once `stop` has been asked for")
    first_seen_at: datetime


class StopOrphan(Strict):
    mode: Literal["cancel", "stop"] = Field(description="stop: with a savepoint below the cluster's state_dir")


@router.post("/recovery", responses=responses(422, 503), summary="Run the recovery now")
async def run_recovery(wanted: Recover, parts: Parts) -> Findings:
    """What the recovery schedule does every minute: commands not delivered, jobs without a workflow, workflows
    without a job, clusters without a watch, watches without a cluster, policies that a workflow was not told, attempts
    that two sources disagree about, Flink jobs that nobody owns. Mends what is safe to mend."""
    id_ = f"{parts.installation.recovery_id}-{uuid.uuid4()}"
    try:
        remedy = f"Send it again, that is safe; or look at {id_} in the Temporal UI."
        with asking("It is not known whether the recovery was begun.", remedy=remedy):
            found: Findings = await parts.client.execute_workflow(
                "RecoveryWorkflow",
                wanted,
                id=id_,
                task_queue=parts.installation.queues.main,
                execution_timeout=LIMIT,
                result_type=Findings,
            )
    except WorkflowFailureError as error:
        raise Conflict(
            f"The recovery did not end: {error.cause}",
            code="recovery_failed",
            remedy="Is a worker running? Look at penstock-recovery-* in the Temporal UI.",
        ) from error
    return found


@router.get("/orphans", responses=responses(422, 503), summary="Flink jobs that nobody owns")
async def list_orphans(parts: Parts, cluster: Annotated[str | None, Query(max_length=100)] = None) -> Page[OrphanOut]:
    async with parts.database.read() as session:
        return Page(items=[_show(*row) for row in await orphans.with_jobs(session, cluster)])


@router.post(
    "/clusters/{name}/orphans/{flink_job_id}/stop",
    status_code=202,
    responses=responses(404, 409, 422, 503),
    summary="Stop a Flink job that nobody owns",
)
async def stop_orphan(name: ClusterName, flink_job_id: FlinkId, wanted: StopOrphan, parts: Parts) -> OrphanOut:
    """Asking again is safe. It leaves the list when the cluster shows it ended."""
    async with parts.database.write() as session:
        cluster = await clusters.get(session, name)
        row = await orphans.get(session, name, flink_job_id)
        row.asked = wanted.mode
        row.trigger_id = row.trigger_id or uuid.uuid4().hex
        owner = await session.get(Job, row.job_id) if row.job_id else None
    engine, ref = parts.engines.get(cluster), Ref(flink_job_id, flink_job_id)
    try:
        if wanted.mode == "cancel":
            await engine.cancel(ref)
        elif not isinstance(engine, Savepoints):
            raise Rejected(f"a cluster of kind {cluster.kind} takes no savepoints")
        else:
            await engine.stop_with_savepoint(ref, trigger_id=row.trigger_id, directory=_directory(row, cluster))
    except EngineError as error:
        raise Conflict(
            f"Flink job {flink_job_id} on {name} was not stopped: {error.message}",
            code="not_stopped",
            remedy="Send it again; that is safe.",
        ) from error
    return _show(row, owner, cluster)


def _directory(row: Orphan, cluster: Cluster) -> str:
    return f"{cluster.state_dir.rstrip('/')}/orphans/{row.flink_job_id}-{row.trigger_id}"


def _show(row: Orphan, owner: Job | None, cluster: Cluster) -> OrphanOut:
    return OrphanOut(
        cluster=row.cluster,
        flink_job_id=row.flink_job_id,
        name=row.name,
        detail=row.detail,
        job=f"{owner.project}:{owner.name}" if owner else None,
        attempt=row.attempt,
        asked=row.asked,
        savepoint_directory=_directory(row, cluster) if row.asked == "stop" else None,
        first_seen_at=row.first_seen_at,
    )
