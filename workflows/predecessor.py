"""The attempt before: a successor starts only after it has been seen in a final state."""

from __future__ import annotations

from core.jobs import blocked
from core.jobs.observations import ENDED
from core.jobs.states import JobState
from workflows import calls
from workflows.context import JobContext
from workflows.endings import Endings
from workflows.failure import Failed
from workflows.fence import Fence
from workflows.observations import Observations

_ALIVE = "Its last attempt is alive on the cluster after all, and is followed again."


class Predecessor:
    """Finds out what became of the last attempt."""

    def __init__(self, context: JobContext, endings: Endings, observations: Observations, fence: Fence):
        self._context = context
        self._endings = endings
        self._observations = observations
        self._fence = fence

    async def settle(self) -> None:
        """See that the last attempt has ended. Raises `Failed` when it is alive (`attempt_alive`: it is followed), or
        when that cannot be told."""
        context = self._context
        if not context.is_live():
            return
        if context.is_unresolved():
            if await self._fence.resolve(going_on=True):
                return
            raise Failed(_ALIVE, "attempt_alive")
        with context.may_leave():
            answer = await calls.look(context.attempt_in())
        if answer.observation is None:
            raise Failed(
                f"Attempt {context.attempt.number} has not been seen to end, and the cluster cannot "
                f"be asked: {answer.why}. Nothing was started.",
                "predecessor_unknown",
            )
        if answer.observation.state in ENDED:
            await self._endings.end(answer.observation.state, going_on=True)
            return
        await self._observations.take(answer.observation)
        raise Failed(_ALIVE, "attempt_alive")

    async def resume(self) -> None:
        """After a lost workflow: what became of the attempt that was being started. The job is what its attempt is, or
        DEPLOY_FAILED, or BLOCKED where that cannot be told."""
        journal, s = self._context.journal, self._context.snapshot
        try:
            await self.settle()
        except Failed as failure:
            if failure.code != "attempt_alive":
                journal.block(blocked.workflow_lost(failure.message))
                await journal.write("blocked")
        if s.state is JobState.DEPLOYING:
            journal.set_state(
                JobState.DEPLOY_FAILED, "its workflow was lost in the middle of a start; nothing of it runs"
            )
            await journal.write("resumed")
