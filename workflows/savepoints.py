"""Savepoints of an attempt that runs on, and the deletion of those that the policy does not keep."""

from __future__ import annotations

from temporalio import workflow

from activities import contracts as c
from core.jobs.condition import NO_SAVEPOINT_NEEDED
from core.jobs.restore import RestorePoint
from core.jobs.snapshot import savepoint_directory
from workflows import calls
from workflows.context import JobContext
from workflows.failure import Failed


class JobSavepoints:
    """Takes savepoints, and retains what the job's savepoint policy keeps."""

    def __init__(self, context: JobContext):
        self._context = context

    def new_trigger(self) -> tuple[str, str]:
        """An id for a savepoint that is asked for, and a folder of its own."""
        context = self._context
        trigger = workflow.uuid4().hex
        s = context.snapshot
        return trigger, savepoint_directory(s.state_dir, s.job_id, context.attempt.number, trigger)

    def completed(self, point: RestorePoint) -> None:
        """A savepoint of the job has completed: it is on the timeline, and retention is due."""
        self._context.points_may_exist()
        self._context.snapshot.retain_due = True
        self._context.journal.note("savepoint", f"savepoint {point.path}", path=point.path)

    async def take(self) -> None:
        """Take one. Raises `Failed`; the job runs on either way."""
        context = self._context
        trigger, directory = self.new_trigger()
        with context.may_leave():
            answer = await calls.savepoint(
                c.TriggerIn(**context.attempt_in().model_dump(), trigger_id=trigger, directory=directory)
            )
        if answer.error or answer.savepoint is None:
            raise Failed(
                f"{answer.error or 'Flink names a savepoint whose _metadata is not there.'} {NO_SAVEPOINT_NEEDED}",
                answer.code or "savepoint",
            )
        self.completed(answer.savepoint)
        await context.journal.write("savepoint", points=[answer.savepoint])

    async def take_periodic(self) -> None:
        """Take one that the job's savepoint policy asks for. When it fails the job runs on, and the timeline says so.
        Raises `Failed`."""
        journal = self._context.journal
        journal.note("savepoint", "a savepoint is due")
        try:
            await self.take()
        except Failed as failure:
            journal.note("alert", f"the periodic savepoint failed: {failure.message}")
            await journal.write("periodic savepoint failed")
            raise

    async def retain(self) -> None:
        """Delete what the savepoint policy does not keep, or some of it: then the rest is due, behind what else is."""
        context, journal, s = self._context, self._context.journal, self._context.snapshot
        s.retain_due = False
        if s.attempt is None:
            return
        done = await calls.retain(c.RetainIn(**context.attempt_in().model_dump(), policy=s.savepoints))
        if done.more:
            s.retain_due, s.checkpoints_at, s.check_at = True, None, workflow.now()
        for path in done.deleted:
            journal.note("savepoint", f"deleted savepoint {path}: older than the policy keeps", path=path)
        for path in done.half_written:
            journal.note("savepoint", f"deleted {path}: a savepoint that was never completed", path=path)
        for line in done.refused:
            journal.note("savepoint", f"kept: {line}")
        for number, path in done.checkpoints.items():
            journal.note("checkpoints", f"deleted the checkpoints of attempt {number}: {path}", path=path)
        if done.deleted or done.half_written or done.refused or done.checkpoints:
            await journal.write("old savepoints deleted")
