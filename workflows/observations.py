"""What is seen of the current attempt, and what follows. The rules are in `core.jobs.observations`."""

from __future__ import annotations

from temporalio import workflow

from core.jobs.condition import given_up, is_hopeless
from core.jobs.observations import ENDED, FINAL, EngineState, Intent, Observation, alive, attempt_state
from core.jobs.restore import Basis
from core.jobs.snapshot import StopSnapshot
from core.jobs.states import JobState
from workflows import calls
from workflows.context import JobContext
from workflows.endings import AttemptEndings


class Observations:
    """Follows an attempt that may be alive."""

    def __init__(self, context: JobContext, endings: AttemptEndings):
        self._context = context
        self._endings = endings

    async def take_signal(self, observation: Observation, *, is_certain: bool = False) -> None:
        """What the watch has told. That a job is missing is believed after a second question only, unless it
        `is_certain`: that question was the first."""
        context, journal, s = self._context, self._context.journal, self._context.snapshot
        if observation.state is EngineState.MISSING and context.is_unresolved():
            return  # it may still be on its way: that is for who decides what becomes of it
        if self._may_be_of_an_earlier_run(observation) and context.since(1):
            there = (await calls.look(context.attempt_in())).observation
            if there is None or (there.state is EngineState.MISSING and context.is_unresolved()):
                return  # it is told again for as long as it is so
            if there.state is not EngineState.MISSING:
                observation = there
        elif observation.state is EngineState.MISSING and not (is_certain and workflow.patched("missing-for-certain")):
            words = "the cluster does not know it; waiting until it is certain that nothing of it runs"
            journal.set_state(s.state, words)
            journal.write_in_background("missing?")
            answer = await calls.look(context.attempt_in())
            if answer.observation is None:
                if answer.why and context.since(1):
                    journal.set_state(s.state, answer.why)
                    await journal.write("unknown")
                return
            observation = answer.observation
        await self.take(observation)

    def _may_be_of_an_earlier_run(self, observation: Observation) -> bool:
        """An id whose send had no answer is sent again; where a JobManager without high availability took the first
        one, let it fail and died, the next one takes it anew. What was told of that end is true, and says nothing of
        the run that is there now (`docs/decisions/0020-a-model-of-the-fence.md`)."""
        context = self._context
        is_old = observation.sequence <= context.snapshot.sequence
        return observation.state in FINAL and (is_old or context.is_unresolved())

    async def take(self, observation: Observation, *, owing: bool = False) -> None:
        """Take an observation that is not stale: about the current attempt, newer than what is known. Raises `Failed`
        when it has ended and it cannot be told why. `owing`: that it is alive is written with the next record, which
        the caller sees to."""
        context, journal, s = self._context, self._context.journal, self._context.snapshot
        attempt = context.attempt
        context.asked_at(observation.sequence)
        if observation.state is not EngineState.MISSING:
            attempt.unresolved = False
        hopeless = s.state in (JobState.RUNNING, JobState.DEPLOYED) and is_hopeless(
            observation.restarts, s.policy.max_engine_restarts
        )
        if hopeless and observation.state not in ENDED and context.since(1):
            await self._give_up(given_up(observation.restarts or 0, observation.failure))
            return
        if observation.state in ENDED:
            await self._endings.end(observation.state)
            return
        runs_on = observation.state is EngineState.RUNNING and self._stop_was_lost(observation)
        state, reason = alive(s.state, observation)
        if s.state is state and s.reason == reason and not runs_on:
            return
        running = state is JobState.RUNNING and attempt.running_since is None
        if running:
            attempt.running_since = workflow.now()
        s.basis = Basis.NEWEST
        journal.set_state(state, reason)
        changes = journal.attempt_change(attempt_state(observation.state), running=running)
        if owing:
            journal.owe(changes)
        else:
            await journal.write(f"attempt {observation.attempt} {observation.state.value}", attempts=changes)

    async def _give_up(self, why: str) -> None:
        """Its engine would restart it for ever: that is a failure, and the restart policy answers it. A cancel keeps
        the checkpoints, and it has completed none that it could go on from by itself."""
        context, journal, s = self._context, self._context.journal, self._context.snapshot
        journal.note("attempt", f"{why}; it is ended, and the restart policy goes on")
        await context.intends(StopSnapshot(intent=Intent.ABANDON, why=why, at=workflow.now(), unstable=True))
        journal.flush()
        stopped = await calls.cancel(context.attempt_in())
        if stopped.state is None:
            journal.set_state(s.state, f"{why}; it cannot be told whether it was cancelled")
            await journal.write("not ended")
            return
        context.asked_at(stopped.sequence)
        await self._endings.end(stopped.state)

    def _stop_was_lost(self, observation: Observation) -> bool:
        """A cancel or a stop whose outcome was unclear did not arrive: a later end has other causes than it. A stop may
        still do its work, which its savepoint tells; and a cancel for a successor, which is still on its way."""
        journal, s = self._context.journal, self._context.snapshot
        if s.stop is None or s.stop.withdrawn or s.stop.at is None:
            return False
        if observation.sequence <= s.stop.at.timestamp() * 1000:
            return False
        number = observation.attempt
        if s.stop.directory is not None:
            journal.note("attempt", f"attempt {number} was to be stopped, and runs on: the stop is forgotten")
            s.stop.withdrawn = True
            return True
        journal.note("attempt", f"attempt {number} was to be cancelled, and runs on: the cancel did not arrive")
        if s.stop.cancelled_for is not None and workflow.patched("a-cancel-may-come-late"):
            s.stop.withdrawn = True
            return True
        s.stop = s.stop.model_copy(update={"withdrawn": True, "cancelled_for": None}) if s.stop.earlier else None
        return True
