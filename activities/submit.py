"""Sending an attempt to its cluster, so that it runs there once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from temporalio import activity

from activities import contracts as c
from activities.aftermath import aftermath_of
from activities.checks import check_current, present
from activities.fence import has_run, spend
from activities.logs import Pulse, bind, heartbeats, log_of
from activities.looking import confirm_missing, deadline_of
from activities.programs import AnotherVersion, ArtifactMissing, SubmissionFactory
from clusters import state_files
from clusters.protocol import (
    SEVERAL_JOBS,
    Engine,
    Overview,
    ProgramFailed,
    Ref,
    SharedByPrograms,
    Submission,
    Unclear,
    Unreachable,
)
from core.effects import EngineError, LogSink, Rejected
from core.jobs.observations import ENDED, EngineState
from core.jobs.snapshot import checkpoint_directory
from core.jobs.types import traits
from core.specs import libraries_of
from observation.growth import Growth
from services import Services
from settings import clock, waits
from settings.polling import poll
from sql.options import remedy
from store import attempts, clusters
from store.tables import Attempt, Cluster


class Submitter:
    def __init__(self, services: Services):
        self._services = services

    @activity.defn(name=c.SUBMIT)
    async def submit(self, request: c.AttemptIn) -> c.Submitted:
        """Submit an attempt that was written down before.

        The cluster takes an id once, so asking again with the same id is safe, and is done until the
        answer is clear or the time is over (`docs/decisions/0004-exactly-once.md`).
        """
        bind(job=request.job_id, attempt=request.number, command=request.command_id)
        services = self._services
        async with log_of(services.database, request.command_id) as tell, heartbeats() as pulse:
            await check_current(services, request)
            async with services.database.read() as session:
                context = await attempts.context(session, request.job_id, request.number)
            what = f"attempt {request.number} of job {request.job_id}"
            context = present(context, what)
            maybe_sent = request.maybe_sent or activity.info().attempt > 1
            attempt = present(context.attempt, what)
            return await self.send(context, attempt, tell, pulse, request.command_id, maybe_sent=maybe_sent)

    async def send(
        self,
        context: attempts.Context,
        attempt: Attempt,
        tell: LogSink,
        pulse: Pulse,
        command_id: str | None,
        *,
        maybe_sent: bool,
    ) -> c.Submitted:
        """Submit `attempt`, which is written down, for a command; `maybe_sent`: an earlier try may have sent it."""
        cluster = context.cluster
        try:
            submission = await SubmissionFactory(self._services).submission(context, attempt, tell)
            submission = replace(submission, aftermath=aftermath_of(self._services, attempt, command_id))
        except ArtifactMissing as error:
            tell(error.message)
            return c.Submitted(
                state=c.SubmitState.REJECTED, error=error.message, code="artifact_missing", maybe_sent=maybe_sent
            )
        except AnotherVersion as error:  # known from its row, so that no try has sent anything
            tell(error.message)
            return c.Submitted(state=c.SubmitState.REJECTED, error=error.message, code=c.ANOTHER_VERSION)
        except Rejected as error:
            if maybe_sent:
                return await self._refused(attempt, cluster, error, tell, pulse)
            return c.Submitted(state=c.SubmitState.REJECTED, error=error.message, code="rejected")
        except Unreachable as error:  # of a second try it is not known what the first one sent
            state = c.SubmitState.UNCLEAR if maybe_sent else c.SubmitState.UNREACHABLE
            return c.Submitted(state=state, error=error.message, code=f"submission_{state.value}")
        answer = await self._until_clear(attempt, cluster, submission, tell, pulse, maybe_sent=maybe_sent)
        return await self._with_remedy(context, answer)

    async def _with_remedy(self, context: attempts.Context, answer: c.Submitted) -> c.Submitted:
        """A no for a connector that is missing says which library of the project has it."""
        job = context.job
        if answer.state is not c.SubmitState.REJECTED or not answer.error or traits(job.type).runs_cluster:
            return answer
        uses = libraries_of(context.version.spec)
        what = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(waits.REMEDY_SECONDS):
                what = await remedy(self._services, job.project, context.cluster.name, uses, answer.error)
        return answer.model_copy(update={"error": f"{answer.error} {what}"}) if what else answer

    async def _leader_of(self, engine: Engine, cluster: Cluster, otherwise: str | None) -> str | None:
        """Who leads. A cluster of which nobody has known which Flink it is, is this one from now on: what is sent here
        is not made sure of at another that answers in its place later."""
        try:
            leader = await engine.leader()
        except EngineError:
            return otherwise
        if leader.cluster is not None and cluster.identity is None:
            async with self._services.database.write() as session:
                await clusters.identified(session, cluster, leader.cluster)
        return leader.identity

    async def _until_clear(
        self,
        attempt: Attempt,
        cluster: Cluster,
        submission: Submission,
        tell: LogSink,
        pulse: Pulse,
        *,
        maybe_sent: bool,
    ) -> c.Submitted:
        engine = self._services.engines.get(cluster)
        polling = poll(waits.SUBMIT_PACE, until=deadline_of(self._services.settings.submit_timeout))
        # A second try of this activity does not know what the first one sent, but who led before it.
        sent_to, why = attempt.config.get("leader"), ""
        while True:
            sending = False
            try:
                writing = await _writing(attempt, cluster)
                overview, ours = await asyncio.gather(engine.overview(), self._ours(attempt.job_id))
                if maybe_sent:
                    known = await self._known(engine, attempt, cluster, overview, sent_to, tell, pulse)
                    if known is not None:
                        tell(known.error or "the cluster has this attempt already")
                        return known
                    if activity.info().attempt > waits.LAST_TRIES and clock.monotonic() > polling.until:
                        raise Unclear(why or "the workers that sent it died, and its time is over")
                    if polling.is_over and (await engine.leader()).identity != sent_to:
                        # A short job may have come to its end meanwhile. The JobManager that took it would know.
                        changed = "has changed" if sent_to else "may have changed"
                        raise Unclear(
                            f"its time is over, and the JobManager {changed} since it was perhaps sent: whether it has "
                            "run to its end cannot be told"
                        )
                if (other := _other(attempt, overview, ours, writing)) is not None:
                    return await self._occupied(other, attempt, cluster, tell, pulse) if maybe_sent else other
                pulse.check()
                # Who takes it is asked while it is being taken; when that fails the answer is worth nothing: it
                # may come from the one that leads after it.
                leader = asyncio.create_task(self._leader_of(engine, cluster, sent_to))
                sending = True
                try:
                    async with asyncio.timeout(max(waits.LAST_SEND_SECONDS, polling.until - clock.monotonic())):
                        await engine.submit(replace(submission, maybe_sent=maybe_sent), tell)
                except EngineError:
                    leader.cancel()
                    raise
                except TimeoutError as error:
                    leader.cancel()
                    raise Unclear("the cluster has not answered in the time that a submission may take") from error
                return c.Submitted(state=c.SubmitState.ACCEPTED, leader=await leader)
            except ProgramFailed as error:
                return await self._end_program(attempt, cluster, error, tell, pulse)
            except Rejected as error:
                if maybe_sent or error.sent:
                    return await self._refused(attempt, cluster, error, tell, pulse)
                return c.Submitted(state=c.SubmitState.REJECTED, error=error.message, code="rejected")
            except Unclear as error:
                maybe_sent, why = True, error.message
            except Unreachable as error:
                maybe_sent, why = maybe_sent or (sending and error.sent), error.message
            tell(f"{why}; asking again")
            if not await polling.again():
                state = c.SubmitState.UNCLEAR if maybe_sent else c.SubmitState.UNREACHABLE
                return c.Submitted(state=state, error=why, code=f"submission_{state.value}")

    async def _ours(self, job_id: str) -> Sequence[Any]:
        async with self._services.database.read() as session:
            return await attempts.flink_jobs(session, job_id)

    async def _refused(
        self, attempt: Attempt, cluster: Cluster, error: Rejected, tell: LogSink, pulse: Pulse
    ) -> c.Submitted:
        """The cluster said no, and something of this attempt may be under way to it all the same, from an earlier try
        or from this one: the no counts once nothing of it can arrive any more."""
        engine = self._services.engines.get(cluster)
        tell(f"{error.message}; making sure that nothing of this attempt arrives later")
        spent = await spend(engine, attempt, cluster, tell, pulse, grace=self._services.settings.lost_grace)
        if spent.observation is not None:
            return c.Submitted(state=c.SubmitState.ACCEPTED, leader=await self._leader_of(engine, cluster, None))
        if not spent.fenced or spent.unknown:
            why = f"{error.message} {spent.error or spent.unknown}"
            return c.Submitted(state=c.SubmitState.UNCLEAR, error=why, code="submission_unclear")
        if spent.ran:
            return _ran()
        return c.Submitted(state=c.SubmitState.REJECTED, error=error.message, code="rejected")

    async def _occupied(
        self, other: c.Submitted, attempt: Attempt, cluster: Cluster, tell: LogSink, pulse: Pulse
    ) -> c.Submitted:
        """Another attempt is alive, and this one was perhaps sent."""
        engine, grace = self._services.engines.get(cluster), self._services.settings.lost_grace
        spent = await spend(engine, attempt, cluster, tell, pulse, grace=grace)
        if spent.fenced and not spent.unknown:
            return other
        why = f"{other.error}, and this one may be, too"
        return other.model_copy(update={"state": c.SubmitState.UNCLEAR, "error": why, "code": "submission_unclear"})

    async def _known(
        self,
        engine: Engine,
        attempt: Attempt,
        cluster: Cluster,
        overview: Overview,
        sent_to: str | None,
        tell: LogSink,
        pulse: Pulse,
    ) -> c.Submitted | None:
        """What became of an attempt that may have been sent; None when it may be sent again: nothing of it can
        run, and it has completed nothing.

        One that was taken, ran and is gone with its JobManager has left checkpoints: to send it again would
        take it back to where it began. Raises `Unclear` when its folder cannot be read.
        """
        ref = Ref(attempt.flink_job_id, attempt.handle)
        if attempt.handle not in overview.jobs:
            grace, growth = self._services.settings.lost_grace, Growth.of(attempt, cluster)
            status, _ = await confirm_missing(engine, ref, leader=sent_to, grace=grace, growth=growth)
            if status.state is EngineState.MISSING:
                if not await has_run_or_unclear(attempt, cluster):
                    return None
                spent = await spend(engine, attempt, cluster, tell, pulse, grace=self._services.settings.lost_grace)
                if spent.fenced:
                    return _ran()
                if spent.observation is None:
                    raise Unclear(spent.error or "it cannot be told whether the cluster has it")
        if isinstance(engine, SharedByPrograms):
            await engine.check_whole(ref)
        return c.Submitted(state=c.SubmitState.ACCEPTED, leader=(await engine.leader()).identity)

    async def _end_program(
        self, attempt: Attempt, cluster: Cluster, error: ProgramFailed, tell: LogSink, pulse: Pulse
    ) -> c.Submitted:
        """Cancel what a program has started before it failed, and see it end: then nothing of the attempt runs, and
        the start has failed."""
        engine = self._services.engines.get(cluster)
        tell(error.message)
        if error.code == SEVERAL_JOBS:
            async with self._services.database.write() as session:
                await attempts.refuse_points(session, attempt.job_id, attempt.number, SEVERAL_JOBS)
        polling = poll(waits.CANCEL_PACE, until=deadline_of(self._services.settings.submit_timeout))
        alive, ended, why = set(error.jobs), dict[Ref, EngineState](), ""
        while alive:
            try:
                jobs = (await engine.overview()).jobs
                states = {ref: jobs[ref.handle].state for ref in alive if ref.handle in jobs}
                now = {ref: state for ref, state in states.items() if state in ENDED}
                ended.update(now)
                alive -= now.keys()
                for ref in alive:
                    pulse.check()
                    await engine.cancel(ref)
            except EngineError as asked:
                why = asked.message
            if alive and not await polling.again():
                ids = ", ".join(sorted(ref.flink_job_id for ref in alive))
                left = f"{error.message} Flink jobs of it were not seen to end: {ids}. {why}"
                return c.Submitted(state=c.SubmitState.UNCLEAR, error=left.strip(), code="submission_unclear")
        message = f"{error.message} {_what_ended(error.jobs, ended)}"
        tell(message)
        if Ref(attempt.flink_job_id, attempt.handle) not in error.jobs:  # its own id is not used up
            return await self._refused(attempt, cluster, Rejected(message), tell, pulse)
        return c.Submitted(state=c.SubmitState.REJECTED, error=message, code=error.code)


def _ran() -> c.Submitted:
    message = "the cluster had taken it, it has completed checkpoints, and the cluster does not know it any more"
    return c.Submitted(state=c.SubmitState.RAN, error=message, code="attempt_lost")


async def has_run_or_unclear(attempt: Attempt, cluster: Cluster) -> bool:
    """Whether the attempt has completed checkpoints. Raises `Unclear` when its folder cannot be read."""
    try:
        return await has_run(attempt, cluster)
    except Unreachable as error:
        raise Unclear(error.message) from error


async def _writing(attempt: Attempt, cluster: Cluster) -> Collection[str]:
    """Ids of the Flink jobs that have a folder among the checkpoints of an attempt's job. None of them where the folder
    cannot be read, or not soon: a job that needs its state is not started then, and one that needs none may be."""
    try:
        async with asyncio.timeout(waits.LISTING_SECONDS):
            return await state_files.names(checkpoint_directory(cluster.state_dir, attempt.job_id))
    except (Unreachable, TimeoutError):
        return ()


def _other(attempt: Attempt, overview: Overview, ours: Sequence[Any], writing: Collection[str]) -> c.Submitted | None:
    """The last look before anything is sent: no other attempt of this job may be alive, also none that was
    believed to have ended, and none that is written down nowhere: with a database that was restored from a backup an
    attempt is known by the checkpoints that it keeps `writing` among those of its job."""
    alive = {seen.ref.flink_job_id for seen in overview.jobs.values() if seen.state not in ENDED}
    for number, flink_job_id in ours:
        if number != attempt.number and flink_job_id in alive:
            return c.Submitted(
                state=c.SubmitState.OCCUPIED,
                error=f"attempt {number} of this job (Flink job {flink_job_id}) is alive on the cluster",
                code="attempt_alive",
                other=number,
                other_id=flink_job_id,
            )
    known = {attempt.flink_job_id, *(flink_job_id for _, flink_job_id in ours)}
    if unknown := sorted(alive.intersection(writing) - known):
        return c.Submitted(
            state=c.SubmitState.OCCUPIED,
            error=f"Flink job {unknown[0]} is alive on the cluster and keeps its checkpoints among those of this job, "
            "and it is no attempt that is written down: was the database restored from a backup? Nothing was sent. "
            f"Take it over with `adopt` (Flink job {unknown[0]}), or cancel it on the cluster and start again.",
            code="unknown_attempt_alive",
        )
    return None


def _what_ended(jobs: Sequence[Ref], ended: Mapping[Ref, EngineState]) -> str:
    """How the jobs of a program ended that were to be cancelled: some may have been quicker."""
    words = {
        EngineState.FINISHED: "had finished by itself",
        EngineState.FAILED: "had failed by itself",
    }
    return " ".join(f"Its Flink job {ref.flink_job_id} {words.get(ended[ref], 'was cancelled')}." for ref in jobs)
