"""Deleting a job, so that of a DELETE and a command at the same moment exactly one succeeds.

1. Under the lock of the job's row: nothing of it runs, no command is open, and `deleting_at` is set. From then on
   commands are refused, by a check under the same lock.
2. Its workflow is ended. It knows best: when it refuses, `deleting_at` is taken back.
3. `deleted_at` is set.

Whatever ends in between leaves `deleting_at`; the recovery goes on from there.
"""

from __future__ import annotations

import structlog

from core.errors import Conflict, Unavailable
from core.jobs.states import DELETABLE, JobState, allowed
from core.jobs.types import traits
from services import Services
from settings import clock
from store import attempts, clusters, commands, jobs
from store.database import DatabaseUnavailable, Session
from store.tables import Job
from temporal.delivery import NO_ANSWER, retire, stop_watch

log = structlog.get_logger()


async def delete(services: Services, ref: str) -> str | None:
    """Gives the name of the cluster that the job ran, which is gone with it; None when there was none. Raises
    `Conflict` when the job stays, and `Unavailable` when it could not be found out whether it may go."""
    job = await _begin(services, ref)
    try:
        return await finish(services, job)
    except NO_ANSWER as error:
        log.warning("deletion not finished", job=f"{job.project}:{job.name}", why=str(error))
        raise Unavailable(
            f"The workflow of {job.project}:{job.name} could not be asked whether something of the job runs.",
            code="deletion_unfinished",
            remedy="The job takes no commands meanwhile. As soon as its workflow answers the recovery finishes the "
            "deletion, or takes it back. Send DELETE again, or look at the job, to see what came of it.",
        ) from error
    except DatabaseUnavailable as error:
        raise Unavailable(
            f"The deletion of {job.project}:{job.name} has begun, and could not be written down to its end: {error}.",
            code="deletion_unfinished",
            remedy="The recovery finishes it, or takes it back, as soon as the database answers. Send DELETE again, or "
            "look at the job, to see what came of it.",
        ) from error


async def _begin(services: Services, ref: str) -> Job:
    async with services.database.write() as session:
        job = await jobs.get(session, ref, lock=True)
        if job.deleting_at is None:
            await _check(session, job)
            jobs.begin_deletion(job, clock.now())
        return job


async def _check(session: Session, job: Job) -> None:
    """Raise `Conflict` when the rows say that the job cannot be deleted."""
    label, state = f"{job.project}:{job.name}", JobState(job.state)
    if traits(job.type).runs_cluster:
        await _check_unused(session, job)
    if state not in DELETABLE:
        may = sorted(kind.value for kind in allowed(job.type, state, None))
        raise Conflict(
            f"Job {label} is {state}.", code="job_not_deletable", allowed=may, remedy="Pause or kill it first."
        )
    command = await commands.open_of(session, job.id)
    if command is not None:
        raise Conflict(
            f"Command {command.number} ({command.kind}) of job {label} is {command.state}.",
            code="job_not_deletable",
            remedy="Wait until it has ended, or kill the job first.",
        )
    attempt = await attempts.get(session, job.id, job.current_attempt) if job.current_attempt else None
    if attempt is not None and attempt.ended_at is None:
        raise Conflict(
            f"Attempt {attempt.number} of job {label} has not been seen to end.",
            code="job_not_deletable",
            remedy="Kill it first.",
        )


async def _check_unused(session: Session, job: Job) -> None:
    row = await clusters.managed_by(session, job.id)
    if row is not None and (count := await clusters.jobs_on(session, row.name)):
        raise Conflict(
            f"{count} jobs are on the cluster {row.name}, which this job runs.",
            code="cluster_in_use",
            remedy="Delete those jobs first.",
        )


async def finish(services: Services, job: Job) -> str | None:
    """The second and third step. `job` is the row that has `deleting_at`. Doing it again is safe. Gives what `delete`
    gives.

    Raises `Conflict` when the deletion was taken back, and what `retire` raises when nothing was found out.
    """
    begun = job.deleting_at
    if begun is None:
        raise _taken_back(job)
    try:
        await retire(services, job)
    except Conflict:
        async with services.database.write() as session:
            await jobs.keep(session, job.id, begun)
        raise
    async with services.database.write() as session:
        if not await jobs.delete(session, job.id, begun, clock.now()):
            # Somebody else went on with it at the same moment: finished it, or was refused and took it back.
            row = await jobs.by_id(session, job.id)
            if row is not None and row.deleted_at is not None:
                return None
            raise _taken_back(job)
        left = await _forget_cluster(session, job)
    if left is not None:
        services.engines.forget(left)
        await stop_watch(services, left)
    return left


def _taken_back(job: Job) -> Conflict:
    return Conflict(
        f"The deletion of {job.project}:{job.name} was taken back.", code="job_not_deletable", remedy="Look at the job."
    )


async def _forget_cluster(session: Session, job: Job) -> str | None:
    """Forget the cluster that the job ran; its row stays while something that is kept names it. Gives its name, None
    when there was none."""
    row = await clusters.managed_by(session, job.id)
    if row is None:
        return None
    await clusters.remove(session, row, clock.now())
    return row.name
