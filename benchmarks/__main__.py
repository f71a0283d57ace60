"""`make bench`: measure on this machine, and write docs/benchmarks.md.

Every figure is a ratio against the bare engine, taken in the same run in alternating pairs.
"""

from __future__ import annotations

import asyncio
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil

from benchmarks import recovery
from benchmarks.simulated import SimulatedFlink
from processes.supervised import free_port
from settings import Settings
from settings.code import ROOT
from stack.parts import StackParts
from tests.authorized import authorized
from tests.real.conftest import GitRepository, Stack
from tests.real.sse import events

PAIRS = int(os.environ.get("PENSTOCK_BENCH_PAIRS", "20"))
PARKED = int(os.environ.get("PENSTOCK_BENCH_PARKED", "500"))
QUIET_SECONDS = float(os.environ.get("PENSTOCK_BENCH_QUIET", "120"))
MANY = int(os.environ.get("PENSTOCK_BENCH_MANY", "10000"))
ONLY = [p for p in os.environ.get("PENSTOCK_BENCH_ONLY", "").split(",") if p]  # parts of a run that writes nothing
PARTS = (
    "start_sql",
    "start_jar",
    "start_python",
    "at_once",
    "starts",
    "pause",
    "validate",
    "preview",
    "complete",
    "idle",
    "recovery",
)
AT_ONCE = int(os.environ.get("PENSTOCK_BENCH_AT_ONCE", "32"))
STARTS = int(os.environ.get("PENSTOCK_BENCH_STARTS", "200"))
WARM_UP = 3
STATEMENTS = [
    "CREATE TABLE src (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '5')",
    "CREATE TABLE sink (id BIGINT) WITH ('connector' = 'blackhole')",
    "INSERT INTO sink SELECT id FROM src",
]
TEN = [
    "CREATE TABLE src (id BIGINT, name STRING, amount DOUBLE) WITH ('connector' = 'datagen')",
    "CREATE TABLE other (id BIGINT, name STRING) WITH ('connector' = 'datagen')",
    "CREATE TABLE totals (name STRING, n BIGINT) WITH ('connector' = 'blackhole')",
    "CREATE TABLE ids (id BIGINT) WITH ('connector' = 'blackhole')",
    "CREATE TEMPORARY VIEW loud AS SELECT id, UPPER(name) AS name FROM src",
    "SET 'parallelism.default' = '2'",
    "INSERT INTO totals SELECT name, COUNT(*) FROM src GROUP BY name",
    "INSERT INTO ids SELECT id FROM loud WHERE id > 4",
    "INSERT INTO ids SELECT s.id FROM src s JOIN other o ON s.id = o.id",
    "INSERT INTO totals SELECT name, CAST(SUM(amount) AS BIGINT) FROM src GROUP BY name",
]
COMPLETED = [
    "SEL",
    "SELECT * FROM s",
    "SELECT 1 FROM src s WHERE s.",
    "INSERT INTO totals SELECT name, COUN",
    "CREATE TABLE more (id BIGINT) WITH ('connector' = '",
    "SET 'parallel",
]
PYTHON = """
from pyflink.table import EnvironmentSettings, TableEnvironment
t = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
t.execute_sql("CREATE TABLE src (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '5')")
t.execute_sql("CREATE TABLE sink (id BIGINT) WITH ('connector' = 'blackhole')")
t.execute_sql("INSERT INTO sink SELECT id FROM src")
"""
MAIN = "dev.penstock.examples.Clicks"
Rows = list[tuple[str, str, str, str, str, str]]


def say(text: str) -> None:
    print(text, flush=True)


class Bench:
    def __init__(self, stack: Stack, folder: Path):
        self.stack = stack
        self.folder = folder
        self.rows: Rows = []
        self.gateway = httpx.Client(base_url=stack.gateway_url, timeout=60, trust_env=False)

    # Looking at Flink, the same way for both sides --------------------------------------------

    def wait_running(self, which: Callable[[dict], bool]) -> str:
        while True:
            for job in self.stack.flink.get("/jobs/overview").json()["jobs"]:
                if which(job) and job["state"] == "RUNNING" and job["tasks"]["running"] == job["tasks"]["total"]:
                    return str(job["jid"])
            time.sleep(0.01)

    def wait_state(self, job_id: str, state: str) -> None:
        while self.stack.flink.get(f"/jobs/{job_id}/status").json()["status"] != state:
            time.sleep(0.01)

    def cancel(self, job_id: str) -> None:
        self.stack.flink.patch(f"/jobs/{job_id}", params={"mode": "cancel"})
        self.wait_state(job_id, "CANCELED")

    # The bare engine --------------------------------------------------------------------------

    def execute(self, session: str, statement: str) -> None:
        path = f"/v2/sessions/{session}/statements"
        operation = self.gateway.post(path, json={"statement": statement}).json()["operationHandle"]
        while True:
            url = f"/v2/sessions/{session}/operations/{operation}/result/0"
            body = self.gateway.get(url, params={"rowFormat": "JSON"}).json()
            if body.get("resultType") != "NOT_READY":
                assert "errors" not in body, body
                return
            time.sleep(0.005)

    def bare_sql(self) -> str:
        properties = {"pipeline.name": "bare", "execution.checkpointing.interval": "30 s"}
        session = self.gateway.post("/v2/sessions", json={"properties": properties}).json()["sessionHandle"]
        began = {j["jid"] for j in self.stack.flink.get("/jobs/overview").json()["jobs"]}
        for statement in STATEMENTS:
            self.execute(session, statement)
        job_id = self.wait_running(lambda j: j["jid"] not in began)
        self.gateway.delete(f"/v2/sessions/{session}")
        return job_id

    def bare_jar(self, jar: Path) -> str:
        with open(jar, "rb") as handle:
            files = {"jarfile": (jar.name, handle, "application/java-archive")}
            jar_id = self.stack.flink.post("/jars/upload", files=files).json()["filename"].rpartition("/")[2]
        checkpoints = {
            "execution.checkpointing.interval": "30 s",
            "execution.checkpointing.dir": (self.folder / "bare").as_uri(),
            "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        }
        body = {"entryClass": MAIN, "flinkConfiguration": checkpoints}
        job_id = self.stack.flink.post(f"/jars/{jar_id}/run", json=body).json()["jobid"]
        return self.wait_running(lambda j: j["jid"] == job_id)

    def bare_stop(self, job_id: str) -> None:
        body = {"targetDirectory": (self.folder / "bare").as_uri(), "drain": False}
        trigger = self.stack.flink.post(f"/jobs/{job_id}/stop", json=body).json()["request-id"]
        while self.stack.flink.get(f"/jobs/{job_id}/savepoints/{trigger}").json()["status"]["id"] != "COMPLETED":
            time.sleep(0.01)
        self.wait_state(job_id, "FINISHED")

    # Pairs ------------------------------------------------------------------------------------

    def compare(
        self,
        name: str,
        limit: float,
        bare: Callable[[], float],
        ours: Callable[[], float],
        *,
        many: int = PAIRS,
        warm_up: int = WARM_UP,
    ) -> None:
        say(f"{name}: {many} alternating pairs")
        for _ in range(warm_up):
            bare()
            ours()
        pairs = []
        for number in range(many):
            first, second = (bare, ours) if number % 2 else (ours, bare)
            one, two = first(), second()
            pairs.append((one, two) if first is bare else (two, one))
        a, b = [p[0] for p in pairs], [p[1] for p in pairs]
        ratio = statistics.median(b) / statistics.median(a)
        self.add(name, _show(a), _show(b), f"{ratio:.2f}", f"≤ {limit:g}" if limit < math.inf else "", ratio <= limit)

    def add(self, name: str, bare: str, ours: str, figure: str, limit: str, good: bool) -> None:
        self.rows.append((name, bare, ours, figure, limit, "holds" if good else "**does not hold**"))
        say(f"  {bare} | {ours} | {figure} | {limit} | {'holds' if good else 'DOES NOT HOLD'}")

    def start_sql(self) -> None:
        sql = ";\n".join(STATEMENTS)
        job = self.stack.create(sql)

        def bare() -> float:
            began = time.perf_counter()
            job_id = self.bare_sql()
            took = time.perf_counter() - began
            self.cancel(job_id)
            return took

        self.compare("POST start → RUNNING, SQL", 1.3, bare, lambda: self.ours_start(job))

    def ours_start(self, job: str) -> float:
        known = {j["jid"] for j in self.stack.flink_jobs(job)} | self.ids()
        began = time.perf_counter()
        answer = self.stack.send(job, "start", restore={"mode": "none"})
        assert answer.status_code == 202, answer.text
        self.wait_running(lambda j: j["jid"] not in known)
        took = time.perf_counter() - began
        self.stack.ended(job, answer.json()["number"])
        self.stack.do(job, "kill")
        return took

    def ids(self) -> set[str]:
        return {j["jid"] for j in self.stack.flink.get("/jobs/overview").json()["jobs"]}

    def start_jar(self) -> None:
        repository = GitRepository(self.folder / "repository")
        source = ROOT / "examples" / "repository" / "clicks"
        files = [p for p in source.rglob("*") if p.is_file() and "target" not in p.parts]
        repository.write({str(p.relative_to(source)): p.read_text() for p in files})
        spec = {"type": "jar", "git": {"url": str(repository.folder), "ref": "main"}, "entry_class": MAIN}
        job = self.stack.create(spec)
        self.ours_start(job)  # builds it
        jar = next((self.stack.home / "artifacts" / "jars").rglob("*.jar"))

        def bare() -> float:
            began = time.perf_counter()
            job_id = self.bare_jar(jar)
            took = time.perf_counter() - began
            self.cancel(job_id)
            return took

        self.compare("POST start → RUNNING, jar already built", 1.4, bare, lambda: self.ours_start(job))

    def start_python(self) -> None:
        """A program on its own against `flink run`, as a person types it. The worker has run one before."""
        repository = GitRepository(self.folder / "python")
        repository.write({"job.py": PYTHON})
        job = self.stack.create({"type": "pyflink", "git": {"url": str(repository.folder)}, "entry_file": "job.py"})
        self.ours_start(job)  # makes its environment
        home = self.stack.local.flink().home
        python = next(p for p in home.parents if (p / "bin" / "python").exists()) / "bin" / "python"
        where = ["-m", f"127.0.0.1:{self.stack.ports['flink']}"]
        command = [
            str(home / "bin" / "flink"),
            "run",
            "-d",
            *where,
            "-pyclientexec",
            str(python),
            "-pyexec",
            str(python),
        ]

        def bare() -> float:
            known = self.ids()
            began = time.perf_counter()
            output = subprocess.run([*command, "-py", "job.py"], cwd=repository.folder, capture_output=True, text=True)
            assert output.returncode == 0, output.stdout + output.stderr
            job_id = self.wait_running(lambda j: j["jid"] not in known)
            took = time.perf_counter() - began
            self.cancel(job_id)
            return took

        def ours() -> float:
            self.wait_for_client()
            return self.ours_start(job)

        self.compare("POST start → RUNNING, Python, a client waits", 1, bare, ours, many=max(2, PAIRS // 2), warm_up=1)

    def wait_for_client(self) -> None:
        """Until a client of Flink waits at the worker, and has done what it does before."""
        worker = self.stack.local.processes.find("worker")
        assert worker is not None
        used = -1.0
        while True:
            clients = [p for p in worker.children() if "dev.penstock.Client" in p.cmdline()]
            now = sum(clients[0].cpu_times()[:2]) if clients else -1.0
            if clients and now > 1 and now - used < 0.03:
                return
            used = now
            time.sleep(1)

    def at_once(self) -> None:
        """Jobs that have never run, all started in one moment; the same statements sent to the gateway by hand."""

        def all_running(known: set[str]) -> list[str]:
            while True:
                jobs = self.stack.flink.get("/jobs/overview").json()["jobs"]
                running = [
                    str(j["jid"])
                    for j in jobs
                    if j["jid"] not in known
                    and j["state"] == "RUNNING"
                    and j["tasks"]["running"] == j["tasks"]["total"]
                ]
                if len(running) >= AT_ONCE:
                    return running
                time.sleep(0.02)

        def send(_: int) -> None:
            properties = {"pipeline.name": "bare", "execution.checkpointing.interval": "30 s"}
            session = self.gateway.post("/v2/sessions", json={"properties": properties}).json()["sessionHandle"]
            for statement in STATEMENTS:
                self.execute(session, statement)
            self.gateway.delete(f"/v2/sessions/{session}")

        def bare() -> float:
            known = self.ids()
            with ThreadPoolExecutor(AT_ONCE) as pool:
                began = time.perf_counter()
                sent = [pool.submit(send, number) for number in range(AT_ONCE)]
                started = all_running(known)
                took = time.perf_counter() - began
                for one in sent:
                    one.result()
            for job_id in started:
                self.cancel(job_id)
            return took

        def ours() -> float:
            jobs = [self.stack.create(";\n".join(STATEMENTS)) for _ in range(AT_ONCE)]
            known = self.ids()
            with ThreadPoolExecutor(AT_ONCE) as pool:
                began = time.perf_counter()
                sent = [pool.submit(self.stack.send, job, "start") for job in jobs]
                all_running(known)
                took = time.perf_counter() - began
                for job, answer in zip(jobs, sent, strict=True):
                    self.stack.ended(job, answer.result().json()["number"])
                    self.stack.do(job, "kill")
            return took

        many = max(2, PAIRS // 5)
        self.compare(f"{AT_ONCE} SQL starts at once → all RUNNING", 1.3, bare, ours, many=many, warm_up=1)

    def starts(self) -> None:
        """Whole starts, from the new job to the command that has SUCCEEDED, on a cluster that takes no time."""
        with SimulatedFlink(free_port()) as flink:
            self.stack.add_cluster("instant", jobmanager_url=flink.url, gateway_url=flink.url)
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda _: self._park("instant"), range(8)))
                began, used = time.monotonic(), self.cpu_by_part()
                list(pool.map(lambda _: self._park("instant"), range(STARTS)))
                rate = STARTS / (time.monotonic() - began)
            spent = [f"{name} {1000 * (now - used[name]) / STARTS:.0f}" for name, now in self.cpu_by_part().items()]
        figure = f"ms of CPU per start: {', '.join(spent)}"
        self.add("starts per second, 8 at a time (simulated cluster)", "", f"{rate:.1f}", figure, "≥ 25", rate >= 25)

    def pause(self) -> None:
        job = self.stack.create(";\n".join(STATEMENTS))

        def bare() -> float:
            job_id = self.bare_sql()
            began = time.perf_counter()
            self.bare_stop(job_id)
            return time.perf_counter() - began

        def ours() -> float:
            self.stack.do(job, "start", restore={"mode": "none"})
            began = time.perf_counter()
            number = self.stack.send(job, "pause").json()["number"]
            while self.stack.http.get(f"/jobs/{job}/commands/{number}").json()["state"] != "SUCCEEDED":
                time.sleep(0.01)
            return time.perf_counter() - began

        self.compare("pause, end to end", 1.5, bare, ours)

    # SQL that is worked on --------------------------------------------------------------------

    def validate(self) -> None:
        """Ten statements: the same DDL and the same EXPLAINs sent to the gateway by hand."""

        def bare() -> float:
            began = time.perf_counter()
            session = self.gateway.post("/v2/sessions", json={"properties": {}}).json()["sessionHandle"]
            for statement in TEN:
                self.execute(
                    session, f"EXPLAIN PLAN_ADVICE {statement}" if statement.startswith("INSERT") else statement
                )
            self.gateway.delete(f"/v2/sessions/{session}")
            return time.perf_counter() - began

        def ours() -> float:
            began = time.perf_counter()
            answer = self.stack.http.post("/sql/validate", json={"sql": ";\n".join(TEN)}).json()
            took = time.perf_counter() - began
            assert answer["valid"], answer
            return took

        self.compare("validate ten statements", 1.5, bare, ours)
        took = statistics.median(ours() for _ in range(PAIRS))
        self.add("the same, in milliseconds", "", f"{took * 1000:.0f} ms", "", "< 300 ms warm", took < 0.3)

    def preview(self) -> None:
        """From nothing to the first row of a query; then the query is stopped, and its job is gone."""
        create = STATEMENTS[0].replace("'5'", "'1000'")

        def bare() -> float:
            began = time.perf_counter()
            session = self.gateway.post("/v2/sessions", json={"properties": {}}).json()["sessionHandle"]
            self.execute(session, create)
            path = f"/v2/sessions/{session}"
            operation = self.gateway.post(f"{path}/statements", json={"statement": "SELECT id FROM src"}).json()
            url, token = f"{path}/operations/{operation['operationHandle']}", 0
            while True:
                body = self.gateway.get(f"{url}/result/{token}", params={"rowFormat": "JSON"}).json()
                if body.get("resultType") == "NOT_READY":
                    time.sleep(0.005)
                    continue
                if body["results"]["data"]:
                    took = time.perf_counter() - began
                    break
                token = int(body["nextResultUri"].rpartition("/")[2].partition("?")[0])
                time.sleep(0.01)
            self.gateway.delete(f"{url}/close")
            self.gateway.delete(path)
            self.wait_state(str(body["jobID"]), "CANCELED")
            return took

        def ours() -> float:
            began = time.perf_counter()
            preview = self.stack.http.post("/sql/previews", json={"sql": f"{create};\nSELECT id FROM src"}).json()
            next(True for event, _, _ in events(self.stack.http, preview["id"]) if event == "rows")
            took = time.perf_counter() - began
            self.stack.http.delete(f"/sql/previews/{preview['id']}")
            self.wait_state(preview["streams"][0]["flink_job_id"], "CANCELED")
            return took

        self.compare("preview, first row", 1.1, bare, ours)

    def complete(self) -> None:
        """Each place of `COMPLETED` behind the same script: Flink's completer by hand, in a session that is there with
        its tables, and ours, which knows tables, columns, options and their values besides."""
        setup = [statement for statement in TEN if statement.startswith("CREATE")]
        session = self.gateway.post("/v2/sessions", json={"properties": {}}).json()["sessionHandle"]
        for statement in setup:
            self.execute(session, statement)

        def bare() -> float:
            began = time.perf_counter()
            for text in COMPLETED:
                body = {"statement": text, "position": len(text)}
                answer = self.gateway.request("GET", f"/v2/sessions/{session}/complete-statement", json=body)
                assert answer.is_success, answer.text
            return (time.perf_counter() - began) / len(COMPLETED)

        slowest: list[float] = []

        def ours() -> float:
            took = []
            for text in COMPLETED:
                sql = ";\n".join([*setup, text])
                began = time.perf_counter()
                answer = self.stack.http.post("/sql/complete", json={"sql": sql, "position": len(sql)})
                took.append(time.perf_counter() - began)
                assert answer.json()["candidates"], (text, answer.text)
            slowest.append(max(took))
            return statistics.mean(took)

        self.compare("complete, warm, each of six places", math.inf, bare, ours)
        worst = statistics.median(slowest[WARM_UP:])
        self.add("the slowest of the six places", "", f"{worst * 1000:.0f} ms", "", "< 100 ms warm", worst < 0.1)
        self.gateway.delete(f"/v2/sessions/{session}")

    # Idle cost --------------------------------------------------------------------------------

    def cpu(self) -> float:
        return sum(self.cpu_by_part().values())

    def cpu_by_part(self) -> dict[str, float]:
        seconds = {}
        for name in ("temporal", "worker", "api"):
            process = self.stack.local.processes.find(name)
            assert process is not None
            times = process.cpu_times()
            seconds[name] = times.user + times.system
        return seconds

    def quiet(self) -> float:
        before, began = self.cpu(), time.monotonic()
        time.sleep(QUIET_SECONDS)
        return (self.cpu() - before) / (time.monotonic() - began)

    def idle(self) -> None:
        with SimulatedFlink(free_port()) as flink:
            self.stack.add_cluster("simulated", jobmanager_url=flink.url, gateway_url=flink.url)
            time.sleep(5)
            say(f"idle: {QUIET_SECONDS:.0f} s without jobs")
            empty = self.quiet()
            say(f"idle: starting {PARKED} jobs")
            with ThreadPoolExecutor(8) as pool:
                jobs = list(pool.map(lambda _: self._park("simulated"), range(PARKED)))
            running = self.stack.http.get("/jobs", params={"cluster": "simulated", "state": "RUNNING", "limit": 500})
            assert len(running.json()["items"]) == min(PARKED, 500), len(running.json()["items"])
            time.sleep(30)
            flink.calls.clear()
            say(f"idle: {QUIET_SECONDS:.0f} s with {PARKED} RUNNING jobs")
            parked = self.quiet()
            asked = flink.calls["/jobs/overview"]
            others = sum(flink.calls.values()) - asked
        added = parked - empty
        self.add(
            f"{len(jobs)} parked RUNNING jobs, CPU they add",
            f"{empty:.3f} cores",
            f"{parked:.3f} cores",
            f"{added * 100:.1f} % of a core",
            "< 5 %",
            added < 0.05,
        )
        intervals = QUIET_SECONDS / 10
        self.add(
            "questions to the cluster a watch interval (10 s)",
            "",
            f"{asked} for all jobs, {others} other (health)",
            f"{asked / intervals:.2f}",
            "1, not 500",
            asked <= intervals * 1.3,
        )

    def recovery(self) -> None:
        with SimulatedFlink(free_port()) as flink:
            self.stack.add_cluster("many", jobmanager_url=flink.url, gateway_url=flink.url)
            say(f"recovery: {MANY} jobs")
            asyncio.run(recovery.fill(self.stack, flink, "many", MANY))
            time.sleep(60)  # until every workflow has had its first task
            seconds, cpu = recovery.measure(self.stack, 20)
            say(f"recovery: {QUIET_SECONDS:.0f} s with {MANY} RUNNING jobs")
            cores = self.quiet()
        share = cpu / 60
        self.add(
            f"a recovery with nothing to do at {MANY:,} jobs",
            "",
            f"{seconds:.3f} s, {cpu:.3f} s of CPU",
            f"{share * 100:.2f} % of a core, once a minute",
            "< 1 %",
            share < 0.01,
        )
        self.add(f"{MANY:,} parked RUNNING jobs, CPU of all", "", f"{cores:.3f} cores", "", "", True)

    def _park(self, cluster: str) -> str:
        job = self.stack.create(";\n".join(STATEMENTS), cluster=cluster)
        self.stack.do(job, "start")
        return job


def _show(values: list[float]) -> str:
    ordered = sorted(values)
    return f"{statistics.median(ordered):.3f} s (p95 {ordered[int(len(ordered) * 0.95) - 1]:.3f} s)"


def demo(cache: Path) -> tuple[float, float]:
    """Seconds until the first job of `penstock demo` runs on a prepared machine, and for a second `demo`."""
    with tempfile.TemporaryDirectory() as home:
        ports = {
            f"PENSTOCK_{n}_PORT": str(free_port())
            for n in ("API", "TEMPORAL", "TEMPORAL_UI", "FLINK", "FLINK_RPC", "GATEWAY")
        }
        env = {**os.environ, **ports, "PENSTOCK_HOME": home, "PENSTOCK_CACHE": str(cache)}
        env.pop("PENSTOCK_URL", None)
        command = [sys.executable, "-m", "cli"]
        try:
            began = time.monotonic()
            with subprocess.Popen([*command, "demo"], env=env, stdout=subprocess.DEVNULL) as process:
                first = None
                while process.poll() is None:
                    if first is None and _any_running(ports["PENSTOCK_API_PORT"], Path(home)):
                        first = time.monotonic() - began
                    time.sleep(0.1)
            assert process.returncode == 0
            began = time.monotonic()
            subprocess.run([*command, "demo"], env=env, check=True, stdout=subprocess.DEVNULL)
            assert first is not None
            return first, time.monotonic() - began
        finally:
            subprocess.run([*command, "down"], env=env, check=False, stdout=subprocess.DEVNULL)


def _any_running(port: str, home: Path) -> bool:
    try:
        url = f"http://127.0.0.1:{port}/api/v1/jobs"
        asked = {"params": {"state": "RUNNING"}, "headers": authorized(home)}
        return bool(httpx.get(url, **asked, timeout=2, trust_env=False).json()["items"])
    except (httpx.HTTPError, ValueError, KeyError):
        return False


def write(rows: Rows, took: float) -> None:
    memory = psutil.virtual_memory().total / 2**30
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Both sides of a ratio are taken in the same run, in alternating pairs, on real",
        "parts: what counts is the ratio, the seconds are this machine's. RUNNING means that Flink shows all tasks",
        "of the job running.",
        "",
        f"- when: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit}",
        f"- machine: {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}",
        f"- pairs: {PAIRS}; parked jobs: {PARKED}, real workflows on a simulated Flink REST server; "
        f"quiet time: {QUIET_SECONDS:.0f} s",
        f"- the whole run took {took / 60:.0f} min",
        "",
        "| what | bare engine | Penstock | figure | limit | |",
        "|---|---|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]
    (ROOT / "docs" / "benchmarks.md").write_text("\n".join(lines))


def main() -> None:
    began = time.monotonic()
    cache = Settings().cache
    os.environ.setdefault("PENSTOCK_FLINK_SLOTS", str(AT_ONCE + 8))
    parts = StackParts(cache, say)
    parts.temporal()
    parts.flink("2.3.0")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if not ONLY:
            say("demo on a prepared machine")
            first, second = demo(cache)
        stack = Stack(parts, folder / f"stack-{uuid.uuid4().hex[:6]}")
        stack.local.env["PENSTOCK_WATCH_INTERVAL"] = "10"
        stack.local.env["PENSTOCK_WATCH_INTERVAL_BUSY"] = "1"
        stack.local.env["PENSTOCK_RECOVERY_INTERVAL"] = "60"
        try:
            stack.up()
            bench = Bench(stack, folder)
            if not ONLY:
                bench.add(
                    "`make demo` to the first job RUNNING, parts installed",
                    "",
                    f"{first:.1f} s",
                    "",
                    "≤ 30 s",
                    first <= 30,
                )
                bench.add("the second `make demo`", "", f"{second:.1f} s", "", "seconds", second <= 10)
            for part in PARTS:
                if not ONLY or part in ONLY:
                    getattr(bench, part)()
            if not ONLY:
                write(bench.rows, time.monotonic() - began)
                say("written: docs/benchmarks.md")
        finally:
            stack.down()


if __name__ == "__main__":
    main()
