"""Writing down what a job's workflow decided."""

from __future__ import annotations

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities import contracts as c
from activities.logs import bind
from core.records import Record
from settings import clock
from store import attempts
from store.record import apply
from store.tables import Attempt
from watch.effective import effective_config
from watch.services import Services


class Recorder:
    def __init__(self, services: Services):
        self._services = services

    @activity.defn(name=c.RECORD)
    async def record(self, record: Record) -> None:
        async with self._services.database.write() as session:
            await apply(session, record)

    @activity.defn(name=c.OPEN_ATTEMPT)
    async def open_attempt(self, wanted: c.OpenAttempt) -> None:
        """Write an attempt down with all that its submission needs. Doing it again changes nothing."""
        bind(job=wanted.job_id, attempt=wanted.number)
        database = self._services.database
        async with database.read() as session:
            found = await attempts.context(session, wanted.job_id, wanted.number, wanted.version)
        if found is None:
            raise ApplicationError(f"The job {wanted.job_id} has no row.", non_retryable=True)
        existing = found.attempt
        effective = effective_config(found.job, found.cluster, found.project, found.version)
        if existing is None:
            handle = await self._services.engines.get(found.cluster).reserve(wanted.flink_job_id)
        async with database.write() as session:
            if existing is None:
                session.add(
                    Attempt(
                        job_id=wanted.job_id,
                        number=wanted.number,
                        flink_job_id=wanted.flink_job_id,
                        handle=handle,
                        cluster=wanted.cluster,
                        version=wanted.version,
                        state="RECORDED",
                        restored_from=wanted.restore_path,
                        restored_why=wanted.restore_why,
                        cause=wanted.cause,
                        config={
                            "effective": {k: e.model_dump(mode="json") for k, e in effective.items()},
                            "build_key": wanted.build_key,
                            "commit": wanted.commit,
                            "allow_non_restored_state": wanted.allow_non_restored_state,
                            "accept_changed_state": wanted.accept_changed_state,
                            "accept_unknown_state": wanted.accept_unknown_state,
                            "automatic": wanted.automatic,
                            "like": wanted.like,
                            "leader": (found.cluster.health or {}).get("leader"),
                        },
                        started_at=clock.now(),
                    )
                )
                await session.flush()
            await apply(session, wanted.record)
