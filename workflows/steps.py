"""What a command does to a job."""

from __future__ import annotations

from activities import contracts as c
from core.errors import InvalidInput
from core.observations import Intent
from core.restore import Basis, resolve_request
from core.snapshot import CommandRequest
from core.states import CommandKind, JobState
from workflows import calls
from workflows.deploy import Deploying
from workflows.ending import Failed


class Steps(Deploying):
    """The commands, one method a kind."""

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
            # First the build, so that one that fails stops nothing.
            built = self._pinned(version, command.kind) or await self._build(version, command.kind)
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
