"""The attempt before: a successor starts only after it has been seen in a final state."""

from __future__ import annotations

from temporalio import workflow

from core.jobs import blocked
from core.jobs.observations import ENDED
from core.jobs.states import CommandKind, JobState
from workflows import calls
from workflows.context import JobContext
from workflows.endings import AttemptEndings
from workflows.failure import Failed
from workflows.failure_policy import FailurePolicy
from workflows.fence import AttemptFence
from workflows.observations import Observations

_ALIVE = "Its last attempt is alive on the cluster after all, and is followed again."


class Predecessor:
    """Finds out what became of the last attempt."""

    def __init__(
        self,
        context: JobContext,
        policy: FailurePolicy,
        endings: AttemptEndings,
        observations: Observations,
        fence: AttemptFence,
    ):
        self._context = context
        self._policy = policy
        self._endings = endings
        self._observations = observations
        self._fence = fence

    async def settle(self, *, going_on: bool = True, again: bool = True) -> None:
        """See that the last attempt has ended; unless the job is `going_on` with another one, it becomes what that end
        means. Raises `Failed` when it is alive (`attempt_alive`: it is followed), or when that cannot be told; and,
        unless one is wanted `again` from a state that was named, when it has come to its end (`ended_otherwise`)."""
        context = self._context
        if not context.is_live():
            return
        if context.is_unresolved():
            if await self._fence.resolve(going_on=going_on, again=again):
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
            await self._endings.end(answer.observation.state, going_on=going_on, again=again)
            return
        context.learns_leader(answer.leader)
        await self._observations.take(answer.observation)
        raise Failed(_ALIVE, "attempt_alive")

    async def resume(self) -> None:
        """After a lost workflow: what became of the attempt that was being started. The job is what its attempt is, or
        BLOCKED where that cannot be told. Where there is none the restart policy goes on with a job that ran before,
        one that was being killed is KILLED, and one that was being started is DEPLOY_FAILED."""
        journal, s = self._context.journal, self._context.snapshot
        as_it_is = workflow.patched("resumed-as-it-is")
        try:
            await self.settle(going_on=not as_it_is)
        except Failed as failure:
            if failure.code != "attempt_alive":
                journal.block(blocked.workflow_lost(failure.message))
                await journal.write("blocked")
        if s.state is JobState.DEPLOYING:
            killing = s.command is not None and s.command.kind is CommandKind.KILL
            if killing and workflow.patched("a-lost-kill-is-a-kill"):
                self._context.set_killed()
            elif as_it_is and s.was_to_go_on():
                self._policy.apply("its workflow was lost in the middle of a restart; nothing of it runs")
            elif s.goes_back is not None:
                self._context.set_lost_in_roll_back()
            else:
                why = "its workflow was lost in the middle of a start; nothing of it runs"
                journal.set_state(JobState.DEPLOY_FAILED, why)
            await journal.write("resumed")
