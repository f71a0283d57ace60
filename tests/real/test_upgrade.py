"""An upgrade under load: workflows that the old code began are carried on by the new.

The code of an older commit serves jobs and commands, on a real Temporal; then its worker is stopped and ours is started
on the same database and the same Temporal, while commands go on being sent; then the API is exchanged. All commands end,
each job goes on with its own Flink job, and no workflow task fails. The Flink is a small HTTP server here: what is tried
is the way of workflows, rows and requests from one version to the next. Upgrades on a real one: `tests/faults`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import subprocess
import threading
import time
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.client import Client

from benchmarks.simulated import SimulatedFlink
from processes.supervised import Spec, free_port
from settings import ApiSettings, Settings, StackSettings
from stack.local import LocalStack
from stack.parts import StackParts
from tests.authorized import authorized
from tests.faults.upgrades import archive

pytestmark = pytest.mark.real

OLD = "42b608a"
"""The first commit whose workflows have to go on. Each later one is between it and us."""
ROOT = Path(__file__).resolve().parents[2]
JOBS, SECONDS = 8, 12.0
SQL = "CREATE TABLE t (id BIGINT) WITH ('connector' = 'blackhole'); INSERT INTO t SELECT 1;"
REPLAY = {
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR,
}
FINAL = ("FINISHED", "CANCELED", "FAILED")


class Duplicate(Exception):
    """An id is taken once."""


class SmallFlink(SimulatedFlink):
    """Also stops, takes savepoints and cancels, each after a moment; takes an id once, also for the job of a jar."""

    def __init__(self, port: int):
        self.triggers: dict[str, str] = {}
        super().__init__(port)

    def _later(self, function: Any) -> None:
        threading.Timer(random.uniform(0.05, 0.4), function).start()

    def _end(self, job_id: str, state: str) -> None:
        if self.jobs[job_id]["state"] not in FINAL:
            self.jobs[job_id] |= {"state": state, "tasks": {"total": 2, "running": 0, "finished": 2}}

    def _add(self, job_id: str, name: str) -> None:
        if job_id in self.jobs:
            raise Duplicate
        super()._add(job_id, name)

    def _app(self) -> FastAPI:
        app = super()._app()

        @app.exception_handler(Duplicate)
        async def duplicate(_: Request, error: Exception) -> JSONResponse:
            words = "org.apache.flink.runtime.client.DuplicateJobSubmissionException: Job has already been submitted."
            return JSONResponse({"errors": [words]}, status_code=400)

        @app.get("/jars")
        async def jars() -> Any:
            return {"files": []}

        @app.post("/jars/upload")
        async def upload() -> Any:
            return {"filename": "/flink/fence.jar"}

        @app.post("/jars/{jar}/run")
        async def run(jar: str, request: Request) -> Any:
            body = await request.json()
            self._add(body["jobId"], body["flinkConfiguration"]["pipeline.name"])
            return {"jobid": body["jobId"]}

        @app.patch("/jobs/{job_id}")
        async def cancel(job_id: str) -> Any:
            self._later(lambda: self._end(job_id, "CANCELED"))
            return {}

        @app.post("/jobs/{job_id}/{operation}")
        async def trigger(job_id: str, operation: str, request: Request) -> Any:
            body = await request.json()
            name = body["triggerId"]
            path = f"{body.get('targetDirectory') or body.get('target-directory')}/savepoint-{name[:8]}"
            self.triggers.setdefault(name, "")

            def complete() -> None:
                folder = Path(path.removeprefix("file://"))
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "_metadata").write_text("x")
                self.triggers[name] = path
                if operation == "stop":
                    self._end(job_id, "FINISHED")

            self._later(complete)
            return {"request-id": name}

        @app.get("/jobs/{job_id}/savepoints/{name}")
        async def status(job_id: str, name: str) -> Any:
            if name not in self.triggers:
                raise HTTPException(404, "There is no such trigger")
            if not (path := self.triggers[name]):
                return {"status": {"id": "IN_PROGRESS"}}
            return {"status": {"id": "COMPLETED"}, "operation": {"location": path}}

        @app.get("/jobs/{job_id}/checkpoints")
        async def checkpoints(job_id: str) -> Any:
            return {"counts": {"completed": 1, "restored": 0}, "latest": {}, "history": []}

        @app.get("/jobs/{job_id}/checkpoints/config")
        async def checkpoint_config(job_id: str) -> Any:
            return {"interval": 1000}

        @app.get("/jobs/{job_id}/config")
        async def job_config(job_id: str) -> Any:
            return {"execution-config": {"user-config": {}}}

        @app.get("/jobs/{job_id}/exceptions")
        async def exceptions(job_id: str) -> Any:
            return {}

        @app.get("/jobs/{job_id}")
        async def job(job_id: str) -> Any:
            return {**self.jobs[job_id], "vertices": []}

        @app.get("/taskmanagers")
        async def taskmanagers() -> Any:
            return {"taskmanagers": []}

        return app

    def alive(self, name: str) -> list[str]:
        return [j["jid"] for j in list(self.jobs.values()) if j["name"] == name and j["state"] not in FINAL]


class House:
    """Temporal, API and worker as processes; API and worker of the code that is asked for."""

    def __init__(self, parts: StackParts, home: Path, flink: SmallFlink):
        self.ports = {name: free_port() for name in ("temporal", "ui", "api")}
        self.flink = flink
        self.home = home
        env = {
            "PENSTOCK_API_PORT": str(self.ports["api"]),
            "PENSTOCK_WATCH_INTERVAL": "1",
            "PENSTOCK_WATCH_INTERVAL_BUSY": "0.3",
            "PENSTOCK_RECOVERY_INTERVAL": "5",
            "PENSTOCK_LOST_GRACE": "1",
        }
        self.local = LocalStack(
            Settings(home=home),
            StackSettings(temporal_port=self.ports["temporal"], temporal_ui_port=self.ports["ui"]),
            ApiSettings(api_port=self.ports["api"]),
            parts,
            env=env,
        )
        self.http = httpx.Client(
            base_url=f"{self.local.api_url}/api/v1", timeout=30, trust_env=False, headers=authorized(home)
        )

    def start(self, name: str, tree: Path) -> None:
        spec: Spec = self.local.api_process() if name == "api" else self.local.worker()
        env = {**spec.env, "PYTHONPATH": str(tree)}
        self.local.processes.start(dataclasses.replace(spec, cwd=tree, env=env, fingerprint=str(tree)), timeout=120)

    def stop(self, name: str) -> None:
        self.local.processes.stop(name, grace=20)

    def insist(self, method: str, path: str, **more: Any) -> httpx.Response:
        """The same request again until it is answered: with a key a command counts once."""
        deadline = time.monotonic() + 120
        while True:
            try:
                answer = self.http.request(method, path, **more)
                if answer.status_code < 500:
                    return answer
                why: object = answer.text
            except httpx.TransportError as error:
                why = error
            assert time.monotonic() < deadline, f"{method} {path}: {why}"
            time.sleep(0.2)

    def create(self, name: str) -> str:
        policy = {"initial_backoff": 1, "max_restarts": 1000}
        body = {"name": name, "spec": {"type": "sql", "sql": SQL}, "restart_policy": policy}
        answer = self.insist("POST", "/jobs", json=body)
        assert answer.status_code == 201, answer.text
        return f"default:{name}"

    def job(self, job: str) -> dict[str, Any]:
        found: dict[str, Any] = self.insist("GET", f"/jobs/{job}").json()
        return found

    def send(self, job: str, kind: str, **more: Any) -> httpx.Response:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return self.insist("POST", f"/jobs/{job}/commands", json={"kind": kind, **more}, headers=headers)

    def ended(self, job: str, number: int, patience: float = 120) -> dict[str, Any]:
        deadline = time.monotonic() + patience
        while True:
            found: dict[str, Any] = self.insist("GET", f"/jobs/{job}/commands/{number}").json()
            if found["state"] not in ("PENDING", "RUNNING"):
                return found
            assert time.monotonic() < deadline, f"command {number} of {job} has not ended: {found}"
            time.sleep(0.1)

    def down(self) -> None:
        for name in ("worker", "api", "temporal"):
            self.stop(name)
        self.http.close()


def _choice(state: str) -> dict[str, Any]:
    match state:
        case "RUNNING":
            kind = random.choice(["pause", "restart", "savepoint", "kill"])
            return {"kind": kind}
        case "KILLED":
            return {"kind": "start", "restore": {"mode": "none"}}
        case _:
            return {"kind": "start"}


@pytest.fixture
def house(parts: StackParts, tmp_path: Path) -> Iterator[House]:
    with SmallFlink(free_port()) as flink:
        made = House(parts, tmp_path / "home", flink)
        try:
            made.local.processes.start(made.local.temporal(), timeout=60)
            yield made
        finally:
            made.down()


def old_tree(folder: Path) -> Path:
    try:
        tree = archive(OLD, folder)
    except subprocess.CalledProcessError:
        pytest.skip(f"this checkout has no history back to {OLD}: clone it in full")
    then, now = (tomllib.loads((t / "pyproject.toml").read_text())["project"]["dependencies"] for t in (tree, ROOT))
    if not set(then) <= set(now):
        pytest.skip(f"{OLD} has other requirements, and cannot run in this environment")
    return tree


def test_from_an_older_worker_to_ours_under_load(house: House, tmp_path: Path):
    old = old_tree(tmp_path / "old")
    house.start("worker", old)
    house.start("api", old)
    body = {
        "name": "local",
        "jobmanager_url": house.flink.url,
        "gateway_url": house.flink.url,
        "flink_version": "2.3.0",
        "state_dir": f"file://{tmp_path}/state",
    }
    assert house.insist("POST", "/clusters", json=body).status_code == 201
    jobs = [house.create(f"load-{n}") for n in range(JOBS)]
    sent: list[tuple[str, int]] = []
    trouble: list[str] = []
    stop = threading.Event()

    def load(job: str) -> None:
        try:
            while not stop.is_set():
                answer = house.send(job, **_choice(house.job(job)["state"]))
                if answer.status_code != 202:
                    time.sleep(0.1)  # its state has changed meanwhile
                    continue
                number = answer.json()["number"]
                sent.append((job, number))
                if random.random() < 0.2:  # somebody is impatient
                    time.sleep(random.uniform(0, 0.3))
                    hasty = house.send(job, "kill")
                    if hasty.status_code == 202:
                        sent.append((job, hasty.json()["number"]))
                house.ended(job, number)
        except Exception as error:
            trouble.append(f"{job}: {error!r}")

    threads = [threading.Thread(target=load, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    time.sleep(SECONDS)
    before = len(sent)
    house.stop("worker")
    time.sleep(1)  # commands wait
    house.start("worker", ROOT)
    time.sleep(SECONDS / 2)
    late = house.create("late")  # by the old API, into a database of the new schema
    assert house.ended(late, house.send(late, "start").json()["number"])["state"] == "SUCCEEDED"
    house.stop("api")
    house.start("api", ROOT)
    time.sleep(SECONDS)
    stop.set()
    for thread in threads:
        thread.join(150)
    assert not trouble, trouble
    assert before > JOBS, "there was load before"
    assert len(sent) > before + JOBS, "and after"

    ends = [house.ended(job, number) for job, number in sent]
    # A start may find the job KILLED by then: it refuses to guess.
    failed = [e for e in ends if e["state"] == "FAILED" and e["error_code"] != "restore_undecided"]
    assert not failed, failed[:3]
    for job in [*jobs, late]:
        settle(house, job)
    fresh = house.create("fresh")
    assert house.ended(fresh, house.send(fresh, "start").json()["number"])["state"] == "SUCCEEDED"
    settle(house, fresh)
    asyncio.run(no_task_failed(house, len(jobs) + 2))
    print(f"{before} commands before, {len(sent) - before} during and after the upgrade")


def settle(house: House, job: str) -> None:
    """By what Flink runs: one when the job says RUNNING, else none; and it takes commands."""
    shown = house.job(job)
    alive = house.flink.alive(job)
    assert alive == ([shown["current_attempt"]["flink_job_id"]] if shown["state"] == "RUNNING" else []), (shown, alive)
    attempts = house.insist("GET", f"/jobs/{job}/attempts", params={"limit": 500}).json()["items"]
    assert len({a["flink_job_id"] for a in attempts}) == len(attempts)
    answer = house.send(job, **_choice(shown["state"]))
    assert answer.status_code == 202, answer.text
    assert house.ended(job, answer.json()["number"])["state"] == "SUCCEEDED"


async def no_task_failed(house: House, expected: int) -> None:
    client = await Client.connect(f"127.0.0.1:{house.ports['temporal']}")
    looked_at, queues = 0, set()
    async for found in client.list_workflows("WorkflowType = 'JobWorkflow'"):
        handle = client.get_workflow_handle(found.id, run_id=found.run_id)
        async for event in handle.fetch_history_events():
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                failed = event.workflow_task_failed_event_attributes
                assert failed.cause not in REPLAY, f"{found.id}: {failed.failure.message}"
        looked_at += 1
        queues.add(found.task_queue)
    assert looked_at >= expected
    assert queues == {"penstock"}, "an older database keeps its queues"
    log = house.local.processes.log("worker").read_text(errors="replace")
    assert "ondeterminism" not in log
    assert "Failed activation" not in log
