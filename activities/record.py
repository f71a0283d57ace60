"""Writing down what a job's workflow decided."""

from __future__ import annotations

from datetime import timedelta

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities import contracts as c
from activities.logs import bind
from core.records import Record
from settings import clock
from store import attempts
from store.record import UnknownJob, apply
from store.tables import Attempt
from watch.effective import effective_config
from watch.services import Services

UNKNOWN_RETRY = timedelta(seconds=30)
log = structlog.get_logger()


class Recorder:
    def __init__(self, services: Services):
        self._services = services

    @activity.defn(name=c.RECORD)
    async def record(self, record: Record) -> None:
        try:
            async with self._services.database.write() as session:
                await apply(session, record)
        except UnknownJob as error:
            raise self._unknown(record.job_id) from error

    def _unknown(self, job_id: str) -> ApplicationError:
        """It is tried again: the job waits until a worker of the right database takes it, or a person has looked."""
        services = self._services
        installation, queue = services.installation.id or "(none)", services.installation.queues.main
        where = services.database.engine.url.render_as_string(hide_password=True)
        log.error(
            "a workflow belongs to a job that this database does not have: does this worker have the right database?",
            job=job_id,
            workflow=activity.info().workflow_id,
            database=where,
            installation=installation,
            queue=queue,
        )
        return ApplicationError(
            f"The database {where} of installation {installation} has no job {job_id}. Give the workers on queue "
            f"{queue} the database that has it; if none has, terminate this workflow and cancel what it runs.",
            type="unknown_job",
            next_retry_delay=UNKNOWN_RETRY,
        )

    @activity.defn(name=c.OPEN_ATTEMPT)
    async def open_attempt(self, wanted: c.OpenAttempt) -> None:
        """Write an attempt down with all that its submission needs. Doing it again changes nothing."""
        bind(job=wanted.job_id, attempt=wanted.number)
        database = self._services.database
        async with database.read() as session:
            found = await attempts.context(session, wanted.job_id, wanted.number, wanted.version)
        if found is None:
            raise self._unknown(wanted.job_id)
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
                            "leader": (found.cluster.health or {}).get("leader"),
                        },
                        started_at=clock.now(),
                    )
                )
                await session.flush()
            await apply(session, wanted.record)
