"""What an attempt runs: the build of its version, or what an attempt before ran."""

from __future__ import annotations

from temporalio import workflow

from activities import contracts as c
from core.jobs.states import CommandKind, JobState
from core.jobs.types import traits
from workflows import calls
from workflows.context import JobContext
from workflows.failure import Failed


class ProgramChoice:
    """Chooses between what ran before and a new build."""

    def __init__(self, context: JobContext):
        self._context = context

    async def get(self, version: int, kind: CommandKind, like: int | None = None) -> c.Built:
        """What `version` runs: pinned, or built now. `like` is an attempt whose program is run again. Raises `Failed`
        with the job DEPLOY_FAILED, or as it was while an attempt of it is alive or a restart is planned."""
        return self._pinned(version, kind, like) or await self.build(version, kind, like)

    async def see(self, version: int, kind: CommandKind) -> c.Built:
        """The same before what runs is ended for it: what is pinned has to be there, and what it is given. Raises
        `Failed`, as `get` does."""
        if not traits(self._context.snapshot.type).is_built or not workflow.patched("seen-before-it-is-ended"):
            return await self.get(version, kind)
        return await self.build(version, kind)

    def attempt_to_repeat(self, version: int, kind: CommandKind) -> int | None:
        """A SQL version that has run before runs with the same plan, tables and libraries again; only a resubmit
        compiles it anew."""
        s = self._context.snapshot
        last = s.attempt
        again = last is not None and last.version == version and kind is not CommandKind.RESUBMIT
        return last.number if last is not None and again and traits(s.type).compiles else None

    def _pinned(self, version: int, kind: CommandKind, like: int | None = None) -> c.Built | None:
        """A version that has run before runs with the same commit again, and needs no build; only a resubmit
        looks whether its branch has gone on."""
        s = self._context.snapshot
        last = s.attempt
        if not traits(s.type).is_built:
            return c.Built()
        if like is not None:
            return None
        if last is None or last.version != version or last.build_key is None or kind is CommandKind.RESUBMIT:
            return None
        return c.Built(key=last.build_key, commit=last.commit)

    async def build(self, version: int, kind: CommandKind, like: int | None = None) -> c.Built:
        """Build it, also when it is pinned: then from the same commit. Raises `Failed`, as `get` does."""
        context, s = self._context, self._context.snapshot
        command = context.journal.command
        pinned = self._pinned(version, kind, like)
        with context.may_leave():
            built = await calls.build(
                c.BuildIn(
                    job_id=s.job_id,
                    version=version,
                    command_id=command.id if command else None,
                    pinned=pinned.key if pinned else None,
                    like=like,
                ),
                pinned.commit if pinned else None,
            )
        if built.error:
            if not context.is_live() and s.restart_at is None:
                context.journal.set_state(JobState.DEPLOY_FAILED, built.error)
            raise Failed(built.error, built.code or "build_failed")
        return built
