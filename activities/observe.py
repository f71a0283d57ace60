"""Asking a cluster: about one attempt, until it runs, why it ended, and all the time."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime

import structlog
from temporalio import activity

from activities import contracts as c
from activities.logs import bind, command_log, heartbeats
from core.observations import ENDED, EngineState, Observation
from core.restore import RestoreKind
from engine import files
from engine.base import EngineError, JobSeen, Ref, Unreachable
from store import attempts, clusters, commands
from store.tables import Attempt, Cluster
from watch import points
from watch.observer import Observer
from watch.services import Services

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
UNREACHABLE_SECONDS = 120.0
log = structlog.get_logger()


class Observing:
    def __init__(self, services: Services, observer: Observer):
        self._services = services
        self._observer = observer

    async def _attempt(self, wanted: c.AttemptIn) -> tuple[Attempt, Cluster]:
        bind(job=wanted.job_id, attempt=wanted.number, command=wanted.command_id)
        async with self._services.database.read() as session:
            attempt = await attempts.get(session, wanted.job_id, wanted.number)
            assert attempt is not None
            return attempt, await clusters.get(session, attempt.cluster)

    async def _look(self, attempt: Attempt, cluster: Cluster) -> Observation:
        """Ask once. A job that is missing is asked for again after a while: only then it is believed."""
        engine = self._services.engines.get(cluster)
        ref = Ref(attempt.flink_job_id, attempt.handle)
        asked = _now()
        seen = await engine.look(ref)
        if seen.state is EngineState.MISSING:
            await asyncio.sleep(self._services.settings.lost_grace)
            asked = _now()
            seen = await engine.look(ref)
        return observation(attempt, seen, asked)

    @activity.defn(name=c.LOOK)
    async def look(self, wanted: c.AttemptIn) -> c.Seen:
        """What the cluster says about an attempt now; asks for up to two minutes when it does not answer."""
        async with heartbeats():
            attempt, cluster = await self._attempt(wanted)
            deadline = time.monotonic() + UNREACHABLE_SECONDS
            while True:
                try:
                    return c.Seen(observation=await self._look(attempt, cluster))
                except Unreachable as error:
                    if time.monotonic() > deadline:
                        return c.Seen(why=error.message)
                    await asyncio.sleep(2)

    @activity.defn(name="check")
    async def check(self, wanted: c.AttemptIn) -> c.Seen:
        """A job's own slow check. Free of questions while the watch does its work; its own question when
        the watch is dead."""
        attempt, cluster = await self._attempt(wanted)
        interval = self._services.settings.watch_interval
        if cluster.observed_at and (datetime.now(UTC) - cluster.observed_at).total_seconds() < 6 * interval:
            if attempt.seen is None:
                return c.Seen(why="not seen yet")
            seen = JobSeen(attempt.handle, EngineState(attempt.seen), detail=attempt.detail or "")
            return c.Seen(observation=observation(attempt, seen, attempt.sequence))
        try:
            return c.Seen(observation=await self._look(attempt, cluster))
        except Unreachable as error:
            return c.Seen(why=error.message)

    @activity.defn(name=c.AWAIT_RUNNING)
    async def await_running(self, wanted: c.AttemptIn) -> c.Seen:
        """Wait until all tasks of an attempt run, or it ends, or the time is over; returns what was seen last."""
        scope = commands.scope(wanted.command_id) if wanted.command_id else None
        async with command_log(self._services.database, scope) as tell, heartbeats():
            attempt, cluster = await self._attempt(wanted)
            engine = self._services.engines.get(cluster)
            ref = Ref(attempt.flink_job_id, attempt.handle)
            deadline = time.monotonic() + self._services.settings.running_timeout
            pause, told, last = FIRST_PAUSE, "", c.Seen(why="not seen yet")
            # A job takes this long at the least; asking sooner only takes time from the one who deploys it.
            await asyncio.sleep(pause)
            while True:
                try:
                    asked = _now()
                    seen = await engine.look(ref)
                    if seen.state is EngineState.MISSING:
                        last = c.Seen(observation=await self._look(attempt, cluster))
                    else:
                        last = c.Seen(observation=observation(attempt, seen, asked))
                    if seen.state is EngineState.RECOVERING and (cause := await engine.failure(ref)):
                        seen = JobSeen(seen.handle, seen.state, detail=f"{seen.detail}: {cause.splitlines()[0]}")
                        last = c.Seen(observation=observation(attempt, seen, asked))
                except EngineError as error:
                    last = c.Seen(why=error.message)
                state = last.observation.state if last.observation else None
                words = (last.observation.detail if last.observation else last.why) or ""
                if words != told:
                    told = words
                    tell(words)
                if state is EngineState.RUNNING or state in ENDED or time.monotonic() > deadline:
                    return last
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 1.25)

    @activity.defn(name=c.DIAGNOSE)
    async def diagnose(self, wanted: c.DiagnoseIn) -> c.Diagnosis:
        """After an end: why, whether a savepoint of our stop is there, and what restore points there are now."""
        async with heartbeats():
            attempt, cluster = await self._attempt(wanted)
            engine = self._services.engines.get(cluster)
            ref = Ref(attempt.flink_job_id, attempt.handle)
            cause: str | None = None
            try:
                seen = (await engine.look(ref)).state
                cause = await engine.failure(ref)
            except EngineError:
                seen = EngineState.MISSING
            savepoint: str | None = None
            if wanted.savepoint_directory:
                try:
                    found = await files.scan(wanted.savepoint_directory, RestoreKind.SAVEPOINT)
                    savepoint = found[0].path if found else None
                except Unreachable:
                    savepoint = None
            await points.gather(self._services, wanted.job_id)
            untouched = await points.untouched(self._services, cluster, attempt, seen)
            return c.Diagnosis(cause=cause, untouched=untouched, savepoint=savepoint)

    @activity.defn(name=c.GATHER)
    async def gather(self, wanted: c.GatherIn) -> c.Gathered:
        bind(job=wanted.job_id)
        async with heartbeats():
            found = await points.gather(self._services, wanted.job_id)
            if found.unread and not found.points:
                return c.Gathered(error=f"Restore points cannot be read: {found.unread}", code="points_unreadable")
            if wanted.named and not any(wanted.named in (p.id, p.path) for p in found.points):
                return await self._outside(wanted.named, found)
            return c.Gathered(points=found.points[:100])

    async def _outside(self, named: str, found: points.Found) -> c.Gathered:
        """A named path that is none of this job's own points; it only has to be complete."""
        if named.startswith("rp-"):
            return c.Gathered(error=f"This job has no restore point {named} (any more).", code="restore_point_missing")
        path = files.normal(named)
        own = [p for p in found.points if p.path == path]
        try:
            if not own and not await files.is_complete(path):
                return c.Gathered(
                    error=f"{named} is not a completed savepoint or checkpoint: it has no _metadata.",
                    code="restore_point_missing",
                )
        except Unreachable as error:
            return c.Gathered(error=error.message, code="points_unreadable")
        return c.Gathered(points=found.points[:100])

    @activity.defn(name=c.WATCH)
    async def watch_cluster(self, cluster: str) -> None:
        """Look at a cluster for as long as this worker lives: every ten seconds, every second while
        something on it is in transition. Ends only by cancellation or when the cluster's row is gone."""
        settings = self._services.settings
        structlog.contextvars.bind_contextvars(cluster=cluster)
        async with heartbeats(5):
            while True:
                began = time.monotonic()
                try:
                    look = await self._observer.observe(cluster)
                    busy = look.busy
                except Exception as error:  # the database may be away: then it is asked again, not given up
                    log.warning("the watch could not look", cluster=cluster, why=f"{type(error).__name__}: {error}")
                    async with self._services.database.read() as session:
                        await clusters.get(session, cluster)
                    busy = False
                pause = settings.watch_interval_busy if busy else settings.watch_interval
                pause *= random.uniform(0.9, 1.1)  # noqa: S311 - jitter, not a secret
                await asyncio.sleep(max(0.05, pause - (time.monotonic() - began)))


def observation(attempt: Attempt, seen: JobSeen, sequence: int) -> Observation:
    return Observation(
        attempt=attempt.number,
        flink_job_id=attempt.flink_job_id,
        sequence=sequence,
        state=seen.state,
        detail=seen.detail or None,
    )


def _now() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)
