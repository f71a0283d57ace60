"""What a command does to a job, step by step. Every rule that is one is in `core`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn

from temporalio import workflow

from activities import contracts as c
from core.errors import InvalidInput
from core.observations import ENDED, EngineState, Intent, Observation, alive, attempt_state, ended
from core.policy import GiveUp, decide
from core.restore import Basis, Choice, Lineage, Missing, RestorePoint, RestoreRequest, choose, resolve_request
from core.snapshot import AttemptSnapshot, CommandRequest, StopSnapshot, savepoint_directory
from core.states import AttemptState, CommandKind, JobState
from workflows import calls
from workflows.book import Book

RETRY_UNREACHABLE = timedelta(seconds=60)


class Failed(Exception):
    """The command has failed. The job's state has been set already."""

    def __init__(self, message: str, code: str):
        super().__init__(message)
        self.message = message
        self.code = code


class Interrupted(Exception):
    """A kill has come in at a step that may be left."""


class Steps:
    def __init__(self, book: Book):
        self.book = book
        self.interruptible = False
        self.actions: list[dict[str, Any]] = []
        """Safe next commands, while the job is BLOCKED."""

    @contextmanager
    def _may_leave(self) -> Iterator[None]:
        """A step that a kill may interrupt: nothing is half done when it is left."""
        if any(q.kind is CommandKind.KILL for q in self.book.s.queue):
            raise Interrupted
        self.interruptible = True
        try:
            yield
        finally:
            self.interruptible = False

    def _in(self) -> c.AttemptIn:
        attempt = self.book.s.attempt
        assert attempt is not None
        command = self.book.command
        return c.AttemptIn(job_id=self.book.s.job_id, number=attempt.number, command_id=command.id if command else None)

    def _live(self) -> bool:
        attempt = self.book.s.attempt
        return attempt is not None and not attempt.ended

    # Commands -------------------------------------------------------------------------------

    async def perform(self, command: CommandRequest) -> None:
        """Carry out a command. Raises `Failed`; `Interrupted` when a kill has come in."""
        self.actions = []
        if command.kind is CommandKind.PAUSE:
            await self._pause()
        elif command.kind is CommandKind.KILL:
            await self._kill()
        elif command.kind is CommandKind.SAVEPOINT:
            await self._savepoint()
        else:
            await self._start(command)

    async def _start(self, command: CommandRequest) -> None:
        book, s = self.book, self.book.s
        version = command.version or s.version
        try:
            request = resolve_request(
                s.label, command.kind, s.state, s.basis, command.restore, changes_version=version != s.version
            )
        except InvalidInput as error:
            raise Failed(str(error), error.code) from error
        s.restart_at = None
        built: c.Built | None = None
        if s.state in (JobState.RUNNING, JobState.DEPLOYED) and self._live():
            built = await self._build(version, command.kind)  # first, so that a build that fails stops nothing
            if request.mode == "newest":
                await self._stop(Intent.REPLACE)
            else:
                await self._cancel(Intent.REPLACE)
        s.restarts = []
        cause = f"command {command.number}: {command.kind.value}"
        await self.deploy(version, request, cause, asked=command.restore is not None, kind=command.kind, built=built)
        if s.state is JobState.RESTARTING:
            raise Failed(s.reason, "attempt_failed")
        if s.state not in (JobState.RUNNING, JobState.FINISHED):
            raise Failed(f"The cluster has accepted it, but it does not run: {s.reason}", "not_running")
        book.note("command", f"{command.kind.value} done")

    async def _pause(self) -> None:
        s = self.book.s
        if self._live():
            await self._stop(Intent.PAUSE)
            if s.state is not JobState.PAUSED:
                raise Failed(f"It was not paused: {s.reason}", "ended_otherwise")
            return
        with self._may_leave():
            found = await calls.gather(c.GatherIn(job_id=s.job_id))
        if found.error or not found.points:
            raise Failed(
                found.error or "It is not running, and it has no restore point to be paused with.", "nothing_to_keep"
            )
        s.restart_at = None
        self.book.set(JobState.PAUSED, f"stopped while it waited for a restart; its state is in {found.points[0].path}")

    async def _kill(self) -> None:
        s = self.book.s
        s.restart_at = None
        if self._live():
            await self._cancel(Intent.KILL)
        s.basis = Basis.DECIDE
        self.book.set(JobState.KILLED, "killed, its state given up")

    async def _savepoint(self) -> None:
        trigger, directory = self._new_trigger()
        with self._may_leave():
            taken = await calls.savepoint(
                c.TriggerIn(**self._in().model_dump(), trigger_id=trigger, directory=directory)
            )
        if taken.error or taken.savepoint is None:
            raise Failed(
                taken.error or "Flink names a savepoint whose _metadata is not there.", taken.code or "savepoint"
            )
        self._touched()
        self.book.note("savepoint", f"savepoint {taken.savepoint.path}", path=taken.savepoint.path)
        await self.book.write("savepoint", points=[taken.savepoint])

    def _touched(self) -> None:
        s = self.book.s
        s.lineage = s.lineage.model_copy(update={"untouched": False})

    def _new_trigger(self) -> tuple[str, str]:
        s = self.book.s
        assert s.attempt is not None
        trigger = workflow.uuid4().hex
        return trigger, savepoint_directory(s.state_dir, s.job_id, s.attempt.number, trigger)

    # Ending an attempt ----------------------------------------------------------------------

    async def _stop(self, intent: Intent) -> None:
        """Stop with savepoint; afterwards the attempt has been seen to end, or `Failed` is raised."""
        book, s = self.book, self.book.s
        trigger, directory = self._new_trigger()
        s.stop = StopSnapshot(intent=intent, trigger_id=trigger, directory=directory)
        wanted = c.TriggerIn(**self._in().model_dump(), trigger_id=trigger, directory=directory)
        with self._may_leave():
            stopped = await calls.stop(wanted)
        s.sequence = max(s.sequence, stopped.sequence)
        points = [stopped.savepoint] if stopped.savepoint else []
        if points:
            self._touched()
            book.note("savepoint", f"savepoint {points[0].path}", path=points[0].path)
        if stopped.state is None:
            # What was asked for stays known: when the cluster answers again, its end is understood.
            await book.write("stop unclear", points=points)
            raise Failed(stopped.error or "It cannot be told whether it was stopped.", stopped.code or "stop_unclear")
        if stopped.state not in ENDED:
            s.stop = None
            await book.write("not stopped", points=points)
            raise Failed(stopped.error or "It was not stopped and runs on.", stopped.code or "not_stopped")
        await self._end(stopped.state, savepoint=points[0].path if points else None, points=points)
        if intent is Intent.REPLACE and s.state is not JobState.PAUSED:
            raise Failed(f"It was not stopped by us, so it is not started again: {s.reason}", "ended_otherwise")

    async def _cancel(self, intent: Intent) -> None:
        s = self.book.s
        s.stop = StopSnapshot(intent=Intent.KILL)
        stopped = await calls.cancel(self._in())
        if stopped.state is None:
            raise Failed(
                stopped.error or "It cannot be told whether it was cancelled.", stopped.code or "cancel_unclear"
            )
        s.sequence = max(s.sequence, stopped.sequence)
        await self._end(stopped.state, going_on=intent is Intent.REPLACE)

    async def _end(
        self,
        state: EngineState,
        *,
        savepoint: str | None = None,
        points: list[RestorePoint] | None = None,
        going_on: bool = False,
    ) -> None:
        """The attempt has been seen in a final state: what that means for the job.

        `going_on`: a successor is being started, so the job's state and policy are left alone.
        """
        book, s = self.book, self.book.s
        assert s.attempt is not None
        stop = s.stop
        why = c.Diagnosis(untouched=False, savepoint=savepoint)
        if savepoint is None:
            where = stop.directory if stop else None
            why = await calls.diagnose(c.DiagnoseIn(**self._in().model_dump(), savepoint_directory=where))
        if not why.untouched:
            self._touched()
        ending = ended(state, stop.intent if stop else None, savepoint=why.savepoint, cause=why.cause)
        s.attempt.ended, s.stop = True, None
        if ending.job in (JobState.KILLED, JobState.FINISHED):
            s.basis = Basis.DECIDE
        book.note("attempt", f"attempt {s.attempt.number} ended {ending.attempt.value}: {ending.why}")
        changes = book.attempt_change(ending.attempt, ending.why)
        if going_on:
            pass
        elif ending.restartable:
            self._by_policy(ending.why)
        else:
            book.set(ending.job, ending.why)
        await book.write(f"attempt {s.attempt.number} {ending.attempt.value}", attempts=changes, points=points or [])

    def _by_policy(self, why: str) -> None:
        """After a failure: wait for a restart, or give up."""
        book, s = self.book, self.book.s
        since = s.attempt.running_since if s.attempt else None
        verdict = decide(s.policy, s.restarts, workflow.now(), running_since=since, random=workflow.random().random())
        if isinstance(verdict, GiveUp):
            s.restart_at = None
            book.set(JobState.FAILED, f"{why} ({verdict.why})")
            book.note("alert", f"the job failed for good: {verdict.why}", cause=why)
            return
        if verdict.number == 1:
            s.restarts = []
        s.restart_at = verdict.at
        book.set(JobState.RESTARTING, why)
        book.note(
            "restart",
            f"restart {verdict.number} of {s.policy.max_restarts} at {verdict.at:%H:%M:%S} UTC",
            cause=why,
            at=verdict.at.isoformat(),
        )

    # Starting an attempt --------------------------------------------------------------------

    async def restart(self) -> None:
        """The restart that the policy has planned."""
        s = self.book.s
        cause = f"restart policy, after: {s.reason}"[:500]
        s.restarts = [*s.restarts, workflow.now()][-s.policy.max_restarts - 1 :]
        s.restart_at = None
        try:
            await self.deploy(s.version, RestoreRequest(mode="newest"), cause, asked=False)
        except Failed as failure:
            if s.state is JobState.DEPLOY_FAILED:
                if failure.code == "submission_unreachable":
                    # The cluster is away and nothing was sent: this was no restart. Wait for the cluster.
                    s.restarts = s.restarts[:-1]
                    s.restart_at = workflow.now() + RETRY_UNREACHABLE
                    self.book.set(JobState.RESTARTING, failure.message)
                else:
                    self._by_policy(failure.message)
                await self.book.write("restart failed")
            elif s.state is JobState.RESTARTING and s.restart_at is None:
                s.restart_at = workflow.now() + RETRY_UNREACHABLE
                self.book.set(JobState.RESTARTING, failure.message)
                await self.book.write("restart put off")

    async def deploy(
        self,
        version: int,
        request: RestoreRequest,
        cause: str,
        *,
        asked: bool,
        kind: CommandKind = CommandKind.RESTART,
        built: c.Built | None = None,
    ) -> None:
        """Start an attempt of `version`. Ends with the job RUNNING, FINISHED, DEPLOYED (accepted and not
        running yet) or RESTARTING; raises `Failed` with the job DEPLOY_FAILED, BLOCKED or as it was."""
        book, s = self.book, self.book.s
        await self._settle()
        book.set(JobState.DEPLOYING, cause)
        if s.type != "sql":
            book.soon("deploying")
        built = built or await self._build(version, kind)
        choice, lineage = await self._choose(request, asked=asked)
        number, flink_job_id = s.attempts + 1, workflow.uuid4().hex
        s.attempts = number
        s.attempt = AttemptSnapshot(number=number, flink_job_id=flink_job_id, version=version, build_key=built.key)
        s.version, s.lineage = version, lineage or Lineage(first=number, root=choice.path)
        book.note("attempt", f"attempt {number}, version {version}: {choice.why}", restored_from=choice.path)
        book.show()
        await calls.open_attempt(
            c.OpenAttempt(
                job_id=s.job_id,
                cluster=s.cluster,
                number=number,
                flink_job_id=flink_job_id,
                version=version,
                restore_path=choice.path,
                restore_why=choice.why,
                allow_non_restored_state=request.allow_non_restored_state,
                cause=cause,
                build_key=built.key,
                commit=built.commit,
                record=book.make(pin=choice.path or ""),
            )
        )
        await self._submit()
        await self._accepted()

    async def _build(self, version: int, kind: CommandKind) -> c.Built:
        """A version that has run before runs with the same commit again; only a resubmit looks whether
        its branch has gone on."""
        s, command = self.book.s, self.book.command
        if s.type == "sql":
            return c.Built()
        same = s.attempt is not None and s.attempt.version == version and kind is not CommandKind.RESUBMIT
        with self._may_leave():
            built = await calls.build(
                c.BuildIn(
                    job_id=s.job_id,
                    version=version,
                    command_id=command.id if command else None,
                    pinned=s.attempt.build_key if s.attempt and same else None,
                )
            )
        if built.error:
            if not self._live():
                self.book.set(JobState.DEPLOY_FAILED, built.error)
            raise Failed(built.error, built.code or "build_failed")
        return built

    async def _choose(self, request: RestoreRequest, *, asked: bool) -> tuple[Choice, Lineage | None]:
        """The restore point, and the lineage that goes on with it; None when a new one begins."""
        s = self.book.s
        points: list[RestorePoint] = []
        if request.mode != "none" and not (s.attempts == 0 and request.mode == "newest"):
            with self._may_leave():
                found = await calls.gather(c.GatherIn(job_id=s.job_id, named=request.point))
            if found.error:
                self.book.set(JobState.DEPLOY_FAILED, found.error)
                raise Failed(found.error, found.code or "restore_point")
            points = found.points
        choice = choose(request, points, s.lineage, asked=asked)
        if isinstance(choice, Missing):
            await self._block(
                choice.why,
                [
                    {"kind": "restart", "restore": {"mode": "point", "point": "<path of a savepoint or checkpoint>"}},
                    {"kind": "restart", "restore": {"mode": "none"}},
                ],
                "no_restore_point",
            )
        old = choice.point is not None and choice.point.attempt < s.lineage.first
        return choice, s.lineage if request.mode == "newest" and not old else None

    async def _block(self, why: str, actions: list[dict[str, Any]], code: str) -> NoReturn:
        self.book.set(JobState.BLOCKED, why)
        self.actions = actions
        self.book.note("alert", f"blocked: {why}", actions=actions)
        await self.book.write("blocked", actions=actions)
        raise Failed(why, code)

    async def _settle(self) -> None:
        """A successor starts only after its predecessor has been seen in a final state."""
        s = self.book.s
        if not self._live():
            return
        with self._may_leave():
            seen = await calls.look(self._in())
        if seen.observation is None:
            raise Failed(
                f"Attempt {s.attempt.number if s.attempt else ''} has not been seen to end, and the cluster cannot "
                f"be asked: {seen.why}. Nothing was started.",
                "predecessor_unknown",
            )
        if seen.observation.state in ENDED:
            await self._end(seen.observation.state, going_on=True)
            return
        await self.observe(seen.observation)
        raise Failed("Its last attempt is alive on the cluster after all, and is followed again.", "attempt_alive")

    async def _submit(self) -> None:
        book, s = self.book, self.book.s
        assert s.attempt is not None
        result = await calls.submit(self._in())
        if result.state is c.SubmitState.ACCEPTED:
            return
        message = result.error or "the cluster said no"
        if result.state is c.SubmitState.UNCLEAR:
            book.note("attempt", f"attempt {s.attempt.number}: it cannot be told whether the cluster has it: {message}")
            await book.write("submission unclear", attempts=book.attempt_change(AttemptState.UNKNOWN))
            await self._block(
                f"It cannot be told whether the cluster has attempt {s.attempt.number}: {message}. "
                "A restart asks the cluster first, and starts nothing while that attempt may live.",
                [{"kind": "restart", "restore": {"mode": "newest"}}, {"kind": "kill"}],
                "submission_unclear",
            )
        s.attempt.ended = True
        book.set(JobState.DEPLOY_FAILED, message)
        book.note("attempt", f"attempt {s.attempt.number} was not submitted: {message}")
        await book.write(
            f"attempt {s.attempt.number} not submitted",
            attempts=book.attempt_change(AttemptState.NOT_SUBMITTED, message),
        )
        raise Failed(message, result.code or "rejected")

    async def _accepted(self) -> None:
        """The cluster has the attempt: follow it until it runs or ends."""
        book, s = self.book, self.book.s
        s.basis = Basis.NEWEST
        book.set(JobState.DEPLOYED, "the cluster has accepted it")
        book.soon("accepted", attempts=book.attempt_change(AttemptState.ACCEPTED))
        with self._may_leave():
            seen = await calls.await_running(self._in())
        if seen.observation is not None:
            await self.observe(seen.observation)
        else:
            book.set(s.state, f"the cluster cannot be asked: {seen.why}")

    # Observations ---------------------------------------------------------------------------

    async def observe_signal(self, seen: Observation) -> None:
        """What the watch has told. That a job is missing is believed after a second question only."""
        if seen.state is EngineState.MISSING:
            asked = await calls.look(self._in())
            if asked.observation is None:
                return
            seen = asked.observation
        await self.observe(seen)

    async def resume(self) -> None:
        """After a lost workflow: what became of the attempt that was being started."""
        book, s = self.book, self.book.s
        await self._settle_or_follow()
        if s.state is JobState.DEPLOYING:
            book.set(JobState.DEPLOY_FAILED, "its workflow was lost in the middle of a start; nothing of it runs")
            await book.write("resumed")

    async def _settle_or_follow(self) -> None:
        try:
            await self._settle()
        except Failed as failure:
            if failure.code == "attempt_alive":
                return
            self.book.set(JobState.BLOCKED, failure.message)
            await self.book.write("blocked", actions=[{"kind": "restart"}, {"kind": "kill"}])

    async def observe(self, seen: Observation) -> None:
        """An observation that is not stale: about the current attempt, newer than what is known."""
        book, s = self.book, self.book.s
        assert s.attempt is not None
        s.sequence = max(s.sequence, seen.sequence)
        if seen.state in ENDED:
            await self._end(seen.state)
            return
        state, reason = alive(s.state, seen)
        if s.state is state and s.reason == reason:
            return
        running = state is JobState.RUNNING and s.attempt.running_since is None
        if running:
            s.attempt.running_since = workflow.now()
        s.basis = Basis.NEWEST
        book.set(state, reason)
        await book.write(
            f"attempt {seen.attempt} {seen.state.value}",
            attempts=book.attempt_change(attempt_state(seen.state), running=running),
        )
