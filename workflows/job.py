"""The life of a job: one workflow, parked until a command, a fact or a deadline wakes it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, FailureError

with workflow.unsafe.imports_passed_through():
    from activities.contracts import ROW_MISSING, SET_BACK, AttemptIn
    from core.errors import Conflict
    from core.jobs import messages
    from core.jobs.blocked import step_failed
    from core.jobs.commands import CommandRequest
    from core.jobs.observations import Observation, in_place_of, is_stale, newer
    from core.jobs.policy import RestartPolicy
    from core.jobs.retention import SavepointPolicy
    from core.jobs.snapshot import GENERATION, JobSnapshot, going_on_from, renewed
    from core.jobs.states import DELETABLE, CommandKind, CommandState, JobState, check_allowed, ended_as
    from workflows import calls
    from workflows.failure import Failed, Interrupted
    from workflows.journal import CommandEnd, Journal
    from workflows.parts import parts_of
    from workflows.stops import LOOK_AGAIN

REMEMBERED_COMMANDS = 100
OLD_CHECKPOINTS = timedelta(hours=6)


@workflow.defn(name=messages.JOB)
class JobWorkflow:
    """Commands come as updates, facts as signals. All of them are carried out one after the other by
    `run`; a kill alone may interrupt what is going on, at steps that may be left."""

    @workflow.init
    def __init__(self, snapshot: JobSnapshot) -> None:
        self._journal = Journal(snapshot)
        self._parts = parts_of(self._journal)
        self._task: asyncio.Task[None] | None = None
        self._killing = False
        self._retired = False
        self._replan = False
        self._may_be_behind = False
        self._is_switched_off = False
        self._wakes = 0

    @property
    def _s(self) -> JobSnapshot:
        return self._journal.snapshot

    # What comes in --------------------------------------------------------------------------

    @workflow.update(name=messages.COMMAND.name)
    def command(self, request: CommandRequest) -> None:
        """Take a command. It counts once, however often it is delivered."""
        if self._knows(request.id):
            return
        self._s.queue.append(request)
        if request.kind is CommandKind.KILL and self._task is not None and self._parts.context.interruptible:
            self._killing = True
            self._task.cancel()

    @command.validator
    def _command_is_allowed(self, request: CommandRequest) -> None:
        if self._knows(request.id):
            return
        if request.job_id is not None and request.job_id != self._s.job_id:
            raise ApplicationError(
                f"The workflow {workflow.info().workflow_id} belongs to another job of the name {self._s.label}, which "
                f"was deleted. Delete this job and create it again: the new one has a workflow of its own.",
                type="workflow_of_another_job",
            )
        if request.expires_at is not None and workflow.now() >= request.expires_at:
            raise ApplicationError(
                f"It was to be delivered before {request.expires_at:%Y-%m-%d %H:%M:%S} UTC, and is not carried out any "
                f"more: it is {workflow.now():%Y-%m-%d %H:%M:%S} by Temporal's clock. Send it again, if it is still "
                f"wanted; where it was sent just now, the clocks of Penstock's API and of Temporal differ.",
                type="expired",
            )
        last = self._s.last_command
        if last is not None and request.was_sent_before(last):
            raise ApplicationError(
                f"It came late: {last.kind.value} (command {last.number}) was sent after it, and has been carried out "
                f"since. Send it again, if it is still wanted.",
                type="overtaken",
            )
        if self._retired:
            raise ApplicationError("The job is being deleted.", type="command_not_allowed")
        current = self._journal.command.kind if self._journal.command else None
        waiting = self._s.queue[0].kind if self._s.queue else None
        try:
            check_allowed(self._s.label, self._s.type, self._s.state, request.kind, current or waiting)
        except Conflict as error:
            raise ApplicationError(str(error), error.allowed, type=error.code) from error

    @workflow.update(name=messages.RETIRE.name)
    def retire(self) -> None:
        """End this workflow, because the job is deleted."""
        self._retired = True

    @retire.validator
    def _may_retire(self) -> None:
        attempt = self._s.attempt
        alive = (attempt is not None and not attempt.ended) or self._s.others_alive
        if self._task or self._s.queue or self._s.state not in DELETABLE or alive:
            raise ApplicationError(
                f"Job {self._s.label} is {self._s.state.value}, and something of it may run. Kill it first.",
                type="job_not_deletable",
            )

    @workflow.signal(name=messages.OBSERVED.name)
    def observed(self, observation: Observation | None = None) -> None:
        """What the watch has seen of an attempt; of several that wait only the newest counts. A signal that a person
        sends without its input says nothing, here and below: an error would stop the workflow for good."""
        if observation is None:
            return
        waiting, attempt = self._s.seen, self._s.attempt
        self._may_be_behind |= observation.attempt > self._s.attempts
        # One about another job of this name, or another attempt, may not take the place of what is waiting.
        current = (attempt.number, attempt.flink_job_id) if attempt is not None else None
        takes_place = (observation.attempt, observation.flink_job_id) == current and newer(waiting, observation)
        if not self._parts.context.since(1):
            takes_place = waiting is None or (observation.attempt, observation.sequence) > (
                waiting.attempt,
                waiting.sequence,
            )
        if takes_place:
            self._s.seen = in_place_of(waiting, observation)

    @workflow.signal(name=messages.REVISED.name)
    def revised(self, revision: int = 0) -> None:
        """What the job's row counts as its last record: a workflow that was set back is behind it and knows nothing.
        Or the row is behind, as after the database was restored from a backup: what is written to find out puts it
        right."""
        self._may_be_behind |= revision > self._s.revision
        if revision < self._s.revision and self._hears_of_an_older_row():
            self._may_be_behind = True

    def _hears_of_an_older_row(self) -> bool:
        """Not in what earlier code did. Asked anew at each wake, as an answer is remembered for the whole run."""
        return workflow.patched(f"the-row-is-behind-at-wake-{self._wakes}")

    @workflow.signal(name=messages.POLICY.name)
    def policy(self, policy: RestartPolicy | None = None) -> None:
        """Another restart policy, from now on. Switched off, it is off for a restart that is planned, too: unless it is
        on again by the time that this is looked at."""
        if policy is None:
            return
        self._s.policy = policy
        if policy.enabled:
            self._is_switched_off = False
        elif self._s.restart_at is not None and workflow.patched("switched-off-is-no-restart"):
            self._is_switched_off = self._replan = True
        elif self._s.restart_at is not None and workflow.patched("restarts-switched-off"):
            self._s.restart_at = workflow.now()
            self._replan = True

    @workflow.signal(name=messages.SAVEPOINTS.name)
    def savepoints(self, policy: SavepointPolicy | None = None) -> None:
        """Another savepoint policy, from now on: its interval begins anew."""
        if policy is None:
            return
        self._s.savepoints, self._s.savepoint_at, self._s.checkpoints_at = policy, None, None
        self._s.retain_due = True
        self._plan_savepoint()
        self._replan = True

    @workflow.query(name=messages.SNAPSHOT.name)
    def snapshot(self) -> JobSnapshot:
        """All that this workflow knows."""
        return self._s

    def _knows(self, command_id: str) -> bool:
        current = self._journal.command
        return (
            command_id in self._s.handled
            or any(q.id == command_id for q in self._s.queue)
            or (current is not None and current.id == command_id)
        )

    # The life -------------------------------------------------------------------------------

    @workflow.run
    async def run(self, snapshot: JobSnapshot) -> None:
        """From `snapshot` on, until the job is deleted."""
        if snapshot.generation > GENERATION:
            # Its task fails, and is tried again by a worker that knows what such a run does.
            raise RuntimeError(f"a run of generation {snapshot.generation}; this worker knows {GENERATION}")
        self._journal.display()
        if self._s.check_at is None:
            self._plan_check()
        self._plan_savepoint()
        if self._parts.context.since(1):
            self._s.sequence = min(self._s.sequence, int(workflow.now().timestamp() * 1000))
        if self._s.state is JobState.DEPLOYING and not self._s.queue:
            await self._guarded(self._parts.predecessor.resume())
        if self._s.command is not None:
            await self._end_interrupted(self._s.command)
        if (
            self._s.state is JobState.RESTARTING
            and self._s.restart_at is None
            and workflow.patched("restarts-some-time")
        ):
            self._s.restart_at = workflow.now()  # a record that says so without saying when
        while not self._retired:
            with contextlib.suppress(TimeoutError):
                patience, until = self._patience()
                await workflow.wait_condition(self._has_work, timeout=patience, timeout_summary=until)
            self._wakes += 1
            outdated = self._is_outdated()
            if not outdated and self._journal.newer is None:
                await self._step()
            newer = self._journal.newer
            if newer is not None:
                await self._journal.tell_set_back(newer)
            if (newer or workflow.info().is_continue_as_new_suggested() or outdated) and not self._retired:
                await self._journal.written()
                await workflow.wait_condition(workflow.all_handlers_finished)
                if not self._retired:  # meanwhile
                    going_on = going_on_from(newer, self._s.queue, workflow.now()) if newer else renewed(self._s)
                    workflow.continue_as_new(going_on)
        await self._journal.written()
        await workflow.wait_condition(workflow.all_handlers_finished)

    def _is_outdated(self) -> bool:
        """A run of an earlier generation: what it has done is replayed as it was, what comes next is done anew. Asked
        anew at each wake, because an answer is remembered for the whole run."""
        old = self._s.generation < GENERATION
        return old and workflow.patched(f"generation-{GENERATION}-at-wake-{self._wakes}")

    def _has_work(self) -> bool:
        s = self._s
        switched_off = self._is_switched_off and s.restart_at is not None
        waits = s.queue or s.seen or self._replan or switched_off or self._may_be_behind or self._may_retain()
        return bool(waits or self._retired or self._journal.newer)

    def _may_retain(self) -> bool:
        return self._s.retain_due and self._s.savepoints.keep_last is not None

    def _patience(self) -> tuple[timedelta, str]:
        """Until the next deadline, and what that is, as the Temporal UI names the timer."""
        s = self._s
        deadlines = {
            "until the planned restart": s.restart_at,
            "until the job's own check": s.check_at,
            "until the periodic savepoint": s.savepoint_at,
        }
        at, until = min((at, until) for until, at in deadlines.items() if at is not None)
        return max(timedelta(0), at - workflow.now()), until

    async def _step(self) -> None:
        s, now = self._s, workflow.now()
        self._replan = False
        if self._may_be_behind:
            self._may_be_behind = False
            if workflow.patched("asks-whether-it-is-behind"):
                attempt = s.attempt
                ended = self._journal.attempt_change(ended_as(s.state)) if attempt is not None and attempt.ended else []
                await self._journal.write("is it behind?", attempts=ended)
        elif s.queue:
            await self._carry_out(s.queue.pop(0))
        elif s.seen is not None:
            observation, s.seen = s.seen, None
            await self._observe(observation)
        elif s.restart_at is not None and (now >= s.restart_at or self._is_switched_off):
            await self._guarded(self._parts.deployment.restart())
        elif s.savepoint_at is not None and now >= s.savepoint_at:
            s.savepoint_at = None
            if s.state is JobState.RUNNING:
                await self._guarded(self._parts.savepoints.take_periodic())
            self._plan_savepoint()
        elif self._may_retain():
            await self._guarded(self._parts.savepoints.retain())
        elif s.check_at is not None and now >= s.check_at:
            self._plan_check()
            if s.state is JobState.RESTARTING and s.restart_at is None and self._plans_now():
                s.restart_at = now
            await self._check()

    def _plans_now(self) -> bool:
        """For what code of before has left: RESTARTING, and no time of it. Asked anew at each wake, as an answer is
        remembered for the whole run."""
        return workflow.patched(f"restarting-without-a-time-at-wake-{self._wakes}")

    async def _carry_out(self, command: CommandRequest) -> None:
        journal = self._journal
        failure = self._not_any_more(command)
        journal.begin(command)
        if failure is None:
            failure = await self._guarded(self._parts.commands.perform(command))
        if failure is None:
            end = CommandEnd(CommandState.SUCCEEDED)
        elif failure.code == "killed":
            end = CommandEnd(CommandState.CANCELLED, failure.message, failure.code)
        else:
            end = CommandEnd(CommandState.FAILED, failure.message, failure.code)
            journal.note("command", f"{command.kind.value} failed: {failure.message}")
        await self._write_end(command, end)
        await journal.written()

    def _not_any_more(self, command: CommandRequest) -> Failed | None:
        """The job may have become another since the command was taken. A kill is always right: it sees that nothing
        runs."""
        if self._s.generation < 1 or command.kind is CommandKind.KILL:
            return None
        try:
            check_allowed(self._s.label, self._s.type, self._s.state, command.kind)
        except Conflict as error:
            return Failed(f"{error} Nothing was done.", error.code)
        return None

    async def _write_end(self, command: CommandRequest, end: CommandEnd) -> None:
        journal = self._journal
        self._s.handled = [*self._s.handled, command.id][-REMEMBERED_COMMANDS:]
        last = self._s.last_command
        if end.state is CommandState.SUCCEEDED and (last is None or last.was_sent_before(command)):
            self._s.last_command = command
        record = journal.record(command=end)
        journal.command = None
        journal.display()
        await journal.send_in_turn(record, f"command {command.number} {end.state.value}")

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> Failed | None:
        """Run a piece of work as a task that a kill can interrupt; gives back why it failed. Any other error than these
        is a defect of ours: it is raised, the workflow's task fails, and is tried again after a mend."""
        self._task = asyncio.create_task(work)
        try:
            await self._task
        except Failed as failure:
            return failure
        except Interrupted:
            return Failed("A kill came in.", "killed")
        except asyncio.CancelledError:
            if not self._killing:
                raise
            return Failed("A kill came in.", "killed")
        except FailureError as error:
            if self._killing:  # also where the step that was left failed in that moment: the kill sees to it
                return Failed("A kill came in.", "killed")
            return await self._unexpected(error)
        finally:
            self._task = None
            self._killing = False
        return None

    async def _unexpected(self, error: FailureError) -> Failed:
        """An activity gave up for good. What it left behind cannot be known from here."""
        why = f"A step of Penstock failed: {error.cause or error}"
        if isinstance(error.cause, CancelledError):
            why = "Somebody has cancelled the job's workflow, and with it what was being done; the workflow goes on"
        if _cause(error, ROW_MISSING) is not None and workflow.patched("attempt-written-again"):
            self._s.check_at = workflow.now()  # it sees to the row, so that the same works when it is sent again
        if (cause := _cause(error, SET_BACK)) is not None:
            self._may_be_behind = True
            return Failed(cause.message, SET_BACK)
        if self._s.state is JobState.DEPLOYING:
            self._journal.block(step_failed(why))
            await self._journal.write("blocked")
        return Failed(why, "internal")

    async def _observe(self, observation: Observation, *, is_certain: bool = False) -> None:
        attempt, last = self._s.attempt, self._s.sequence
        if attempt is None or attempt.ended:
            return
        if is_stale(observation, attempt=attempt.number, flink_job_id=attempt.flink_job_id, last_sequence=last):
            return
        if observation.sequence <= last and not self._parts.context.since(1):
            return
        await self._guarded(self._parts.observations.take_signal(observation, is_certain=is_certain))

    async def _check(self) -> None:
        """The slow check of one's own, which also covers a dead watch."""
        attempt = self._s.attempt
        if attempt is None or attempt.ended:
            return
        argument = AttemptIn(
            job_id=self._s.job_id, number=attempt.number, leader=attempt.leader, known=self._s.attempts
        )
        is_certain = self._parts.stops.is_open()
        try:
            if is_certain:
                # Asked anew: what the watch has seen may be older than the stop, and nothing may have changed since.
                answer = await calls.look(argument)
                self._s.check_at = workflow.now() + LOOK_AGAIN
            else:
                answer = await calls.check(argument)
        except ActivityError as error:  # what it was to look at is not in the database
            if _cause(error, ROW_MISSING) is not None and workflow.patched("attempt-written-again"):
                failure = await self._guarded(self._parts.deployment.write_again())
                if failure is None or failure.code == "history_lost":
                    return
            self._journal.set_state(self._s.state, f"it could not be checked: {error.cause or error}")
            await self._journal.write("not checked")
            return
        if answer.newest is not None:
            await self._guarded(self._parts.deployment.history_lost(answer.newest))
            return
        self._parts.context.learns_leader(answer.leader)
        if answer.check_interval is not None and answer.check_interval != self._s.check_interval:
            self._check_every(answer.check_interval)
        if answer.observation is not None:
            await self._observe(answer.observation, is_certain=is_certain)
        again = self._s.checkpoints_at
        due = answer.old_checkpoints and (again is None or workflow.now() >= again)
        if due and self._parts.context.since(1):
            self._s.checkpoints_at = workflow.now() + OLD_CHECKPOINTS
            await self._guarded(self._parts.savepoints.retain())

    def _check_every(self, seconds: float) -> None:
        """The setting is another by now. Only a worker that knows of it may replay this, as what is planned anew takes
        a number of chance; asked anew at each wake, as an answer is remembered for the whole run."""
        if workflow.patched(f"check-interval-at-wake-{self._wakes}"):
            self._s.check_interval = seconds
            self._plan_check()

    def _plan_check(self) -> None:
        """Between half and one and a half of the interval from now."""
        wait = self._s.check_interval * (0.5 + workflow.random().random())
        self._s.check_at = workflow.now() + timedelta(seconds=wait)

    def _plan_savepoint(self) -> None:
        interval = self._s.savepoints.interval
        if interval is None:
            self._s.savepoint_at = None
        elif self._s.savepoint_at is None:
            self._s.savepoint_at = workflow.now() + timedelta(seconds=interval)

    async def _end_interrupted(self, command: CommandRequest) -> None:
        """This workflow was lost while it carried out a command, and begun again from its last record: what became
        of the job is known by now; the command ends, so that nobody waits for it for ever."""
        journal, commands = self._journal, self._parts.commands
        journal.command = command
        if self._s.goes_back is not None and not self._parts.context.is_live() and command.kind is not CommandKind.KILL:
            self._parts.context.set_lost_in_roll_back()
        self._s.goes_back = None
        was_running = commands.is_between_attempts() and workflow.patched("between-two-attempts")
        if was_running or (commands.is_stopped_for(command) and workflow.patched("stopped-for-another")):
            commands.take_up(command)
        why = f"Its workflow was lost while it was carried out; the job is {self._s.state.value} now."
        if command.rollback_within is not None:
            why += " Whether it is healthy is not watched any more, and it is not rolled back."
        journal.note("command", f"{command.kind.value} failed: {why}")
        await self._write_end(command, CommandEnd(CommandState.FAILED, why, "workflow_lost"))


def _cause(error: FailureError, type_: str) -> ApplicationError | None:
    """Why a step failed, where that was an error of this type."""
    return error.cause if isinstance(error.cause, ApplicationError) and error.cause.type == type_ else None
