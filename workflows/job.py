"""The life of a job: one workflow, parked until a command, a fact or a deadline wakes it."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.contracts import AttemptIn
    from core.errors import Conflict
    from core.jobs.blocked import step_failed
    from core.jobs.commands import CommandRequest
    from core.jobs.observations import Observation, in_place_of, is_stale, newer
    from core.jobs.policy import RestartPolicy
    from core.jobs.retention import SavepointPolicy
    from core.jobs.snapshot import GENERATION, JobSnapshot, renewed
    from core.jobs.states import DELETABLE, CommandKind, CommandState, JobState, check_allowed
    from workflows import calls
    from workflows.book import Book
    from workflows.ending import LOOK_AGAIN, Failed, Interrupted
    from workflows.steps import Steps

REMEMBERED_COMMANDS = 100
OLD_CHECKPOINTS = timedelta(hours=6)


@workflow.defn(name="JobWorkflow")
class JobWorkflow:
    """Commands come as updates, facts as signals. All of them are carried out one after the other by
    `run`; a kill alone may interrupt what is going on, at steps that may be left."""

    @workflow.init
    def __init__(self, snapshot: JobSnapshot) -> None:
        self._book = Book(snapshot)
        self._steps = Steps(self._book)
        self._task: asyncio.Task[None] | None = None
        self._killing = False
        self._retired = False
        self._replan = False
        self._wakes = 0

    @property
    def _s(self) -> JobSnapshot:
        return self._book.s

    # What comes in --------------------------------------------------------------------------

    @workflow.update(name="command")
    def command(self, request: CommandRequest) -> None:
        """Take a command. It counts once, however often it is delivered."""
        if self._knows(request.id):
            return
        self._s.queue.append(request)
        if request.kind is CommandKind.KILL and self._task is not None and self._steps.interruptible:
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
                f"more. Send it again, if it is still wanted.",
                type="expired",
            )
        if self._retired:
            raise ApplicationError("The job is being deleted.", type="command_not_allowed")
        current = self._book.command.kind if self._book.command else None
        waiting = self._s.queue[0].kind if self._s.queue else None
        try:
            check_allowed(self._s.label, self._s.type, self._s.state, request.kind, current or waiting)
        except Conflict as error:
            raise ApplicationError(str(error), error.allowed, type=error.code) from error

    @workflow.update(name="retire")
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

    @workflow.signal(name="observed")
    def observed(self, seen: Observation) -> None:
        waiting, attempt = self._s.seen, self._s.attempt
        # One about another job of this name, or another attempt, may not take the place of what is waiting.
        own = attempt is not None and (seen.attempt, seen.flink_job_id) == (attempt.number, attempt.flink_job_id)
        takes_place = own and newer(waiting, seen)
        if not self._steps.since(1):
            takes_place = waiting is None or (seen.attempt, seen.sequence) > (waiting.attempt, waiting.sequence)
        if takes_place:
            self._s.seen = in_place_of(waiting, seen)

    @workflow.signal(name="policy")
    def policy(self, policy: RestartPolicy) -> None:
        self._s.policy = policy

    @workflow.signal(name="savepoints")
    def savepoints(self, policy: SavepointPolicy) -> None:
        self._s.savepoints, self._s.savepoint_at, self._s.checkpoints_at = policy, None, None
        self._s.retain_due = True
        self._plan_savepoint()
        self._replan = True

    @workflow.query(name="snapshot")
    def snapshot(self) -> JobSnapshot:
        return self._s

    def _knows(self, command_id: str) -> bool:
        current = self._book.command
        return (
            command_id in self._s.handled
            or any(q.id == command_id for q in self._s.queue)
            or (current is not None and current.id == command_id)
        )

    # The life -------------------------------------------------------------------------------

    @workflow.run
    async def run(self, snapshot: JobSnapshot) -> None:
        self._book.show()
        if self._s.check_at is None:
            self._plan_check()
        self._plan_savepoint()
        if self._steps.since(1):
            self._s.sequence = min(self._s.sequence, int(workflow.now().timestamp() * 1000))
        if self._s.state is JobState.DEPLOYING and not self._s.queue:
            await self._guarded(self._resume())
        if self._s.command is not None:
            await self._end_interrupted(self._s.command)
        while not self._retired:
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(self._has_work, timeout=self._patience())
            self._wakes += 1
            outdated = self._is_outdated()
            if not outdated:
                await self._step()
            if (workflow.info().is_continue_as_new_suggested() or outdated) and not self._retired:
                await self._book.settled()
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(renewed(self._s))
        await self._book.settled()
        await workflow.wait_condition(workflow.all_handlers_finished)

    def _is_outdated(self) -> bool:
        """A run of an earlier generation: what it has done is replayed as it was, what comes next is done anew. Asked
        anew at each wake, because an answer is remembered for the whole run."""
        old = self._s.generation < GENERATION
        return old and workflow.patched(f"generation-{GENERATION}-at-wake-{self._wakes}")

    def _has_work(self) -> bool:
        return bool(self._s.queue or self._s.seen or self._retired or self._replan or self._may_retain())

    def _may_retain(self) -> bool:
        return self._s.retain_due and self._s.savepoints.keep_last is not None

    def _patience(self) -> timedelta:
        """Until the next deadline: a planned restart, a periodic savepoint, or the job's own check."""
        s = self._s
        deadlines = [at for at in (s.restart_at, s.check_at, s.savepoint_at) if at is not None]
        return max(timedelta(0), min(deadlines) - workflow.now())

    async def _step(self) -> None:
        s, now = self._s, workflow.now()
        self._replan = False
        if s.queue:
            await self._carry_out(s.queue.pop(0))
        elif s.seen is not None:
            seen, s.seen = s.seen, None
            await self._observe(seen)
        elif s.restart_at is not None and now >= s.restart_at:
            await self._guarded(self._steps.restart())
        elif s.savepoint_at is not None and now >= s.savepoint_at:
            s.savepoint_at = None
            if s.state is JobState.RUNNING:
                await self._guarded(self._steps.periodic_savepoint())
            self._plan_savepoint()
        elif self._may_retain():
            await self._guarded(self._steps.retain())
        elif s.check_at is not None and now >= s.check_at:
            self._plan_check()
            await self._check()

    async def _carry_out(self, command: CommandRequest) -> None:
        book = self._book
        error = self._not_any_more(command)
        book.begin(command)
        if error is None:
            error = await self._guarded(self._steps.perform(command))
        if error is None:
            end: tuple[CommandState, str | None, str | None] = (CommandState.SUCCEEDED, None, None)
        elif error.code == "killed":
            end = (CommandState.CANCELLED, error.message, error.code)
        else:
            end = (CommandState.FAILED, error.message, error.code)
            book.note("command", f"{command.kind.value} failed: {error.message}")
        await self._write_end(command, end)
        await book.settled()

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

    async def _write_end(self, command: CommandRequest, end: tuple[CommandState, str | None, str | None]) -> None:
        book = self._book
        self._s.handled = [*self._s.handled, command.id][-REMEMBERED_COMMANDS:]
        record = book.make(command=end)
        book.command = None
        book.show()
        await calls.record(record, f"command {command.number} {end[0].value}")

    async def _guarded(self, work: object) -> Failed | None:
        """Run a piece of work as a task that a kill can interrupt; gives back why it failed."""
        self._task = asyncio.create_task(work)  # type: ignore[arg-type]
        try:
            await self._task
        except Failed as failure:
            return failure
        except Interrupted:
            return Failed("A kill came in.", "killed")
        except BaseException as error:
            left = is_cancelled_exception(error) or isinstance(error, asyncio.CancelledError) or hasattr(error, "cause")
            if self._killing and left:  # also where the step that was left failed in that moment: the kill sees to it
                return Failed("A kill came in.", "killed")
            if isinstance(error, asyncio.CancelledError) or not isinstance(error, Exception):
                raise
            if not hasattr(error, "cause"):
                raise  # a defect of ours: the workflow task fails and is tried again after a mend
            return await self._unexpected(error)
        finally:
            self._task = None
            self._killing = False
        return None

    async def _unexpected(self, error: Exception) -> Failed:
        """An activity gave up for good. What it left behind cannot be known from here."""
        why = f"A step of Penstock failed: {getattr(error, 'cause', None) or error}"
        if self._s.state is JobState.DEPLOYING:
            self._book.block(step_failed(why))
            await self._book.write("blocked")
        return Failed(why, "internal")

    async def _observe(self, seen: Observation) -> None:
        attempt = self._s.attempt
        if attempt is None or attempt.ended:
            return
        if is_stale(seen, attempt=attempt.number, flink_job_id=attempt.flink_job_id, last_sequence=self._s.sequence):
            return
        if seen.sequence <= self._s.sequence and not self._steps.since(1):
            return
        await self._guarded(self._steps.observe_signal(seen))

    async def _check(self) -> None:
        """The slow check of one's own, which also covers a dead watch."""
        attempt = self._s.attempt
        if attempt is None or attempt.ended:
            return
        wanted = AttemptIn(job_id=self._s.job_id, number=attempt.number, leader=attempt.leader)
        if self._steps.stop_is_open():
            # Asked anew: what the watch has seen may be older than the stop, and nothing may have changed since.
            found = await calls.look(wanted)
            self._s.check_at = workflow.now() + LOOK_AGAIN
        else:
            found = await calls.check(wanted)
        if found.observation is not None:
            await self._observe(found.observation)
        again = self._s.checkpoints_at
        due = found.old_checkpoints and (again is None or workflow.now() >= again)
        if due and self._steps.since(1):
            self._s.checkpoints_at = workflow.now() + OLD_CHECKPOINTS
            await self._guarded(self._steps.retain())

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
        book = self._book
        book.command = command
        if self._steps.is_between_attempts() and workflow.patched("between-two-attempts"):
            self._steps.take_up(command)
        why = f"Its workflow was lost while it was carried out; the job is {self._s.state.value} now."
        book.note("command", f"{command.kind.value} failed: {why}")
        await self._write_end(command, (CommandState.FAILED, why, "workflow_lost"))

    async def _resume(self) -> None:
        """This workflow was lost in the middle of a start, and begun again from its last record."""
        await self._steps.resume()
