"""What the recovery schedule mends: commands not delivered, clusters without a watch, jobs without a workflow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import structlog
from temporalio import activity
from temporalio.service import RPCError

from activities import contracts as c
from activities.logs import heartbeats
from core.errors import Conflict
from core.names import job_workflow_id
from core.records import CommandChange, Record
from core.states import CommandState
from store import clusters, commands, jobs
from store.record import apply
from store.tables import Cluster, Command, Job
from watch.delivery import deliver, request_of, snapshot_of, start_job, start_watch
from watch.services import Services

UNDELIVERED_SECONDS = 15
log = structlog.get_logger()


class Recovery:
    def __init__(self, services: Services):
        self._services = services

    @activity.defn(name=c.RECOVER)
    async def recover(self) -> dict[str, int]:
        """Mend what is safe to mend; returns how much there was of each kind."""
        async with heartbeats(10):
            async with self._services.database.read() as session:
                rows = {row.name: row for row in await clusters.all_(session)}
            for name in rows:
                await start_watch(self._services.client, name)
            lost = await self._lost_workflows(rows)
            delivered = await self._undelivered(rows)
            if lost or delivered:
                log.info("recovered", workflows=lost, commands=delivered)
            return {"workflows": lost, "commands": delivered}

    async def _undelivered(self, rows: dict[str, Cluster]) -> int:
        before = datetime.now(UTC) - timedelta(seconds=UNDELIVERED_SECONDS)
        async with self._services.database.read() as session:
            waiting = await commands.undelivered(session, before)
        for command, job in waiting:
            await self._deliver(command, job, rows[job.cluster])
        return len(waiting)

    async def _deliver(self, command: Command, job: Job, cluster: Cluster) -> None:
        snapshot = snapshot_of(job, cluster, self._services.settings)
        try:
            await deliver(self._services.client, snapshot, request_of(command))
        except Conflict as error:
            change = CommandChange(
                id=command.id,
                state=CommandState.FAILED,
                at=datetime.now(UTC),
                error=str(error),
                error_code=error.code,
            )
            async with self._services.database.write() as session:
                await apply(session, Record(job_id=job.id, commands=[change]))
        except RPCError as error:
            log.warning("command not delivered", job=f"{job.project}:{job.name}", why=str(error))

    async def _lost_workflows(self, rows: dict[str, Cluster]) -> int:
        """Jobs that have lived and have no workflow. One count tells that there are none."""
        client = self._services.client
        async with self._services.database.read() as session:
            expected = await jobs.count_lived(session)
        query = "WorkflowType = 'JobWorkflow' AND ExecutionStatus = 'Running'"
        if (await client.count_workflows(query)).count >= expected:
            return 0
        running = {w.id async for w in client.list_workflows(query)}
        async with self._services.database.read() as session:
            lived = await jobs.lived(session)
        missing = [job for job in lived if job_workflow_id(job.project, job.name) not in running]
        for job in missing:
            await start_job(client, snapshot_of(job, rows[job.cluster], self._services.settings))
        return len(missing)
