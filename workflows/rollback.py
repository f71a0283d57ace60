"""`rollback_within`: a new version is followed until it is healthy, and the job goes back when it is not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow

from activities import contracts as c
from core.jobs.commands import ROLLBACK
from core.jobs.observations import Intent
from core.jobs.restore import Basis, RestoreRequest
from core.jobs.snapshot import Ran, program
from core.jobs.states import JobState
from workflows import calls
from workflows.context import JobContext
from workflows.deployment import PUT_OFF_WORDS, UNREACHABLE, UNREADABLE, Deployment, NewAttempt
from workflows.failure import Failed
from workflows.observations import Observations
from workflows.restore_points import RestorePoints
from workflows.stops import Stops

TRIES, PAUSE = 20, timedelta(seconds=30)


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
    ran: Ran


class Rollback:
    """Takes a job back to what ran before."""

    def __init__(
        self,
        context: JobContext,
        observations: Observations,
        stops: Stops,
        deployment: Deployment,
        restore_points: RestorePoints,
    ):
        self._context = context
        self._restore_points = restore_points
        self._observations = observations
        self._stops = stops
        self._deployment = deployment

    def way_back(self, path: str, attempt: int, version: int) -> WayBack:
        """The way back to a restore point that an attempt of a version made, from how the job is now."""
        s = self._context.snapshot
        last = s.attempt
        same = last if last is not None and last.number == attempt else None
        built = c.Built(key=same.build_key, commit=same.commit) if same and same.build_key is not None else None
        return WayBack(path, attempt, version, built, s.version, s.attempts, same.ran if same else Ran())

    async def prove(self, within: float, way_back: WayBack) -> None:
        """Follow the new version until it is healthy; go back when it is not `within` so many seconds. Raises `Failed`
        unless it is, or has come to its end."""
        context, s = self._context, self._context.snapshot
        if not context.is_live():
            return
        with context.may_leave():
            proven = await calls.prove(c.ProveIn(**context.attempt_in().model_dump(), within=within))
        if proven.observation is not None and proven.observation.sequence > s.sequence:
            await self._observations.take(proven.observation)
        if proven.healthy:
            what = s.attempt.program if s.attempt else f"version {s.version}"
            context.journal.note("command", f"{what} is healthy: {proven.why or 'it has completed a checkpoint'}")
            return
        if s.state in (JobState.KILLED, JobState.BLOCKED) and workflow.patched("proven-to-have-ended-otherwise"):
            # Somebody cancelled it on the cluster, or nobody knows how it ended: that starts nothing.
            raise Failed(f"It is not rolled back: {s.reason}", s.blocked.code if s.blocked else "ended_otherwise")
        await self.roll_back(way_back, s.version, f"not healthy within {within:g} s: {proven.why}")

    async def roll_back(self, way_back: WayBack, asked: int, why: str) -> None:
        """Back to what ran before, exactly: commit, compiled plan, tables and libraries of the attempt that made the
        restore point. Raises `Failed` either way: version `asked` does not run, and `why` is told; unless that has come
        to its end in this moment, which starts nothing."""
        context, journal, s = self._context, self._context.journal, self._context.snapshot
        started = s.attempt is not None and s.attempts > way_back.attempts
        bad = s.attempt.program if s.attempt is not None and started else f"version {asked}"
        good = program(way_back.version, way_back.built.commit if way_back.built else None)
        journal.note("rollback", f"{bad} goes back to {good}: {why}", point=way_back.path)
        s.restart_at = None
        named = bad[0].upper() + bad[1:]
        s.goes_back = told = f"{named} goes back to {good}, restored from {way_back.path}: {why}."
        try:
            if context.is_live():
                await self._stops.cancel(Intent.REPLACE, point=way_back.path, unless_finished=True)
                if s.state is JobState.FINISHED:
                    journal.note("command", f"{bad} is not rolled back: it has come to its end")
                    return
            await self._start(way_back, told)
        finally:
            s.goes_back = None
        good = s.attempt.program if s.attempt is not None else good
        raise Failed(f"{named} was rolled back to {good}, restored from {way_back.path}: {why}", "rolled_back")

    async def _start(self, way_back: WayBack, told: str) -> None:
        """Start what ran before. Raises `Failed` when it does not run."""
        s = self._context.snapshot
        if workflow.patched("a-roll-back-waits-for-files"):
            await self._wait_for_files(way_back, told)
        try:
            await self._deployment.start(self._new_attempt(way_back))
            self._deployment.check_started()
        except Failed as failure:
            told = f"{told} {failure.message}"
            # What could not be sent is what ran before, and that is kept alive.
            away = failure.code == UNREACHABLE and workflow.patched("a-roll-back-is-put-off")
            if not away or not self._deployment.put_off(failure):
                raise Failed(told, failure.code) from failure
            if workflow.patched("put-off-with-its-state"):
                s.basis = Basis.NEWEST
            raise Failed(f"{told} {PUT_OFF_WORDS}", failure.code) from failure

    async def _wait_for_files(self, way_back: WayBack, told: str) -> None:
        """While the files of restore points are away the roll-back waits, some minutes: nothing of the job runs then,
        and its state says where it is to go, should this be lost."""
        journal = self._context.journal
        for _ in range(TRIES):
            gathered = await self._restore_points.gather(way_back.path)
            if gathered.code != UNREADABLE:
                return
            if journal.snapshot.state is not JobState.DEPLOY_FAILED:
                journal.set_state(JobState.DEPLOY_FAILED, f"{told} It waits: {gathered.error}")
                await journal.write("the roll-back waits")
            with self._context.may_leave():
                await workflow.sleep(PAUSE, summary="until the restore points can be read")

    def _new_attempt(self, way_back: WayBack) -> NewAttempt:
        command = self._context.journal.command
        restore = RestoreRequest(mode="point", point=way_back.path)
        cause = f"rollback of command {command.number if command else ''}"
        if not self._context.since(1):
            return NewAttempt(way_back.version_then, restore, cause, requested_by=ROLLBACK, explicit=True)
        return NewAttempt(
            way_back.version,
            restore,
            cause,
            requested_by=ROLLBACK,
            explicit=True,
            built=way_back.built,
            repeat=way_back.attempt,
            ran=way_back.ran,
        )
