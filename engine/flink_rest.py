"""Flink's own REST API, one method an endpoint that we use (docs: ops/rest_api of Flink 1.20 and 2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.observations import EngineState
from core.restore import RestoreKind
from engine.base import JobSeen, PointSeen, TriggerState, TriggerStatus, Unclear
from engine.flink_errors import root_cause
from engine.http import Http, Refused

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
RUN_TIMEOUT = 300.0
UPLOAD_TIMEOUT = 300.0


def moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


class FlinkRest:
    def __init__(self, url: str):
        self.http = Http(url, f"JobManager {url}")

    async def overview(self) -> dict[str, JobSeen]:
        """All jobs, running and ended, with their task counts: GET /jobs/overview."""
        body = await self.http.call("GET", "/jobs/overview")
        return {job["jid"]: _seen(job) for job in body["jobs"]}

    async def cluster(self) -> dict[str, Any]:
        body: dict[str, Any] = await self.http.call("GET", "/overview")
        return body

    async def jars(self) -> dict[str, str]:
        """Ids of uploaded jars by the name that each was uploaded with."""
        body = await self.http.call("GET", "/jars")
        return {file["name"]: file["id"] for file in body["files"]}

    async def upload(self, path: Path, name: str) -> str:
        with open(path, "rb") as handle:
            body = await self.http.call(
                "POST",
                "/jars/upload",
                files={"jarfile": (name, handle, "application/java-archive")},
                timeout=UPLOAD_TIMEOUT,
            )
        return str(body["filename"]).rpartition("/")[2]

    async def run(self, jar_id: str, body: Mapping[str, Any]) -> str:
        """POST /jars/:id/run. Runs the program's main method inside the JobManager before it answers."""
        answer = await self.http.call("POST", f"/jars/{jar_id}/run", json=dict(body), timeout=RUN_TIMEOUT)
        return str(answer["jobid"])

    async def exceptions(self, job_id: str) -> str | None:
        try:
            body = await self.http.call("GET", f"/jobs/{job_id}/exceptions", params={"maxExceptions": 1})
        except Refused as error:
            if error.status == 404:
                return None
            raise
        entries = (body.get("exceptionHistory") or {}).get("entries") or []
        stack = (entries[0].get("stacktrace") if entries else None) or body.get("root-exception")
        return root_cause(stack) if stack else None

    async def checkpoints(self, job_id: str) -> list[PointSeen]:
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
            path = str(entry["external_path"])
            if path.startswith("<"):  # "<checkpoint-not-externally-addressable>"
                continue
            kind = RestoreKind.SAVEPOINT if entry.get("is_savepoint") else RestoreKind.CHECKPOINT
            points[path] = PointSeen(
                kind, path, moment(entry.get("latest_ack_timestamp") or entry["trigger_timestamp"])
            )
        return list(points.values())

    async def checkpoint_config(self, job_id: str) -> bool | None:
        """Whether the job takes periodic checkpoints; None when the job is not known."""
        try:
            body = await self.http.call("GET", f"/jobs/{job_id}/checkpoints/config")
        except Refused as error:
            # 404 stands for an unknown job and for one without checkpointing; the message tells them apart.
            if error.status == 404 and "not been enabled" in (error.stack or ""):
                return False
            if error.status in (400, 404):
                return None
            raise
        return 0 < int(body.get("interval", 0)) < 2**62

    async def trigger(self, job_id: str, operation: str, body: Mapping[str, Any]) -> None:
        """POST /jobs/:id/stop or /savepoints with a `triggerId` of ours."""
        await self.http.call("POST", f"/jobs/{job_id}/{operation}", json=dict(body))

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
        try:
            await self.http.call("PATCH", f"/jobs/{job_id}", params={"mode": "cancel"})
        except Refused as error:
            if error.status not in (404, 409):
                raise


def _seen(job: Mapping[str, Any]) -> JobSeen:
    tasks: Mapping[str, int] = job["tasks"]
    state = _STATES.get(job["state"], EngineState.STARTING)
    counted = tasks.get("running", 0) + tasks.get("finished", 0)
    if state is EngineState.RUNNING and counted < tasks["total"]:
        state = EngineState.STARTING
    detail = f"{job['state']}, {tasks.get('running', 0)} of {tasks['total']} tasks running"
    return JobSeen(
        handle=job["jid"],
        state=state,
        name=job.get("name", ""),
        detail=detail,
        started_at=moment(job["start-time"]) if job.get("start-time", -1) > 0 else None,
    )
