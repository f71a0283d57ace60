"""What the recovery schedule finds: it mends what is safe to mend, and reports the rest.

With nothing to do a run costs a few counts, whatever the number of jobs (`make bench`); once an hour it looks at all
of them, and at what is old (`activities/forget.py`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from temporalio import activity
from temporalio.client import RPCTimeoutOrCancelledError, WorkflowUpdateFailedError
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from activities import contracts as c
from activities.forget import Forgetting
from activities.logs import heartbeats
from core import search
from core.errors import Conflict
from core.jobs import messages
from core.jobs.policy import RestartPolicy
from core.jobs.records import NewEvent, Record
from core.jobs.retention import SavepointPolicy
from core.jobs.snapshot import JobSnapshot
from core.jobs.states import RESTING
from observation import deletion
from services import Services
from settings import clock, waits
from store import attempts, clusters, commands, jobs, orphans
from store.record import apply
from store.tables import Cluster, Command, Job
from temporal.client import ask_for, tell
from temporal.delivery import (
    NO_ANSWER,
    ask,
    deliver,
    expires_at,
    known_to_workflow,
    policies_of,
    start_job,
    start_watch,
    tell_revision,
    was_taken,
)

AT_ONCE = 20
EXPIRED = (
    "It could not be delivered within {:.0f} s, as Temporal or the job's workflow did not answer. It was not carried "
    "out. Send it again, if it is still wanted."
)
_WORKFLOW_LOST = "Its workflow was lost while it was carried out. Send it again, if it is still wanted."
_END_LOST = (
    "It was carried out, and how it ended was lost: the database was perhaps restored from a backup. The job is what "
    "it is shown as; send it again, if it is still wanted."
)
_STATE = SearchAttributeKey.for_keyword(search.STATE)
SHOWN = 200
WORDS = 2000
Mend = Callable[[], Awaitable[str | None]]
"""Mends what was found, and may tell how."""
log = structlog.get_logger()


class Recovery:
    def __init__(self, services: Services):
        self._services = services
        self._compared = 0.0
        self._forgetting = Forgetting(services)

    @activity.defn(name=c.RECOVER)
    async def recover(self, request: c.RecoverIn) -> c.Recovered:
        """Look for what is not as it ought to be; unless it is a dry run, mend what is safe to mend.

        What cannot be looked at, or mended, is a finding, and keeps nothing else from being mended.
        """
        async with heartbeats(waits.RECOVERY_HEARTBEAT_SECONDS):
            # Equal counts may hide a lost workflow beside one too many: now and then all are compared.
            full = request.dry_run or clock.monotonic() - self._compared > waits.COMPARE_SECONDS
            run = _Run(self._services, dry=request.dry_run, full=full)
            steps = (
                run.watches,
                run.workflows,
                run.policies,
                run.deletions,
                run.undelivered,
                run.interrupted,
                run.disagreements,
            )
            for step in (*steps, run.orphans):
                await run.contained(step)
            if not request.dry_run:
                await run.contained(self._forgetting.past)
            if full and run.compared:
                self._compared = clock.monotonic()
            if mended := [f.kind for f in run.findings if f.done]:
                log.info("recovered", mended=dict(Counter(mended)))
            return limited(run.findings)


def limited(findings: Sequence[c.Finding]) -> c.Recovered:
    """At most `SHOWN` of them in full, those first that were not mended; the others counted by kind. A result of
    Temporal has room for 2 MB."""
    ordered = sorted(findings, key=lambda f: f.done)
    shown = [
        f.model_copy(update={"subject": f.subject[:WORDS], "what": f.what[:WORDS], "action": f.action[:WORDS]})
        for f in ordered[:SHOWN]
    ]
    return c.Recovered(findings=shown, more=dict(Counter(f.kind for f in ordered[SHOWN:])))


class _Run:
    """`compared`: workflows and rows were all compared."""

    def __init__(self, services: Services, *, dry: bool, full: bool):
        self._services = services
        self._dry = dry
        self._full = full
        self._slots = asyncio.Semaphore(AT_ONCE)
        self.compared = False
        self.findings: list[c.Finding] = []

    async def contained(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except Exception as error:
            name = getattr(step, "__name__", "")
            log.exception("a step of the recovery failed", step=name, exc_info=error)
            what = f"could not look at {name}: {_words(error)}"
            action = "is Temporal up, and the database? It is looked at again by the next run"
            self.findings.append(c.Finding(kind="recovery", subject=name, what=what, action=action, safe=False))

    async def _found(self, kind: str, subject: str, what: str, action: str, mend: Mend | None = None) -> bool:
        """Report what was found, and mend it. False when it was tried and did not succeed."""
        finding = c.Finding(kind=kind, subject=subject, what=what, action=action, safe=mend is not None)
        self.findings.append(finding)
        if mend is None or self._dry:
            return True
        try:
            async with self._slots, asyncio.timeout(waits.MEND_SECONDS):
                outcome = await mend()
        except _Refused as error:
            finding.what += f" (not mended: {error})"
            finding.action = error.action
        except Exception as error:
            finding.what += f" (not mended: {_words(error)})"
            log.warning("could not recover", kind=kind, subject=subject, why=_words(error))
        else:
            finding.done = True
            finding.what += f" ({outcome})" if outcome else ""
        return finding.done

    async def watches(self) -> None:
        client = self._services.client
        listed = client.list_workflows(self._own(messages.CLUSTER), rpc_timeout=waits.LIST_TIMEOUT)
        running = {workflow.id async for workflow in listed}
        expected = await self._watches()
        what, action = "the cluster is not watched", "start its watch"
        lost = [row.name for id_, row in expected.items() if id_ not in running]
        await asyncio.gather(*(self._found("watch", name, what, action, self._watch(name)) for name in lost))
        await self._unwatched({id_: row for id_, row in expected.items() if id_ in running})
        # A watch ends by itself when its cluster is gone, but not while no worker serves its queue.
        what, action = "a watch runs whose cluster is gone", "end it"
        left = sorted(running - expected.keys())
        await asyncio.gather(*(self._found("watch", id_, what, action, self._end_watch(id_)) for id_ in left))

    async def _unwatched(self, watched: Mapping[str, Cluster]) -> None:
        """Of clusters by the id of their watch, which is there: those where it does nothing, as somebody has paused it
        in Temporal."""
        limit = max(waits.UNWATCHED_SECONDS, waits.UNWATCHED_LOOKS * self._services.settings.watch_interval)
        for watch, row in watched.items():
            if row.observed_at is None or row.unreachable_since is not None:
                continue
            age = (clock.now() - row.observed_at).total_seconds()
            if age > limit:
                what = f"nobody has asked it for {age:.0f} s, although its watch ({watch}) is there"
                action = f"is the activity of {watch} paused in the Temporal UI? Unpause it"
                await self._found("watch", row.name, what, action)

    async def _watches(self) -> dict[str, Cluster]:
        """Each cluster, by the id of its watch."""
        async with self._services.database.read() as session:
            rows = await clusters.all_(session)
        return {self._services.installation.cluster_workflow_id(row.name): row for row in rows}

    def _end_watch(self, id_: str) -> Mend:
        async def mend() -> str | None:
            if id_ in await self._watches():
                return "its cluster has been registered again"
            try:
                await self._services.client.get_workflow_handle(id_).cancel(rpc_timeout=waits.ANSWER_TIMEOUT)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                return "it has ended"
            return None

        return mend

    def _own(self, type_: str) -> str:
        """A query of this installation's running workflows of a type."""
        queue = self._services.installation.queues.main
        return f"WorkflowType = '{type_}' AND ExecutionStatus = 'Running' AND TaskQueue = '{queue}'"

    def _watch(self, name: str) -> Mend:
        async def mend() -> None:
            await start_watch(self._services, name)

        return mend

    async def workflows(self) -> None:
        """Jobs that have lived and have no workflow, and workflows whose job is gone."""
        client, own = self._services.client, self._own(messages.JOB)
        async with self._services.database.read() as session:
            expected = await jobs.count_lived(session)
        if not self._full and (await client.count_workflows(own, rpc_timeout=waits.LIST_TIMEOUT)).count == expected:
            return
        listed = client.list_workflows(own, rpc_timeout=waits.LIST_TIMEOUT)
        states = {w.id: w.typed_search_attributes.get(_STATE) async for w in listed}
        running = states.keys()
        async with self._services.database.read() as session:
            lived = {jobs.workflow_id(job): job for job in await jobs.lived(session)}
            known = await jobs.workflow_ids(session)
        what, action = "the job has no workflow", "start it from its last record"
        lost = [lived[id_] for id_ in sorted(lived.keys() - running)]
        await asyncio.gather(*(self._found("workflow", _label(j), what, action, self._start(j)) for j in lost))
        what, action = "a workflow runs whose job has no row", "end it, when nothing of it runs"
        await asyncio.gather(
            *(self._found("row", id_, what, action, self._end(id_)) for id_ in sorted(running - known))
        )
        await self._behind([job for id_, job in lived.items() if states.get(id_, job.state) != job.state])
        self.compared = True

    async def _behind(self, rows: Sequence[Job]) -> None:
        """Of these jobs those whose row is behind their workflow: the database alone was restored from a backup, and a
        workflow at rest writes nothing by itself."""
        async with asyncio.TaskGroup() as group:
            for job in rows:
                group.create_task(self._look_behind(job))

    async def _look_behind(self, job: Job) -> None:
        """Twice: what is being written has arrived by then."""
        before = await self._revisions(job)
        if before is None or before[0] >= before[1]:
            return
        await asyncio.sleep(waits.BEING_WRITTEN_SECONDS)
        if await self._revisions(job) == before:
            what = "its row is behind its workflow: the database was perhaps restored from a backup"
            await self._found("workflow", _label(job), what, "have it written again", self._tell_revision(job))

    async def _revisions(self, job: Job) -> tuple[int, int] | None:
        """Of the row of a job, and of its workflow."""
        snapshot = await self._snapshot(job)
        async with self._services.database.read() as session:
            now = await jobs.by_id(session, job.id)
        if now is None or snapshot is None or snapshot.job_id != job.id:
            return None
        return now.revision, snapshot.revision

    def _start(self, job: Job) -> Mend:
        async def mend() -> None:
            await start_job(self._services, job, await self._cluster(job))

        return mend

    def _end(self, id_: str) -> Mend:
        """A workflow ends by itself when nothing of its job runs, and refuses otherwise."""

        async def mend() -> None:
            handle = self._services.client.get_workflow_handle(id_)
            try:
                await handle.execute_update(messages.RETIRE.name, rpc_timeout=waits.ANSWER_TIMEOUT)
            except WorkflowUpdateFailedError as error:
                action = "look at it in the Temporal UI; restore the row from a backup, or kill its job"
                raise _Refused(str(error.cause), action) from error

        return mend

    async def policies(self) -> None:
        """Policies that a workflow does not have as they are now: it could not be told, or a default was changed."""
        if not self._full:
            return
        async with self._services.database.read() as session:
            rows = [job for job in await jobs.lived(session) if not _has_policies(job, job.snapshot or {})]
        # A record may be older than what its workflow was told last.
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self._asked(job)) for job in rows]
        what, action = "its workflow has another policy than the job", "tell it"
        outdated = [job for job, task in zip(rows, asked, strict=True) if task.result()]
        await asyncio.gather(
            *(self._found("policy", _label(j), what, action, self._tell_policies(j)) for j in outdated)
        )

    async def _asked(self, job: Job) -> bool:
        """Whether the workflow of a job says that it has other policies; one that does not answer is for the others."""
        snapshot = await self._snapshot(job)
        return snapshot is not None and not _has_policies(job, snapshot.model_dump())

    async def _snapshot(self, job: Job) -> JobSnapshot | None:
        """What the workflow of a job knows; None when it does not answer."""
        async with self._slots:
            return await known_to_workflow(self._services, job)

    def _tell_policies(self, job: Job) -> Mend:
        async def mend() -> None:
            handle = self._services.client.get_workflow_handle(jobs.workflow_id(job))
            async with self._services.database.read() as session:
                now = await jobs.by_id(session, job.id)  # it may have been changed, and told, meanwhile
            policy, savepoints = policies_of(now or job)
            snapshot = await ask_for(handle, messages.SNAPSHOT)
            if snapshot.policy != policy:
                await tell(handle, messages.POLICY, policy)
            if snapshot.savepoints != savepoints:  # it begins its intervals anew
                await tell(handle, messages.SAVEPOINTS, savepoints)

        return mend

    async def _cluster(self, job: Job) -> Cluster:
        async with self._services.database.read() as session:
            return await clusters.get(session, job.cluster)

    async def deletions(self) -> None:
        """Jobs whose deletion was cut off: finished, or taken back when the workflow refuses."""
        async with self._services.database.read() as session:
            rows = await jobs.deleting(session, clock.now(), timedelta(seconds=waits.UNFINISHED_SECONDS))
        what, action = "its deletion was not finished", "finish it, or take it back when something of it runs"
        await asyncio.gather(*(self._found("deletion", _label(j), what, action, self._delete(j)) for j in rows))

    def _delete(self, job: Job) -> Mend:
        async def mend() -> str | None:
            try:
                await deletion.finish(self._services, job)
            except Conflict as error:
                return f"taken back: {error.message}"
            return None

        return mend

    async def undelivered(self) -> None:
        async with self._services.database.read() as session:
            age = timedelta(seconds=waits.UNDELIVERED_SECONDS)
            waiting = await commands.undelivered(session, clock.now(), age)
        of_jobs: dict[str, list[tuple[Command, Job]]] = {}
        for command, job in waiting:
            of_jobs.setdefault(job.id, []).append((command, job))
        await asyncio.gather(*(self._deliver_all(rows) for rows in of_jobs.values()))

    async def interrupted(self) -> None:
        """Commands that are shown RUNNING, and that their workflow does not know: the one that carried them out was
        lost, and what it wrote last came after the next one had begun from the record before; or it was set back."""
        async with self._services.database.read() as session:
            age = timedelta(seconds=waits.INTERRUPTED_SECONDS)
            rows = await commands.running(session, clock.now(), age)
        snapshots = await asyncio.gather(*(self._snapshot(job) for _, job in rows))
        ahead: dict[str, Job] = {}
        for (command, job), snapshot in zip(rows, snapshots, strict=True):
            if snapshot is None or snapshot.job_id != job.id:
                continue
            if snapshot.revision < job.revision:
                what = "its workflow was set back (reset, or Temporal was restored from a backup)"
                await self._found("workflow", _label(job), what, "tell it", self._tell_revision(job))
                continue
            carried_out = [request.id for request in (snapshot.command, *snapshot.queue) if request is not None]
            subject = f"{_label(job)} command {command.number}"
            if command.id in snapshot.handled and snapshot.revision > job.revision:
                ahead[job.id] = job  # its end is being written, or was lost
            elif command.id in snapshot.handled:
                what = f"how {command.kind} ended was lost with the database that it was written to"
                mend = self._end_lost(command, _END_LOST, "end_lost")
                await self._found("command", subject, what, "let it fail", mend)
            elif command.id not in carried_out:
                what = f"nobody carries out {command.kind} any more"
                await self._found("command", subject, what, "let it fail", self._end_lost(command))
        await self._behind(list(ahead.values()))

    def _tell_revision(self, job: Job) -> Mend:
        async def mend() -> None:
            await tell_revision(self._services, job)

        return mend

    def _end_lost(self, command: Command, why: str = _WORKFLOW_LOST, code: str = "workflow_lost") -> Mend:
        async def mend() -> str | None:
            async with self._services.database.write() as session:
                now = clock.now()
                if not await commands.end_lost(session, command, at=now, error=why, code=code):
                    return "it has ended"
                await apply(session, Record(job_id=command.job_id, events=[_failed(command, "lost", now, why)]))
            return None

        return mend

    async def _deliver_all(self, rows: Sequence[tuple[Command, Job]]) -> None:
        """The commands of one job, in order: behind one that does not arrive no other does."""
        for command, job in rows:
            subject, what = f"{_label(job)} command {command.number}", f"{command.kind} was not delivered"
            if clock.now() < expires_at(command, self._services.settings):
                done = await self._found("command", subject, what, "deliver it", self._deliver(command, job))
            else:
                what += f" within {self._services.settings.command_expiry:.0f} s"
                done = await self._found("command", subject, what, "let it fail", self._expire(command, job))
            if not done:
                return

    def _deliver(self, command: Command, job: Job) -> Mend:
        async def mend() -> str | None:
            try:
                await deliver(self._services, job, await self._cluster(job), command)
            except Conflict as error:
                await self._refused(command, str(error), error.code)
                return f"refused: {error.message}"
            return None

        return mend

    def _expire(self, command: Command, job: Job) -> Mend:
        """Its workflow is asked first: it may have taken it in time, and not have written that down."""

        async def mend() -> str | None:
            try:
                if await ask(self._services, job, command):
                    return "its workflow has it"
            except Conflict as error:
                await self._refused(command, str(error), error.code)
                return f"refused: {error.message}"
            except NO_ANSWER:
                if clock.now() < expires_at(command, self._services.settings) + waits.EXPIRY_MARGIN:
                    raise
                # It takes it no more, if it ever goes on. What it took before Temporal knows without it.
                if await was_taken(self._services, job, command):
                    return "its workflow has it, and does not go on"
            await self._refused(command, EXPIRED.format(self._services.settings.command_expiry), "expired")
            return "it has failed, and will not be carried out"

        return mend

    async def _refused(self, command: Command, why: str, code: str) -> None:
        now = clock.now()
        event = _failed(command, "refused", now, why)
        async with self._services.database.write() as session:
            if await commands.refuse(session, command.id, at=now, error=why, code=code):
                await apply(session, Record(job_id=command.job_id, events=[event]))

    async def disagreements(self) -> None:
        """Attempts that have not been seen to end although their job says otherwise."""
        async with self._services.database.read() as session:
            rows = await attempts.contradicted(session, sorted(RESTING))
        for attempt, job in rows:
            what = (
                f"attempt {attempt.number} (Flink job {attempt.flink_job_id}) has not been seen to end, while the job "
                f"is {job.state} with attempt {job.current_attempt}"
            )
            action = f"look at Flink job {attempt.flink_job_id} on {attempt.cluster}; adopt it, or cancel it there"
            await self._found("attempt", _label(job), what, action)

    async def orphans(self) -> None:
        async with self._services.database.read() as session:
            rows = await orphans.all_(session)
        for row in rows:
            was = f", attempt {row.attempt} of a job of ours," if row.attempt else ""
            what = f"Flink job {row.flink_job_id} ({row.name}){was} is alive, and nobody owns it"
            action = f"penstock orphans adopt {row.cluster} {row.flink_job_id} JOB, or penstock orphans stop"
            await self._found("orphan", row.cluster, what, action)


def _failed(command: Command, how: str, now: datetime, why: str) -> NewEvent:
    message = f"{command.kind} failed: {why}"
    return NewEvent(key=f"{command.id}/{how}", at=now, kind="command", message=message, command=command.number)


class _Refused(Exception):
    """`action` is what a person can do."""

    def __init__(self, why: str, action: str):
        super().__init__(why)
        self.action = action


def _has_policies(job: Job, snapshot: Mapping[str, Any]) -> bool:
    has = RestartPolicy.model_validate(snapshot.get("policy") or {})
    has_savepoints = SavepointPolicy.model_validate(snapshot.get("savepoints") or {})
    return (has, has_savepoints) == policies_of(job)


def _label(job: Job) -> str:
    return f"{job.project}:{job.name}"


def _words(error: Exception) -> str:
    """For people; some errors have no words of their own."""
    match error:
        case RPCTimeoutOrCancelledError() | TimeoutError():
            return "it did not answer in time; the Temporal UI shows whether tasks of it fail, or no worker runs"
        case _:
            return str(error) or type(error).__name__
