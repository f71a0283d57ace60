"""Asking a cluster: about one attempt, until it runs, why it ended, and all the time."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from datetime import timedelta

import structlog
from temporalio import activity

from activities import contracts as c
from activities.checks import all_present, present
from activities.logs import bind, heartbeats, log_of
from activities.looking import confirm_missing, deadline_of, leader_with, observation, why_ended
from activities.record import forgotten
from clusters import state_files
from clusters.protocol import (
    AliveElsewhere,
    Checkpoints,
    Engine,
    Failure,
    HostsClusters,
    JobSeen,
    Metrics,
    Ref,
    Unreachable,
)
from core.effects import EngineError, LogSink
from core.errors import NotFound
from core.jobs.observations import ENDED, EngineState, Lost, Observation, Trouble
from core.jobs.overrides import overridden
from core.jobs.restore import RestoreKind
from core.jobs.retention import SavepointPolicy
from core.jobs.snapshot import attempt_checkpoints
from core.jobs.types import traits
from core.paths import of_point
from observation import points
from observation.condition import assess
from observation.growth import Growth
from observation.observer import Observer
from services import Services
from services.hidden import tellable
from settings import clock, waits
from settings.polling import poll
from store import attempts, clusters, jobs
from store.tables import Attempt, Cluster

log = structlog.get_logger()


class Observing:
    def __init__(self, services: Services, observer: Observer):
        self._services = services
        self._observer = observer

    async def _attempt(self, request: c.AttemptIn) -> tuple[Attempt, Cluster]:
        bind(job=request.job_id, attempt=request.number, command=request.command_id)
        async with self._services.database.read() as session:
            attempt = present(
                await attempts.get(session, request.job_id, request.number),
                f"attempt {request.number} of job {request.job_id}",
            )
            return attempt, await clusters.get(session, attempt.cluster)

    async def _failure(self, engine: Engine, attempt: Attempt, ended: EngineState | None = None) -> Failure | None:
        """Why an attempt failed last, or `ended`, without what its project keeps secret. Raises `EngineError`."""
        ref = Ref(attempt.flink_job_id, attempt.handle)
        failure = await (engine.failure(ref) if ended is None else why_ended(engine, ref, ended))
        if failure is None:
            return None
        async with self._services.database.read() as session:
            job = present(await jobs.by_id(session, attempt.job_id), f"job {attempt.job_id}")
            return await tellable(self._services, session, job.project, failure)

    async def _look(self, leader: str | None, attempt: Attempt, cluster: Cluster) -> Observation:
        engine = self._services.engines.get(cluster)
        ref = Ref(attempt.flink_job_id, attempt.handle)
        status, asked = await confirm_missing(
            engine,
            ref,
            leader=leader,
            grace=self._services.settings.lost_grace,
            growth=Growth.of(attempt, cluster),
        )
        return observation(attempt, status, asked)

    async def _seen(self, observed: Observation, leader: str | None, attempt: Attempt, cluster: Cluster) -> c.Seen:
        """What was observed, and who has it where that is not known."""
        if leader is None:
            ref = Ref(attempt.flink_job_id, attempt.handle)
            return c.Seen(observation=observed, leader=await leader_with(self._services.engines.get(cluster), ref))
        return c.Seen(observation=observed)

    @activity.defn(name=c.LOOK)
    async def look(self, request: c.AttemptIn) -> c.Seen:
        """What the cluster says about an attempt now; asks for up to two minutes when it does not answer."""
        async with heartbeats():
            attempt, cluster = await self._attempt(request)
            polling = poll(waits.UNREACHABLE_PACE, seconds=waits.UNREACHABLE_SECONDS)
            while True:
                try:
                    observed = await self._look(request.leader, attempt, cluster)
                    return await self._seen(observed, request.leader, attempt, cluster)
                except Unreachable as error:
                    if isinstance(error, AliveElsewhere) or not await polling.again():
                        return c.Seen(why=error.message)

    @activity.defn(name=c.CHECK)
    async def check(self, request: c.AttemptIn) -> c.Seen:
        """A job's own slow check: how it fares, which a look at all jobs does not show (the age of its newest
        checkpoint). What state it is in is its own question only when the watch is dead."""
        attempt, cluster = await self._attempt(request)
        async with self._services.database.read() as session:
            job = present(await jobs.by_id(session, request.job_id), f"job {request.job_id}")
            if await attempts.last_number(session, job.id) > max(request.number, request.known):
                return c.Seen(newest=await forgotten(session, job))
        if (own := attempts.adopted(attempt)) is not None and not own.is_known and attempt.ended_at is None:
            async with heartbeats():
                with contextlib.suppress(EngineError, TimeoutError):  # for the next check
                    async with asyncio.timeout(waits.LEARN_SECONDS):
                        await points.learn(self._services, cluster, attempt)
        checked = await self._checked(request, attempt, cluster)
        checked.check_interval = self._services.settings.check_interval
        async with self._services.database.read() as session:
            policy = SavepointPolicy.model_validate(job.savepoints or {})
            if policy.keep_attempts is not None and traits(job.type).keeps_state:
                before = clock.now() - timedelta(seconds=policy.keep_for)
                up_to = request.number - policy.keep_attempts
                checked.old_checkpoints = await attempts.any_ended(session, job.id, up_to=up_to, before=before)
        return checked

    async def _checked(self, request: c.AttemptIn, attempt: Attempt, cluster: Cluster) -> c.Seen:
        # The watch looks at no attempt whose row has ended. That its workflow asks for one all the same, it has been
        # restored from a backup or begun anew from an older record.
        is_watched = attempt.ended_at is None
        fresh = timedelta(seconds=waits.UNWATCHED_LOOKS * self._services.settings.watch_interval)
        if is_watched and cluster.observed_at and clock.now() - cluster.observed_at < fresh:
            if attempt.seen is None:
                return c.Seen(why="not seen yet")
            ref = Ref(attempt.flink_job_id, attempt.handle)
            status = JobSeen(ref, EngineState(attempt.seen), detail=attempt.detail or "")
            known = observation(attempt, status, attempt.sequence)
            if status.state in ENDED:
                return c.Seen(observation=known)
            async with heartbeats():
                observed = await self._with_course(known, attempt, cluster)
                return await self._seen(observed, request.leader, attempt, cluster)
        async with heartbeats():
            try:
                # Asked once: who is told that it is missing makes certain of that (`workflows/observations.py`).
                asked, ref = clock.now_ms(), Ref(attempt.flink_job_id, attempt.handle)
                observed = observation(attempt, await self._services.engines.get(cluster).look(ref), asked)
                return await self._seen(observed, request.leader, attempt, cluster)
            except Unreachable as error:
                return c.Seen(why=error.message)

    async def _with_course(self, observed: Observation, attempt: Attempt, cluster: Cluster) -> Observation:
        engine = self._services.engines.get(cluster)
        if not isinstance(engine, Metrics):
            return observed
        try:
            condition = await assess(self._services, engine, attempt.job_id, attempt.number, whole=True)
        except EngineError:
            return observed  # how it fares is for the next check
        if condition is None:
            return observed
        # Asked now: one with the moment of the last change would be taken for known.
        changes = {"restarts": condition.restarts, "failure": condition.failure, "sequence": clock.now_ms()}
        return observed.model_copy(update=changes) if condition.restarts else observed

    @activity.defn(name=c.AWAIT_RUNNING)
    async def await_running(self, request: c.AttemptIn) -> c.Seen:
        """Wait until all tasks of an attempt run, or it ends, or the time is over; returns what was seen last."""
        async with log_of(self._services.database, request.command_id) as tell, heartbeats():
            attempt, cluster = await self._attempt(request)
            seconds = self.patience(request.patience, cluster)
            # A try after a crash has some time, too: where the cluster is away with the worker, one look says nothing.
            until = max(deadline_of(seconds), clock.monotonic() + min(seconds, waits.UNREACHABLE_SECONDS))
            return await self.until_it_runs(attempt, cluster, tell, leader=request.leader, until=until)

    def patience(self, asked: float | None, cluster: Cluster) -> float:
        """The seconds that an attempt has to run in, where `asked` for so many at the most. A session cluster has those
        of its JobManager's start before them: that may take as long on a busy machine."""
        seconds = self._services.settings.running_timeout
        if isinstance(self._services.engines.get(cluster), HostsClusters):
            seconds += self._services.settings.flink_start_timeout
        return min(seconds, asked or math.inf)

    async def until_it_runs(
        self, attempt: Attempt, cluster: Cluster, tell: LogSink, *, leader: str | None, until: float
    ) -> c.Seen:
        """As the activity does, `until` a moment by the monotonic clock; `leader` is the JobManager that took it."""
        engine = self._services.engines.get(cluster)
        ref = Ref(attempt.flink_job_id, attempt.handle)
        polling = poll(waits.STARTING_PACE, until=until)
        last_words, last = "", c.Seen(why="not seen yet")
        # A job takes this long at the least; asking sooner only takes time from the one who deploys it.
        await asyncio.sleep(waits.STARTING_PACE.first)
        while True:
            try:
                asked = clock.now_ms()
                status = await engine.look(ref)
                if status.state is EngineState.MISSING:
                    last = c.Seen(observation=await self._look(leader, attempt, cluster))
                else:
                    last = c.Seen(observation=observation(attempt, status, asked))
                if status.state is EngineState.RECOVERING and attempt.restored_from:
                    trouble = await self._cannot_restore(engine, attempt)
                    if trouble is not None:
                        tell(f"it cannot restore its state: {trouble[1]}")
                        return last.model_copy(update={"trouble": trouble[0], "why": trouble[1]})
                if status.state is EngineState.RUNNING and (why := await self._overridden(engine, attempt, cluster)):
                    tell(why)
                    return last.model_copy(update={"trouble": Trouble.OVERRIDDEN, "why": why})
                if status.state is EngineState.RECOVERING and (failure := await self._failure(engine, attempt)):
                    first = failure.message.splitlines()[0]
                    status = JobSeen(status.ref, status.state, detail=f"{status.detail}: {first}")
                    last = c.Seen(observation=observation(attempt, status, asked))
            except EngineError as error:
                last = c.Seen(why=error.message)
            state = last.observation.state if last.observation else None
            words = (last.observation.detail if last.observation else last.why) or ""
            if words != last_words:
                last_words = words
                tell(words)
            if state is EngineState.RUNNING or state in ENDED or not await polling.again():
                return last

    async def _overridden(self, engine: Engine, attempt: Attempt, cluster: Cluster) -> str | None:
        """Whether a program has chosen its state in the place of Penstock. A SQL script cannot."""
        if not attempt.config.get("build_key") or not isinstance(engine, Checkpoints):
            return None
        origin = await engine.origin(Ref(attempt.flink_job_id, attempt.handle))
        if origin is None:
            return None
        folder = attempt_checkpoints(cluster.state_dir, attempt.job_id, attempt.flink_job_id)
        return overridden(
            attempt.restored_from,
            origin.restored_from,
            origin.keeps_checkpoints,
            own_folder=folder,
            folder_is_there=await self._is_there(folder, cluster) if origin.on_files else None,
            claimed=origin.claimed,
            restores=origin.restores,
        )

    async def _is_there(self, folder: str, cluster: Cluster) -> bool | None:
        """Whether Flink has made a folder; None where this worker does not see what Flink writes."""
        return await state_files.is_folder(folder) if await state_files.is_folder(cluster.state_dir) else None

    async def _cannot_restore(self, engine: Engine, attempt: Attempt) -> tuple[Trouble, str] | None:
        """An attempt that Flink restarts for ever because its state cannot be restored: tried a few times,
        no checkpoint completed, and the cause is one of the restore."""
        ref = Ref(attempt.flink_job_id, attempt.handle)
        progress = await engine.progress(ref) if isinstance(engine, Metrics) else None
        if progress is None or progress.completed or progress.restarts < waits.RESTORE_TRIES:
            return None
        failure = await self._failure(engine, attempt)
        if failure is None or failure.trouble is None:
            return None
        return failure.trouble, failure.message

    @activity.defn(name=c.PROVE)
    async def prove(self, request: c.ProveIn) -> c.Proven:
        """Wait until an attempt is healthy (all tasks run, a checkpoint of its own has completed; or it has come to its
        end), has ended otherwise, or the time is over. Nothing is decided while the cluster cannot be asked, for up to
        two minutes more."""
        async with log_of(self._services.database, request.command_id) as tell, heartbeats():
            attempt, cluster = await self._attempt(request)
            engine = self._services.engines.get(cluster)
            ref = Ref(attempt.flink_job_id, attempt.handle)
            deadline = attempt.started_at + timedelta(seconds=request.within)
            tell(f"waiting until it is healthy: all tasks running, and one checkpoint completed ({request.within:g} s)")
            proven, since = c.Proven(healthy=False, why="not seen yet"), clock.monotonic()
            while True:
                answered = True
                try:
                    asked = clock.now_ms()
                    status = await engine.look(ref)
                    if status.state is EngineState.MISSING:
                        # Its tasks may run on without their JobManager: what follows may start another attempt.
                        there = await self._look(request.leader, attempt, cluster)
                        if there.state is not EngineState.MISSING:
                            raise Unreachable("the cluster did not know it for a moment", sent=False)
                        return c.Proven(healthy=False, why="the cluster has lost it", observation=there)
                    progress = await engine.progress(ref) if isinstance(engine, Metrics) else None
                    proven = c.Proven(healthy=False, why=status.detail, observation=observation(attempt, status, asked))
                    if status.state is EngineState.FINISHED:
                        tell("it has come to its end")
                        return proven.model_copy(update={"healthy": True, "why": "it has come to its end"})
                    if status.state in ENDED:
                        failure = await self._failure(engine, attempt)
                        proven.why = failure.message if failure else status.detail
                        return proven
                    if status.state is not EngineState.RUNNING:
                        since = clock.monotonic()
                        if status.state is EngineState.RECOVERING and (failure := await self._failure(engine, attempt)):
                            proven.why = f"{status.detail}: {failure.message}"
                    elif progress is not None and progress.completed > 0:
                        tell("it is healthy")
                        return c.Proven(healthy=True, observation=proven.observation)
                    elif clock.monotonic() - since > waits.STEADY_SECONDS and await _takes_none(engine, ref):
                        tell("it takes no checkpoints, and has run steadily")
                        return c.Proven(healthy=True, observation=proven.observation)
                    else:
                        proven.why = "all its tasks run, but no checkpoint has completed"
                except EngineError as error:
                    proven, answered = c.Proven(healthy=False, why=error.message), False
                    attempt, cluster = await self._attempt(request)  # it may have got another address
                    engine = self._services.engines.get(cluster)
                if clock.now() > deadline + timedelta(seconds=0 if answered else waits.UNREACHABLE_SECONDS):
                    return proven
                await asyncio.sleep(waits.PROVING_PAUSE_SECONDS)

    @activity.defn(name=c.DIAGNOSE)
    async def diagnose(self, request: c.DiagnoseIn) -> c.Diagnosis:
        """After an end: why, whether a savepoint of our stop is there, and what restore points there are now."""
        async with heartbeats():
            attempt, cluster = await self._attempt(request)
            engine = self._services.engines.get(cluster)
            ref = Ref(attempt.flink_job_id, attempt.handle)
            diagnosis = c.Diagnosis()
            try:
                state = (await engine.look(ref)).state
                failure = await self._failure(engine, attempt, state)
                if failure is not None:
                    diagnosis.cause = failure.message
                    diagnosis.trouble = failure.trouble if attempt.restored_from else None
            except EngineError:
                state = EngineState.MISSING
            if request.state is EngineState.MISSING:
                diagnosis.lost, diagnosis.ha, diagnosis.undecided = await self._lost(engine, request.leader)
            try:
                for directory in filter(None, (request.savepoint_directory, *request.earlier_directories)):
                    if savepoints := await state_files.scan(directory, RestoreKind.SAVEPOINT):
                        diagnosis.savepoint = savepoints[0].path
                        break
            except Unreachable as error:
                diagnosis.unread = error.message
            if request.state is EngineState.FINISHED and diagnosis.savepoint is None:
                diagnosis.stopped_with = await _stopped_with(engine, ref)
            with all_present():
                diagnosis.points = (await points.gather(self._services, request.job_id)).points[:5]
            diagnosis.untouched = await points.untouched(self._services, cluster, attempt, state)
            if not diagnosis.untouched and any(p.attempt == attempt.number for p in diagnosis.points):
                diagnosis.trouble = None  # it had got its state, and gone on from there
            return diagnosis

    async def _lost(self, engine: Engine, took_it: str | None) -> tuple[Lost | None, bool, str | None]:
        """Why an attempt is missing, and whether the cluster is highly available; or why that cannot be told: on this
        it depends whether it may be started again."""
        polling = poll(waits.UNREACHABLE_PACE, seconds=waits.UNREACHABLE_SECONDS)
        while True:
            try:
                leader = await engine.leader()
            except EngineError as error:
                if not await polling.again():
                    return None, False, error.message
                continue
            same = leader.identity == took_it or took_it is None
            return (Lost.FORGOTTEN if leader.ha or same else Lost.CLUSTER), leader.ha, None

    @activity.defn(name=c.GATHER)
    async def gather(self, request: c.GatherIn) -> c.Gathered:
        """The restore points of a job, and those places that could not be read."""
        bind(job=request.job_id)
        async with heartbeats():
            with all_present():
                gathered = await points.gather(self._services, request.job_id)
            if gathered.unread and gathered.for_a_person and not request.named:
                why = f"Nobody but a person can tell the newest restore point: {gathered.unread}"
                shown, unowned = gathered.points[:100], gathered.unowned
                return c.Gathered(error=why, code=c.POINTS_UNDECIDED, points=shown, unowned=unowned)
            if gathered.unread and not request.named:
                return c.Gathered(error=f"Restore points cannot be read: {gathered.unread}", code="points_unreadable")
            if request.named and not any(request.named in (p.id, p.path) for p in gathered.points):
                return await self._outside(request.named, gathered)
            return c.Gathered(points=gathered.points[:100], vanished=gathered.vanished[:100])

    async def _outside(self, named: str, gathered: points.Found) -> c.Gathered:
        """A named path that is none of this job's own points; it only has to be complete."""
        away = gathered.unread and c.Gathered(
            error=f"Restore points cannot be read: {gathered.unread}", code="points_unreadable"
        )
        if named.startswith("rp-"):
            return away or c.Gathered(
                error=f"This job has no restore point {named} (any more).", code="restore_point_missing"
            )
        own = [p for p in gathered.points if p.path == of_point(named)]
        try:
            if not own and not await state_files.is_complete(named):
                return away or c.Gathered(
                    error=f"{named} is not a completed savepoint or checkpoint: it has no _metadata.",
                    code="restore_point_missing",
                )
        except Unreachable as error:
            return c.Gathered(error=error.message, code="points_unreadable")
        return c.Gathered(points=gathered.points[:100])

    @activity.defn(name=c.WATCH)
    async def watch_cluster(self, cluster: str) -> None:
        """Look at a cluster for as long as this worker lives: every ten seconds, every second while
        something on it is in transition. Ends only by cancellation or when the cluster's row is gone."""
        settings = self._services.settings
        structlog.contextvars.bind_contextvars(cluster=cluster)
        async with heartbeats(waits.WATCH_HEARTBEAT_SECONDS):
            while True:
                began = clock.monotonic()
                try:
                    look = await self._observer.observe(cluster)
                    busy = look.busy
                except NotFound:  # the cluster has been removed
                    self._observer.forget(cluster)
                    self._services.engines.forget(cluster)
                    return
                except Exception as error:  # the database may be away: then it is asked again, not given up
                    log.warning("the watch could not look", cluster=cluster, why=f"{type(error).__name__}: {error}")
                    async with self._services.database.read() as session:
                        await clusters.get(session, cluster)
                    busy = False
                pause = settings.watch_interval_busy if busy else settings.watch_interval
                pause *= random.uniform(0.9, 1.1)  # noqa: S311 - jitter, not a secret
                await asyncio.sleep(max(0.05, pause - (clock.monotonic() - began)))


async def _takes_none(engine: Engine, ref: Ref) -> bool:
    """Whether it is certain that an attempt takes no checkpoints."""
    return not isinstance(engine, Checkpoints) or await engine.takes_checkpoints(ref) is False


async def _stopped_with(engine: Engine, ref: Ref) -> str | None:
    """The savepoint that a Flink job which is FINISHED was stopped with, as Flink tells; None of one that came to its
    end. After a stop nothing completes any more, unless the job went on after all."""
    if not isinstance(engine, Checkpoints):
        return None
    try:
        told = await engine.checkpoints(ref)
    except EngineError:
        return None
    last = max(told, key=lambda point: (point.number or 0, point.completed_at, point.stops), default=None)
    return last.path if last is not None and last.stops else None
