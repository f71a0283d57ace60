"""When a cluster does not know an attempt: how long to ask until that is believed."""

from __future__ import annotations

import asyncio

from temporalio import activity

from clusters.protocol import AnotherFlink, Engine, Failure, JobSeen, Ref, Unreachable
from core.effects import EngineError
from core.jobs.observations import ENDED, EngineState, Observation
from observation.growth import Growth
from settings import clock, waits
from settings.polling import poll
from store.tables import Attempt


def observation(attempt: Attempt, status: JobSeen, sequence: int) -> Observation:
    """What was seen of an attempt, as its workflow is told; `sequence` orders it among others."""
    return Observation(
        attempt=attempt.number,
        flink_job_id=attempt.flink_job_id,
        sequence=sequence,
        state=status.state,
        detail=status.detail or None,
    )


def deadline_of(seconds: float) -> float:
    """When `seconds` are over, by the monotonic clock, counted from the moment at which this activity was asked for: a
    try after a crash does not begin the time anew."""
    info = activity.info()
    gone = (clock.now() - info.scheduled_time).total_seconds() if info.attempt > 1 else 0.0
    return clock.monotonic() + seconds - min(max(0.0, gone), seconds)


async def confirm_missing(
    engine: Engine, ref: Ref, *, leader: str | None, grace: float, growth: Growth | None = None
) -> tuple[JobSeen, int]:
    """What the cluster says of an attempt, and when it was asked (`clock.now_ms`). MISSING is given back when
    nothing of the attempt can run any more. Raises `Unreachable`, and `AliveElsewhere` when its folder (`growth`)
    says otherwise.

    `leader` is the JobManager that took it. When that one died without high availability, its task
    managers do not know yet: they run its tasks until they have missed its heartbeats, 50 s by default
    (seen on 2.3.0: the new JobManager answered after 4 s, the old tasks went on writing for 45 s). A
    successor that is started before would run beside them.

    A single answer that is lost does not begin the wait anew: what it rests on is that the leader at its end is the
    one of its begin.
    """
    deadline = clock.monotonic() + waits.CERTAIN_SECONDS
    asked = clock.now_ms()
    status = await engine.look(ref)
    if status.state is not EngineState.MISSING:
        return status, asked
    if growth is not None:
        await growth.begin()
    first = await engine.leader()
    began = answered = clock.monotonic()
    wait = grace if first.ha or first.identity == leader else max(grace, first.heartbeat_timeout)
    while True:
        await asyncio.sleep(min(waits.CERTAIN_PAUSE_SECONDS, wait))
        asked, holders = clock.now_ms(), list[str]()
        try:
            status = await engine.look(ref)
            if status.state is not EngineState.MISSING:
                return status, asked
            now = await engine.leader()
            is_over = now.identity == first.identity and clock.monotonic() - began >= wait
            if is_over:
                holders = await engine.slot_holders(ref)
        except AnotherFlink:
            raise
        except Unreachable:
            if clock.monotonic() - answered >= waits.LOST_ANSWER_SECONDS:
                raise
            continue
        answered = clock.monotonic()
        if now.identity != first.identity:
            first, began, wait = now, clock.monotonic(), max(grace, 0 if now.ha else now.heartbeat_timeout)
        elif holders and clock.monotonic() > deadline:
            raise Unreachable(
                f"the JobManager does not know it, and task managers still hold slots of it: {', '.join(holders)}"
            )
        elif holders:
            wait = max(wait, waits.CERTAIN_PAUSE_SECONDS)
        elif is_over:
            if growth is not None:
                await growth.check()
            return status, asked


async def why_ended(engine: Engine, ref: Ref, state: EngineState) -> Failure | None:
    """Why an attempt ended. The JobManager answers from a copy of the job that may be older than its end
    (web.refresh-interval), so one that failed without a failure is asked again. Raises `EngineError`."""
    polling = poll(waits.FAILURE_CACHE_PACE, seconds=waits.FAILURE_CACHE_SECONDS)
    while True:
        failure = await engine.failure(ref)
        if failure is not None or state is not EngineState.FAILED or not await polling.again():
            return failure


async def leader_with(engine: Engine, ref: Ref) -> str | None:
    """Who leads the cluster while it has an attempt alive; None where it has not, or that cannot be told."""
    try:
        before = (await engine.leader()).identity
        state = (await engine.look(ref)).state
        after = (await engine.leader()).identity
    except EngineError:
        return None
    return after if before == after and state not in (*ENDED, EngineState.MISSING) else None
