"""The command adopt: a Flink job that is alive, and that nobody owns, becomes the job's attempt."""

from __future__ import annotations

from temporalio import workflow

from activities import contracts as c
from core.jobs.commands import CommandRequest
from core.jobs.restore import Basis
from core.jobs.snapshot import ADOPTED, AttemptSnapshot
from core.jobs.states import AttemptState, JobState
from workflows import calls
from workflows.context import JobContext
from workflows.deployment import Deployment
from workflows.failure import Failed
from workflows.observations import Observations
from workflows.predecessor import Predecessor


class Adoption:
    """Takes Flink jobs over."""

    def __init__(
        self, context: JobContext, observations: Observations, predecessor: Predecessor, deployment: Deployment
    ):
        self._context = context
        self._observations = observations
        self._predecessor = predecessor
        self._deployment = deployment

    async def adopt(self, command: CommandRequest) -> None:
        """Take over the Flink job that the command names. Raises `Failed` when that is not alive, or not free."""
        context, journal, s = self._context, self._context.journal, self._context.snapshot
        flink_job_id = str(command.flink_job_id)
        if s.attempt is None or s.attempt.flink_job_id != flink_job_id:
            # What it has become of the attempt before counts where this one cannot be taken over.
            await self._predecessor.settle(going_on=not workflow.patched("adoption-settles"))
        argument = c.AdoptIn(job_id=s.job_id, flink_job_id=flink_job_id, command_id=command.id)
        with context.may_leave():
            answer = await calls.adoptable(argument)
        if answer.error or answer.observation is None:
            raise Failed(answer.error or "The cluster cannot be asked about it.", answer.code or "not_adoptable")
        before = s.model_copy()
        s.restart_at, s.stop, s.others_alive = None, None, False
        if answer.number is None:
            try:
                await self._open(flink_job_id, command, answer)
            except Failed as failure:
                if failure.code == "not_adoptable":  # another job was faster; nothing was written
                    s.restart_at, s.stop, s.others_alive = before.restart_at, before.stop, before.others_alive
                    s.attempts, s.attempt = before.attempts, before.attempt
                raise
        else:
            s.attempt = AttemptSnapshot(
                number=answer.number,
                flink_job_id=flink_job_id,
                version=answer.version or s.version,
                build_key=answer.build_key,
                commit=answer.commit,
                leader=answer.leader,
                adopted=answer.adopted,
            )
        attempt = context.attempt
        s.version = attempt.version
        if answer.number is None and context.since(1):
            s.lineage = s.lineage.taken_over(attempt.number)
        else:
            s.lineage = s.lineage.adopted(attempt.number, s.attempts)
        s.basis = Basis.NEWEST
        journal.set_state(JobState.DEPLOYED, "adopted")
        words = f"attempt {attempt.number} is Flink job {flink_job_id}, adopted as it runs"
        journal.note("attempt", words, requested_by=command.requested_by)
        reopened = journal.attempt_change(AttemptState.ACCEPTED)
        reopened[0].reopen = True
        await journal.write("adopted", attempts=reopened)
        await self._observations.take(answer.observation)

    async def _open(self, flink_job_id: str, command: CommandRequest, answer: c.Adoptable) -> None:
        """It was no attempt of ours: a new one is written down for it."""
        s = self._context.snapshot
        number, version = s.attempts + 1, command.version or s.version
        s.attempts = number
        s.attempt = AttemptSnapshot(
            number=number,
            flink_job_id=flink_job_id,
            version=version,
            leader=answer.leader,
            restored_from=answer.restored_from,
            adopted=answer.adopted,
        )
        await self._deployment.open(ADOPTED, f"command {command.number}: adopt")
