"""How attempts fare that run: asked when something about one has changed, and written beside its job."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from clusters.protocol import Course, JobSeen, Metrics, Overview, Ref
from core.effects import EngineError
from core.jobs.condition import Condition, is_hopeless, warning
from core.jobs.observations import ENDED, EngineState, Observation
from core.jobs.policy import RestartPolicy
from services import Services
from services.hidden import tellable
from settings import clock, waits
from store import attempts, jobs

AT_ONCE = 8
Row = Mapping[str, Any]


def condition(course: Course, *, since: datetime, now: datetime) -> Condition:
    """`since` is when the attempt was started."""
    after = [at for at in course.failures if course.completed_at is None or at > course.completed_at]
    all_after = len(after) == len(course.failures) and course.completed == 0
    return Condition(
        restarts=max(len(after), course.restarts or 0) if all_after else len(after),
        in_an_hour=sum((now - at).total_seconds() < 3600 for at in course.failures),
        completed=course.completed,
        failed=course.failed,
        age=max(0.0, (now - (course.completed_at or since)).total_seconds()),
        interval=course.interval,
        failure=course.failure.message.splitlines()[0] if course.failure else None,
    )


async def assess(services: Services, engine: Metrics, job_id: str, number: int, *, whole: bool) -> Condition | None:
    """Ask how an attempt fares, and write down what is wrong with it; None when the engine does not tell."""
    database = services.database
    async with database.read() as session:
        attempt = await attempts.get(session, job_id, number)
        job = await jobs.by_id(session, job_id)
    if attempt is None or attempt.ended_at is not None or job is None or job.current_attempt != number:
        return None
    course = await engine.course(Ref(attempt.flink_job_id, attempt.handle), whole=whole or job.warning is not None)
    if course is None:
        return None
    if course.failure is not None:
        async with database.read() as session:
            course = replace(course, failure=await tellable(services, session, job.project, course.failure))
    now = clock.now()
    state = condition(course, since=attempt.running_since or attempt.started_at, now=now)
    words = warning(state)
    if words != job.warning:
        async with database.write() as session:
            await jobs.warn(session, job_id, attempt, words, now)
    return state


class Conditions:
    """Of the attempts on one cluster. A question about one is put when the engine says that it has changed since the
    look before, and now and then while something is wrong with it."""

    def __init__(self, services: Services):
        self._services = services
        self._modified: dict[tuple[str, int], int] = {}
        self._asked: dict[tuple[str, int], float] = {}
        self._told: dict[tuple[str, int], float] = {}

    async def look(
        self, engine: Metrics, rows: Sequence[Row], overview: Overview, sequence: int
    ) -> list[tuple[Row, Observation]]:
        """Attempts that their engine restarts for ever, with what has to be told of them."""
        keys = {(row["job_id"], row["number"]) for row in rows}
        for kept in (self._modified, self._asked, self._told):
            for key in kept.keys() - keys:
                del kept[key]
        due = [
            (row, status) for row in rows if (status := overview.jobs.get(row["handle"])) and self._is_due(row, status)
        ]
        limit = asyncio.Semaphore(AT_ONCE)

        async def ask(row: Row, status: JobSeen) -> tuple[Row, Observation] | None:
            async with limit:
                try:
                    condition = await assess(self._services, engine, row["job_id"], row["number"], whole=False)
                except EngineError:
                    return None  # it is due again with its next change
            hopeless = self._hopeless(row, status, condition, sequence) if condition else None
            return (row, hopeless) if hopeless else None

        observations = await asyncio.gather(*(ask(row, status) for row, status in due))
        return [observation for observation in observations if observation is not None]

    def _is_due(self, row: Row, status: JobSeen) -> bool:
        key, now = (row["job_id"], row["number"]), clock.monotonic()
        before = self._modified.get(key)
        waited = now - self._asked.get(key, -1e9)
        if status.state in ENDED or row["number"] != row["current_attempt"] or waited < waits.ASK_AGAIN_SECONDS:
            return False
        self._modified[key] = status.modified_at
        changed = before is not None and before != status.modified_at
        # Of a process that has just begun nobody knows whether what it sees has changed: what runs is taken as it is.
        unknown = before is None and status.state is not EngineState.RUNNING
        if changed or unknown or (row["warning"] is not None and waited >= waits.TROUBLED_SECONDS):
            self._asked[key] = now
            return True
        return False

    def _hopeless(self, row: Row, status: JobSeen, condition: Condition, sequence: int) -> Observation | None:
        key, now = (row["job_id"], row["number"]), clock.monotonic()
        limit = RestartPolicy.model_validate(row["policy"]).max_engine_restarts
        if not is_hopeless(condition.restarts, limit) or now - self._told.get(key, -1e9) < waits.TELL_AGAIN_PACE.first:
            return None
        self._told[key] = now
        return Observation(
            attempt=row["number"],
            flink_job_id=row["flink_job_id"],
            sequence=sequence,
            state=status.state,
            detail=status.detail or None,
            restarts=condition.restarts,
            failure=condition.failure,
        )
