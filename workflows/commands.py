"""What each kind of command does to a job."""

from __future__ import annotations

from typing import assert_never

from temporalio import workflow

from core.jobs import blocked
from core.jobs.commands import CommandRequest
from core.jobs.observations import Intent
from core.jobs.restore import Missing, RestoreRequest, choose
from core.jobs.states import CommandKind, JobState
from workflows import calls
from workflows.adoption import Adoption
from workflows.context import JobContext
from workflows.failure import Failed
from workflows.failure_policy import FailurePolicy
from workflows.restore_points import RestorePoints
from workflows.savepoints import JobSavepoints
from workflows.starting import Starting
from workflows.stops import Stops


class Commands:
    """Carries commands out."""

    def __init__(
        self,
        context: JobContext,
        *,
        policy: FailurePolicy,
        stops: Stops,
        savepoints: JobSavepoints,
        restore_points: RestorePoints,
        starting: Starting,
        adoption: Adoption,
    ):
        self._context = context
        self._policy = policy
        self._stops = stops
        self._savepoints = savepoints
        self._restore_points = restore_points
        self._starting = starting
        self._adoption = adoption

    async def perform(self, command: CommandRequest) -> None:
        """Carry out a command. Raises `Failed`; `Interrupted` when a kill has come in."""
        match command.kind:
            case CommandKind.START | CommandKind.RESTART | CommandKind.RESUBMIT:
                await self._starting.start(command)
            case CommandKind.PAUSE:
                await self._pause()
            case CommandKind.KILL:
                await self._kill()
            case CommandKind.SAVEPOINT:
                await self._savepoints.take()
            case CommandKind.ADOPT:
                await self._adoption.adopt(command)
            case _:
                assert_never(command.kind)

    async def _pause(self) -> None:
        context, s = self._context, self._context.snapshot
        if context.is_live():
            await self._stops.stop(Intent.PAUSE)
            if s.state is not JobState.PAUSED:
                raise Failed(f"It was not paused: {s.reason}", "ended_otherwise")
            return
        gathered = await self._restore_points.gather()
        newest = gathered.points[0].path if gathered.points else None
        if workflow.patched("paused-with-what-goes-on"):
            choice = choose(RestoreRequest(mode="newest"), gathered.points, s.lineage, asked=False, without=s.unusable)
            newest = None if isinstance(choice, Missing) else choice.path
        if gathered.error or newest is None:
            raise Failed(
                gathered.error or "It is not running, and it has no restore point to be paused with.",
                "nothing_to_keep",
            )
        s.restart_at = None
        words = f"stopped while it waited for a restart; its state is in {newest}"
        context.journal.set_state(JobState.PAUSED, words)

    async def _kill(self) -> None:
        context, s = self._context, self._context.snapshot
        if s.restart_at is not None and not workflow.patched("a-kill-that-fails-changes-no-plan"):
            s.restart_at = None
        parked = s.state is JobState.BLOCKED or s.others_alive
        if context.is_live():
            await self._stops.cancel(Intent.KILL)
        if context.since(1) and parked and s.attempt is not None:
            context.journal.flush()
            stopped = await calls.cancel_all(context.attempt_in())
            if stopped.state is None:
                raise Failed(stopped.error or "It cannot be told whether all of it ended.", "cancel_unclear")
            s.others_alive = False
        s.restart_at = None
        context.set_killed()

    def is_between_attempts(self) -> bool:
        """A command had ended the attempt, and the next one was never made: its job is shown alive, and nothing of it
        is. Only a workflow that was lost leaves a job so."""
        s = self._context.snapshot
        return s.state in (JobState.RUNNING, JobState.DEPLOYED) and s.attempt is not None and s.attempt.ended

    def is_stopped_for(self, command: CommandRequest) -> bool:
        """The same, where the attempt was stopped with a savepoint for `command`: its job is shown PAUSED."""
        s = self._context.snapshot
        return s.state is JobState.PAUSED and s.ended_for == command.id and s.was_to_go_on()

    def take_up(self, command: CommandRequest) -> None:
        """What becomes of such a job: the restart policy goes on with it, unless it was to be killed."""
        s = self._context.snapshot
        if command.kind is CommandKind.KILL:
            self._context.set_killed()
            return
        other = command.restore if command.restore is not None and command.restore.mode != "newest" else None
        if other is not None and s.attempt is not None and workflow.patched("set-aside-for-another"):
            about = f"{command.kind.value} (command {command.number})"
            self._context.journal.block(blocked.without_successor(s.attempt.number, about, other.point, []))
            return
        self._policy.apply(
            f"its workflow was lost after {command.kind.value} had ended it, and before the next attempt"
        )
