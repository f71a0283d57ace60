"""The world that is hurt: real Temporal, PostgreSQL, Flink and gateway, the API and two workers as processes, with
a proxy in front of everything that Penstock speaks to."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import psutil

from engine.processes import Spec, free_port, http_ok, listens
from settings import ApiSettings, Settings, StackSettings
from stack.local import LocalStack
from stack.parts import Parts
from tests.faults.points import FOLDER
from tests.faults.proxy import Mode, Proxy
from tests.real.conftest import GitRepository

PATIENCE = 300.0
INTERVAL = 2.0
PROGRAM = Path(__file__).with_name("program")
SQL = """SET 'execution.checkpointing.interval' = '1 s';
SET 'parallelism.default' = '1';
CREATE TABLE src (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '20');
CREATE TABLE counted (n BIGINT, moment STRING) WITH ('connector' = 'print', 'print-identifier' = '{name}');
INSERT INTO counted SELECT n, CAST(LOCALTIMESTAMP AS STRING) FROM (SELECT COUNT(*) AS n FROM src);
"""
PARTS = ("api", "worker-1", "worker-2", "temporal", "jobmanager", "taskmanager", "gateway", "database")
PROXIED = ("temporal", "jobmanager", "gateway", "database", "api")


class World:
    def __init__(self, home: Path, *, slots: int = 16):
        self.home = home
        self.faults = home / "faults"
        for name in ("trace", "armed", "hit"):
            (self.faults / name).mkdir(parents=True, exist_ok=True)
        self.ports = {n: free_port() for n in ("temporal", "ui", "jobmanager", "rpc", "gateway", "api", "database")}
        self.proxies: dict[str, Proxy] = {}
        parts = Parts(Settings().cache)
        parts.temporal()
        parts.flink("2.3.0")
        for name in PROXIED:
            self.proxies[name] = Proxy(free_port(), self.ports[name])
        url = f"postgresql+asyncpg://postgres@127.0.0.1:{self.proxies['database'].port}/postgres"
        env = {
            "PENSTOCK_API_PORT": str(self.ports["api"]),
            "PENSTOCK_WATCH_INTERVAL": str(INTERVAL),
            "PENSTOCK_WATCH_INTERVAL_BUSY": "0.5",
            "PENSTOCK_RECOVERY_INTERVAL": "5",
            "PENSTOCK_RUNNING_TIMEOUT": "90",
            "PENSTOCK_LOST_GRACE": "2",
            "PENSTOCK_CANNOT_TELL_AFTER": "10",
            "PENSTOCK_CHECK_INTERVAL": "60",
            "PENSTOCK_TEMPORAL_ADDRESS": f"127.0.0.1:{self.proxies['temporal'].port}",
            "PENSTOCK_DATABASE_URL": url,
            "PENSTOCK_GIT_LOCAL_ROOTS": f'["{home}"]',
            "TMPDIR": str(home / "tmp"),
            FOLDER: str(self.faults),
        }
        (home / "tmp").mkdir(exist_ok=True)
        os.environ.pop("PENSTOCK_TEMPORAL_ADDRESS", None)
        os.environ.pop("TEMPORAL_ADDRESS", None)
        self.local = LocalStack(
            Settings(home=home),
            StackSettings(
                temporal_port=self.ports["temporal"],
                temporal_ui_port=self.ports["ui"],
                flink_port=self.ports["jobmanager"],
                flink_rpc_port=self.ports["rpc"],
                gateway_port=self.ports["gateway"],
                flink_slots=slots,
            ),
            ApiSettings(api_port=self.ports["api"]),
            parts,
            env=env,
        )
        self.processes = self.local.processes
        self.flink = httpx.Client(base_url=f"http://127.0.0.1:{self.ports['jobmanager']}", timeout=5, trust_env=False)
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.proxies['api'].port}/api/v1", timeout=30, trust_env=False
        )
        self._specs: dict[str, Spec] = {}
        self._down: set[str] = set()
        self._stop = threading.Event()
        self._dead: dict[str, str] = {}
        # Not below `home`: run as root the server has a user of its own, and every pytest that starts on this
        # machine closes its folder of temporary folders to others.
        self.database = Path(tempfile.mkdtemp(prefix="penstock-pg-"))

    # Processes ------------------------------------------------------------------------------

    def _python(self, name: str, module: str, ready: Any = None) -> Spec:
        spec = self.local._python(name, [module])
        return Spec(name=name, command=[sys.executable, "-m", module], env=spec.env, ready=ready or (lambda: True))

    def _database(self) -> Spec:
        """The PostgreSQL of the wheel, as a process of its own."""
        import pgserver
        from pgserver.postgres_server import POSTGRES_BIN_PATH

        data = self.database / "data"
        server = pgserver.get_server(data, cleanup_mode="stop")
        server.cleanup()
        as_user = []
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            as_user = ["setpriv", "--reuid=pgserver", "--regid=pgserver", "--clear-groups"]
        command = [
            *as_user, str(POSTGRES_BIN_PATH / "postgres"), "-D", str(data), "-h", "127.0.0.1",
            "-p", str(self.ports["database"]), "-c", "max_connections=200", "-k", "",
        ]  # fmt: skip
        return Spec(name="database", command=command, cwd=data, ready=listens(self.ports["database"]))

    def up(self) -> None:
        # Triggers are forgotten within seconds, not minutes: a retry has to find out in other ways.
        flink = dataclasses.replace(self.local.flink(), extra={"rest.async.store-duration": "3 s"})
        ready = http_ok(f"http://127.0.0.1:{self.ports['api']}/healthz")
        specs = [
            self._database(), self.local.temporal(), flink.jobmanager(), flink.taskmanager(), flink.gateway(),
            self._python("api", "tests.faults.api", ready),
            self._python("worker-1", "tests.faults.worker"), self._python("worker-2", "tests.faults.worker"),
        ]  # fmt: skip
        self._specs = {spec.name: spec for spec in specs}
        for spec in specs:
            self.processes.start(spec, timeout=PATIENCE)
        self.until(lambda: self.flink.get("/overview").json()["slots-total"] > 0, "the TaskManager has registered")
        body = {
            "name": "local", "jobmanager_url": f"http://127.0.0.1:{self.proxies['jobmanager'].port}",
            "gateway_url": f"http://127.0.0.1:{self.proxies['gateway'].port}", "flink_version": "2.3.0",
            "state_dir": flink.state_dir,
        }  # fmt: skip
        response = self.http.post("/clusters", json=body)
        assert response.status_code == 201, response.text
        self.state = Path(flink.state_dir.removeprefix("file://"))
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._supervisor.start()

    def _supervise(self) -> None:
        """Starts again what has died, as systemd or an orchestrator would."""
        since: dict[str, float] = {}
        while not self._stop.wait(0.2):
            for name, spec in self._specs.items():
                if name in self._down or self.processes.find(name) is not None:
                    since.pop(name, None)
                    continue
                try:
                    self.processes.start(spec, timeout=60)
                except Exception as error:
                    if time.monotonic() - since.setdefault(name, time.monotonic()) > 60:
                        self._dead[name] = str(error)

    def down(self) -> None:
        self._stop.set()
        self._supervisor.join(90)
        for name in reversed(list(self._specs)):
            self.processes.stop(name, grace=10)
        shutil.rmtree(self.database, ignore_errors=True)
        for proxy in self.proxies.values():
            proxy.close()
        self.http.close()
        self.flink.close()

    def _family(self, name: str) -> list[psutil.Process]:
        process = self.processes.find(name)
        return [process, *process.children(recursive=True)] if process else []

    def kill(self, name: str, away: float) -> None:
        """kill -9; started again after `away` seconds."""
        self._down.add(name)
        for process in self._family(name) if name == "database" else self._family(name)[:1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        time.sleep(away)
        self._down.discard(name)

    def freeze(self, name: str, seconds: float) -> None:
        family = self._family(name)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)

    def cut(self, name: str, mode: Mode, seconds: float) -> None:
        self.proxies[name].set(mode)
        time.sleep(seconds)
        self.proxies[name].set(Mode.PASS)

    def leftovers(self) -> list[str]:
        """Processes below workers and API, and temporary files of submissions."""
        found = [
            f"process {p.name()} below {name}"
            for name in ("worker-1", "worker-2", "api")
            for p in self._family(name)[1:]
        ]
        for folder in (self.home / "tmp", self.local.settings.artifact_root() / "tmp"):
            found += [f"temporary {path}" for path in folder.glob("penstock-*")]
        return found

    # REST -----------------------------------------------------------------------------------

    def until(self, condition: Any, what: str, patience: float = PATIENCE) -> Any:
        deadline = time.monotonic() + patience
        last: object = None
        while time.monotonic() < deadline:
            try:
                if found := condition():
                    return found
            except (httpx.HTTPError, KeyError, IndexError, ValueError) as error:
                last = error
            assert not self._dead, f"the world does not come back: {self._dead}"
            time.sleep(0.2)
        raise AssertionError(f"not within {patience:.0f} s: {what} (last: {last!r})")

    def insist(self, method: str, path: str, *, patience: float = PATIENCE, **more: Any) -> httpx.Response:
        """As a careful client does: the same request again until there is an answer."""

        def ask() -> httpx.Response | None:
            response = self.http.request(method, path, **more)
            return None if response.status_code >= 500 else response

        found: httpx.Response = self.until(ask, f"{method} {path} is answered", patience)
        return found

    def get(self, path: str, **params: Any) -> Any:
        return self.insist("GET", path, params=params).json()

    def create(self, name: str, kind: str) -> str:
        if kind == "sql":
            spec: dict[str, Any] = {"type": "sql", "sql": SQL.format(name=name)}
        else:
            repository = self.home / "program"
            if not repository.exists():
                files = {
                    str(p.relative_to(PROGRAM)): p.read_text()
                    for p in PROGRAM.rglob("*")
                    if p.is_file() and "target" not in p.parts
                }
                GitRepository(repository).write(files)
            spec = {
                "type": "jar", "git": {"url": str(repository), "ref": "main"},
                "entry_class": "dev.penstock.faults.Counter", "args": [str(self.home / f"{name}.out")],
                "config": {"execution.checkpointing.interval": "1 s"},
            }  # fmt: skip
        policy = {
            "initial_backoff": 1, "multiplier": 1.5, "max_backoff": 5, "max_restarts": 1000, "restore_tries": 2,
        }  # fmt: skip
        response = self.insist("POST", "/jobs", json={"name": name, "spec": spec, "restart_policy": policy})
        assert response.status_code in (201, 409), response.text
        return f"default:{name}"

    def send(self, job: str, body: dict[str, Any]) -> tuple[str, httpx.Response]:
        """Send a command with a key, again and again until it is answered. Returns the key, too."""
        key = uuid.uuid4().hex
        return key, self.insist("POST", f"/jobs/{job}/commands", json=body, headers={"Idempotency-Key": key})

    def ended(self, job: str, number: int, patience: float = PATIENCE) -> dict[str, Any]:
        def look() -> Any:
            found = self.http.get(f"/jobs/{job}/commands/{number}").json()
            return found if found["state"] in ("SUCCEEDED", "FAILED", "CANCELLED") else None

        return self.until(look, f"command {number} of {job} has ended", patience)  # type: ignore[no-any-return]
