"""Flink's own REST API, one method per endpoint that we use (docs: ops/rest_api of Flink 1.20 and 2.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from clusters.flink.errors import restore_trouble, root_cause
from clusters.flink.http import Http, Refused, Transport, answered, reads
from clusters.flink.identity import cluster_identity, named_cluster, seconds
from clusters.protocol import (
    Course,
    Failure,
    JobSeen,
    Leader,
    LogFile,
    PointSeen,
    Progress,
    Ref,
    RestoreOrigin,
    TaskFailure,
    TriggerState,
    TriggerStatus,
    Unclear,
    Unreachable,
    Vertex,
)
from core.effects import Rejected
from core.jobs.observations import ENDED, EngineState
from core.jobs.restore import RestoreKind
from settings import waits
from settings.polling import poll

# How it says that a job takes none at all, as in batch mode; an unknown job is a 404, too.
NO_CHECKPOINTS = "not been enabled"
_STATES = {
    "INITIALIZING": EngineState.STARTING,
    "CREATED": EngineState.STARTING,
    "RUNNING": EngineState.RUNNING,
    "FAILING": EngineState.RECOVERING,
    "RESTARTING": EngineState.RECOVERING,
    "RECONCILING": EngineState.RECOVERING,
    "SUSPENDED": EngineState.RECOVERING,
    "CANCELLING": EngineState.STOPPING,
    "CANCELED": EngineState.CANCELED,
    "FINISHED": EngineState.FINISHED,
    "FAILED": EngineState.FAILED,
}
_UNASSIGNED = "(unassigned)"
UNKNOWN: Mapping[str, str] = {}
EXCEPTIONS = 100
REMEMBERED = 16  # Flink's default of web.exception-history-size


def moment(milliseconds: int) -> datetime:
    """A time of Flink's, in milliseconds since 1970, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


class FlinkRest:
    """The REST API of one Flink at the addresses of its JobManagers. `transport` takes the place of the network."""

    def __init__(self, urls: Sequence[str], *, transport: Transport | None = None):
        self.http = Http(urls, "JobManager", in_jar=True, transport=transport)
        self._told: tuple[str, list[str]] | None = None  # a JobManager, by its `web.tmpdir`, and its JVM's options

    @reads
    @answered
    async def overview(self) -> dict[str, JobSeen]:
        """All jobs, running and ended, with their task counts: GET /jobs/overview."""
        body = await self.http.call("GET", "/jobs/overview")
        return {job["jid"]: _seen(job) for job in body["jobs"]}

    @reads
    @answered
    async def cluster(self) -> dict[str, Any]:
        """GET /overview as Flink gives it: its version, task managers, slots, jobs by state."""
        return dict(await self.http.call("GET", "/overview"))

    @reads
    @answered
    async def jars(self) -> dict[str, str]:
        """Ids of uploaded jars by the name that each was uploaded with."""
        body = await self.http.call("GET", "/jars")
        return {file["name"]: file["id"] for file in body["files"]}

    @reads
    async def upload(self, path: Path, name: str) -> str:
        """POST /jars/upload under `name`; returns the id of the jar, which begins with another UUID each time. A large
        file has a second more for each MB. Raises `Refused`, `Unreachable`."""
        with open(path, "rb") as handle:
            body = await self.http.call(
                "POST",
                "/jars/upload",
                files={"jarfile": (name, handle, "application/java-archive")},
                timeout=waits.UPLOAD_SECONDS + path.stat().st_size / 1e6,
            )
        return str(body["filename"]).rpartition("/")[2]

    @reads
    async def run(self, jar_id: str, body: Mapping[str, Any], *, timeout: float = waits.RUN_SECONDS) -> str:
        """POST /jars/:id/run. Runs the program's main method inside the JobManager before it answers."""
        answer = await self.http.call("POST", f"/jars/{jar_id}/run", json=dict(body), timeout=timeout)
        return str(answer["jobid"])

    async def leader(self) -> Leader:
        """From GET /jobmanager/config: its `web.tmpdir` has a random part that each JobManager process
        chooses at its start (ClusterEntrypoint). Who it is beside that: `cluster_identity`."""
        try:
            body = await self.http.call("GET", "/jobmanager/config")
            config = {item["key"]: str(item["value"]) for item in body}
        except (Refused, KeyError, TypeError) as error:
            raise Unreachable(f"The JobManager does not tell its configuration: {error}") from error
        ha = config.get("high-availability.type", config.get("high-availability", "NONE")).lower() not in ("none", "")
        return Leader(
            identity=config.get("web.tmpdir"),
            ha=ha,
            heartbeat_timeout=seconds(config.get("heartbeat.timeout"), waits.FLINK_HEARTBEAT_SECONDS),
            forgets=ha and config.get("job-result-store.delete-on-commit", "true").lower() == "true",
            cluster=cluster_identity(config, await self._options(config)),
        )

    async def _options(self, config: Mapping[str, str]) -> list[str]:
        """The JVM's options: GET /jobmanager/environment, once per JobManager: a process keeps them. Not needed of a
        cluster that has a name of its own."""
        if named_cluster(config):
            return []
        process = config.get("web.tmpdir", "")
        if self._told is not None and self._told[0] == process:
            return self._told[1]
        try:
            body = await self.http.call("GET", "/jobmanager/environment")
            options = [str(option) for option in body["jvm"]["options"]]
        except (Refused, KeyError, TypeError):
            return []
        if process:
            self._told = process, options
        return options

    @reads
    @answered
    async def holders(self, job_id: str) -> list[str]:
        """Task managers with slots allocated to a job: GET /taskmanagers/:id, `allocatedSlots`."""
        return [manager for manager in await self.task_managers() if await self._holds(manager, job_id)]

    async def _holds(self, manager: str, job_id: str) -> bool:
        try:
            details = await self.http.call("GET", f"/taskmanagers/{quote(manager, safe=':')}")
        except Refused as error:
            if error.status == 404:  # not known is gone; anything else may hold slots
                return False
            raise
        return any(slot.get("jobId") == job_id for slot in details.get("allocatedSlots") or [])

    @reads
    @answered
    async def task_managers(self) -> list[str]:
        """Ids of those that are registered: GET /taskmanagers."""
        return [str(manager["id"]) for manager in (await self.http.call("GET", "/taskmanagers"))["taskmanagers"]]

    @reads
    async def task_managers_of(self, job_id: str) -> dict[str, str] | None:
        """Ids of the task managers on which tasks of a job run, or ran last, each with its host: GET /jobs/:id, and
        /vertices/:id/taskmanagers of each. None when the job is not known."""
        try:
            body = await self.http.call("GET", f"/jobs/{job_id}")
            found: dict[str, str] = {}
            for vertex in body.get("vertices") or []:
                of_vertex = await self.http.call("GET", f"/jobs/{job_id}/vertices/{vertex['id']}/taskmanagers")
                for manager in of_vertex["taskmanagers"]:
                    if id_ := str(manager.get("taskmanager-id") or "").removeprefix(_UNASSIGNED):
                        found[id_] = str(manager.get("endpoint") or manager.get("host") or "")
        except Refused as error:
            if error.status in (400, 404):
                return None
            raise
        return found

    @reads
    async def dispose(self, path: str) -> None:
        """POST /savepoint-disposal, followed to its end. Raises `Rejected` with Flink's reason."""
        body = await self.http.call("POST", "/savepoint-disposal", json={"savepoint-path": path})
        trigger, polling = body["request-id"], poll(waits.DISPOSE_PACE, seconds=waits.DISPOSE_SECONDS)
        while True:
            body = await self.http.call("GET", f"/savepoint-disposal/{trigger}")
            if body["status"]["id"] == "COMPLETED":
                stack = str(((body.get("operation") or {}).get("failure-cause") or {}).get("stack-trace") or "")
                if stack:
                    raise Rejected(root_cause(stack), stack=stack)
                return
            if not await polling.again():
                raise Unclear(f"Flink has not deleted {path} after {waits.DISPOSE_SECONDS:.0f} s")

    @reads
    async def exceptions(self, job_id: str) -> Failure | None:
        """The newest failure, from GET /jobs/:id/exceptions; None when there was none, or the job is not known."""
        body = await self._if_known(f"/jobs/{job_id}/exceptions", params={"maxExceptions": 1})
        if body is None:
            return None
        entries = _entries(body)
        stack = (entries[0].get("stacktrace") if entries else None) or body.get("root-exception")
        return Failure(root_cause(stack), restore_trouble(stack)) if stack else None

    @reads
    async def failures(self, job_id: str) -> list[TaskFailure] | None:
        """GET /jobs/:id/exceptions; `endpoint` of 2.x is `location` in 1.x. Failures that came with another one are
        among its `concurrentExceptions`."""
        body = await self._if_known(f"/jobs/{job_id}/exceptions", params={"maxExceptions": EXCEPTIONS})
        if body is None:
            return None
        entries = _entries(body)
        all_ = [one for entry in entries for one in (entry, *(entry.get("concurrentExceptions") or []))]
        return sorted(map(_failure, all_), key=lambda failure: failure.at, reverse=True)

    @reads
    @answered
    async def logs(self, job_id: str) -> list[LogFile]:
        """GET /jobmanager/logs and /taskmanagers/:id/logs."""
        files = _files("jobmanager", await self.http.call("GET", "/jobmanager/logs"))
        for name in await self.task_managers():
            try:
                listed = await self.http.call("GET", f"/taskmanagers/{quote(name)}/logs")
            except Refused:  # it has gone, or does not answer its JobManager
                continue
            files += _files(name, listed, of_attempt=await self._holds(name, job_id))
        return files

    async def log(self, part: str, file: str, *, last: int) -> bytes | None:
        """GET .../logs/:filename."""
        owner = part if part == "jobmanager" else f"taskmanagers/{quote(part, safe='')}"
        try:
            return await self.http.last_of(f"/{owner}/logs/{quote(file, safe='')}", last)
        except Refused as error:
            if error.status == 404:
                return None
            raise

    @reads
    async def course(self, job_id: str, *, whole: bool) -> Course | None:
        """From GET /jobs/:id/exceptions, where each entry is a restart (16 are kept, `web.exception-history-size`);
        from /checkpoints and its /config; and `numRestarts` of the job's metrics, which counts all of them."""
        try:
            body = await self.http.call("GET", f"/jobs/{job_id}/exceptions", params={"maxExceptions": EXCEPTIONS})
            entries = _entries(body)
            failures = sorted((moment(_at(entry)) for entry in entries), reverse=True)
            if not entries and not whole:
                return Course(failures=[])
            stack = str(max(entries, key=_at)["stacktrace"]) if entries else ""
            counted = await self.http.call("GET", f"/jobs/{job_id}/checkpoints")
            config = await self._interval(job_id)
            restarts = await self._restarts(job_id) if len(entries) >= REMEMBERED else len(entries)
        except Refused as error:
            if error.status in (400, 404):
                return None
            raise
        counts, latest = counted.get("counts") or {}, (counted.get("latest") or {}).get("completed")
        return Course(
            failures=failures,
            failure=Failure(root_cause(stack), restore_trouble(stack)) if stack else None,
            restarts=restarts,
            completed=int(counts.get("completed", 0)),
            failed=_failed_since(counted, latest),
            completed_at=moment(int(latest["latest_ack_timestamp"])) if latest else None,
            interval=config,
        )

    async def _if_known(self, path: str, **more: Any) -> Any:
        """The answer to a GET; None for 404."""
        try:
            return await self.http.call("GET", path, **more)
        except Refused as error:
            if error.status == 404:
                return None
            raise

    async def _interval(self, job_id: str) -> float | None:
        body = await self._if_known(f"/jobs/{job_id}/checkpoints/config")
        if body is None:
            return None
        interval = int(body.get("interval", 0))
        return interval / 1000 if 0 < interval < 2**62 else None

    async def _restarts(self, job_id: str) -> int | None:
        try:
            body = await self.http.call("GET", f"/jobs/{job_id}/metrics", params={"get": "numRestarts"})
            return max((int(metric["value"]) for metric in body if metric["id"] == "numRestarts"), default=None)
        except (Refused, KeyError, TypeError, ValueError):
            return None

    @reads
    async def vertices(self, job_id: str) -> list[Vertex]:
        """The tasks of a job with what they have read and written: GET /jobs/:id. Empty when it is not known."""
        try:
            body = await self.http.call("GET", f"/jobs/{job_id}")
        except Refused as error:
            if error.status in (400, 404):
                return []
            raise
        return [
            Vertex(
                name=str(v["name"]),
                state=str(v["status"]),
                parallelism=int(v["parallelism"]),
                read=int(v["metrics"].get("read-records") or 0),
                written=int(v["metrics"].get("write-records") or 0),
            )
            for v in body.get("vertices") or []
        ]

    async def collects(self, job_id: str) -> bool:
        """Whether a task of the job collects the rows of a query: `Sink: Collect table sink` (Table API),
        `Data stream collect sink` (DataStream API); 2.3.0. True also when its tasks are not told: that answer is some
        seconds old."""
        vertices = await self.vertices(job_id)
        return not vertices or any("collect" in vertex.name.lower() for vertex in vertices)

    @reads
    async def progress(self, job_id: str) -> Progress | None:
        """Counts of GET /jobs/:id/checkpoints; None when the job is not known, or takes no checkpoints (400 or 404)."""
        try:
            body = await self.http.call("GET", f"/jobs/{job_id}/checkpoints")
        except Refused as error:
            if error.status in (400, 404):
                return None
            raise
        counts = body["counts"]
        # `restored` counts the restores after failures, and the first one too where there was one.
        return Progress(completed=int(counts["completed"]), restarts=max(0, int(counts["restored"]) - 1))

    @reads
    async def checkpoints(self, job_id: str) -> list[PointSeen]:
        """Completed ones of GET /jobs/:id/checkpoints that have a path and have not been deleted, savepoints among
        them; Flink remembers the last ten. Empty when the job is not known, or takes none."""
        try:
            body = await self.http.call("GET", f"/jobs/{job_id}/checkpoints")
        except Refused as error:
            if error.status in (400, 404):
                return []
            raise
        latest = body.get("latest") or {}
        entries = [*(body.get("history") or []), latest.get("completed"), latest.get("savepoint")]
        points: dict[str, PointSeen] = {}
        for entry in entries:
            if not entry or entry.get("status") != "COMPLETED" or not entry.get("external_path"):
                continue
            if entry.get("discarded"):  # replaced by newer ones, and deleted
                continue
            path = str(entry["external_path"])
            if path.startswith("<"):  # "<checkpoint-not-externally-addressable>"
                continue
            kind = RestoreKind.SAVEPOINT if entry.get("is_savepoint") else RestoreKind.CHECKPOINT
            points[path] = PointSeen(
                kind,
                path,
                moment(entry.get("latest_ack_timestamp") or entry["trigger_timestamp"]),
                number=int(entry["id"]) if "id" in entry else None,
                stops=entry.get("checkpoint_type") == "SYNC_SAVEPOINT",
            )
        return list(points.values())

    @reads
    async def user_config(self, job_id: str) -> Mapping[str, str] | None:
        """The global job parameters of a job: GET /jobs/:id/config. `UNKNOWN` when the job is, None while Flink
        initializes it."""
        try:
            body = await self.http.call("GET", f"/jobs/{job_id}/config")
        except Refused as error:
            if error.status in (400, 404):
                return UNKNOWN
            raise
        config = body.get("execution-config")
        return None if config is None else {str(k): str(v) for k, v in (config.get("user-config") or {}).items()}

    @reads
    async def origin(self, job_id: str) -> RestoreOrigin | None:
        """GET /jobs/:id/checkpoints (`latest.restored`) and /jobs/:id/checkpoints/config (`externalization`,
        `checkpoint_storage`)."""
        try:
            body = await self.http.call("GET", f"/jobs/{job_id}/checkpoints")
            config = await self.http.call("GET", f"/jobs/{job_id}/checkpoints/config")
        except Refused as error:
            if error.status == 404 and NO_CHECKPOINTS in (error.stack or ""):
                return RestoreOrigin(restored_from=None, keeps_checkpoints=None, on_files=False, restores=False)
            if error.status in (400, 404):
                return None
            raise
        latest = (body.get("latest") or {}).get("restored") or {}
        restored = latest.get("external_path")
        # What is not claimed Flink holds for a savepoint, also where it is a checkpoint.
        claimed = bool(restored) and latest.get("is_savepoint") is False
        kept = config.get("externalization") or {}
        keeps = bool(kept.get("enabled")) and not kept.get("delete_on_cancellation") if kept else None
        path = str(restored) if restored and not str(restored).startswith("<") else None
        on_files = config.get("checkpoint_storage") == "FileSystemCheckpointStorage"
        return RestoreOrigin(restored_from=path, keeps_checkpoints=keeps, on_files=on_files, claimed=claimed)

    @reads
    async def checkpoint_config(self, job_id: str) -> bool | None:
        """Whether the job takes periodic checkpoints; None when the job is not known."""
        try:
            body = await self.http.call("GET", f"/jobs/{job_id}/checkpoints/config")
        except Refused as error:
            # 404 stands for an unknown job and for one without checkpointing; the message tells them apart.
            if error.status == 404 and NO_CHECKPOINTS in (error.stack or ""):
                return False
            if error.status in (400, 404):
                return None
            raise
        return 0 < int(body.get("interval", 0)) < 2**62

    async def trigger(self, job_id: str, operation: str, body: Mapping[str, Any]) -> None:
        """POST /jobs/:id/stop or /savepoints with a `triggerId` of ours."""
        await self.http.call("POST", f"/jobs/{job_id}/{operation}", json=dict(body))

    @reads
    async def trigger_status(self, job_id: str, trigger_id: str) -> TriggerStatus:
        """GET /jobs/:id/savepoints/:trigger, for savepoints and stops alike."""
        try:
            body = await self.http.call("GET", f"/jobs/{job_id}/savepoints/{trigger_id}")
        except Refused as error:
            if error.status == 404:
                return TriggerStatus(TriggerState.UNKNOWN)
            raise Unclear(f"The JobManager cannot tell about the savepoint: {error.message}") from error
        if body["status"]["id"] != "COMPLETED":
            return TriggerStatus(TriggerState.IN_PROGRESS)
        operation = body.get("operation") or {}
        if path := operation.get("location"):
            return TriggerStatus(TriggerState.COMPLETED, path=str(path))
        stack = str((operation.get("failure-cause") or {}).get("stack-trace") or "")
        return TriggerStatus(TriggerState.FAILED, why=root_cause(stack) if stack else "Flink gave no reason")

    async def cancel(self, job_id: str) -> None:
        """PATCH /jobs/:id?mode=cancel, which Flink takes before it is done. Fine when the job is not known or has ended
        (404, 409). Raises `Refused`, `Unreachable`."""
        try:
            await self.http.call("PATCH", f"/jobs/{job_id}", params={"mode": "cancel"})
        except Refused as error:
            if error.status not in (404, 409):
                raise


def _entries(body: Mapping[str, Any]) -> list[Any]:
    """Of an answer of /jobs/:id/exceptions, the newest first."""
    return (body.get("exceptionHistory") or {}).get("entries") or []


def _failure(entry: Mapping[str, Any]) -> TaskFailure:
    stack = str(entry.get("stacktrace") or entry.get("exceptionName") or "")
    return TaskFailure(
        at=moment(_at(entry)),
        message=root_cause(stack),
        stack=stack,
        task=entry.get("taskName") or None,
        place=entry.get("endpoint") or entry.get("location") or None,
        taskmanager=entry.get("taskManagerId") or None,
    )


def _files(part: str, body: Mapping[str, Any], *, of_attempt: bool = False) -> list[LogFile]:
    return [
        LogFile(
            part=part,
            file=str(log["name"]),
            size=int(log["size"]),
            changed_at=moment(int(log["mtime"])) if log.get("mtime") else None,
            of_attempt=of_attempt,
        )
        for log in body["logs"]
    ]


def _at(entry: Mapping[str, Any]) -> int:
    return int(entry.get("timestamp") or 0)


def _failed_since(body: Mapping[str, Any], latest: Mapping[str, Any] | None) -> int:
    """Failed checkpoints since the `latest` completed one. Ids grow by one with each that is tried."""
    counts, history = body.get("counts") or {}, body.get("history") or []
    if latest is None:
        return int(counts.get("failed", 0))
    newer = [c for c in history if int(c["id"]) > int(latest["id"]) and c.get("status") == "FAILED"]
    newest = (body.get("latest") or {}).get("failed")
    between = int(newest["id"]) - int(latest["id"]) if newest and int(newest["id"]) > int(latest["id"]) else 0
    return max(len(newer), min(between, int(counts.get("failed", 0))))


def _seen(job: Mapping[str, Any]) -> JobSeen:
    tasks: Mapping[str, int] = job["tasks"]
    state = _STATES.get(job["state"], EngineState.STARTING)
    counted = tasks.get("running", 0) + tasks.get("finished", 0)
    if state is EngineState.RUNNING and counted < tasks["total"]:
        state = EngineState.STARTING
    detail = f"{job['state']}, {tasks.get('running', 0)} of {tasks['total']} tasks running"
    return JobSeen(
        ref=Ref(job["jid"], job["jid"]),
        state=state,
        name=job.get("name", ""),
        detail=detail,
        started_at=moment(job["start-time"]) if job.get("start-time", -1) > 0 else None,
        modified_at=int(job.get("last-modification") or 0),
        is_being_set_up=_is_being_set_up(job),
    )


def _is_being_set_up(job: Mapping[str, Any]) -> bool:
    """By the JobManager's own clock: `start-time` and `duration` come to now, `last-modification` is when the job or
    one of its tasks last changed. Tasks that stay as they are for long hang in what they open, or wait for a slot."""
    tasks: Mapping[str, int] = job["tasks"]
    if _STATES.get(job["state"]) in ENDED:
        return False
    age = (
        int(job.get("start-time") or 0) + int(job.get("duration") or 0) - int(job.get("last-modification") or 0)
    ) / 1e3
    if tasks.get("deploying", 0) or tasks.get("initializing", 0):
        return age < waits.SET_UP_SECONDS
    if tasks.get("created", 0) or tasks.get("scheduled", 0):
        return age < waits.SLOTS_SECONDS
    return False
