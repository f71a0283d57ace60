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
from store.tables import Attempt, Job
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
    async def open_attempt(self, wanted: c.OpenAttempt) -> c.Opened:
        """Write an attempt down with all that its submission needs. Doing it again changes nothing; another attempt
        by the same number is left as it is, and told."""
        bind(job=wanted.job_id, attempt=wanted.number)
        database = self._services.database
        async with database.read() as session:
            found = await attempts.context(session, wanted.job_id, wanted.number, wanted.version)
        if found is None:
            raise ApplicationError(f"The job {wanted.job_id} has no row.", non_retryable=True)
        existing = found.attempt
        if existing is not None and not _is_same(existing, wanted):
            return await self._conflict(wanted)
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
                            "leader": (found.cluster.health or {}).get("leader"),
                        },
                        started_at=clock.now(),
                    )
                )
                await session.flush()
            await apply(session, wanted.record)
            return c.Opened()

    async def _conflict(self, wanted: c.OpenAttempt) -> c.Opened:
        """The workflow has forgotten attempts: Temporal was restored from a backup, or the workflow was reset."""
        async with self._services.database.read() as session:
            newest = (await attempts.recent(session, wanted.job_id, 1))[0]
            job = await session.get(Job, wanted.job_id)
            assert job is not None
        return c.Opened(
            conflict=True,
            number=newest.number,
            flink_job_id=newest.flink_job_id,
            version=newest.version,
            ended=newest.ended_at is not None,
            revision=job.revision,
        )


def _is_same(row: Attempt, wanted: c.OpenAttempt) -> bool:
    return (row.flink_job_id, row.restored_from, row.version) == (
        wanted.flink_job_id,
        wanted.restore_path,
        wanted.version,
    )
