"""A Flink session cluster: jars through its REST API, SQL through its gateway, Python through Flink's client."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from clusters.flink import drivers, given_rows, printed, programs, pyflink
from clusters.flink.attended import Running
from clusters.flink.clients import Clients
from clusters.flink.errors import is_duplicate
from clusters.flink.fence import FlinkFence, told_apart
from clusters.flink.gateway import RestGateway
from clusters.flink.http import Refused, Transport
from clusters.flink.output import Output
from clusters.flink.rest import FlinkRest
from clusters.flink.together import Together
from clusters.flink.uploads import Uploads
from clusters.protocol import (
    AnotherFlink,
    Checkpoints,
    Course,
    EngineHealth,
    Failure,
    Failures,
    Identified,
    JarProgram,
    JobSeen,
    Leader,
    LogFile,
    Logs,
    Outputs,
    Overview,
    PointSeen,
    Progress,
    PythonProgram,
    Ref,
    RestoreOrigin,
    Savepoints,
    SharedByPrograms,
    SqlProgram,
    SqlWorkbench,
    Submission,
    TaskFailure,
    TaskManagerOutput,
    TriggerStatus,
    Unclear,
    Unreachable,
    Vertex,
)
from clusters.sql import NO_RETRIES, scrub, scrub_error
from core.effects import EngineError, LogSink, NotNow, Rejected
from core.jobs.observations import EngineState
from core.jobs.output import LastLines
from core.names import follows
from core.paths import as_in
from settings import waits

FORGETS = (
    "job-result-store.delete-on-commit is true: this highly available Flink forgets which jobs have ended, and may "
    "take the id of one again; set it to false (on 2.3 application-result-store.delete-on-commit, too)"
)
_SENDING = ("RestClusterClient", "JobSubmissionException")


class FlinkSession(SqlWorkbench, Savepoints, Checkpoints, Failures, Logs, Outputs, SharedByPrograms, Identified):
    """`jobmanager_url` and `standby_urls` are REST addresses of its JobManagers, `gateways` of its SQL gateways.
    `flink_home` is an installation of the cluster's Flink version on this machine: Python programs need it, and given
    rows of lookup joins. `built` is a folder for jars that are compiled here. `transport` takes the place of the
    network; `clients` wait for Python programs, and are closed by whose they are."""

    def __init__(
        self,
        jobmanager_url: str,
        gateways: Sequence[str],
        *,
        standby_urls: Sequence[str] = (),
        flink_home: Path | None = None,
        built: Path | None = None,
        transport: Transport | None = None,
        clients: Clients | None = None,
    ):
        self._urls = [jobmanager_url, *standby_urls]
        self._transport = transport
        self._rest = FlinkRest(self._urls, transport=transport)
        self._flink_home = flink_home
        self._built = built or Path(tempfile.gettempdir())
        loads_drivers = partial(drivers.loading, flink_home, self._built)
        self.gateways = [RestGateway(url, loads_drivers=loads_drivers, transport=transport) for url in gateways]
        self._clients = clients
        self._overviews = Together(self._rest.overview)
        self._leaders = Together(self._rest.leader)
        self._marks = programs.Marks(self._rest)
        self._uploads = Uploads(self._rest, self._check_leader)
        self._fence = FlinkFence(self._rest, self._overviews, self._uploads, self._built)
        self.expected: str | None = None
        """`Leader.cluster` of the Flink that was registered; None takes whichever answers."""
        self._state_dir: str | None = None

    async def close(self) -> None:
        await self._rest.http.close()
        for gateway in self.gateways:
            await gateway.http.close()

    def close_when_unused(self) -> None:
        for http in (self._rest.http, *(gateway.http for gateway in self.gateways)):
            http.close_when_unused()

    def expect(self, identity: str | None) -> None:
        self.expected = identity

    def keeps_state_in(self, folder: str) -> None:
        self._state_dir = folder

    def _spelled(self, path: str) -> str:
        """The border: all paths of restore points that Flink tells of pass it."""
        return as_in(self._state_dir, path) if self._state_dir else path

    async def leaders(self) -> list[Leader]:
        async def ask(url: str) -> Leader | None:
            rest = FlinkRest([url], transport=self._transport)
            try:
                async with asyncio.timeout(waits.ADDRESS_SECONDS):
                    return await rest.leader()
            except (EngineError, TimeoutError):
                return None
            finally:
                await rest.http.close()

        return [leader for leader in await asyncio.gather(*map(ask, self._urls)) if leader is not None]

    async def reserve(self, flink_job_id: str) -> str:
        return flink_job_id

    async def ref_of(self, flink_job_id: str) -> Ref | None:
        return Ref(flink_job_id, flink_job_id)

    # Submission -----------------------------------------------------------------------------

    async def submit(self, submission: Submission, tell: LogSink) -> None:
        sending = programs.Sending(submission, self._marks, self.overview)
        submission = sending.submission
        await asyncio.gather(self._check_leader(), sending.begin())
        running: Running | None = None
        try:
            if isinstance(submission.program, SqlProgram):
                await self._submit_sql(submission, submission.program, tell)
            elif isinstance(submission.program, JarProgram):
                await self._submit_jar(submission, submission.program, tell)
            elif isinstance(submission.program, PythonProgram):
                output = sending.listening(tell, submission.program.secrets)
                running = await self._submit_python(submission, output)
            else:
                raise Rejected("A session cluster runs jobs, and no clusters.")
            await sending.ended_well()
            if running is not None:
                await self._attend(running, submission)
                running = None
        except (Rejected, Refused) as error:
            await sending.failed(error)
            if await self._has_it_after_all(submission.ref, error):
                tell("the cluster has this attempt")
                return
            if isinstance(error, Rejected):
                error.sent = error.sent or _was_on_its_way(error)
                raise
            for line in (error.stack or "").splitlines():
                tell("  " + line)
            raise Rejected(error.message, stack=error.stack, sent=_was_on_its_way(error)) from error
        except Unreachable as error:
            if not error.sent:
                raise
            # It may have arrived. What runs under this id is for the next question, not for a guess.
            raise Unclear(error.message) from error
        finally:
            if running is not None:
                await running.stop()

    async def _check_leader(self) -> None:
        """Nothing is sent to a stranger. Raises `Unreachable`."""
        if self.expected is None:
            return
        try:
            await self.leader()
        except Unreachable as error:
            raise Unreachable(error.message, sent=False) from error

    async def _has_it_after_all(self, ref: Ref, error: EngineError) -> bool:
        """Any answer that is not a clear yes is followed by the question whether the cluster knows the id."""
        with programs.asking_after(error.message):
            overview = await self.overview()
        if ref.handle in overview.fenced:
            raise Rejected("its id was spent: it was given up before it reached the cluster", stack=error.stack)
        return ref.handle in overview.jobs or is_duplicate(error)

    async def _submit_sql(self, submission: Submission, program: SqlProgram, tell: LogSink) -> None:
        properties = {
            **submission.config,
            "$internal.pipeline.job-id": submission.ref.flink_job_id,
            "pipeline.name": submission.name,
            **NO_RETRIES,
        }
        if submission.parallelism:
            properties["parallelism.default"] = str(submission.parallelism)
        if submission.restore_path:
            properties["execution.state-recovery.path"] = submission.restore_path
            properties["execution.state-recovery.claim-mode"] = "NO_CLAIM"
            properties["execution.state-recovery.ignore-unclaimed-state"] = str(
                submission.allow_non_restored_state
            ).lower()
        gateway, session = await self.open_session(properties)

        def scrubbed(line: str) -> None:
            tell(scrub(line, program.secrets))

        try:
            await gateway.run(session, program, scrubbed)
        except EngineError as error:
            scrub_error(error, program.secrets)
            raise
        finally:
            await asyncio.shield(gateway.close(session))

    def gateway(self, url: str | None) -> RestGateway | None:
        return next((gateway for gateway in self.gateways if gateway.url == url), None)

    async def lookup_connector(self) -> Path:
        return await given_rows.connector(self._flink_home, self._built)

    async def open_session(self, properties: Mapping[str, str]) -> tuple[RestGateway, str]:
        """Raises `Rejected`, `Refused` and `Unreachable`."""
        if not self.gateways:
            raise Rejected("The cluster has no SQL gateway; set gateway_url of the cluster.")
        first: Unreachable | None = None
        for gateway in list(self.gateways):
            try:
                session = await gateway.open(properties)
            except Unreachable as error:  # a session that was opened and not told of runs nothing
                first = first or Unreachable(error.message, sent=False)
                continue
            if gateway is not self.gateways[0]:
                self.gateways.sort(key=lambda g: g is not gateway)
            return gateway, session
        assert first is not None
        raise first

    async def _submit_python(self, submission: Submission, output: Output) -> Running | None:
        if self._flink_home is None:
            raise Rejected(
                "This worker has no PyFlink for the cluster's Flink version; run `penstock flink install` on it."
            )
        return await pyflink.submit(self._flink_home, self._rest.http.url, submission, output, self._clients, self.look)

    async def _attend(self, running: Running, submission: Submission) -> None:
        """Its job is alive, and the program goes on beside it."""
        assert self._clients is not None
        assert submission.aftermath is not None
        try:
            prints = await self._rest.collects(submission.ref.flink_job_id)
        except EngineError:
            prints = False
        await self._clients.attended.begin(
            running,
            submission.ref,
            submission.aftermath,
            look=self.look,
            cancel=self.cancel,
            owns=self._has_started,
            prints=prints,
        )

    async def _has_started(self, ref: Ref, other: str) -> bool:
        """Whether the program of an attempt has started a Flink job."""
        if follows(ref.flink_job_id, other):
            return True
        mark = await self._marks.of(other)
        return mark is not None and mark.attempt == ref.flink_job_id

    async def _submit_jar(self, submission: Submission, program: JarProgram, tell: LogSink) -> None:
        body = _run_body(submission, program)
        tell(f"running {body.get('entryClass') or 'the main class'}")
        try:
            ran = await self._uploads.run(program.path, f"{program.sha256}.jar", body, tell)
        except EngineError as error:
            scrub_error(error, program.secrets)
            raise
        if ran != submission.ref.flink_job_id:
            raise programs.own_id(ran)

    async def fence(self, ref: Ref) -> bool:
        return await self._fence.spends(ref.flink_job_id)

    # Looking --------------------------------------------------------------------------------

    async def started_by(self, flink_job_ids: Collection[str]) -> Mapping[str, str]:
        return await self._marks.started_by(flink_job_ids)

    async def check_whole(self, ref: Ref) -> None:
        jobs = (await self.overview()).jobs
        if others := await self._marks.others(ref.flink_job_id, jobs):
            raise programs.several(ref.flink_job_id, jobs, others)

    async def overview(self) -> Overview:
        return told_apart(await self._overviews.ask())

    async def look(self, ref: Ref) -> JobSeen:
        seen = (await self.overview()).jobs.get(ref.handle)
        return seen or JobSeen(ref, state=EngineState.MISSING, detail="unknown to the JobManager")

    async def failure(self, ref: Ref) -> Failure | None:
        return await self._rest.exceptions(ref.flink_job_id)

    async def failures(self, ref: Ref) -> list[TaskFailure] | None:
        return await self._rest.failures(ref.flink_job_id)

    async def logs(self, ref: Ref) -> list[LogFile]:
        return await self._rest.logs(ref.flink_job_id)

    async def log(self, ref: Ref, part: str, file: str, *, last: int) -> bytes | None:
        return await self._rest.log(part, file, last=last)

    async def progress(self, ref: Ref) -> Progress | None:
        return await self._rest.progress(ref.flink_job_id)

    async def course(self, ref: Ref, *, whole: bool) -> Course | None:
        return await self._rest.course(ref.flink_job_id, whole=whole)

    async def vertices(self, ref: Ref) -> list[Vertex]:
        return await self._rest.vertices(ref.flink_job_id)

    async def outputs(self, ref: Ref, collector: Callable[[], LastLines]) -> list[TaskManagerOutput] | None:
        return await printed.outputs(self._rest, ref.flink_job_id, collector)

    async def leader(self) -> Leader:
        """Raises `AnotherFlink` when it leads another cluster than the expected one."""
        leader = await self._leaders.ask()
        if self.expected is not None and leader.cluster is not None and leader.cluster != self.expected:
            raise AnotherFlink(
                f"What answers at {self._rest.http.url} is another Flink ({leader.cluster}), not the one that was "
                f"registered ({self.expected})",
                sent=False,
            )
        return leader

    async def slot_holders(self, ref: Ref) -> list[str]:
        return await self._rest.holders(ref.flink_job_id)

    async def dispose(self, path: str) -> None:
        try:
            await self._rest.dispose(path)
        except Refused as error:
            raise Rejected(error.message, stack=error.stack) from error

    async def checkpoints(self, ref: Ref) -> list[PointSeen]:
        points = await self._rest.checkpoints(ref.flink_job_id)
        return [replace(point, path=self._spelled(point.path)) for point in points]

    async def origin(self, ref: Ref) -> RestoreOrigin | None:
        origin = await self._rest.origin(ref.flink_job_id)
        if origin is None or origin.restored_from is None:
            return origin
        return replace(origin, restored_from=self._spelled(origin.restored_from))

    async def takes_checkpoints(self, ref: Ref) -> bool | None:
        return await self._rest.checkpoint_config(ref.flink_job_id)

    async def health(self) -> EngineHealth:
        body = await self._rest.cluster()
        leader = await self.leader()
        return EngineHealth(
            leader=leader.identity,
            cluster=leader.cluster,
            ha=leader.ha,
            flink_version=body.get("flink-version"),
            taskmanagers=body.get("taskmanagers"),
            slots_total=body.get("slots-total"),
            slots_available=body.get("slots-available"),
            jobs_running=body.get("jobs-running"),
            gateway=any([await g.answers() for g in self.gateways]) if self.gateways else None,
            notes=[FORGETS] if leader.forgets else [],
        )

    # Stopping -------------------------------------------------------------------------------

    async def stop_with_savepoint(self, ref: Ref, *, trigger_id: str, directory: str) -> None:
        body = {"triggerId": trigger_id, "targetDirectory": directory, "drain": False}
        await self._trigger(ref, "stop", body)

    async def savepoint(self, ref: Ref, *, trigger_id: str, directory: str) -> None:
        body = {"triggerId": trigger_id, "target-directory": directory, "cancel-job": False}
        await self._trigger(ref, "savepoints", body)

    async def _trigger(self, ref: Ref, operation: str, body: Mapping[str, Any]) -> None:
        try:
            await self._rest.trigger(ref.flink_job_id, operation, body)
        except Refused as error:
            raise Rejected(error.message, stack=error.stack) from error

    async def trigger_status(self, ref: Ref, trigger_id: str) -> TriggerStatus:
        status = await self._rest.trigger_status(ref.flink_job_id, trigger_id)
        return replace(status, path=self._spelled(status.path)) if status.path else status

    async def cancel(self, ref: Ref) -> None:
        """Flink 2.3.0 ends the whole task manager, with all that runs on it, when a task that collects the rows of a
        query is cancelled before it is set up (FLINK-39330; decision 25)."""
        if (await self.look(ref)).is_being_set_up and await self._rest.collects(ref.flink_job_id):
            raise NotNow("its tasks are being set up, and Flink may lose the task manager if they are cancelled now")
        try:
            await self._rest.cancel(ref.flink_job_id)
        except Refused as error:
            raise Rejected(error.message, stack=error.stack) from error


def _was_on_its_way(error: EngineError) -> bool:
    """Whether a job was being sent to the JobManager when it failed, by a client (the gateway's, or Flink's own) or by
    a JobManager that is at odds with itself: it may arrive yet."""
    server = isinstance(error, Refused) and error.status >= 500
    return server or isinstance(error, programs.ClientStopped) or any(word in (error.stack or "") for word in _SENDING)


def _run_body(submission: Submission, program: JarProgram) -> dict[str, Any]:
    body: dict[str, Any] = {
        "jobId": submission.ref.flink_job_id,
        "programArgsList": program.args,
        "flinkConfiguration": {**submission.config, "pipeline.name": submission.name},
    }
    if program.entry_class:
        body["entryClass"] = program.entry_class
    if submission.parallelism:
        body["parallelism"] = submission.parallelism
    if submission.restore_path:
        body["savepointPath"] = submission.restore_path
        body["claimMode"] = "NO_CLAIM"
        body["allowNonRestoredState"] = submission.allow_non_restored_state
    return body
