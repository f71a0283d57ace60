"""How an attempt is started: settled, built, restored, written down, submitted, followed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NoReturn

from temporalio import workflow
from temporalio.exceptions import FailureError

from activities import contracts as c
from core.jobs import blocked
from core.jobs.commands import RESTART_POLICY
from core.jobs.observations import Intent, Trouble
from core.jobs.restore import Basis, RestoreRequest
from core.jobs.snapshot import AttemptSnapshot, Ran, StopSnapshot
from core.jobs.states import AttemptState, CommandKind, JobState
from workflows import calls
from workflows.context import JobContext
from workflows.endings import AttemptEndings
from workflows.failure import Failed, Interrupted
from workflows.failure_policy import FailurePolicy
from workflows.observations import Observations
from workflows.predecessor import Predecessor
from workflows.programs import ProgramChoice
from workflows.restore_points import RestorePoints
from workflows.submission import AttemptSender

RETRY_UNREACHABLE = timedelta(seconds=60)
UNREACHABLE, UNREADABLE = "submission_unreachable", "points_unreadable"
PUT_OFF = (UNREACHABLE, UNREADABLE)
PUT_OFF_WORDS = "Nothing of it runs now; the restart policy tries again until its parts answer."
UNKNOWN = Ran()


@dataclass(frozen=True)
class NewAttempt:
    """An attempt that is to be started. `cause` says why, `requested_by` who wants it. `explicit`: a person has said
    which state it gets; `automatic`: nobody is there to accept anything. `kind` is the command's. `built` is what it
    runs, where that is known; `repeat` an attempt whose program is run again. `patience` is how many seconds it has to
    run in; None: as many as the settings say."""

    version: int
    restore: RestoreRequest
    cause: str
    requested_by: str
    explicit: bool
    automatic: bool = False
    kind: CommandKind = CommandKind.RESTART
    built: c.Built | None = None
    repeat: int | None = None
    patience: float | None = None
    ran: Ran | None = None
    """What ran by this version, where it is to run again."""


class Deployment:
    """Starts attempts."""

    def __init__(
        self,
        context: JobContext,
        *,
        policy: FailurePolicy,
        endings: AttemptEndings,
        observations: Observations,
        predecessor: Predecessor,
        programs: ProgramChoice,
        restore_points: RestorePoints,
        submission: AttemptSender,
    ):
        self._context = context
        self._policy = policy
        self._endings = endings
        self._observations = observations
        self._predecessor = predecessor
        self._programs = programs
        self._restore_points = restore_points
        self._submission = submission

    async def restart(self) -> None:
        """The restart that the policy has planned. One that fails is counted by the policy; one for which the cluster
        or the files were away is put off."""
        journal, s = self._context.journal, self._context.snapshot
        if not s.policy.enabled and workflow.patched("restarts-switched-off"):
            s.restart_at = None
            journal.set_state(JobState.FAILED, f"{s.reason} (the restart policy was switched off)"[:2000])
            await journal.write("not restarted")
            return
        cause = f"restart policy, after: {s.reason}"[:500]
        s.restarts = [*s.restarts, workflow.now()][-s.policy.max_restarts - 1 :]
        s.restart_at = None
        restore = RestoreRequest(mode="none" if s.stateless else "newest")
        try:
            await self.start(
                NewAttempt(s.version, restore, cause, requested_by=RESTART_POLICY, explicit=False, automatic=True)
            )
            if self._context.since(2):
                await journal.write_owed("restarted")
        except Failed as failure:
            if s.state is JobState.DEPLOY_FAILED:
                if failure.code in PUT_OFF:  # this was no restart
                    s.restarts = s.restarts[:-1]
                    self._wait_for_parts(failure)
                else:
                    self._policy.apply(failure.message)
                await journal.write("restart failed")
            elif s.state is JobState.RESTARTING and s.restart_at is None:
                self._wait_for_parts(failure)
                await journal.write("restart put off")

    def put_off(self, failure: Failed) -> bool:
        """A restart that a person asked for has failed, because cluster or files are away and nothing was sent: a job
        that ran, or was to be restarted, is kept alive as it was before. False where it failed for something else."""
        s = self._context.snapshot
        away = s.state is JobState.DEPLOY_FAILED and failure.code in PUT_OFF
        if not away or not s.policy.enabled or not workflow.patched("a-persons-restart-is-put-off"):
            return False
        self._wait_for_parts(failure)
        return True

    def _wait_for_parts(self, failure: Failed) -> None:
        self._context.snapshot.restart_at = workflow.now() + RETRY_UNREACHABLE
        self._context.journal.set_state(JobState.RESTARTING, failure.message)

    async def start(self, new: NewAttempt) -> None:
        """Start an attempt. Ends with the job RUNNING, FINISHED, DEPLOYED (accepted and not running yet) or RESTARTING;
        raises `Failed` with the job DEPLOY_FAILED, BLOCKED or as it was."""
        context, journal, s = self._context, self._context.journal, self._context.snapshot
        was_fresh = s.basis is Basis.FRESH
        await self._predecessor.settle(again=new.explicit and new.restore.mode != "newest")
        if was_fresh and s.basis is not Basis.FRESH and not new.explicit and not s.stateless:
            new = self._on_from_what_ran(new)
        s.restart_at = None
        journal.set_state(JobState.DEPLOYING, new.cause)
        built = new.built or await self._programs.get(new.version, new.kind, new.repeat)
        repeat = new.repeat or self._programs.attempt_to_repeat(new.version, new.kind)
        choice, lineage = await self._restore_points.choose(new.restore, explicit=new.explicit)
        accepted, last = new.restore.accepted, s.attempt
        if not new.explicit and last is not None and choice.path is not None and choice.path == last.restored_from:
            accepted = last.accepted  # the same state again
        number, flink_job_id = s.attempts + 1, workflow.uuid4().hex
        s.attempts = number
        s.attempt = attempt = AttemptSnapshot(
            number=number,
            flink_job_id=flink_job_id,
            version=new.version,
            build_key=built.key,
            commit=built.commit,
            unresolved=context.since(1),
            restored_from=choice.path,
            accepted=accepted,
            before=s.attempt.version if s.attempt else None,
        )
        s.version, s.lineage, s.goes_back = new.version, lineage or s.lineage.begun(number, choice.path), None
        journal.note(
            "attempt",
            f"attempt {number}, {attempt.program}: {choice.why}",
            restored_from=choice.path,
            commit=built.commit,
            requested_by=new.requested_by,
        )
        if not context.since(2):
            journal.display()
        same = last is not None and last.version == new.version and new.kind is not CommandKind.RESUBMIT
        ran = new.ran or (last.ran if last is not None and same else UNKNOWN)
        opening = self._opening(choice.path, choice.why, new.cause, automatic=new.automatic, repeat=repeat, ran=ran)
        observed: c.Seen | None = None
        if context.since(2):
            started = await self._start(opening, new.patience)
            attempt.ran = started.ran
            await self._submission.submit(started.submitted)
            observed = started.seen
        else:
            await self._open(opening)
            await self._submission.submit()
        if context.is_live():
            await self._follow(new.patience, observed)

    def _on_from_what_ran(self, new: NewAttempt) -> NewAttempt:
        """The first attempt of a job was believed never to have run when this one was asked for, and has run. Raises
        `Failed` with the job DEPLOY_FAILED where only a person can say what its state is worth."""
        s = self._context.snapshot
        if not workflow.patched("ran-after-all"):  # a run of before
            return new
        same = s.attempt is not None and s.attempt.version == new.version and new.kind is not CommandKind.RESUBMIT
        if s.basis is Basis.NEWEST and same:
            return replace(new, restore=RestoreRequest(mode="newest"))
        why = (
            "Its first attempt, whose start was told to have failed, has run after all. Say what its state is worth: "
            "send the command again with `restore`."
        )
        self._context.journal.set_state(JobState.DEPLOY_FAILED, why)
        raise Failed(why, "restore_undecided")

    def check_started(self) -> None:
        """Raise `Failed` unless the job runs, or has run to its end."""
        s = self._context.snapshot
        if s.state in (JobState.RESTARTING, JobState.BLOCKED, JobState.FAILED):
            raise Failed(s.reason, s.blocked.code if s.blocked else "attempt_failed")
        if s.state not in (JobState.RUNNING, JobState.FINISHED):
            raise Failed(f"The cluster has accepted it, but it does not run: {s.reason}", "not_running")

    async def open(self, why: str, cause: str) -> None:
        """Write the current attempt down, which runs already; `why` its state is what it is. Raises `Failed` when it is
        another job's, and with the job BLOCKED when the database has attempts that the workflow does not know."""
        await self._open(self._opening(self._context.attempt.restored_from, why, cause))

    async def write_again(self) -> None:
        """The database has no row of the current attempt, as after it was restored from a backup: it is written down
        again as far as it is known here, so that it is watched, and can be stopped. Raises as `open` does."""
        journal, s, attempt = self._context.journal, self._context.snapshot, self._context.attempt
        why = "the database had no row of it, as after it was restored from a backup"
        journal.note("alert", f"attempt {attempt.number} is written down again: {why}")
        await self._open(self._opening(attempt.restored_from, why, why, again=True, ran=attempt.ran))
        runs = s.state is JobState.RUNNING
        changes = journal.attempt_change(AttemptState.RUNNING if runs else AttemptState.ACCEPTED, running=runs)
        await journal.write(f"attempt {attempt.number} written again", attempts=changes)

    def _opening(
        self,
        path: str | None,
        why: str,
        cause: str,
        *,
        automatic: bool = False,
        repeat: int | None = None,
        again: bool = False,
        ran: Ran = UNKNOWN,
    ) -> c.OpenAttempt:
        """The current attempt, as it is written down before anything is sent; `path` is what it is restored from,
        `why` it is that."""
        context, s = self._context, self._context.snapshot
        attempt = context.attempt
        return c.OpenAttempt(
            job_id=s.job_id,
            cluster=s.cluster,
            number=attempt.number,
            flink_job_id=attempt.flink_job_id,
            version=attempt.version,
            restore_path=path,
            restore_why=why,
            allow_non_restored_state=attempt.accepted.loss,
            accept_changed_state=attempt.accepted.change,
            accept_unknown_state=attempt.accepted.unknown,
            automatic=automatic,
            like=repeat,
            cause=cause,
            build_key=attempt.build_key,
            commit=attempt.commit,
            adopted=attempt.adopted,
            again=again,
            ran=ran,
            record=context.journal.record(pin=path or ("" if attempt.number > 1 else None)),
        )

    async def _open(self, opening: c.OpenAttempt) -> None:
        await self._context.see_newest()
        opened = await calls.open_attempt(opening)
        if opened.conflict:
            await self.history_lost(opened)
        if opened.owner is not None:
            raise Failed(
                f"Flink job {opening.flink_job_id} is an attempt of {opened.owner}; adopt it there, or stop it.",
                "not_adoptable",
            )

    async def _start(self, opening: c.OpenAttempt, patience: float | None) -> c.Started:
        """Write the current attempt down, and send it. Raises as `_open` does, and whatever it is left by when a kill
        comes in or the step fails."""
        context = self._context
        await context.see_newest()
        command = context.journal.command
        argument = c.StartAttempt(**dict(opening), command_id=command.id if command else None, patience=patience)
        try:
            with context.may_leave():
                started = await calls.start_attempt(argument)
        except (Interrupted, asyncio.CancelledError, FailureError):
            await self._see_it_written(opening)
            raise
        if started.conflict is not None:
            await self.history_lost(started.conflict)
        return started

    async def history_lost(self, newest: c.OpenedAttempt) -> NoReturn:
        """The database has attempts that this workflow does not know. Nothing was sent; the workflow goes on from the
        job's last record. Where that does not know the newest of them either, it is what the next start has to see
        ended, and the job is parked. Raises `Failed`."""
        context, s = self._context, self._context.snapshot
        if newest.newer is not None:
            context.set_back(newest.newer)
        own = context.attempt.number
        s.attempts, s.revision = newest.number, max(s.revision, newest.revision)
        # A workflow that was reset is given its old commands once more: what they did is done.
        s.queue = [command for command in s.queue if command.number > newest.commands]
        s.attempt = AttemptSnapshot(
            number=newest.number,
            flink_job_id=newest.flink_job_id,
            version=newest.version,
            ended=newest.ended,
            unresolved=not newest.ended,
        )
        s.basis = Basis.NEWEST
        context.points_may_exist()
        await context.park(blocked.history_lost(own, newest.number, newest.flink_job_id))

    async def _see_it_written(self, opening: c.OpenAttempt) -> None:
        """A start was left, and nobody knows how far it came. Who makes sure of the attempt has to find its row, and a
        try that is late must not be the one that writes it."""
        await self._open(opening)

    async def _follow(self, patience: float | None, observed: c.Seen | None) -> None:
        """The cluster has the attempt: follow it until it runs or ends. `seen` is how, when that is known already."""
        context, journal, s = self._context, self._context.journal, self._context.snapshot
        s.basis = Basis.NEWEST
        journal.set_state(JobState.DEPLOYED, "the cluster has accepted it")
        accepted = journal.attempt_change(AttemptState.ACCEPTED)
        if observed is None:
            journal.write_in_background("accepted", attempts=accepted)
            with context.may_leave():
                answer = await calls.await_running(context.attempt_in().model_copy(update={"patience": patience}))
        else:
            journal.owe(accepted)
            answer = observed
        if answer.trouble is not None:
            await self._abandon(answer.trouble, answer.why or "its restore fails")
        elif answer.observation is not None:
            await self._observations.take(answer.observation, owing=context.since(2))
        else:
            journal.set_state(s.state, f"the cluster cannot be asked: {answer.why}")

    async def _abandon(self, trouble: Trouble, why: str) -> None:
        """Flink would try to restore it for ever, or it does not run from the state that was asked for. It has just
        been started, so ending it loses nothing."""
        context, s = self._context, self._context.snapshot
        await context.intends(StopSnapshot(intent=Intent.ABANDON, trouble=trouble, why=why, at=workflow.now()))
        stopped = await calls.cancel(context.attempt_in())
        if stopped.state is None:
            words = f"its restore fails ({why}), and it cannot be told whether it was cancelled"
            context.journal.set_state(s.state, words)
            return
        context.asked_at(stopped.sequence)
        await self._endings.end(stopped.state)
