"""What a command does to a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from temporalio import workflow

from activities import contracts as c
from core.errors import InvalidInput
from core.jobs.commands import ROLLBACK, CommandRequest
from core.jobs.condition import NO_SAVEPOINT_NEEDED
from core.jobs.observations import EngineState, Intent, killed
from core.jobs.restore import Basis, RestoreRequest, newest, resolve_request
from core.jobs.snapshot import AttemptSnapshot, program
from core.jobs.states import AttemptState, CommandKind, JobState
from workflows import calls
from workflows.deploy import Deploying
from workflows.ending import Failed


@dataclass(frozen=True)
class WayBack:
    """Where a roll-back goes: a restore point, and the attempt that made it, with its build where that is known here.
    `version_then` and `attempts` are how the job was before."""

    path: str
    attempt: int
    version: int
    built: c.Built | None
    version_then: int
    attempts: int


class Steps(Deploying):
    """The commands, one method a kind."""

    async def perform(self, command: CommandRequest) -> None:
        """Carry out a command. Raises `Failed`; `Interrupted` when a kill has come in."""
        if command.kind is CommandKind.PAUSE:
            await self._pause()
        elif command.kind is CommandKind.KILL:
            await self._kill()
        elif command.kind is CommandKind.SAVEPOINT:
            await self._savepoint()
        elif command.kind is CommandKind.ADOPT:
            await self._adopt(command)
        else:
            await self._start(command)

    async def _start(self, command: CommandRequest) -> None:
        book, s = self.book, self.book.s
        version = command.version or s.version
        try:
            request = resolve_request(
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
        s.restart_at = None
        built: c.Built | None = None
        way_back: WayBack | None = None
        if s.state in (JobState.RUNNING, JobState.DEPLOYED) and self._live():
            if s.stateless and command.kind is CommandKind.RESUBMIT and await self._rescale(version):
                return
            # First the build, so that one that fails stops nothing.
            built = self._pinned(version, command.kind) or await self._build(version, command.kind)
            if request.mode == "point" and self.since(1):
                await self._named_is_there(request)
            if request.mode == "newest" or command.rollback_within is not None:
                stopped = s.attempt
                savepoint = await self._stop(Intent.REPLACE)
                if savepoint is not None and stopped is not None:
                    way_back = self._way_back(savepoint, stopped.number, stopped.version)
            else:
                await self._cancel(Intent.REPLACE)
        elif command.rollback_within is not None:
            way_back = await self._newest_of_lineage()
        s.restarts, s.failed_restores, s.unusable = [], {}, []
        cause = f"command {command.number}: {command.kind.value}"
        try:
            await self.deploy(
                version,
                request,
                cause,
                asked=command.restore is not None,
                requested_by=command.requested_by,
                kind=command.kind,
                built=built,
                patience=command.rollback_within,
            )
            self._check_started()
        except Failed as failure:
            may_live = s.state is JobState.BLOCKED and self._live()
            if command.rollback_within is None or way_back is None or may_live:
                raise
            await self._roll_back(way_back, version, failure.message)
        if command.rollback_within is not None and way_back is not None:
            await self._prove(command, way_back)
        book.note("command", f"{command.kind.value} done")

    def is_between_attempts(self) -> bool:
        """A command had ended the attempt, and the next one was never made: its job is shown alive, and nothing of it
        is. Only a workflow that was lost leaves a job so."""
        s = self.book.s
        return s.state in (JobState.RUNNING, JobState.DEPLOYED) and s.attempt is not None and s.attempt.ended

    def take_up(self, command: CommandRequest) -> None:
        """What becomes of such a job: the restart policy goes on with it, unless it was to be killed."""
        if command.kind is CommandKind.KILL:
            self.book.s.basis = Basis.DECIDE
            self.book.set(JobState.KILLED, killed(self.book.s.stateless))
            return
        self._by_policy(f"its workflow was lost after {command.kind.value} had ended it, and before the next attempt")

    async def _named_is_there(self, request: RestoreRequest) -> None:
        """Before anything is stopped for it. Raises `Failed`; the job runs on."""
        with self._may_leave():
            found = await calls.gather(c.GatherIn(job_id=self.book.s.job_id, named=request.point))
        if found.error:
            raise Failed(f"{found.error} Nothing was stopped.", found.code or "restore_point")

    def _check_started(self) -> None:
        s = self.book.s
        if s.state in (JobState.RESTARTING, JobState.BLOCKED, JobState.FAILED):
            raise Failed(s.reason, s.blocked.code if s.blocked else "attempt_failed")
        if s.state not in (JobState.RUNNING, JobState.FINISHED):
            raise Failed(f"The cluster has accepted it, but it does not run: {s.reason}", "not_running")

    async def _rescale(self, version: int) -> bool:
        """A session cluster becomes another version as it runs. False when it has to be started anew for that."""
        book, s = self.book, self.book.s
        assert s.attempt is not None
        with self._may_leave():
            done = await calls.rescale(c.RescaleIn(**self._in().model_dump(), version=version))
        if done.error:
            raise Failed(done.error, done.code or "not_scaled")
        if not done.done:
            return False
        s.version = s.attempt.version = version
        change = book.attempt_change(AttemptState.ACCEPTED if s.state is JobState.DEPLOYED else AttemptState.RUNNING)
        change[0].version = version
        book.note("attempt", f"attempt {s.attempt.number} is scaled as it runs: version {version}")
        await book.write("scaled", attempts=change)
        with self._may_leave():
            seen = await calls.await_running(self._in())
        if seen.observation is not None:
            await self.observe(seen.observation)
        if seen.observation is None or seen.observation.state is not EngineState.RUNNING:
            why = (seen.observation.detail if seen.observation else seen.why) or "it is not known how it is"
            raise Failed(f"It is scaled, and not all of it runs yet: {why}", "not_running")
        book.note("command", "resubmit done")
        return True

    def _way_back(self, path: str, attempt: int, version: int) -> WayBack:
        last = self.book.s.attempt
        same = last is not None and last.number == attempt and last.build_key is not None
        built = c.Built(key=last.build_key, commit=last.commit) if last is not None and same else None
        return WayBack(path, attempt, version, built, self.book.s.version, self.book.s.attempts)

    async def _newest_of_lineage(self) -> WayBack:
        s = self.book.s
        with self._may_leave():
            found = await calls.gather(c.GatherIn(job_id=s.job_id))
        point = newest([p for p in found.points if p.attempt >= s.lineage.first], s.lineage.taken_up)
        if point is None:
            raise Failed(
                found.error or "There is no restore point to roll back to. Send it without `rollback_within`.",
                "no_way_back",
            )
        return self._way_back(point.path, point.attempt, point.version)

    async def _prove(self, command: CommandRequest, way_back: WayBack) -> None:
        """Follow the new version until it is healthy; go back when it is not in time."""
        s = self.book.s
        assert command.rollback_within is not None
        if not self._live():
            return
        with self._may_leave():
            proven = await calls.prove(c.ProveIn(**self._in().model_dump(), within=command.rollback_within))
        if proven.observation is not None and proven.observation.sequence > s.sequence:
            await self.observe(proven.observation)
        if proven.healthy:
            what = s.attempt.program if s.attempt else f"version {s.version}"
            self.book.note("command", f"{what} is healthy: {proven.why or 'it has completed a checkpoint'}")
            return
        if s.state in (JobState.KILLED, JobState.BLOCKED) and workflow.patched("proven-to-have-ended-otherwise"):
            # Somebody cancelled it on the cluster, or nobody knows how it ended: that starts nothing.
            raise Failed(f"It is not rolled back: {s.reason}", s.blocked.code if s.blocked else "ended_otherwise")
        why = f"not healthy within {command.rollback_within:g} s: {proven.why}"
        await self._roll_back(way_back, s.version, why)

    async def _roll_back(self, way_back: WayBack, asked: int, why: str) -> NoReturn:
        """Back to what ran before, exactly: commit, compiled plan, tables and libraries of the attempt that made the
        restore point. Ends in `Failed` either way: the version that was asked for does not run."""
        book, s = self.book, self.book.s
        started = s.attempt is not None and s.attempts > way_back.attempts
        bad = s.attempt.program if s.attempt is not None and started else f"version {asked}"
        good = program(way_back.version, way_back.built.commit if way_back.built else None)
        book.note("rollback", f"{bad} goes back to {good}: {why}", point=way_back.path)
        s.restart_at = None
        if self._live():
            await self._cancel(Intent.REPLACE)
        request = RestoreRequest(mode="point", point=way_back.path)
        cause = f"rollback of command {book.command.number if book.command else ''}"
        if self.since(1):
            await self.deploy(
                way_back.version,
                request,
                cause,
                asked=True,
                requested_by=ROLLBACK,
                built=way_back.built,
                like=way_back.attempt,
            )
        else:
            await self.deploy(way_back.version_then, request, cause, asked=True, requested_by=ROLLBACK)
        self._check_started()
        good = s.attempt.program if s.attempt is not None else good
        raise Failed(
            f"{bad[0].upper()}{bad[1:]} was rolled back to {good}, restored from {way_back.path}: {why}", "rolled_back"
        )

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
        parked = s.state is JobState.BLOCKED or s.others_alive
        if self._live():
            await self._cancel(Intent.KILL)
        if self.since(1) and parked and s.attempt is not None:
            self.book.flush()
            stopped = await calls.cancel_all(self._in())
            if stopped.state is None:
                raise Failed(stopped.error or "It cannot be told whether all of it ended.", "cancel_unclear")
            s.others_alive = False
        s.basis = Basis.DECIDE
        self.book.set(JobState.KILLED, killed(s.stateless))

    async def _savepoint(self) -> None:
        trigger, directory = self._new_trigger()
        with self._may_leave():
            taken = await calls.savepoint(
                c.TriggerIn(**self._in().model_dump(), trigger_id=trigger, directory=directory)
            )
        if taken.error or taken.savepoint is None:
            raise Failed(
                f"{taken.error or 'Flink names a savepoint whose _metadata is not there.'} {NO_SAVEPOINT_NEEDED}",
                taken.code or "savepoint",
            )
        self._has_savepoint(taken.savepoint)
        await self.book.write("savepoint", points=[taken.savepoint])

    async def periodic_savepoint(self) -> None:
        """One that the job's savepoint policy asks for. When it fails the job runs on, and the timeline says so."""
        self.book.note("savepoint", "a savepoint is due")
        try:
            await self._savepoint()
        except Failed as failure:
            self.book.note("alert", f"the periodic savepoint failed: {failure.message}")
            await self.book.write("periodic savepoint failed")
            raise

    async def retain(self) -> None:
        """Delete what the savepoint policy does not keep."""
        book, s = self.book, self.book.s
        s.retain_due = False
        if s.attempt is None:
            return
        done = await calls.retain(c.RetainIn(**self._in().model_dump(), policy=s.savepoints))
        for path in done.deleted:
            book.note("savepoint", f"deleted savepoint {path}: older than the policy keeps", path=path)
        for path in done.half_written:
            book.note("savepoint", f"deleted {path}: a savepoint that was never completed", path=path)
        for line in done.refused:
            book.note("savepoint", f"kept: {line}")
        for number, path in done.checkpoints.items():
            book.note("checkpoints", f"deleted the checkpoints of attempt {number}: {path}", path=path)
        if done.deleted or done.half_written or done.refused or done.checkpoints:
            await book.write("old savepoints deleted")

    async def _adopt(self, command: CommandRequest) -> None:
        """Take a Flink job that is alive, and that nobody owns, for this job's attempt."""
        book, s = self.book, self.book.s
        flink_job_id = str(command.flink_job_id)
        if s.attempt is None or s.attempt.flink_job_id != flink_job_id:
            await self._settle()
        wanted = c.AdoptIn(job_id=s.job_id, flink_job_id=flink_job_id, command_id=command.id)
        with self._may_leave():
            found = await calls.adoptable(wanted)
        if found.error or found.observation is None:
            raise Failed(found.error or "The cluster cannot be asked about it.", found.code or "not_adoptable")
        s.restart_at, s.stop, s.others_alive = None, None, False
        if found.number is None:
            await self._open_adopted(flink_job_id, command, found)
        else:
            s.attempt = AttemptSnapshot(
                number=found.number,
                flink_job_id=flink_job_id,
                version=found.version or s.version,
                build_key=found.build_key,
                commit=found.commit,
                leader=found.leader,
            )
        assert s.attempt is not None
        s.version = s.attempt.version
        if found.number is None and self.since(1):
            s.lineage = s.lineage.taken_over(s.attempt.number)
        else:
            s.lineage = s.lineage.adopted(s.attempt.number, s.attempts)
        s.basis = Basis.NEWEST
        book.set(JobState.DEPLOYED, "adopted")
        words = f"attempt {s.attempt.number} is Flink job {flink_job_id}, adopted as it runs"
        book.note("attempt", words, requested_by=command.requested_by)
        reopened = book.attempt_change(AttemptState.ACCEPTED)
        reopened[0].reopen = True
        await book.write("adopted", attempts=reopened)
        await self.observe(found.observation)

    async def _open_adopted(self, flink_job_id: str, command: CommandRequest, found: c.Adoptable) -> None:
        s = self.book.s
        number, version = s.attempts + 1, command.version or s.version
        s.attempts = number
        s.attempt = AttemptSnapshot(number=number, flink_job_id=flink_job_id, version=version, leader=found.leader)
        await self._open(None, "adopted as it ran", f"command {command.number}: adopt")
