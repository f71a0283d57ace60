"""What the end of an attempt means for its job. The rules are in `core.jobs.observations`."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

from activities import contracts as c
from core.jobs import blocked
from core.jobs.observations import Ending, EngineState, Intent, ended
from core.jobs.restore import Basis, Missing, RestorePoint, RestoreRequest, choose
from core.jobs.snapshot import StopSnapshot, Successor
from core.jobs.states import JobState
from workflows import calls
from workflows.context import JobContext
from workflows.failure import Failed
from workflows.failure_policy import FailurePolicy

IS_OVER = (
    "Attempt {} has come to its end, so nothing was started ({}): what it has written since its last restore "
    "point would be written twice. To run it anew all the same, name the state: `start` with restore `none`, or with a "
    "point."
)


LATE_CANCEL = timedelta(hours=1)
"""How long a cancel that did not arrive may be on its way yet: as long as a proxy or a worker that stands still holds a
request, with room. An end by a cancel is taken for that one so long, and for somebody else's from then on."""


class AttemptEndings:
    """Asks why an attempt ended, and writes down what comes of it."""

    def __init__(self, context: JobContext, policy: FailurePolicy):
        self._context = context
        self._policy = policy

    async def end(
        self,
        state: EngineState,
        *,
        savepoint: str | None = None,
        points: list[RestorePoint] | None = None,
        going_on: bool = False,
        again: bool = True,
    ) -> None:
        """The current attempt has been seen in a final state; with `savepoint`, the path that it was stopped with, and
        `points` to write down. Raises `Failed` when it cannot be told why it is missing: then it has not ended.

        `going_on`: a successor is being started, so the job's state and policy are left alone; unless it is started
        `again` from a state that was named, not where the attempt has come to its end: that raises `Failed`, too.
        """
        context, journal, s = self._context, self._context.journal, self._context.snapshot
        attempt = context.attempt
        stop = s.stop
        why = c.Diagnosis(untouched=False, savepoint=savepoint)
        if savepoint is None:
            where = stop.directories if stop else []
            why = await calls.diagnose(
                c.DiagnoseIn(
                    **context.attempt_in().model_dump(),
                    savepoint_directory=where[0] if where else None,
                    earlier_directories=where[1:],
                    state=state,
                )
            )
        intent = stop.intent if stop and not stop.withdrawn else None
        cancelled_for, successor = self._never_made(stop, going_on=going_on)
        cancelled = cancelled_for if state is EngineState.CANCELED else None
        if cancelled or (cancelled_for and intent is Intent.KILL):
            intent = None  # nobody has killed the job
        if self._has_to_know(why, going_on=going_on, again=again) and intent is not Intent.KILL:
            words = f"the cluster does not know it, and cannot be asked why: {why.undecided}"
            if s.state is not JobState.BLOCKED:  # what it is blocked for stays, and what can be done
                journal.set_state(s.state, words)
            await journal.write("end undecided")
            raise Failed(f"Attempt {attempt.number}: {words}. Nothing was started.", "cluster_unreachable")
        if not why.untouched:
            context.points_may_exist()
        cause = stop.why if stop and stop.why else why.cause
        kept = None if stop and stop.withdrawn and state is EngineState.MISSING else why.savepoint
        ending = ended(
            state,
            intent,
            savepoint=kept,
            cause=cause,
            lost=why.lost,
            stateless=s.stateless,
            stopped_with=why.stopped_with,
        )
        trouble = stop.trouble if stop and stop.trouble else why.trouble
        is_over = going_on and not again and self._may_have_finished(ending)
        unread = why.unread if why.unread and self._may_have_been_stopped(stop, intent, state, ending) else None
        attempt.ended, s.stop = True, None
        if s.basis is Basis.FRESH and workflow.patched("ran-after-all"):
            s.basis = Basis.NEWEST
        if ending.job in (JobState.KILLED, JobState.FINISHED) and cancelled is None and not unread:
            s.basis = Basis.DECIDE
        number = attempt.number
        words = f"it was cancelled for {cancelled.command}" if cancelled else ending.why
        journal.note("attempt", f"attempt {number} ended {ending.attempt.value}: {words}")
        changes = journal.attempt_change(ending.attempt, words)
        if going_on and not is_over:
            pass
        elif unread:
            journal.block(blocked.savepoint_unknown(number, stop.directory if stop else None, unread))
        elif cancelled is not None:
            journal.block(blocked.without_successor(number, cancelled.command, cancelled.point, why.points))
        elif successor is not None and ending.job is JobState.PAUSED and kept is not None:
            self._policy.apply(f"it was stopped for {successor.command}, which had failed by then", None, why.points)
        elif ending.job is JobState.PAUSED and (gone := self._nothing_to_go_on_from(kept, why)):
            journal.block(blocked.lost_without_a_point(number, gone, why.points))
        elif ending.unseen:
            journal.block(blocked.end_not_seen(number, attempt.flink_job_id, why.points, ha=why.ha))
        elif ending.restartable:
            self._policy.apply(ending.why, trouble, why.points, stable=not (stop and stop.unstable))
        else:
            journal.set_state(ending.job, ending.why)
        await journal.write(f"attempt {number} {ending.attempt.value}", attempts=changes, points=points or [])
        if is_over:
            raise (
                Failed(s.reason, s.blocked.code)
                if s.blocked
                else Failed(IS_OVER.format(number, ending.why), "ended_otherwise")
            )

    def _has_to_know(self, why: c.Diagnosis, *, going_on: bool, again: bool) -> bool:
        """Whether it cannot be told why the attempt is missing, and what comes next depends on that."""
        if not why.undecided or not going_on:
            return bool(why.undecided)
        return not again and not self._context.snapshot.stateless and workflow.patched("undecided-starts-nothing")

    def _may_have_finished(self, ending: Ending) -> bool:
        """Whether the attempt came to its end, or nobody knows that it did not."""
        if ending.job is JobState.FINISHED:
            return workflow.patched("what-has-finished-is-not-started-again")
        is_unseen = ending.unseen and not self._context.snapshot.stateless
        return is_unseen and workflow.patched("what-may-have-finished-is-not-started-again")

    def _may_have_been_stopped(
        self, stop: StopSnapshot | None, intent: Intent | None, state: EngineState, ending: Ending
    ) -> bool:
        """Whether a savepoint of ours, which cannot be read, would make another end of this one."""
        if stop is None:
            return False
        if state is EngineState.MISSING:
            return intent is Intent.PAUSE
        is_end = state is EngineState.FINISHED and ending.job is JobState.FINISHED
        return is_end and workflow.patched("finished-with-a-stop-unread")

    def _never_made(self, stop: StopSnapshot | None, *, going_on: bool) -> tuple[Successor | None, Successor | None]:
        """What an attempt was cancelled for, and what it was stopped for, whose commands had failed before the end was
        seen."""
        if stop is None or going_on or not (stop.cancelled_for or stop.successor):
            return None, None
        if not workflow.patched("ended-for-a-successor"):
            return None, None
        if stop.withdrawn and stop.cancelled_for is not None and workflow.patched("a-cancel-is-late-for-so-long"):
            on_its_way = stop.at is not None and workflow.now() - stop.at <= LATE_CANCEL
            return stop.cancelled_for if on_its_way else None, stop.successor
        return stop.cancelled_for, stop.successor

    def _nothing_to_go_on_from(self, savepoint: str | None, why: c.Diagnosis) -> str | None:
        """Why a start could not go on from where a job is to be paused; None when it can."""
        s = self._context.snapshot
        if savepoint is not None or s.stateless:
            return None
        choice = choose(RestoreRequest(mode="newest"), why.points, s.lineage, asked=False)
        return choice.why if isinstance(choice, Missing) else None
