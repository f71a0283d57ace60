"""How an attempt that is written down is sent to its cluster (`docs/decisions/0004-exactly-once.md`)."""

from __future__ import annotations

from typing import NoReturn, assert_never

from temporalio import workflow

from activities import contracts as c
from core.jobs import blocked
from core.jobs.observations import EngineState
from core.jobs.states import AttemptState, CommandKind, JobState
from workflows import calls
from workflows.context import JobContext
from workflows.endings import AttemptEndings
from workflows.failure import Failed
from workflows.fence import AttemptFence
from workflows.programs import ProgramChoice


class AttemptSender:
    """Sends the current attempt, and takes the cluster's answer."""

    def __init__(self, context: JobContext, endings: AttemptEndings, fence: AttemptFence, programs: ProgramChoice):
        self._context = context
        self._endings = endings
        self._fence = fence
        self._programs = programs

    async def submit(self, first: c.Submitted | None = None) -> None:
        """Send it. Afterwards the cluster has it, or it ran and has ended; else raises `Failed` with the job
        DEPLOY_FAILED or BLOCKED. `first` is the answer when it was sent already."""
        context = self._context
        attempt = context.attempt
        result = first or await self._send()
        if result.code == "artifact_missing":
            # The artifact store was emptied; the commit is known, so the same is built again.
            await self._build_again(maybe_sent=result.maybe_sent)
            result = await self._send(maybe_sent=result.maybe_sent)
        attempt.leader = result.leader
        attempt.unresolved = context.since(1) and result.state is c.SubmitState.UNCLEAR
        message = result.error or "the cluster said no"
        match result.state:
            case c.SubmitState.ACCEPTED:
                if context.snapshot.others_alive and workflow.patched("sent-where-no-other-is-alive"):
                    context.snapshot.others_alive = False
                return
            case c.SubmitState.RAN:
                attempt.leader = "lost"  # whoever took it, it is not the one that answers now
                await self._endings.end(EngineState.MISSING)
            case c.SubmitState.UNCLEAR:
                await self._unclear(message, other=result.other)
            case c.SubmitState.OCCUPIED if result.other is not None:
                await self._occupied(message, result.other, str(result.other_id))
            case c.SubmitState.OCCUPIED | c.SubmitState.REJECTED | c.SubmitState.UNREACHABLE:
                context.journal.set_state(JobState.DEPLOY_FAILED, message)
                await self._not_submitted(message)
                if result.code == c.ANOTHER_VERSION:  # no further try may run it either
                    await context.park(blocked.another_version(message))
                raise Failed(message, result.code or "rejected")
            case _:
                assert_never(result.state)

    async def _send(self, *, maybe_sent: bool = False) -> c.Submitted:
        """A kill may come in meanwhile: the attempt is unresolved then, and the kill makes sure of it."""
        context = self._context
        argument = context.attempt_in().model_copy(update={"maybe_sent": maybe_sent})
        if not context.since(1):
            return await calls.submit(argument)
        with context.may_leave():
            return await calls.submit(argument)

    async def _build_again(self, *, maybe_sent: bool) -> None:
        context, journal = self._context, self._context.journal
        attempt = context.attempt
        try:
            await self._programs.build(attempt.version, CommandKind.RESTART)
        except Failed as failure:
            if not context.since(1):
                raise
            if maybe_sent and not await self._fence.resolve(going_on=True):
                raise  # it is alive after all, and is followed
            if not attempt.ended:
                attempt.ended = True
                not_sent = journal.attempt_change(AttemptState.NOT_SUBMITTED, failure.message)
                await journal.write(f"attempt {attempt.number} not submitted", attempts=not_sent)
            journal.set_state(JobState.DEPLOY_FAILED, failure.message)
            await journal.write("not built again")
            raise

    async def _unclear(self, message: str, *, other: int | None) -> NoReturn:
        """It may run: nothing else of the job does until that is known. `other` is an attempt that is alive."""
        context, journal = self._context, self._context.journal
        attempt = context.attempt
        context.snapshot.others_alive = other is not None
        journal.note("attempt", f"attempt {attempt.number}: it cannot be told whether the cluster has it: {message}")
        await journal.write("submission unclear", attempts=journal.attempt_change(AttemptState.UNKNOWN))
        await context.park(blocked.submission_unclear(attempt.number, attempt.flink_job_id, message))

    async def _occupied(self, message: str, other: int, flink_job_id: str) -> NoReturn:
        """Another attempt of the job is alive: `other`, which is `flink_job_id`."""
        self._context.snapshot.others_alive = True
        await self._not_submitted(message)
        await self._context.park(blocked.occupied(other, flink_job_id))

    async def _not_submitted(self, message: str) -> None:
        """The cluster does not have it, and never will."""
        journal, attempt = self._context.journal, self._context.attempt
        attempt.ended = True
        journal.note("attempt", f"attempt {attempt.number} was not submitted: {message}")
        changes = journal.attempt_change(AttemptState.NOT_SUBMITTED, message)
        await journal.write(f"attempt {attempt.number} not submitted", attempts=changes)
