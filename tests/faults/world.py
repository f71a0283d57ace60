"""The world that is hurt: real Temporal, PostgreSQL, Flink and gateway, the API and two workers as processes, with
a proxy in front of everything that Penstock speaks to."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

from processes.flink import Flink
from processes.supervised import Spec, free_port, http_ok, listens
from settings import ApiSettings, Settings, StackSettings
from stack.local import LocalStack
from stack.parts import StackParts
from tests.authorized import authorized
from tests.faults import clocks
from tests.faults.disks import Disk
from tests.faults.points import FOLDER
from tests.faults.proxy import Mode, Proxy
from tests.real.conftest import GitRepository

PATIENCE = 300.0
INTERVAL = 2.0
PROGRAM = Path(__file__).with_name("program")
AUDIT = Path(__file__).with_name("audit")
ROOT = Path(__file__).resolve().parents[2]
MEMORY = 30.0
"""Seconds after which this Flink forgets a job that has ended; it forgets savepoint triggers after 3."""
CLASS = "dev.penstock.faults.Counter"
_HEAD = """SET 'execution.checkpointing.interval' = '1 s';
SET 'parallelism.default' = '1';
CREATE TABLE src (v BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '20', 'fields.v.min' = '1',
  'fields.v.max' = '9');
"""
_SINK = """CREATE TABLE `{operator}` (n BIGINT) WITH ('connector' = 'audit', 'path' = '{path}', 'operator' = '{operator}');
"""
UNITS = {"big": 1_000_000}
"""By how much the operators count, where that is not 1."""
_INSERTS = {
    "count": "INSERT INTO `count` SELECT COUNT(*) FROM src;\n",
    "small": "INSERT INTO `small` SELECT SUM(v / v) FROM src;\n",
    "big": "INSERT INTO `big` SELECT SUM(v / v * 1000000) FROM src;\n",
}


def sql_of(path: Path, operators: Sequence[str]) -> str:
    """A script with an INSERT for each operator, in this order; all of them write to one audit file."""
    sinks = "".join(_SINK.format(operator=operator, path=path) for operator in sorted(operators))
    return _HEAD + sinks + "".join(_INSERTS[operator] for operator in operators)


PARTS = ("api", "worker-1", "worker-2", "temporal", "jobmanager", "taskmanager", "gateway", "database")
OURS = ("api", "worker-1", "worker-2")
PROXIED = ("temporal", "jobmanager", "gateway", "database", "api")
FLINK_PORTS = ("jobmanager", "rpc", "gateway")
FINAL = ("FINISHED", "CANCELED", "FAILED")


class World:
    """`disks`: state, database and temporary files lie on disks of their own, which can be filled. `clocks`: API and
    workers run with clocks that can be stepped. `old`: a folder with older code that API and workers begin with."""

    def __init__(
        self, home: Path, *, slots: int = 16, disks: bool = False, stepping: bool = False, old: Path | None = None
    ):
        self.home = home
        self.old, self.stepping = old, stepping
        self.faults = home / "faults"
        for name in ("trace", "armed", "hit"):
            (self.faults / name).mkdir(parents=True, exist_ok=True)
        self.ports = {n: free_port() for n in (*PROXIED, "ui", "rpc", *(f"second-{n}" for n in FLINK_PORTS))}
        self.proxies: dict[str, Proxy] = {}
        parts = StackParts(Settings().cache)
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
        for name in ("tmp", "audit", "clocks", "temporal"):
            (home / name).mkdir(exist_ok=True)
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
        self.flink_url = f"http://127.0.0.1:{self.ports['jobmanager']}"
        self.flink = httpx.Client(base_url=self.flink_url, timeout=5, trust_env=False)
        self.second_url = f"http://127.0.0.1:{self.ports['second-jobmanager']}"
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.proxies['api'].port}/api/v1",
            timeout=30,
            trust_env=False,
            headers=authorized(home),
        )
        self._specs: dict[str, Spec] = {}
        self._down: set[str] = set()
        self._bases = 0
        self._stop = threading.Event()
        self._dead: dict[str, str] = {}
        # Not below `home`: run as root the server has a user of its own, and every pytest that starts on this
        # machine closes its folder of temporary folders to others.
        self.database = Path(tempfile.mkdtemp(prefix="penstock-pg-"))
        self.strangers: set[str] = set()
        """Flink jobs that were started past Penstock."""
        self.disks: dict[str, Disk] = {}
        if disks:
            self.disks["state"] = Disk(home / "flink" / "state", 256)
            self.disks["database"] = Disk(self.database, 512)
            self.disks["temporal"] = Disk(home / "temporal", 512)
            self.disks["temporary files"] = Disk(home / "tmp", 64)

    # Processes ------------------------------------------------------------------------------

    def _python(self, name: str, module: str, ready: Any = None, root: Path = ROOT) -> Spec:
        """API or worker, in the code below `root`."""
        spec = self.local._python(name, [module])
        env = {**spec.env, "PYTHONPATH": str(root)}
        if self._bases:
            env["PENSTOCK_DATABASE_URL"] = env["PENSTOCK_DATABASE_URL"].removesuffix("postgres") + f"anew{self._bases}"
        if self.stepping:
            env |= clocks.environment(self.clock_of(name))
        command = [sys.executable, "-m", module]
        return Spec(name=name, command=command, env=env, ready=ready or (lambda: True), cwd=root)

    def clock_of(self, name: str) -> Path:
        return self.home / "clocks" / name

    def _ours(self, name: str, root: Path = ROOT) -> Spec:
        if name == "api":
            return self._python(
                name, "tests.faults.api", http_ok(f"http://127.0.0.1:{self.ports['api']}/healthz"), root
            )
        return self._python(name, "tests.faults.worker", root=root)

    def replace(self, name: str, root: Path = ROOT) -> None:
        """API or a worker is stopped, and begun again in the code below `root`."""
        self._specs[name] = self._ours(name, root)
        self.kill(name)

    def _temporal(self) -> Spec:
        spec = self.local.temporal()
        command = [
            word.replace(str(self.home / "temporal.db"), str(self._temporal_database())) for word in spec.command
        ]
        return dataclasses.replace(spec, command=command)

    def _temporal_database(self) -> Path:
        return self.home / "temporal" / "temporal.db"

    def _libraries(self) -> Path:
        """Flink's own, and the connector 'audit'."""
        folder, classes = self.home / "lib", self.home / "classes"
        home = self.local.flink().home
        folder.mkdir(exist_ok=True)
        for jar in (home / "lib").glob("*.jar"):
            link = folder / jar.name
            if not link.exists():
                link.symlink_to(jar)
        for name, sources, more in (
            ("audit", AUDIT / "src", ["-C", str(AUDIT), "META-INF"]),
            ("counter", PROGRAM / "src" / "main" / "java", []),
        ):
            files = [str(path) for path in sources.rglob("*.java")]
            out = classes / name
            subprocess.run(["javac", "-nowarn", "-d", out, "-cp", f"{home}/lib/*", *files], check=True)
            target = folder / "audit.jar" if name == "audit" else self.home / "counter.jar"
            subprocess.run(["jar", "--create", "--file", target, "-C", out, ".", *more], check=True)
        return folder

    def _flink(self, second: bool = False) -> Flink:
        # Triggers are forgotten within seconds, jobs that have ended within half a minute: a retry has to find out
        # in other ways.
        forgets = {"rest.async.store-duration": "3 s", "jobstore.expiration-time": str(int(MEMORY))}
        made = dataclasses.replace(self.local.flink(), extra=forgets)
        if not second:
            return made
        ports = {f"{n}_port": self.ports[f"second-{p}"] for n, p in (("rest", "jobmanager"), ("rpc", "rpc"))}
        return dataclasses.replace(
            made, folder=self.home / "flink-2", gateway_port=self.ports["second-gateway"], **ports
        )

    def _with_libraries(self, spec: Spec, suffix: str = "") -> Spec:
        env = {**spec.env, "FLINK_LIB_DIR": str(self.home / "lib")}
        return dataclasses.replace(spec, env=env, name=spec.name + suffix)

    def start_second(self) -> None:
        """Another Flink, which knows nothing of ours, and could run jobs."""
        if "jobmanager-2" in self._specs:
            return
        flink = self._flink(second=True)
        for spec in (flink.jobmanager(), flink.taskmanager()):
            made = self._with_libraries(spec, "-2")
            self.processes.start(made, timeout=PATIENCE)
            self._specs = {**self._specs, made.name: made}

    def clear_second(self) -> list[str]:
        """Cancel all that runs on the second Flink; returns the Flink ids."""
        found: list[str] = []
        if "jobmanager-2" not in self._specs:
            return found
        with httpx.Client(base_url=self.second_url, timeout=10, trust_env=False) as flink:
            for job in flink.get("/jobs").json()["jobs"]:
                if job["status"] not in FINAL:
                    found.append(job["id"])
                    flink.patch(f"/jobs/{job['id']}", params={"mode": "cancel"})
        return found

    def wipe_temporal(self) -> None:
        """Temporal dies, and comes back without a memory: no workflow, no schedule, no search attribute."""
        self._down.add("temporal")
        self._kill_now("temporal")
        for path in self._temporal_database().parent.glob("temporal.db*"):
            path.unlink()
        self._down.discard("temporal")

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
            *as_user,
            str(POSTGRES_BIN_PATH / "postgres"),
            "-D",
            str(data),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.ports["database"]),
            "-c",
            "max_connections=200",
            "-k",
            "",
            "-c",
            "max_wal_size=96MB",
            "-c",
            "min_wal_size=32MB",
        ]
        return Spec(name="database", command=command, cwd=data, ready=listens(self.ports["database"]))

    def up(self) -> None:
        self._libraries()
        flink, root = self._flink(), self.old or ROOT
        specs = [
            self._database(),
            self._temporal(),
            *(self._with_libraries(spec) for spec in (flink.jobmanager(), flink.taskmanager(), flink.gateway())),
            *(self._ours(name, root) for name in OURS),
        ]
        self._specs = {spec.name: spec for spec in specs}
        for spec in specs:
            self.processes.start(spec, timeout=PATIENCE)
        self.until(lambda: self.flink.get("/overview").json()["slots-total"] > 0, "the TaskManager has registered")
        self.state = Path(flink.state_dir.removeprefix("file://"))
        self.register()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._supervisor.start()

    def begin_anew(self, root: Path) -> None:
        """API and workers in the code below `root`, on an empty database and an empty Temporal. Flink stays."""
        self._down.update((*OURS, "temporal"))
        for name in OURS:
            self.processes.stop(name)
        self.wipe_temporal()
        self._bases += 1
        self._query("postgres", f"CREATE DATABASE anew{self._bases}")
        for name in OURS:
            self._specs[name] = self._ours(name, root)
        self._down.difference_update(OURS)
        self.until(lambda: self.http.get("/clusters").status_code == 200, "the API answers")
        self.register()

    def _query(self, base: str, text: str) -> None:
        from pgserver.postgres_server import POSTGRES_BIN_PATH

        psql = [str(POSTGRES_BIN_PATH / "psql"), "-h", "127.0.0.1", "-p", str(self.ports["database"]), "-U", "postgres"]
        subprocess.run([*psql, "-d", base, "-c", text], check=True, capture_output=True)

    def register(self) -> None:
        """The cluster `local`, at the addresses of the proxies."""
        body = {
            "name": "local",
            "jobmanager_url": self.proxied_flink,
            "gateway_url": f"http://127.0.0.1:{self.proxies['gateway'].port}",
            "flink_version": "2.3.0",
            "state_dir": self._flink().state_dir,
        }
        response = self.http.post("/clusters", json=body)
        assert response.status_code == 201, response.text

    @property
    def proxied_flink(self) -> str:
        return f"http://127.0.0.1:{self.proxies['jobmanager'].port}"

    def _supervise(self) -> None:
        """Starts again what has died, as systemd or an orchestrator would."""
        since: dict[str, float] = {}
        while not self._stop.wait(0.2):
            for name in list(self._specs):
                if name in self._down or self.processes.find(name) is not None:
                    since.pop(name, None)
                    continue
                try:
                    self.processes.start(self._specs[name], timeout=60)  # it may have become another one meanwhile
                except Exception as error:
                    if time.monotonic() - since.setdefault(name, time.monotonic()) > 60:
                        self._dead[name] = str(error)

    def down(self) -> None:
        self._stop.set()
        self._supervisor.join(90)
        for name in reversed(list(self._specs)):
            self.processes.stop(name, grace=10)
        for disk in self.disks.values():
            disk.remove()
        shutil.rmtree(self.database, ignore_errors=True)
        for proxy in self.proxies.values():
            proxy.close()
        self.http.close()
        self.flink.close()

    def _family(self, name: str) -> list[psutil.Process]:
        process = self.processes.find(name)
        return [process, *process.children(recursive=True)] if process else []

    def _kill_now(self, name: str) -> None:
        for process in self._family(name) if name == "database" else self._family(name)[:1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)

    def kill(self, *names: str, away: float = 0, during: Callable[[], None] | None = None) -> None:
        """kill -9, of several at once; started again after `away` seconds, or what `during` takes if that is more."""
        self._down.update(names)
        for name in names:
            self._kill_now(name)
        began = time.monotonic()
        if during is not None:
            during()
        time.sleep(max(0.0, away - (time.monotonic() - began)))
        self._down.difference_update(names)

    def freeze(self, *names: str, seconds: float) -> None:
        family = [process for name in names for process in self._family(name)]
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

    def program(self) -> str:
        """The Git repository of the jar's source."""
        repository = self.home / "program"
        if not repository.exists():
            files = {
                str(p.relative_to(PROGRAM)): p.read_text()
                for p in PROGRAM.rglob("*")
                if p.is_file() and "target" not in p.parts
            }
            GitRepository(repository).write(files)
        return str(repository)

    def jar_of(self, path: Path, how: str = "run", own_name: str | None = None, **config: str) -> dict[str, Any]:
        """The spec of a jar that counts into `path`; `how` is what it does (Counter.java)."""
        return {
            "type": "jar",
            "git": {"url": self.program(), "ref": "main"},
            "entry_class": CLASS,
            "args": [str(path), how, *([own_name] if own_name else [])],
            "config": {"execution.checkpointing.interval": "1 s", **config},
        }

    def create(self, name: str, spec: dict[str, Any], **policy: Any) -> str:
        """Returns the job's id."""
        patient = {"initial_backoff": 1, "multiplier": 1.5, "max_backoff": 5, "max_restarts": 1000, "restore_tries": 2}
        body = {"name": name, "spec": spec, "restart_policy": {**patient, **policy}}
        response = self.insist("POST", "/jobs", json=body)
        if response.status_code == 409:  # the answer to an earlier try was lost
            return str(self.get(f"/jobs/default:{name}")["id"])
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    def start_stranger(self, path: Path) -> str:
        """A Flink job that counts into `path`, started past Penstock; returns its Flink id."""
        jid = uuid.uuid4().hex
        with open(self.home / "counter.jar", "rb") as jar:
            files = {"jarfile": ("counter.jar", jar, "application/java-archive")}
            uploaded = self.flink.post("/jars/upload", files=files, timeout=60).json()["filename"].rsplit("/", 1)[1]
        body = {
            "entryClass": CLASS,
            "programArgsList": [str(path), "run", "started-by-hand"],
            "jobId": jid,
            "flinkConfiguration": {
                "execution.checkpointing.interval": "1 s",
                "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
            },
        }
        self.strangers.add(jid)
        response = self.flink.post(f"/jars/{uploaded}/run", json=body, timeout=60)
        assert response.status_code == 200, response.text
        return jid

    def send(self, job: str, body: dict[str, Any]) -> tuple[str, httpx.Response]:
        """Send a command with a key, again and again until it is answered. Returns the key, too."""
        key = uuid.uuid4().hex
        return key, self.insist("POST", f"/jobs/{job}/commands", json=body, headers={"Idempotency-Key": key})

    def ended(self, job: str, number: int, patience: float = PATIENCE) -> dict[str, Any]:
        def look() -> Any:
            found = self.http.get(f"/jobs/{job}/commands/{number}").json()
            return found if found["state"] in ("SUCCEEDED", "FAILED", "CANCELLED") else None

        return self.until(look, f"command {number} of {job} has ended", patience)  # type: ignore[no-any-return]
