"""Ending an attempt, and taking savepoints, so that a lost answer loses nothing."""

from __future__ import annotations

import contextlib

from temporalio import activity

from activities import contracts as c
from activities.checks import check_current, present
from activities.logs import Pulse, bind, heartbeats, log_of
from activities.looking import confirm_missing, deadline_of
from clusters import state_files
from clusters.protocol import Engine, Ref, Savepoints, TriggerState, Unreachable
from core.effects import EngineError, LogSink, Rejected
from core.jobs.observations import ENDED, EngineState
from core.jobs.restore import RestoreKind, RestorePoint
from core.paths import of_point
from observation.growth import Growth
from services import Services
from settings import Settings, clock, waits
from settings.polling import poll
from store import attempts, clusters
from store.tables import Attempt, Cluster


class Stopper:
    def __init__(self, services: Services):
        self._services = services

    @activity.defn(name=c.STOP)
    async def stop_with_savepoint(self, request: c.TriggerIn) -> c.Stopped:
        """Stop an attempt with a savepoint. Stopped means: seen in a final state."""
        return await self._work(request, stop=True)

    @activity.defn(name=c.SAVEPOINT)
    async def take_savepoint(self, request: c.TriggerIn) -> c.Stopped:
        """Take a savepoint of an attempt that goes on running."""
        return await self._work(request, stop=False)

    async def _work(self, request: c.TriggerIn, *, stop: bool) -> c.Stopped:
        bind(job=request.job_id, attempt=request.number, command=request.command_id)
        async with log_of(self._services.database, request.command_id) as tell, heartbeats() as pulse:
            attempt, cluster, engine = await self._find(request)
            if not isinstance(engine, Savepoints):
                error = f"A cluster of kind {cluster.kind} takes no savepoints."
                return c.Stopped(error=error, code="savepoint_failed")
            growth = Growth.of(attempt, cluster)
            one = _Trigger(engine, attempt, request, tell, self._services.settings, pulse, growth)
            result = await (one.stop() if stop else one.savepoint())
            if result.savepoint:
                tell(f"savepoint {result.savepoint.path}")
            if result.error:
                tell(result.error)
            return result

    @activity.defn(name=c.CANCEL)
    async def cancel(self, request: c.AttemptIn) -> c.Stopped:
        """Cancel an attempt; returns when it is seen in a final state, or when it cannot be found out."""
        bind(job=request.job_id, attempt=request.number, command=request.command_id)
        async with log_of(self._services.database, request.command_id) as tell, heartbeats() as pulse:
            attempt, cluster, engine = await self._find(request)
            ref = Ref(attempt.flink_job_id, attempt.handle)
            polling = poll(waits.STOP_PACE, until=deadline_of(self._services.settings.submit_timeout))
            why, asked_for = "", False
            while True:
                try:
                    if not asked_for:
                        pulse.check()
                        await engine.cancel(ref)
                        asked_for = True
                        tell("asked the cluster to cancel it")
                    grace, growth = self._services.settings.lost_grace, Growth.of(attempt, cluster)
                    status, asked = await confirm_missing(
                        engine, ref, leader=request.leader, grace=grace, growth=growth
                    )
                    if status.state in ENDED:
                        tell(status.detail)
                        return c.Stopped(state=status.state, sequence=asked)
                    why = f"it is still {status.detail}"
                except EngineError as error:
                    asked_for = False
                    if why != error.message:
                        tell(error.message)
                    why = error.message
                if not await polling.again():
                    words = f"It cannot be told whether it was cancelled: {why}"
                    if cluster.managed_by is not None:
                        words += f" If the session cluster {cluster.name} is down, start it, and send this again."
                    return c.Stopped(error=words, code="cancel_unclear")

    @activity.defn(name=c.CANCEL_ALL)
    async def cancel_all(self, request: c.AttemptIn) -> c.Stopped:
        """Cancel every attempt of the job that the cluster shows alive, whatever was believed of it; returns CANCELED
        when none is."""
        bind(job=request.job_id, command=request.command_id)
        async with log_of(self._services.database, request.command_id) as tell, heartbeats() as pulse:
            *_, engine = await self._find(request)
            async with self._services.database.read() as session:
                ours = {id_: number for number, id_ in await attempts.flink_jobs(session, request.job_id)}
            polling = poll(waits.STOP_PACE, until=deadline_of(self._services.settings.submit_timeout))
            why = ""
            while True:
                try:
                    jobs = (await engine.overview()).jobs.values()
                    alive = [seen for seen in jobs if seen.ref.flink_job_id in ours and seen.state not in ENDED]
                    if not alive:
                        return c.Stopped(state=EngineState.CANCELED, sequence=clock.now_ms())
                    for seen in alive:
                        pulse.check()
                        await engine.cancel(seen.ref)
                    words = (f"attempt {ours[seen.ref.flink_job_id]} ({seen.detail})" for seen in alive)
                    why = f"alive: {', '.join(words)}"
                except EngineError as error:
                    why = error.message
                tell(why)
                if not await polling.again():
                    return c.Stopped(error=f"It cannot be told whether all of it ended: {why}", code="cancel_unclear")

    async def _find(self, request: c.AttemptIn) -> tuple[Attempt, Cluster, Engine]:
        await check_current(self._services, request)
        async with self._services.database.read() as session:
            attempt = present(
                await attempts.get(session, request.job_id, request.number),
                f"attempt {request.number} of job {request.job_id}",
            )
            cluster = await clusters.get(session, attempt.cluster)
            return attempt, cluster, self._services.engines.get(cluster)


class _Trigger:
    """One savepoint or stop, followed until it is known what became of it."""

    def __init__(
        self,
        engine: Savepoints,
        attempt: Attempt,
        request: c.TriggerIn,
        tell: LogSink,
        settings: Settings,
        pulse: Pulse,
        growth: Growth | None = None,
    ):
        self._engine = engine
        self._attempt = attempt
        self._ref = Ref(attempt.flink_job_id, attempt.handle)
        self._wanted = request
        self._tell = tell
        self._grace = settings.lost_grace
        self._polling = poll(waits.STOP_PACE, until=deadline_of(settings.stop_timeout))
        self._pulse = pulse
        self._growth = growth
        self._path: str | None = None

    async def stop(self) -> c.Stopped:
        why, completed_at = "", None
        while True:
            try:
                failed = None if self._path else await self._savepoint(self._engine.stop_with_savepoint)
                asked = clock.now_ms()
                status = await self._engine.look(self._ref)
                if status.state is EngineState.MISSING:
                    status, asked = await confirm_missing(
                        self._engine, self._ref, leader=self._wanted.leader, grace=self._grace, growth=self._growth
                    )
                forgotten = status.state is EngineState.MISSING and self._path is not None  # after our own stop
                state = EngineState.FINISHED if forgotten else status.state
                if state in ENDED:
                    return c.Stopped(state=state, sequence=asked, savepoint=await self._point())
                if failed:
                    error = f"The savepoint failed, and the job runs on: {failed}"
                    return c.Stopped(state=status.state, sequence=asked, error=error, code="savepoint_failed")
                if self._path:
                    completed_at = completed_at or clock.monotonic()
                    if clock.monotonic() - completed_at > waits.STILL_RUNNING_SECONDS:
                        error = f"The savepoint {self._path} is complete, but the job did not stop and runs on."
                        return c.Stopped(
                            state=status.state,
                            sequence=asked,
                            error=error,
                            code="not_stopped",
                            savepoint=await self._point(),
                        )
                why = status.detail
            except EngineError as error:
                if why != error.message:
                    self._tell(error.message)
                why = error.message
            if not await self._polling.again():
                return c.Stopped(error=f"It cannot be told whether it was stopped: {why}", code="stop_unclear")

    async def savepoint(self) -> c.Stopped:
        why = ""
        while True:
            try:
                failed = await self._savepoint(self._engine.savepoint)
                if self._path:
                    return c.Stopped(savepoint=await self._point())
                if failed:
                    return c.Stopped(error=f"The savepoint failed; the job runs on: {failed}", code="savepoint_failed")
            except EngineError as error:
                if why != error.message:
                    self._tell(error.message)
                why = error.message
            if not await self._polling.again():
                return c.Stopped(
                    error=f"It cannot be told whether the savepoint was taken: {why}", code="savepoint_unclear"
                )

    async def _savepoint(self, trigger) -> str | None:  # type: ignore[no-untyped-def]
        """One step: sets `_path` when the savepoint is complete; returns why it failed, if it did.

        The trigger is sent only when neither Flink knows its id nor a completed savepoint lies in its own
        folder: never blindly again.
        """
        status = await self._engine.trigger_status(self._ref, self._wanted.trigger_id)
        if status.state is TriggerState.COMPLETED:
            self._path = of_point(str(status.path))
        elif status.state is TriggerState.FAILED:
            await self._in_folder()
            return status.why or "Flink gave no reason"
        elif status.state is TriggerState.UNKNOWN and not await self._in_folder():
            seen = await self._engine.look(self._ref)
            if seen.state in ENDED:
                return f"the job is {seen.detail}"
            self._pulse.check()
            try:
                await trigger(self._ref, trigger_id=self._wanted.trigger_id, directory=self._wanted.directory)
                self._tell("asked the cluster for a savepoint")
            except Rejected as error:
                return error.message
        return None

    async def _in_folder(self) -> str | None:
        """The path of the savepoint in the folder that was given for it: then it is the one."""
        points = await state_files.scan(self._wanted.directory, RestoreKind.SAVEPOINT)
        if not points:
            return None
        self._path = points[0].path
        return self._path

    async def _point(self) -> RestorePoint | None:
        """The savepoint, verified: a path without `_metadata` is none."""
        path = self._path or await self._in_folder()
        if path is None:
            return None
        at = number = None  # where it cannot be read from here; Flink says that it is complete
        with contextlib.suppress(Unreachable):
            if not await state_files.is_complete(path):
                return None
            number = await state_files.number_of(path)
            savepoints = await state_files.scan(self._wanted.directory, RestoreKind.SAVEPOINT)
            at = savepoints[0].completed_at if savepoints else None
        return RestorePoint(
            id=attempts.point_id(self._attempt.job_id, path),
            kind=RestoreKind.SAVEPOINT,
            path=path,
            completed_at=at or clock.now(),
            attempt=self._attempt.number,
            version=self._attempt.version,
            number=number,
        )
