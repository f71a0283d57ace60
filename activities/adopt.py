"""Looking at a Flink job that somebody wants to be a job's attempt."""

from __future__ import annotations

from temporalio import activity

from activities import contracts as c
from activities.logs import bind, heartbeats
from activities.looking import now_ms
from activities.missing import present
from clusters.protocol import Ref, Unreachable
from core.jobs.observations import ENDED, Observation
from services import Services
from settings import waits
from settings.polling import poll
from store import attempts, clusters, jobs


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
                    asked = now_ms()
                    status = await engine.look(Ref(request.flink_job_id, own.handle if own else request.flink_job_id))
                    leader = await engine.leader()
                    break
                except Unreachable as error:
                    if not await polling.again():
                        return c.Adoptable(error=error.message, code="cluster_unreachable")
            if status.state in ENDED:
                return c.Adoptable(
                    error=f"There is nothing to adopt: on {cluster.name}, Flink job {request.flink_job_id} is "
                    f"{status.state.value} ({status.detail}).",
                    code="not_adoptable",
                )
            number = own.number if own else None
            return c.Adoptable(
                number=number,
                version=own.version if own else None,
                build_key=own.config.get("build_key") if own else None,
                commit=own.config.get("commit") if own else None,
                leader=leader.identity,
                observation=Observation(
                    attempt=number or 0,
                    flink_job_id=request.flink_job_id,
                    sequence=asked,
                    state=status.state,
                    detail=status.detail or None,
                ),
            )
