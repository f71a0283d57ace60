"""A real stack for tests: Temporal, Flink, gateway, API and worker as processes on free ports."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from clusters.local.hosted import stop_all
from core.names import Installation
from processes.supervised import Spec, free_port
from settings import ApiSettings, Settings, StackSettings
from stack.local import LocalStack
from stack.parts import StackParts
from tests.authorized import authorized

PATIENCE = 240.0
PRINT = "CREATE TABLE sink (id BIGINT) WITH ('connector' = 'blackhole');"
SOURCE = "CREATE TABLE src (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '20'{});"
SQL = f"SET 'execution.checkpointing.interval' = '1 s';\n{SOURCE.format('')}\n{PRINT}\nINSERT INTO sink SELECT id FROM src;"
BOUNDED = SQL.replace("'20')", "'20', 'number-of-rows' = '20')")


class Stack:
    """One real stack. Parts of it can be killed, frozen and started again by name."""

    def __init__(self, parts: StackParts, home: Path, version: str = "2.3.0", database_url: str = ""):
        self.home = home
        self.ports = {name: free_port() for name in ("temporal", "ui", "flink", "rpc", "gateway", "api")}
        os.environ.pop("PENSTOCK_TEMPORAL_ADDRESS", None)
        os.environ.pop("TEMPORAL_ADDRESS", None)
        env = {
            "PENSTOCK_API_PORT": str(self.ports["api"]),
            "PENSTOCK_WATCH_INTERVAL": "2",
            "PENSTOCK_WATCH_INTERVAL_BUSY": "0.5",
            "PENSTOCK_RECOVERY_INTERVAL": "5",
            "PENSTOCK_RUNNING_TIMEOUT": "90",
            "PENSTOCK_LOST_GRACE": "2",
            "PENSTOCK_PLAN_TIMEOUT": "90",
            "PENSTOCK_CANNOT_TELL_AFTER": "4",
        }
        if database_url:
            env["PENSTOCK_DATABASE_URL"] = database_url
        self.local = LocalStack(
            Settings(home=home, database_url=database_url),
            StackSettings(
                flink_version=version,
                temporal_port=self.ports["temporal"],
                temporal_ui_port=self.ports["ui"],
                flink_port=self.ports["flink"],
                flink_rpc_port=self.ports["rpc"],
                gateway_port=self.ports["gateway"],
            ),
            ApiSettings(api_port=self.ports["api"]),
            parts,
            env=env,
        )
        flink = self.local.flink()
        self.flink_url, self.gateway_url, self.state_dir = flink.url, flink.gateway_url, flink.state_dir
        self.api_url = f"{self.local.api_url}/api/v1"
        self.http = httpx.Client(base_url=self.api_url, timeout=60, trust_env=False, headers=authorized(home))
        self.flink = httpx.Client(base_url=self.flink_url, timeout=30, trust_env=False)

    # Processes ------------------------------------------------------------------------------

    def specs(self) -> dict[str, Spec]:
        flink = self.local.flink()
        made = [
            self.local.temporal(),
            flink.jobmanager(),
            replace(self.local.taskmanager(), ready=lambda: True),
            flink.gateway(),
            self.local.api_process(),
            self.local.worker(),
        ]
        return {spec.name: spec for spec in made}

    def start(self, *names: str) -> None:
        specs = self.specs()
        for name in names or specs:
            self.local.processes.start(specs[name], timeout=PATIENCE)

    def up(self) -> None:
        self.start()
        self.add_cluster("local")
        self.until(lambda: self.flink.get("/overview").json()["slots-total"] > 0, "the TaskManager has registered")

    def add_cluster(self, name: str, **changes: Any) -> None:
        body = {
            "name": name,
            "jobmanager_url": self.flink_url,
            "gateway_url": self.gateway_url,
            "flink_version": self.local.stack.flink_version,
            "state_dir": self.state_dir,
            "force": name != "local",
            **changes,
        }
        response = self.http.post("/clusters", json=body)
        assert response.status_code in (201, 409), response.text

    def kill(self, name: str) -> None:
        """kill -9."""
        process = self.local.processes.find(name)
        assert process is not None, name
        process.send_signal(signal.SIGKILL)
        self.until(lambda: self.local.processes.find(name) is None, f"{name} is gone")

    def down(self) -> None:
        for name in reversed(list(self.specs())):
            self.local.processes.stop(name, grace=10)
        stop_all(self.home / "clusters")
        self.http.close()
        self.flink.close()

    # REST -----------------------------------------------------------------------------------

    def until(self, condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
        deadline = time.monotonic() + patience
        last: object = None
        while time.monotonic() < deadline:
            try:
                if found := condition():
                    return found
            except (httpx.HTTPError, KeyError, IndexError) as error:
                last = error
            time.sleep(0.1)
        raise AssertionError(f"not within {patience:.0f} s: {what} (last error: {last})")

    def create(self, spec: dict[str, Any] | str = SQL, **more: Any) -> str:
        spec = {"type": "sql", "sql": spec} if isinstance(spec, str) else spec
        name = f"t-{uuid.uuid4().hex[:10]}"
        response = self.http.post("/jobs", json={"name": name, "spec": spec, **more})
        assert response.status_code == 201, response.text
        return f"default:{name}"

    def send(self, job: str, kind: str, key: str | None = None, **more: Any) -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return self.http.post(f"/jobs/{job}/commands", json={"kind": kind, **more}, headers=headers)

    def do(self, job: str, kind: str, state: str = "SUCCEEDED", **more: Any) -> dict[str, Any]:
        """Send a command and wait until it has ended as expected."""
        response = self.send(job, kind, **more)
        assert response.status_code == 202, response.text
        ended = self.ended(job, response.json()["number"])
        assert ended["state"] == state, (ended, self.http.get(f"/jobs/{job}/commands/{ended['number']}/log").text)
        return ended

    def ended(self, job: str, number: int, patience: float = PATIENCE) -> dict[str, Any]:
        def look() -> Any:
            command = self.http.get(f"/jobs/{job}/commands/{number}", params={"wait": 10}).json()
            return command if command["state"] in ("SUCCEEDED", "FAILED", "CANCELLED") else None

        return self.until(look, f"command {number} of {job} has ended", patience)

    def job(self, job: str) -> dict[str, Any]:
        return self.http.get(f"/jobs/{job}").json()

    def workflow_id(self, job: str) -> str:
        """In the Temporal UI: the job's name, and the beginning of its id."""
        return f"job-{job}-{self.job(job)['id'][:8]}"

    def installation(self) -> Installation:
        """Of the stack's own SQLite."""
        with sqlite3.connect(self.home / "penstock.db", timeout=30) as database:
            return Installation(database.execute("SELECT id FROM installation").fetchone()[0])

    def items(self, job: str, what: str) -> list[dict[str, Any]]:
        response = self.http.get(f"/jobs/{job}/{what}", params={"limit": 500} if what != "restore-points" else {})
        assert response.status_code == 200, response.text
        return response.json()["items"]

    def state(self, job: str, *states: str, patience: float = PATIENCE) -> dict[str, Any]:
        def look() -> Any:
            found = self.job(job)
            return found if found["state"] in states else None

        return self.until(look, f"{job} is {' or '.join(states)}, it is {self.job(job).get('state')}", patience)

    def checkpointed(self, job: str, more_than: int = 0) -> None:
        """Wait until the current attempt has completed a checkpoint."""
        flink_job = self.job(job)["current_attempt"]["flink_job_id"]

        def look() -> bool:
            return self.flink.get(f"/jobs/{flink_job}/checkpoints").json()["counts"]["completed"] > more_than

        self.until(look, f"{job} has completed a checkpoint")

    # Flink itself, the judge ----------------------------------------------------------------

    def flink_jobs(self, job: str) -> list[dict[str, Any]]:
        """All Flink jobs under the job's name, as the JobManager tells."""
        return [j for j in self.flink.get("/jobs/overview").json()["jobs"] if j["name"] == job]

    def flink_running(self) -> list[dict[str, Any]]:
        """Every job on the cluster that has not ended."""
        jobs: list[dict[str, Any]] = self.flink.get("/jobs/overview").json()["jobs"]
        return [j for j in jobs if j["state"] not in ("FINISHED", "CANCELED", "FAILED")]

    def alive(self, job: str) -> list[str]:
        return [j["jid"] for j in self.flink_jobs(job) if j["state"] not in ("FINISHED", "CANCELED", "FAILED")]


def printed(flink: Path) -> str:
    """What the task managers of a Flink in this folder have printed."""
    return "".join(path.read_text(errors="replace") for path in sorted(flink.glob("log/*-taskexecutor-*.out")))


@pytest.fixture(scope="session")
def stack(parts: StackParts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    parts.temporal()
    parts.flink("2.3.0")
    made = Stack(parts, tmp_path_factory.mktemp("stack"))
    try:
        made.up()
        yield made
    finally:
        made.down()


@pytest.fixture(autouse=True)
def _tidy(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test its jobs are cancelled on Flink, so that slots are free for the next one. Not before their tasks
    are set up: Flink 2.3.0 could lose the task manager (`clusters/flink/session.py`, `cancel`)."""
    yield
    if "stack" not in request.fixturenames:
        return
    made: Stack = request.getfixturevalue("stack")
    limit = time.monotonic() + 20
    while any(map(_is_being_set_up, made.flink_running())) and time.monotonic() < limit:
        time.sleep(0.2)
    for job in made.flink_running():
        made.flink.patch(f"/jobs/{job['jid']}", params={"mode": "cancel"})


def _is_being_set_up(job: dict[str, Any]) -> bool:
    return bool(job["tasks"]["deploying"] or job["tasks"]["initializing"])


class GitRepository:
    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True)
        self("init", "-q", "-b", "main")

    def __call__(self, *arguments: str) -> str:
        author = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(self.folder), *author, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def write(self, files: dict[str, str]) -> str:
        """Commit files; returns the commit."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self("add", "-A")
        self("commit", "-q", "-m", "change")
        return self("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    return GitRepository(tmp_path / "repository")
