"""The commands start, restart and resubmit."""

from __future__ import annotations

from temporalio import workflow

from activities import contracts as c
from core.errors import InvalidInput
from core.jobs.commands import CommandRequest
from core.jobs.observations import EngineState, Intent
from core.jobs.restore import RestoreRequest, resolve_request
from core.jobs.states import AttemptState, CommandKind, JobState
from workflows import calls
from workflows.context import JobContext
from workflows.deployment import PUT_OFF_WORDS, Deployment, NewAttempt
from workflows.failure import Failed
from workflows.observations import Observations
from workflows.programs import ProgramChoice
from workflows.restore_points import RestorePoints
from workflows.rollback import Rollback, WayBack
from workflows.stops import Stops

UNDECIDED = ("savepoint_unknown", "history_lost")
GOING_ON = (JobState.RUNNING, JobState.DEPLOYED, JobState.RESTARTING)


class Starting:
    """Ends what runs, and starts what is asked for."""

    def __init__(
        self,
        context: JobContext,
        *,
        observations: Observations,
        stops: Stops,
        programs: ProgramChoice,
        restore_points: RestorePoints,
        deployment: Deployment,
        rollback: Rollback,
    ):
        self._context = context
        self._observations = observations
        self._stops = stops
        self._programs = programs
        self._restore_points = restore_points
        self._deployment = deployment
        self._rollback = rollback

    async def start(self, command: CommandRequest) -> None:
        """Carry the command out. Raises `Failed`; what ran before runs on, or the job's state says what became of
        it."""
        context, s = self._context, self._context.snapshot
        version = command.version or s.version
        restore = self._restore_of(command, version)
        as_before = version == s.version and (restore.mode == "newest" or s.stateless)
        goes_on = as_before and s.state in GOING_ON and command.kind is not CommandKind.RESUBMIT
        # A planned restart stays until the next attempt is begun: what fails before leaves the job as it was.
        if s.restart_at is not None and not workflow.patched("a-planned-restart-stays"):
            s.restart_at = None
        built: c.Built | None = None
        way_back: WayBack | None = None
        if s.state in (JobState.RUNNING, JobState.DEPLOYED) and context.is_live():
            if s.stateless and command.kind is CommandKind.RESUBMIT and await self._rescale(version):
                return
            # First the build, so that one that fails stops nothing.
            built = await self._programs.see(version, command.kind)
            way_back = await self._end_what_runs(command, restore)
        else:
            if command.rollback_within is not None:
                way_back = await self._newest_way_back()
            if s.restart_at is not None:
                if restore.mode == "point":
                    await self._restore_points.check_named(restore)
                built = await self._programs.get(version, command.kind)
        s.restarts, s.failed_restores, s.unusable = [], {}, []
        new = NewAttempt(
            version,
            restore,
            f"command {command.number}: {command.kind.value}",
            requested_by=command.requested_by,
            explicit=command.restore is not None,
            kind=command.kind,
            built=built,
            patience=command.rollback_within,
        )
        try:
            await self._deployment.start(new)
            self._deployment.check_started()
        except Failed as failure:
            may_live = s.state is JobState.BLOCKED and context.is_live()
            if command.rollback_within is None or way_back is None or may_live:
                if goes_on and self._deployment.put_off(failure):
                    raise Failed(f"{failure.message} {PUT_OFF_WORDS}", failure.code) from failure
                raise
            if self._is_left_alone(failure) and workflow.patched("not-rolled-back-either"):
                code = "ended_otherwise" if failure.code == "not_running" else failure.code
                raise Failed(f"It is not rolled back: {failure.message}", code) from failure
            await self._rollback.roll_back(way_back, version, failure.message)
            way_back = None  # it has come to its end
        if command.rollback_within is not None and way_back is not None:
            await self._rollback.prove(command.rollback_within, way_back)
        context.journal.note("command", f"{command.kind.value} done")

    def _is_left_alone(self, failure: Failed) -> bool:
        """What came of the attempt before, or of the new one, starts nothing: it has come to its end, somebody has
        cancelled it on the cluster, nobody knows how it ended, or it is alive."""
        s = self._context.snapshot
        code = s.blocked.code if s.blocked is not None else None
        is_unseen = code == "end_not_seen" or (code in UNDECIDED and workflow.patched("undecided-is-left-alone"))
        return is_unseen or s.state in (JobState.FINISHED, JobState.KILLED) or failure.code == "attempt_alive"

    def _restore_of(self, command: CommandRequest, version: int) -> RestoreRequest:
        s = self._context.snapshot
        try:
            return resolve_request(
                s.label,
                command.kind,
                s.state,
                s.basis,
                command.restore,
                changes_version=version != s.version,
                stateless=s.stateless,
            )
        except InvalidInput as error:
            raise Failed(str(error), error.code) from error

    async def _end_what_runs(self, command: CommandRequest, restore: RestoreRequest) -> WayBack | None:
        """Stop the current attempt with a savepoint where its state is wanted, now or for a way back; else cancel
        it."""
        context = self._context
        if restore.mode == "point" and context.since(1):
            await self._restore_points.check_named(restore)
        if restore.mode != "newest" and command.rollback_within is None:
            await self._stops.cancel(Intent.REPLACE, point=restore.point)
            return None
        stopped = context.attempt
        savepoint = await self._stops.stop(Intent.REPLACE)
        if savepoint is not None:
            return self._rollback.way_back(savepoint, stopped.number, stopped.version)
        # It had been stopped already, by a stop before this one whose end nobody had seen.
        if command.rollback_within is None or not workflow.patched("a-way-back-from-a-stop-before"):
            return None
        try:
            return await self._newest_way_back()
        except Failed as failure:
            words = f"It is stopped, and {context.snapshot.reason}. {failure.message} `start` goes on from there."
            raise Failed(words, failure.code) from failure

    async def _newest_way_back(self) -> WayBack:
        point = await self._restore_points.newest_of_lineage()
        return self._rollback.way_back(point.path, point.attempt, point.version)

    async def _rescale(self, version: int) -> bool:
        """A session cluster becomes another version as it runs. False when it has to be started anew for that."""
        context, journal, s = self._context, self._context.journal, self._context.snapshot
        attempt = context.attempt
        with context.may_leave():
            done = await calls.rescale(c.RescaleIn(**context.attempt_in().model_dump(), version=version))
        if done.error:
            raise Failed(done.error, done.code or "not_scaled")
        if not done.done:
            return False
        s.version = attempt.version = version
        changes = journal.attempt_change(
            AttemptState.ACCEPTED if s.state is JobState.DEPLOYED else AttemptState.RUNNING
        )
        changes[0].version = version
        journal.note("attempt", f"attempt {attempt.number} is scaled as it runs: version {version}")
        await journal.write("scaled", attempts=changes)
        with context.may_leave():
            answer = await calls.await_running(context.attempt_in())
        if answer.observation is not None:
            await self._observations.take(answer.observation)
        if answer.observation is None or answer.observation.state is not EngineState.RUNNING:
            why = (answer.observation.detail if answer.observation else answer.why) or "it is not known how it is"
            raise Failed(f"It is scaled, and not all of it runs yet: {why}", "not_running")
        journal.note("command", "resubmit done")
        return True
