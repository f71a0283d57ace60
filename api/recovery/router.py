"""/recovery and /orphans: what is not as it ought to be, and what can be done about it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from api.deps import Page, Parts
from api.problems import responses
from api.recovery import service
from api.recovery.schemas import Findings, OrphanOut, Recover, StopOrphan

router = APIRouter(tags=["recovery"])
ClusterName = Annotated[str, Path(max_length=100)]
FlinkId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


@router.post("/recovery", responses=responses(422, 503), summary="Run the recovery now")
async def run_recovery(request: Recover, parts: Parts) -> Findings:
    """What the recovery schedule does every minute: commands not delivered, jobs without a workflow, workflows
    without a job, clusters without a watch, watches without a cluster, policies that a workflow was not told, attempts
    that two sources disagree about, Flink jobs that nobody owns. Mends what is safe to mend."""
    return await service.run(parts, request)


@router.get("/orphans", responses=responses(422, 503), summary="Flink jobs that nobody owns")
async def list_orphans(parts: Parts, cluster: Annotated[str | None, Query(max_length=100)] = None) -> Page[OrphanOut]:
    """Flink jobs that run on our clusters and that no job owns."""
    return Page(items=await service.orphans_on(parts, cluster))


@router.post(
    "/clusters/{name}/orphans/{flink_job_id}/stop",
    status_code=202,
    responses=responses(404, 409, 422, 503),
    summary="Stop a Flink job that nobody owns",
)
async def stop_orphan(name: ClusterName, flink_job_id: FlinkId, request: StopOrphan, parts: Parts) -> OrphanOut:
    """Asking again is safe. It leaves the list when the cluster shows it ended. One that a job has adopted by now is
    not stopped (409 `orphan_adopted`)."""
    return await service.stop_orphan(parts, name, flink_job_id, request)
