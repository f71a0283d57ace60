"""Session clusters that a job of ours runs: where they are found, and how they are scaled."""

from __future__ import annotations

from temporalio import activity

from activities import contracts as c
from activities.checks import all_present, check_current, present
from activities.logs import bind, heartbeats, log_of
from clusters.protocol import ClusterProgram, FoundAt, HostsClusters, Ref
from clusters.registry import KINDS, address_of, columns_of
from core.effects import EngineError, Rejected
from core.jobs.observations import EngineState
from core.specs import SessionClusterSpec, only_scales
from services import Services
from settings import clock
from store import attempts, clusters, jobs
from store.tables import Attempt, Cluster, Job
from temporal.delivery import start_watch


class Hosting:
    def __init__(self, services: Services):
        self._services = services

    @activity.defn(name=c.RESCALE)
    async def rescale(self, request: c.RescaleIn) -> c.Rescaled:
        """Start or stop task managers of a cluster that runs, when nothing else differs between the versions."""
        bind(job=request.job_id, attempt=request.number, command=request.command_id)
        services = self._services
        async with log_of(services.database, request.command_id) as tell, heartbeats() as pulse:
            await check_current(services, request)
            async with services.database.read() as session:
                what = f"attempt {request.number} of job {request.job_id}"
                context = present(await attempts.context(session, request.job_id, request.number), what)
                attempt = present(context.attempt, what)
                with all_present():
                    new = (await jobs.version(session, context.job, request.version)).spec
            if not only_scales(context.version.spec, new):
                return c.Rescaled()
            try:
                engine = services.engines.get(context.cluster)
                if not isinstance(engine, HostsClusters):
                    raise _hosts_none(context.cluster)
                pulse.check()  # a newer scaling may have been carried out since
                await engine.scale(Ref(attempt.flink_job_id, attempt.handle), int(new["taskmanagers"]))
            except EngineError as error:
                return c.Rescaled(error=error.message, code="not_scaled")
            tell(f"{new['taskmanagers']} task managers are wanted now; it goes on running")
            return c.Rescaled(done=True)


async def cluster_program(services: Services, context: attempts.Context, attempt: Attempt) -> ClusterProgram:
    """What is to run, under the address that the job's cluster has had before, when it is still free. Raises
    `Rejected` when the cluster's name is taken."""
    spec = SessionClusterSpec.model_validate(context.version.spec)
    version = spec.flink_version or context.cluster.flink_version
    engine = services.engines.get(context.cluster)
    if not isinstance(engine, HostsClusters):
        raise _hosts_none(context.cluster)
    status = await engine.look(Ref(attempt.flink_job_id, attempt.handle))
    new = status.state is EngineState.MISSING
    row, at = await _row(services, engine, context.job, context.cluster, version, new=new)
    await start_watch(services, row.name)
    return ClusterProgram(
        flink_version=version,
        rest_port=at.rest_port,
        gateway_port=at.gateway_port,
        state_dir=row.state_dir,
        taskmanagers=spec.taskmanagers,
        slots=spec.slots,
        jobmanager_memory=spec.jobmanager_memory,
        taskmanager_memory=spec.taskmanager_memory,
    )


async def _row(
    services: Services, engine: HostsClusters, job: Job, place: Cluster, version: str, *, new: bool
) -> tuple[Cluster, FoundAt]:
    """The row of the cluster that `job` runs, and where that is found. An attempt that is `new` may find a port of it
    taken by a stranger; then it gets another."""
    async with services.database.write() as session:
        row = await clusters.managed_by(session, job.id)
        before = address_of(row).model_dump() if row is not None else None
        at = engine.found_at(before, keep=row is not None and not new)
        columns = columns_of(KINDS[at.kind].address.of(at.address))
        if row is None:
            row = await clusters.find(session, job.name)
            if row is not None and not await clusters.is_left(session, row):
                raise Rejected(f"There is a cluster {job.name} already; give this job another name.")
            row = await clusters.add(
                session,
                job.name,
                at.kind,
                columns,
                clock.now(),
                flink_version=version,
                state_dir=place.state_dir,
                config={},
            )
        if new:
            clusters.moves(row, columns)  # its identity, too: it chooses another port inside at each attempt
        clusters.runs_for(row, job.id, version, place.state_dir)
        return row, at


def _hosts_none(cluster: Cluster) -> Rejected:
    return Rejected(f"{cluster.name} is of kind {cluster.kind}: no session cluster runs on it.")
