"""What all parts of a job's workflow share: its snapshot and journal, and what they ask of them all the time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from temporalio import workflow

from activities import contracts as c
from core.jobs.blocked import Blocked
from core.jobs.observations import killed
from core.jobs.restore import Basis, basis_of_killed
from core.jobs.snapshot import AttemptSnapshot, JobSnapshot, StopSnapshot
from core.jobs.states import CommandKind, JobState
from workflows.failure import Failed, Interrupted, NoAttempt
from workflows.journal import WAS_SET_BACK, Journal


class JobContext:
    """One for each run of a job's workflow. `interruptible`: a kill may interrupt what is going on now."""

    def __init__(self, journal: Journal):
        self.journal = journal
        self.interruptible = False

    @property
    def snapshot(self) -> JobSnapshot:
        return self.journal.snapshot

    @property
    def attempt(self) -> AttemptSnapshot:
        """The current attempt. Raises `NoAttempt`."""
        attempt = self.snapshot.attempt
        if attempt is None:
            raise NoAttempt(f"Job {self.snapshot.label} has no attempt.")
        return attempt

    def attempt_in(self) -> c.AttemptIn:
        """The current attempt, as activities are told it. Raises `NoAttempt`. What is not written yet is one record
        more, which may be written before the activity begins."""
        attempt, command = self.attempt, self.journal.command
        return c.AttemptIn(
            job_id=self.snapshot.job_id,
            number=attempt.number,
            command_id=command.id if command else None,
            leader=attempt.leader,
            revision=self.snapshot.revision + self.journal.has_unwritten(),
        )

    def learns_leader(self, leader: str | None) -> None:
        """Who has the current attempt, where that was not known: it was sent, and its workflow lost before it heard."""
        attempt = self.snapshot.attempt
        if leader is not None and attempt is not None and attempt.leader is None:
            attempt.leader = leader

    def is_live(self) -> bool:
        """Whether there is an attempt that has not been seen to end."""
        attempt = self.snapshot.attempt
        return attempt is not None and not attempt.ended

    def is_unresolved(self) -> bool:
        """Whether the current attempt was perhaps sent, and nothing clear has been heard of it."""
        attempt = self.snapshot.attempt
        return attempt is not None and not attempt.ended and attempt.unresolved

    def since(self, generation: int) -> bool:
        """Whether this run does what is done since that generation; an earlier one did not, and is replayed so."""
        return self.snapshot.generation >= generation

    @contextmanager
    def may_leave(self) -> Iterator[None]:
        """A step that a kill may interrupt: nothing is half done when it is left. Raises `Interrupted` when a kill is
        waiting already."""
        if any(command.kind is CommandKind.KILL for command in self.snapshot.queue):
            raise Interrupted
        self.journal.flush()
        self.interruptible = True
        try:
            yield
        finally:
            self.interruptible = False

    async def intends(self, stop: StopSnapshot) -> None:
        """A stop or a cancel is about to be sent, and is written down first: were this workflow lost while it is on its
        way, the end that comes of it would be taken for one that nobody asked for."""
        if self.snapshot.stop is not None:
            stop.earlier = self.snapshot.stop.directories
        self.snapshot.stop = stop
        if workflow.patched("a-stop-is-written-down-first"):
            stop.at = workflow.now()
            await self.journal.write("it is told to end")
            if self.journal.newer is not None:
                self.set_back(self.journal.newer)

    async def see_newest(self) -> None:
        """Before an attempt is written down. Raises `Failed` when this workflow was set back."""
        if await self.journal.is_set_back() and self.journal.newer is not None:
            self.set_back(self.journal.newer)

    def set_back(self, newer: JobSnapshot) -> NoReturn:
        """This workflow was set back behind `newer`, and does nothing any more. Raises `Failed`."""
        self.journal.newer = newer
        raise Failed(f"{WAS_SET_BACK}. Nothing was sent.", "set_back")

    def set_killed(self) -> None:
        """The job is KILLED, and a person has to say what its state is worth, if it can have any."""
        basis = basis_of_killed(self.snapshot.basis, self.snapshot.attempts)
        if basis is not Basis.DECIDE and not workflow.patched("killed-before-any-attempt"):
            basis = Basis.DECIDE
        self.snapshot.basis = basis
        why = killed(self.snapshot.stateless) if basis is Basis.DECIDE else "killed before any attempt of it was made"
        self.journal.set_state(JobState.KILLED, why)

    def set_lost_in_roll_back(self) -> None:
        """This workflow was lost between the two attempts of a roll-back. To go on by itself would be from the version
        that nobody wants to run again."""
        words = f"Its workflow was lost in the middle of a roll-back, and nothing of it runs. {self.snapshot.goes_back}"
        self.journal.set_state(
            JobState.DEPLOY_FAILED, f"{words} `resubmit` with that version and restore point does it."
        )
        self.snapshot.goes_back = self.snapshot.restart_at = None

    def asked_at(self, sequence: int) -> None:
        """Note when the cluster was asked. A worker whose clock was set ahead has seen nothing of the future: were that
        believed, nothing that is told until then would count."""
        if self.since(1):
            sequence = min(sequence, int(workflow.now().timestamp() * 1000))
        self.snapshot.sequence = max(self.snapshot.sequence, sequence)

    def points_may_exist(self) -> None:
        """From now on it is not certain any more that the job has never completed a restore point."""
        snapshot = self.snapshot
        snapshot.lineage = snapshot.lineage.model_copy(update={"untouched": False})

    async def park(self, why: Blocked) -> NoReturn:
        """Park the job, and end the command with that: raises `Failed`."""
        self.journal.block(why)
        await self.journal.write("blocked")
        raise Failed(why.why, why.code)
