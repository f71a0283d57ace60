"""How an attempt is stopped with a savepoint, or cancelled."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

from activities import contracts as c
from core.jobs.condition import NO_SAVEPOINT_NEEDED
from core.jobs.observations import ENDED, EngineState, Intent
from core.jobs.snapshot import StopSnapshot, Successor
from core.jobs.states import JobState
from workflows import calls
from workflows.context import JobContext
from workflows.endings import AttemptEndings
from workflows.failure import Failed
from workflows.fence import AttemptFence
from workflows.savepoints import JobSavepoints

LOOK_AGAIN = timedelta(seconds=60)


class Stops:
    """Ends the current attempt, for an `Intent` that tells what its end means."""

    def __init__(self, context: JobContext, endings: AttemptEndings, fence: AttemptFence, savepoints: JobSavepoints):
        self._context = context
        self._endings = endings
        self._fence = fence
        self._savepoints = savepoints

    async def stop(self, intent: Intent) -> str | None:
        """Stop with savepoint; afterwards the attempt has been seen to end, or `Failed` is raised. Returns
        the path of the savepoint."""
        context, journal, s = self._context, self._context.journal, self._context.snapshot
        trigger, directory = self._savepoints.new_trigger()
        before = s.stop.cancelled_for if s.stop is not None else None
        stop = StopSnapshot(
            intent=intent,
            trigger_id=trigger,
            directory=directory,
            successor=self._successor(intent),  # for whoever sees the end when this step has not
            cancelled_for=before,
        )
        await context.intends(stop)
        argument = c.TriggerIn(**context.attempt_in().model_dump(), trigger_id=trigger, directory=directory)
        with context.may_leave():
            stopped = await calls.stop(argument)
        context.asked_at(stopped.sequence)
        if context.since(1):
            stop.at = workflow.now()
        points = [stopped.savepoint] if stopped.savepoint else []
        if points:
            self._savepoints.completed(points[0])
        if stopped.state is None:
            # What was asked for stays known: when the cluster answers again, its end is understood.
            self._check_soon()
            await journal.write("stop unclear", points=points)
            raise Failed(stopped.error or "It cannot be told whether it was stopped.", stopped.code or "stop_unclear")
        if stopped.state not in ENDED:
            # A worker that stood still may send it yet: then its savepoint tells an end by us from one by itself.
            late = not points and workflow.patched("a-stop-may-come-late")
            s.stop = stop.model_copy(update={"withdrawn": True, "cancelled_for": None}) if late else None
            await journal.write("not stopped", points=points)
            error = f"{stopped.error or 'It was not stopped and runs on.'} {NO_SAVEPOINT_NEEDED}"
            raise Failed(error, stopped.code or "not_stopped")
        stop.successor = None
        self._is_replaced(intent)
        await self._endings.end(stopped.state, savepoint=points[0].path if points else None, points=points)
        if intent is Intent.REPLACE and s.state is not JobState.PAUSED:
            raise Failed(f"It was not stopped by us, so it is not started again: {s.reason}", "ended_otherwise")
        return points[0].path if points else None

    async def cancel(self, intent: Intent, *, point: str | None = None, unless_finished: bool = False) -> None:
        """Cancel; afterwards the attempt has been seen to end, or `Failed` is raised. With `Intent.REPLACE` another one
        is started then, from `point` if there is one; `unless_finished`: not where it was quicker and has come to its
        end, which the job is FINISHED with."""
        context = self._context
        if context.is_unresolved() and await self._fence.resolve(going_on=True):
            return
        stop = StopSnapshot(intent=Intent.KILL, at=workflow.now(), cancelled_for=self._successor(intent, point))
        await context.intends(stop)
        context.journal.flush()
        stopped = await calls.cancel(context.attempt_in())
        if stopped.state is None:
            self._check_soon()
            raise Failed(
                stopped.error or "It cannot be told whether it was cancelled.", stopped.code or "cancel_unclear"
            )
        context.asked_at(stopped.sequence)
        going_on = intent is Intent.REPLACE
        if going_on and unless_finished and stopped.state is EngineState.FINISHED:
            going_on = not workflow.patched("finished-before-its-roll-back")
        if going_on:
            self._is_replaced(intent)
        await self._endings.end(stopped.state, going_on=going_on)

    def _successor(self, intent: Intent, point: str | None = None) -> Successor | None:
        command = self._context.journal.command
        if intent is not Intent.REPLACE or command is None:
            return None
        return Successor(command=f"{command.kind.value} (command {command.number})", point=point)

    def _is_replaced(self, intent: Intent) -> None:
        """The current attempt ends for the command that is carried out, which starts another one."""
        command = self._context.journal.command
        if intent is Intent.REPLACE and command is not None:
            self._context.snapshot.ended_for = command.id

    def _check_soon(self) -> None:
        """The job may go on as if nothing had been asked of it, and then nobody has anything new to tell of it."""
        if self._context.since(1):
            self._context.snapshot.check_at = workflow.now() + LOOK_AGAIN

    def is_open(self) -> bool:
        """Whether it is not known what became of a stop or a cancel."""
        stop = self._context.snapshot.stop
        return self._context.since(1) and stop is not None and not stop.withdrawn
