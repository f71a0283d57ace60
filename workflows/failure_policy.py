"""After a failure: a restart is planned, or the job is given up, or parked. The rules are in `core.jobs.policy`."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio import workflow

from core.jobs import blocked
from core.jobs.observations import Trouble
from core.jobs.policy import AfterRestore, GiveUp, after_restore, decide
from core.jobs.restore import RestorePoint
from core.jobs.states import JobState
from workflows.context import JobContext

SHORT = 240


class FailurePolicy:
    """Applies a job's restart policy."""

    def __init__(self, context: JobContext):
        self._context = context

    def apply(
        self, why: str, trouble: Trouble | None = None, points: Sequence[RestorePoint] = (), *, stable: bool = True
    ) -> None:
        """The attempt has failed: `why` in words; `trouble` when it could not restore its state, and `points` that
        there are. Unless `stable` its running forgives no earlier restart."""
        journal, s = self._context.journal, self._context.snapshot
        if self._restore_is_hopeless(why, trouble, points):
            return
        since = s.attempt.running_since if s.attempt and stable else None
        verdict = decide(s.policy, s.restarts, workflow.now(), running_since=since, random=workflow.random().random())
        if isinstance(verdict, GiveUp):
            s.restart_at = None
            journal.set_state(JobState.FAILED, f"{why} ({verdict.why})")
            journal.note("alert", f"the job failed for good: {verdict.why}", cause=why)
            return
        if verdict.number == 1:
            s.restarts = []
        s.restart_at = verdict.at
        journal.set_state(JobState.RESTARTING, why)
        journal.note(
            "restart",
            f"restart {verdict.number} of {s.policy.max_restarts} at {verdict.at:%H:%M:%S} UTC, after: {_short(why)}",
            cause=why,
            at=verdict.at.isoformat(),
        )

    def _restore_is_hopeless(self, why: str, trouble: Trouble | None, points: Sequence[RestorePoint]) -> bool:
        """Count a failure to restore; True when the job has been parked for it."""
        journal, s = self._context.journal, self._context.snapshot
        path = s.attempt.restored_from if s.attempt else None
        if trouble is Trouble.OVERRIDDEN:
            s.restart_at = None
            journal.block(blocked.overridden(why))
            return True
        if trouble is None or path is None or s.attempt is None:
            return False
        failures = s.failed_restores.get(path, 0) + 1
        s.failed_restores = {**s.failed_restores, path: failures}
        verdict = after_restore(s.policy, trouble, failures)
        if verdict is AfterRestore.BLOCK:
            s.restart_at = None
            if trouble is Trouble.UNMAPPABLE:
                # Not what ran last, which may have failed for the same.
                made_by = next((point.version for point in points if point.path == path), None)
                journal.block(blocked.does_not_map(path, why, s.attempt.version, made_by, s.attempt.before))
            else:
                journal.block(blocked.restore_fails(path, failures, why, points))
            return True
        if verdict is AfterRestore.FALL_BACK:
            s.unusable = [*s.unusable, path]
            journal.note("restart", f"{path} could not be restored {failures} times: going back to the point before it")
        return False


def _short(why: str) -> str:
    first = why.splitlines()[0] if why else ""
    return first if len(first) <= SHORT else first[: SHORT - 1] + "…"
