"""Looking at a Flink job that somebody wants to be a job's attempt."""

from __future__ import annotations

from temporalio import activity

from activities import contracts as c
from activities.checks import present
from activities.logs import bind, heartbeats
from clusters.protocol import Checkpoints, Engine, Ref, Unreachable
from core.effects import EngineError
from core.errors import NotFound
from core.jobs.observations import ENDED, Observation
from core.jobs.snapshot import Adopted
from core.paths import of_point
from observation import points
from services import Services
from settings import clock, waits
from settings.polling import poll
from store import attempts, clusters, jobs
from store.tables import Cluster
from temporal.delivery import known_to_workflow


class Adopting:
    def __init__(self, services: Services):
        self._services = services

    @activity.defn(name=c.ADOPTABLE)
    async def adoptable(self, request: c.AdoptIn) -> c.Adoptable:
        """Whether a Flink job is alive and belongs to nobody else."""
        bind(job=request.job_id, command=request.command_id)
        async with heartbeats():
            async with self._services.database.read() as session:
                job = present(await jobs.by_id(session, request.job_id), f"job {request.job_id}")
                cluster = await clusters.get(session, job.cluster)
                own = await attempts.by_flink_job(session, request.flink_job_id)
                owner = await jobs.by_id(session, own.job_id) if own else None
            if own is not None and owner is not None and own.job_id != request.job_id:
                return c.Adoptable(
                    error=f"Flink job {request.flink_job_id} is attempt {own.number} of {owner.project}:{owner.name}; "
                    "adopt it there, or stop it.",
                    code="not_adoptable",
                )
            engine = self._services.engines.get(cluster)
            polling = poll(waits.UNREACHABLE_PACE, seconds=waits.ADOPTION_SECONDS)
            while True:
                try:
                    asked = clock.now_ms()
                    ref = Ref(own.flink_job_id, own.handle) if own else await engine.ref_of(request.flink_job_id)
                    if ref is None:
                        return _nothing(cluster, request, "not known")
                    status = await engine.look(ref)
                    leader = await engine.leader()
                    origin, known = (None, attempts.adopted(own)) if own else await _past(engine, ref)
                    break
                except Unreachable as error:
                    if not await polling.again():
                        return c.Adoptable(error=error.message, code="cluster_unreachable")
            if status.state in ENDED:
                return _nothing(cluster, request, f"{status.state.value} ({status.detail})")
            if own is None and (label := await self._runs_for(status.name, request)) is not None:
                return c.Adoptable(
                    error=f"Flink job {request.flink_job_id} is what {label} runs, and the row of that attempt is not "
                    "there: was the database restored from a backup? It is written down again by itself, within the "
                    "interval of the job's check.",
                    code="not_adoptable",
                )
            number = own.number if own else None
            return c.Adoptable(
                number=number,
                version=own.version if own else None,
                build_key=own.config.get("build_key") if own else None,
                commit=own.config.get("commit") if own else None,
                leader=leader.identity,
                restored_from=origin,
                adopted=known,
                observation=Observation(
                    attempt=number or 0,
                    flink_job_id=request.flink_job_id,
                    sequence=asked,
                    state=status.state,
                    detail=status.detail or None,
                ),
            )

    async def _runs_for(self, name: str, request: c.AdoptIn) -> str | None:
        """The other job, called as the Flink job is, whose workflow runs it although no row says so."""
        try:
            async with self._services.database.read() as session:
                job = await jobs.get(session, name)
        except NotFound:
            return None
        snapshot = await known_to_workflow(self._services, job) if job.id != request.job_id else None
        attempt = snapshot.attempt if snapshot is not None and snapshot.job_id == job.id else None
        runs = attempt is not None and not attempt.ended and attempt.flink_job_id == request.flink_job_id
        return f"{job.project}:{job.name}" if runs else None


def _nothing(cluster: Cluster, request: c.AdoptIn, state: str) -> c.Adoptable:
    words = f"There is nothing to adopt: on {cluster.name}, Flink job {request.flink_job_id} is {state}."
    return c.Adoptable(error=words, code="not_adoptable")


async def _past(engine: Engine, ref: Ref) -> tuple[str | None, Adopted]:
    """What a Flink job was restored from, and where its checkpoints lie: nobody but its cluster knows. Raises
    `Unreachable`."""
    known, origin = Adopted(), None
    try:
        known = await points.told_of(engine, ref)
        origin = await engine.origin(ref) if isinstance(engine, Checkpoints) else None
    except Unreachable:
        raise
    except EngineError:  # it does not tell: what is not known of it is looked for later
        pass
    if origin is None or origin.restored_from is None:
        return None, known
    # After a restart by Flink itself, that is a checkpoint of its own.
    own = known.checkpoint_folder is not None and origin.restored_from.startswith(f"{known.checkpoint_folder}/")
    return None if own else of_point(origin.restored_from), known
