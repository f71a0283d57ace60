"""Making sure of an attempt that was perhaps sent (`docs/decisions/0014-the-fence.md`)."""

from __future__ import annotations

from typing import NoReturn

from core.jobs import blocked
from core.jobs.observations import ENDED, EngineState
from core.jobs.states import AttemptState, CommandKind, JobState
from workflows import calls
from workflows.context import JobContext
from workflows.endings import AttemptEndings
from workflows.failure import Failed
from workflows.observations import Observations


class AttemptFence:
    """Spends the id of an attempt, so that it never runs, or finds that the cluster has it."""

    def __init__(self, context: JobContext, endings: AttemptEndings, observations: Observations):
        self._context = context
        self._endings = endings
        self._observations = observations

    async def resolve(self, *, going_on: bool = False, again: bool = True) -> bool:
        """The attempt was perhaps sent. True when it has ended, because its id is spent or because it was seen to;
        False when it is alive after all, and is followed. `going_on`: a successor is being started, `again` as in
        `AttemptEndings.end`. Raises `Failed` when it cannot be told."""
        context, journal, s = self._context, self._context.journal, self._context.snapshot
        attempt = context.attempt
        with context.may_leave():
            spent = await calls.fence(context.attempt_in())
        if spent.observation is None and not spent.fenced:
            await self._stay_unresolved(spent.error)
        killing = journal.command is not None and journal.command.kind is CommandKind.KILL
        if spent.unknown and not killing and not s.stateless:
            why = (
                f"It never runs, and whether it has run before cannot be told: {spent.unknown} A kill gives up what it "
                "may have come to."
            )
            await self._stay_unresolved(why)
        attempt.unresolved = False
        if spent.observation is not None:
            if spent.observation.state not in ENDED:
                context.learns_leader(spent.leader)
                await self._observations.take(spent.observation)
                return False
            await self._endings.end(spent.observation.state, going_on=going_on, again=again)
        elif spent.ran or (spent.unknown and not s.stateless):
            attempt.leader = "lost"  # whoever took it, it is not the one that answers now
            await self._endings.end(EngineState.MISSING, going_on=going_on, again=again)
        else:
            attempt.ended, s.stop = True, None
            why = "it was given up before it reached the cluster: its id is spent, so that it never can"
            journal.note("attempt", f"attempt {attempt.number} never ran: {why}")
            changes = journal.attempt_change(AttemptState.NOT_SUBMITTED, why)
            await journal.write(f"attempt {attempt.number} never ran", attempts=changes)
        return True

    async def _stay_unresolved(self, why: str | None) -> NoReturn:
        context, journal, attempt = self._context, self._context.journal, self._context.attempt
        if context.snapshot.state is JobState.DEPLOYING:
            journal.block(blocked.submission_unclear(attempt.number, attempt.flink_job_id, why or "no clear answer"))
            await journal.write("blocked")
        raise Failed(why or "It cannot be told whether it was submitted.", "submission_unresolved")
