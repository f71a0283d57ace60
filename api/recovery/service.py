"""The recovery, run now; Flink jobs that nobody owns."""

from __future__ import annotations

import uuid

from temporalio.client import WorkflowFailureError

from api.recovery.schemas import Findings, OrphanOut, Recover, StopOrphan
from api.temporal import asking
from clusters.protocol import Savepoints
from core.effects import EngineError, Rejected
from core.errors import Conflict
from core.jobs import messages
from services import Services
from settings import waits
from store import clusters, jobs, orphans
from store.tables import Cluster, Job, Orphan


async def run(services: Services, request: Recover) -> Findings:
    """Run the recovery, and wait for its end. Raises `Conflict` when it fails, `Unavailable` when Temporal does not
    answer."""
    id_ = f"{services.installation.recovery_id}-{uuid.uuid4()}"
    try:
        remedy = f"Send it again, that is safe; or look at {id_} in the Temporal UI."
        with asking("It is not known whether the recovery was begun.", remedy=remedy):
            findings: Findings = await services.client.execute_workflow(
                messages.RECOVERY,
                request,
                id=id_,
                task_queue=services.installation.queues.main,
                execution_timeout=waits.RECOVERY_RUN,
                result_type=Findings,
            )
    except WorkflowFailureError as error:
        raise Conflict(
            f"The recovery did not end: {error.cause}",
            code="recovery_failed",
            remedy="Is a worker running? Look at penstock-recovery-* in the Temporal UI.",
        ) from error
    return findings


async def orphans_on(services: Services, cluster: str | None) -> list[OrphanOut]:
    """On one cluster, or on all."""
    async with services.database.read() as session:
        return [_show(*row) for row in await orphans.with_jobs(session, cluster)]


async def stop_orphan(services: Services, name: str, flink_job_id: str, request: StopOrphan) -> OrphanOut:
    """Raises `Conflict` when a job has it by now, or the cluster does not take it; asking again is safe."""
    async with services.database.write() as session:
        cluster = await clusters.get(session, name)
        row = await orphans.get(session, name, flink_job_id, lock=True)
        for attempt, job in (await orphans.open_owners(session, [flink_job_id])).values():
            raise Conflict(
                f"Flink job {flink_job_id} on {name} is attempt {attempt.number} of {job.project}:{job.name} by now.",
                code="orphan_adopted",
                remedy=f"Pause or kill {job.project}:{job.name}, if it is to end.",
            )
        trigger_id = orphans.ask_to_stop(row, request.mode)
        owner = await jobs.by_id(session, row.job_id) if row.job_id else None
    engine = services.engines.get(cluster)
    try:
        ref = await engine.ref_of(flink_job_id)
        if request.mode == "cancel":
            await engine.cancel(ref) if ref is not None else None
        elif not isinstance(engine, Savepoints):
            raise Rejected(f"a cluster of kind {cluster.kind} takes no savepoints")
        elif ref is None:
            raise Rejected("the cluster does not know it any more")
        else:
            await engine.stop_with_savepoint(ref, trigger_id=trigger_id, directory=_directory(row, cluster))
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
