"""The start of an attempt in one step: written down, sent, and looked at."""

from __future__ import annotations

import asyncio

from temporalio import activity

from activities import contracts as c
from activities.logs import bind, heartbeats, log_of
from activities.observe import Observing
from activities.record import Recorder
from activities.submit import Submitter
from core.jobs.observations import ENDED, EngineState
from core.jobs.snapshot import Ran
from services import Services
from settings import clock, waits
from store import attempts
from store.tables import Attempt


class Starter:
    def __init__(self, services: Services, recorder: Recorder, submitter: Submitter, observing: Observing):
        self._services = services
        self._recorder = recorder
        self._submitter = submitter
        self._observing = observing

    @activity.defn(name=c.START_ATTEMPT)
    async def start_attempt(self, request: c.StartAttempt) -> c.Started:
        """Write an attempt down, submit it, and follow it for the moment that most jobs take until they run.

        Nothing is sent before its row is committed. A try that finds the row there does not know whether the one that
        wrote it has sent the attempt, and asks the cluster first (`docs/decisions/0023-one-step-to-start.md`).
        """
        bind(job=request.job_id, attempt=request.number, command=request.command_id)
        async with log_of(self._services.database, request.command_id) as tell, heartbeats() as pulse:
            async with asyncio.timeout(waits.OPEN_SECONDS):
                written = await self._recorder.open(request, sends=True)
            if isinstance(written, c.OpenedAttempt):
                return c.Started(conflict=written)
            submitted = await self._submitter.send(
                written.found, written.attempt, tell, pulse, request.command_id, maybe_sent=not written.is_new
            )
            if submitted.state is not c.SubmitState.ACCEPTED:
                return c.Started(submitted=submitted, ran=_ran(written.attempt))
            seconds = self._observing.patience(request.patience, written.found.cluster)
            soon = min(waits.STARTS_SOON_SECONDS, seconds)
            observed = await self._observing.until_it_runs(
                written.attempt, written.found.cluster, tell, leader=submitted.leader, until=clock.monotonic() + soon
            )
            state = observed.observation.state if observed.observation else None
            is_clear = state is EngineState.RUNNING or state in ENDED or observed.trouble is not None or soon == seconds
            seen = observed if is_clear else None
            return c.Started(submitted=submitted, seen=seen, ran=_ran(written.attempt))


def _ran(attempt: Attempt) -> Ran:
    """What the workflow can write down again, should the row be lost."""
    return Ran(spec=attempt.config.get(attempts.SPEC), plan=attempt.plan)
