"""Writing down what a job's workflow decided."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities import contracts as c
from activities.logs import bind
from clusters.protocol import Engine
from clusters.registry import address_of
from core.config import Effective
from core.errors import InvalidInput
from core.jobs.records import Record
from core.jobs.snapshot import JobSnapshot
from core.specs import name_of, names
from core.sql.script import EMPTY
from services import Services
from services.effective import effective_config
from settings import clock, waits
from store import attempts, clusters, commands, jobs
from store.database import Session, Taken
from store.record import UnknownJob, apply
from store.tables import Attempt, Cluster, Job

log = structlog.get_logger()


@dataclass(frozen=True)
class WrittenAttempt:
    """An attempt that is written down, with all that its submission depends on. `is_new`: by this call, so that nobody
    can have sent it before."""

    found: attempts.Context
    attempt: Attempt
    is_new: bool


class _SetBack(Exception):
    """Something has become of the job since its workflow was where it is, and no attempt of this number."""

    def __init__(self, newer: JobSnapshot):
        super().__init__()
        self.newer = newer

    def opened(self) -> c.OpenedAttempt:
        """What the workflow is told. One that does not know what `newer` is takes it for a conflict like others."""
        newer, attempt = self.newer, self.newer.attempt
        return c.OpenedAttempt(
            conflict=True,
            number=newer.attempts,
            flink_job_id=attempt.flink_job_id if attempt else "",
            version=attempt.version if attempt else newer.version,
            ended=attempt is None or attempt.ended,
            revision=newer.revision,
            newer=newer,
        )


class Recorder:
    def __init__(self, services: Services):
        self._services = services

    @activity.defn(name=c.RECORD)
    async def record(self, record: Record) -> c.Recorded | None:
        """Write a workflow's record down, unless a newer one is there, which is given then. Done twice it changes
        nothing."""
        try:
            async with self._services.database.write() as session:
                newer = await apply(session, record)
        except UnknownJob as error:
            raise self._unknown(record.job_id) from error
        return None if newer is None else c.Recorded(newer=JobSnapshot.model_validate(newer))

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
            next_retry_delay=waits.RECORD_UNKNOWN_RETRY,
        )

    @activity.defn(name=c.OPEN_ATTEMPT)
    async def open_attempt(self, request: c.OpenAttempt) -> c.OpenedAttempt:
        """Write an attempt down with all that its submission needs. Doing it again changes nothing; another attempt
        by the same number is left as it is, and told."""
        bind(job=request.job_id, attempt=request.number)
        opened = await self.open(request)
        return opened if isinstance(opened, c.OpenedAttempt) else c.OpenedAttempt()

    async def open(self, request: c.OpenAttempt, *, sends: bool = False) -> WrittenAttempt | c.OpenedAttempt:
        """The same: the attempt as it is written down, or the newest one where the number is another's. Who `sends` it
        is told, too, where the job has gone on since: its workflow was set back, or does not wait for it any more."""
        database = self._services.database
        async with database.read() as session:
            context = await attempts.context(session, request.job_id, request.number, request.version)
        if context is None:
            await self._check_version(request)
            raise self._unknown(request.job_id)
        existing = context.attempt
        if existing is not None and not _is_same(existing, request):
            return await self._conflict(request)
        if sends and existing is not None and existing.ended_at is not None:
            return await self._conflict(request)
        if existing is None:
            effective = _effective(context)
            spec, ran = name_of(request.version, context.version.spec), request.ran
            handle = await _handle(self._services.engines.get(context.cluster), request)
            attempt = attempts.new(
                request.job_id,
                request.number,
                clock.now(),
                flink_job_id=request.flink_job_id,
                handle=handle,
                cluster=request.cluster,
                version=request.version,
                restored_from=request.restore_path,
                restored_why=request.restore_why,
                cause=request.cause,
                config={
                    "effective": {k: e.model_dump(mode="json") for k, e in effective.items()},
                    "build_key": request.build_key,
                    "commit": request.commit,
                    "allow_non_restored_state": request.allow_non_restored_state,
                    "accept_changed_state": request.accept_changed_state,
                    "accept_unknown_state": request.accept_unknown_state,
                    "automatic": request.automatic,
                    "like": request.like,
                    "leader": (context.cluster.health or {}).get("leader"),
                    attempts.SPEC: ran.spec if request.again or names(request.version, ran.spec) else spec,
                    **({attempts.WRITTEN_AGAIN: True} if request.again else {}),
                    **({attempts.ADOPTED: request.adopted.model_dump()} if request.adopted else {}),
                },
                plan=ran.plan if request.again else None,
            )
        try:
            async with database.write() as session:
                if existing is None:
                    await attempts.add(session, attempt)
                last = await apply(session, request.record)
                newer = None if last is None else JobSnapshot.model_validate(last)
                if existing is None:
                    await _check_unmoved(session, context.cluster)
                if newer is not None and (sends or newer.attempts < request.number):
                    raise _SetBack(newer)
        except _SetBack as error:
            return error.opened()
        except Taken:
            if (owner := await self._owner(request)) is None:
                raise  # another try has written the same: this one finds it when it is made again
            return c.OpenedAttempt(owner=owner)
        return WrittenAttempt(context, existing or attempt, is_new=existing is None)

    async def _check_version(self, request: c.OpenAttempt) -> None:
        """Raise an error that is not tried again when the job is there, and what it is to run is not."""
        async with self._services.database.read() as session:
            job = await jobs.by_id(session, request.job_id)
        if job is not None:
            raise ApplicationError(
                f"The database has no version {request.version} of job {request.job_id}. It was perhaps restored from "
                f"a backup: add the version again.",
                type="version_missing",
                non_retryable=True,
            )

    async def _owner(self, request: c.OpenAttempt) -> str | None:
        """The other job that has the Flink job, by its name."""
        async with self._services.database.read() as session:
            own = await attempts.by_flink_job(session, request.flink_job_id)
            owner = await jobs.by_id(session, own.job_id) if own and own.job_id != request.job_id else None
        return f"{owner.project}:{owner.name}" if owner is not None else None

    async def _conflict(self, request: c.OpenAttempt) -> c.OpenedAttempt:
        """The workflow has forgotten attempts: Temporal was restored from a backup, or the workflow was reset."""
        async with self._services.database.read() as session:
            job = await jobs.by_id(session, request.job_id)
            if job is None:
                raise self._unknown(request.job_id)
            return await forgotten(session, job)


async def forgotten(session: Session, job: Job) -> c.OpenedAttempt:
    """What a workflow is told that does not know the newest attempt of its job: the job's last record, unless that does
    not know it either."""
    newest = (await attempts.recent(session, job.id, 1))[0]
    last = JobSnapshot.model_validate(job.snapshot) if job.snapshot else None
    return c.OpenedAttempt(
        conflict=True,
        number=newest.number,
        flink_job_id=newest.flink_job_id,
        version=newest.version,
        ended=newest.ended_at is not None,
        revision=job.revision,
        commands=await commands.last_ended(session, job.id),
        newer=last if last is not None and last.attempts >= newest.number else None,
    )


async def _check_unmoved(session: Session, read: Cluster) -> None:
    """An attempt is sent to the cluster that was `read`, and watched at the one that its row names. Raises an error
    that is tried again, when that was changed in between."""
    now = await clusters.held(session, read.name)
    if now is None or (now.kind, address_of(now), now.identity) != (read.kind, address_of(read), read.identity):
        raise ApplicationError(f"The cluster {read.name} was changed at this moment.", type="cluster_changed")


async def _handle(engine: Engine, request: c.OpenAttempt) -> str:
    """What the cluster knows the attempt by. One that runs already, because it is adopted or its row was lost, has its
    handle there; where the cluster does not know it any more nothing will be found under a new one either."""
    runs_already = request.again or request.adopted is not None
    ref = await engine.ref_of(request.flink_job_id) if runs_already else None
    return ref.handle if ref is not None else await engine.reserve(request.flink_job_id)


def _effective(context: attempts.Context) -> dict[str, Effective]:
    """The configuration of an attempt. A text that is not taken any more sets nothing: the attempt is written down all
    the same, and its submission says what is wrong with it."""
    of = (context.job, context.cluster, context.project, context.version)
    try:
        return effective_config(*of)
    except InvalidInput:
        return effective_config(*of, EMPTY)


def _is_same(row: Attempt, request: c.OpenAttempt) -> bool:
    return (row.flink_job_id, row.restored_from, row.version) == (
        request.flink_job_id,
        request.restore_path,
        request.version,
    )
