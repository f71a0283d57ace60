"""What the recovery schedule finds: it mends what is safe to mend, and reports the rest.

With nothing to do a run costs a few counts, whatever the number of jobs (`make bench`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable
from datetime import timedelta

import structlog
from temporalio import activity
from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError

from activities import contracts as c
from activities.logs import heartbeats
from core.errors import Conflict
from core.names import cluster_workflow_id
from core.records import CommandChange, Record
from core.states import RESTING, CommandState
from settings import clock
from store import attempts, clusters, commands, jobs, orphans
from store.record import apply
from store.tables import Cluster, Command, Job
from watch import deletion
from watch.delivery import deliver, start_job, start_watch
from watch.services import Services

UNDELIVERED_SECONDS = 15
UNFINISHED_SECONDS = 15
COMPARE_SECONDS = 3600.0
JOBS = "WorkflowType = 'JobWorkflow' AND ExecutionStatus = 'Running'"
WATCHES = "WorkflowType = 'ClusterWorkflow' AND ExecutionStatus = 'Running'"
log = structlog.get_logger()


class Recovery:
    def __init__(self, services: Services):
        self._services = services
        self._compared = 0.0

    @activity.defn(name=c.RECOVER)
    async def recover(self, wanted: c.RecoverIn) -> c.Recovered:
        """Look for what is not as it ought to be; unless it is a dry run, mend what is safe to mend."""
        async with heartbeats(10):
            run = _Run(self._services, dry=wanted.dry_run)
            await run.watches()
            # Equal counts may hide a lost workflow beside one too many: now and then all are compared.
            full = wanted.dry_run or clock.monotonic() - self._compared > COMPARE_SECONDS
            await run.workflows(full=full)
            if full:
                self._compared = clock.monotonic()
            await run.deletions()
            await run.undelivered()
            await run.disagreements()
            await run.orphans()
            if mended := [f.kind for f in run.findings if f.done]:
                log.info("recovered", mended=mended)
            return c.Recovered(findings=run.findings)


class _Run:
    def __init__(self, services: Services, *, dry: bool):
        self._services = services
        self._dry = dry
        self._clusters: dict[str, Cluster] = {}
        self.findings: list[c.Finding] = []

    async def _found(self, kind: str, subject: str, what: str, action: str, mend: Awaitable[object] | None) -> None:
        finding = c.Finding(kind=kind, subject=subject, what=what, action=action, safe=mend is not None)
        self.findings.append(finding)
        if mend is None:
            return
        if self._dry:
            mend.close()  # type: ignore[attr-defined]
            return
        try:
            await mend
            finding.done = True
        except RPCError as error:
            finding.what += f" (not mended: {error})"
            log.warning("could not recover", kind=kind, subject=subject, why=str(error))

    async def watches(self) -> None:
        async with self._services.database.read() as session:
            self._clusters = {row.name: row for row in await clusters.all_(session)}
        running = {w.id async for w in self._services.client.list_workflows(WATCHES)}
        for name in self._clusters:
            if cluster_workflow_id(name) not in running:
                mend = start_watch(self._services.client, name)
                await self._found("watch", name, "the cluster is not watched", "start its watch", mend)

    async def workflows(self, *, full: bool) -> None:
        """Jobs that have lived and have no workflow, and workflows whose job is gone."""
        client = self._services.client
        async with self._services.database.read() as session:
            expected = await jobs.count_lived(session)
        if not full and (await client.count_workflows(JOBS)).count == expected:
            return
        running = {w.id async for w in client.list_workflows(JOBS)}
        async with self._services.database.read() as session:
            lived = {jobs.workflow_id(job): job for job in await jobs.lived(session)}
            known = await jobs.workflow_ids(session)
        for id_ in lived.keys() - running:
            job = lived[id_]
            what, action = "the job has no workflow", "start it from its last record"
            mend = start_job(self._services, job, self._clusters[job.cluster])
            await self._found("workflow", f"{job.project}:{job.name}", what, action, mend)
        for id_ in running - known:
            await self._ownerless(id_)

    async def _ownerless(self, id_: str) -> None:
        """A workflow ends by itself when nothing of its job runs, and refuses otherwise."""
        handle = self._services.client.get_workflow_handle(id_)
        what, action = "a workflow runs whose job has no row", "end it, when nothing of it runs"
        try:
            await self._found("row", id_, what, action, handle.execute_update("retire"))
        except WorkflowUpdateFailedError as error:
            self.findings[-1].what += f": {error.cause}"
            self.findings[-1].action = "look at it in the Temporal UI; restore the row from a backup, or kill its job"

    async def deletions(self) -> None:
        """Jobs whose deletion was cut off: finished, or taken back when the workflow refuses."""
        before = clock.now() - timedelta(seconds=UNFINISHED_SECONDS)
        async with self._services.database.read() as session:
            rows = await jobs.deleting(session, before)
        for job in rows:
            what, action = "its deletion was not finished", "finish it, or take it back when something of it runs"
            await self._found("deletion", f"{job.project}:{job.name}", what, action, self._delete(job))

    async def _delete(self, job: Job) -> None:
        with contextlib.suppress(Conflict):  # it was taken back, and the job says so
            await deletion.finish(self._services, job)

    async def undelivered(self) -> None:
        before = clock.now() - timedelta(seconds=UNDELIVERED_SECONDS)
        async with self._services.database.read() as session:
            waiting = await commands.undelivered(session, before)
        for command, job in waiting:
            subject = f"{job.project}:{job.name} command {command.number}"
            mend = self._deliver(command, job, self._clusters[job.cluster])
            await self._found("command", subject, f"{command.kind} was not delivered", "deliver it", mend)

    async def _deliver(self, command: Command, job: Job, cluster: Cluster) -> None:
        try:
            await deliver(self._services, job, cluster, command)
        except Conflict as error:
            change = CommandChange(
                id=command.id,
                state=CommandState.FAILED,
                at=clock.now(),
                error=str(error),
                error_code=error.code,
            )
            async with self._services.database.write() as session:
                await apply(session, Record(job_id=job.id, commands=[change]))

    async def disagreements(self) -> None:
        """Attempts that have not been seen to end although their job says otherwise."""
        async with self._services.database.read() as session:
            found = await attempts.contradicted(session, sorted(RESTING))
        for attempt, job in found:
            what = (
                f"attempt {attempt.number} (Flink job {attempt.flink_job_id}) has not been seen to end, while the job "
                f"is {job.state} with attempt {job.current_attempt}"
            )
            action = f"look at Flink job {attempt.flink_job_id} on {attempt.cluster}; adopt it, or cancel it there"
            await self._found("attempt", f"{job.project}:{job.name}", what, action, None)

    async def orphans(self) -> None:
        async with self._services.database.read() as session:
            rows = await orphans.all_(session)
        for row in rows:
            was = f", attempt {row.attempt} of a job of ours," if row.attempt else ""
            what = f"Flink job {row.flink_job_id} ({row.name}){was} is alive, and nobody owns it"
            action = f"penstock orphans adopt {row.cluster} {row.flink_job_id} JOB, or penstock orphans stop"
            await self._found("orphan", row.cluster, what, action, None)
