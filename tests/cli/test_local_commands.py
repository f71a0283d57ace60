"""Commands that are about this machine: the local stack, the processes of Penstock itself, installed Flinks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn

import settings as settings_
from cli import doctor
from clusters.flink import clients
from core.errors import PenstockError
from processes.kept import Due, PartDied, StackReport
from processes.supervised import Processes, Spec
from settings import clock, waits
from stack.local import ORDER
from stack.parts import StackParts
from tests.simulation.network import Endpoint
from tests.whole.penstock import Penstock, repository, said, sql

LOCAL = {"up", "down", "status", "demo", "doctor", "serve", "worker", "migrate", "flink install", "flink list"}
VERSION = "2.3.0"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder and a cache of its own."""
    for name in [n for n in os.environ if n.startswith(("PENSTOCK_", "TEMPORAL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PENSTOCK_CACHE", str(tmp_path / "cache"))
    settings_.settings.cache_clear()
    (tmp_path / "cache" / "flink" / VERSION / "lib" / "python3.11" / "site-packages" / "pyflink").mkdir(parents=True)
    yield tmp_path / "home"
    settings_.settings.cache_clear()


DIES = "echo begins; echo IllegalConfigurationException: Sum of memory; echo '    at org.apache.flink.x'"
START, WAIT = Processes.start, Processes.wait


def has_died(home: Path, script: str) -> None:
    """A task manager is started, and ends."""
    processes = Processes(home)
    START(processes, Spec(name="taskmanager", command=["sh", "-c", f"sleep 0.2; {script}"]))
    until = time.monotonic() + 30
    while processes.find("taskmanager") is not None:
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def machine(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine that has all that is needed; gives the names of processes as they are started."""
    started: list[str] = []

    def start(processes: Processes, spec: Spec, **_: Any) -> bool:
        started.append(spec.name)
        processes.write_down(spec.name, os.getpid(), spec.fingerprint)
        return True

    programs = home.parent / "bin"
    programs.mkdir()
    for name in ("java", "mvn"):
        (programs / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(Processes, "start", start)
    monkeypatch.setattr(Processes, "wait", lambda *_, **__: None)
    monkeypatch.setattr(StackParts, "temporal_path", lambda _: None)
    monkeypatch.setattr(StackParts, "temporal", lambda _: programs / "temporal")
    monkeypatch.setattr(StackParts, "flink_installed", lambda *_: False)
    monkeypatch.setattr(StackParts, "flink", lambda parts, version: parts.cache / "flink" / version)
    return started


class TestStack:
    def test_up_starts_all_and_registers_its_clusters(self, penstock: Penstock, machine: list[str]):
        done = penstock.cli("up")
        assert done.code == 0, done
        assert machine == ORDER
        assert "The stack is up" in done.out
        assert {"local", "machine"} <= {c["name"] for c in penstock.ok("GET", "/clusters")["items"]}

    def test_up_says_that_the_task_manager_died_and_its_last_words(
        self, penstock: Penstock, machine: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """Found by an attack: it said that the stack was up. The rest of it is."""
        start = Processes.start

        def dies(processes: Processes, spec: Spec, **how: Any) -> bool:
            if spec.name == "taskmanager":
                has_died(home, DIES)
                return True
            return start(processes, spec, **how)

        monkeypatch.setattr(Processes, "wait", WAIT)
        monkeypatch.setattr(Processes, "start", dies)
        done = penstock.cli("up")
        assert done.code == 1, done
        assert "taskmanager ended while it was starting: IllegalConfigurationException: Sum of memory" in done.err
        assert f"See {home / 'logs' / 'taskmanager.log'}" in done.err
        assert machine == [name for name in ORDER if name != "taskmanager"]
        assert {"local", "machine"} <= {c["name"] for c in penstock.ok("GET", "/clusters")["items"]}

    def test_status_says_why_a_task_manager_died_and_what_to_do(self, home: Path):
        processes = Processes(home)
        for name in [name for name in ORDER if name != "taskmanager"]:
            processes.write_down(name, os.getpid())
        has_died(home, DIES)
        done = said("status")
        assert (done.code, done.out.count("RUNNING"), done.out.count("died")) == (1, len(ORDER) - 1, 2), done
        words = "taskmanager died: IllegalConfigurationException: Sum of memory"
        assert words in done.out
        assert f"penstock up` starts it again; its log is {home / 'logs' / 'taskmanager.log'}" in done.out

    def test_status_says_when_what_died_is_started_again(self, home: Path):
        processes, now = Processes(home), clock.now()
        for name in [name for name in ORDER if name != "taskmanager"]:
            processes.write_down(name, os.getpid())
        has_died(home, DIES)
        why = "taskmanager died: OutOfMemoryError: Metaspace"
        died = [PartDied(part="gateway", at=now - timedelta(minutes=minutes), why="killed") for minutes in (90, 2, 1)]
        due = {"taskmanager": Due(at=now + timedelta(seconds=15), deaths=5, why=why)}
        StackReport(jobmanager_url="", died=died, due=due).write(StackReport.path(home))
        done = said("status")
        assert done.code == 1
        assert f"{why} (5 times in a row)\n  It is started again in 1" in done.out
        assert "gateway died 2 times within an hour, and was started again; the last time it said: killed" in done.out
        (home / "run" / "keeper.json").unlink()
        assert "penstock up` starts it again" in said("status").out, "nobody else does, without a keeper"

    def test_what_runs_is_left_alone_and_a_moved_cluster_is_told(
        self, penstock: Penstock, machine: list[str], monkeypatch: pytest.MonkeyPatch
    ):
        penstock.cli("up")
        monkeypatch.setattr(Spec, "ready", lambda: True, raising=False)
        monkeypatch.setattr(Processes, "is_current", lambda *_: True)
        monkeypatch.setenv("PENSTOCK_FLINK_PORT", "18081")
        machine.clear()
        assert penstock.cli("up").code == 0
        assert "gateway" not in machine or machine == [n for n in ORDER if n in machine]
        assert penstock.ok("GET", "/clusters/local")["jobmanager_url"] == "http://127.0.0.1:18081"

    def test_up_without_java(self, penstock: Penstock, home: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("PATH", str(home))
        done = penstock.cli("up")
        assert (done.code, "lacks: java, mvn, git" in done.err) == (1, True), done

    def test_status(self, home: Path):
        processes = Processes(home)
        done = said("status")
        assert (done.code, done.out.count("down")) == (1, len(ORDER))
        for name in ORDER:
            processes.write_down(name, os.getpid())
        done = said("status")
        assert (done.code, done.out.count("RUNNING")) == (0, len(ORDER)), done
        assert "API and its docs" in done.out

    def test_a_temporal_of_ones_own_is_named(self, home: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("PENSTOCK_TEMPORAL_ADDRESS", "temporal:7233")
        assert "yours, at temporal:7233" in said("status").out

    def test_down_stops_what_runs(self, home: Path):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
        Processes(home).write_down("worker", child.pid)
        done = said("down")
        assert (done.code, "stop worker" in done.out) == (0, True), done
        assert Processes(home).find("worker") is None
        child.wait(10)
        assert said("down").out.startswith("Stopped")

    def test_down_where_nothing_can_be_written(self, home: Path):
        home.parent.mkdir(exist_ok=True)
        home.write_text("a file in the place of the folder")
        done = said("down")
        assert (done.code, "Not a directory" in done.err) == (1, True), done


class TestDemo:
    @pytest.fixture
    def examples(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        folder = tmp_path / "examples"
        (folder / "sql").mkdir(parents=True)
        (folder / "sql" / "orders.sql").write_text(sql("orders")["sql"])
        repository(folder / "repository" / "clicks")
        subprocess.run(["rm", "-rf", str(folder / "repository" / "clicks" / ".git")], check=True)
        monkeypatch.setattr("cli.local.EXAMPLES", folder)
        return folder

    @pytest.fixture
    def local(self, penstock: Penstock, machine: list[str], examples: Path, home: Path) -> Penstock:
        world = penstock.world
        flink = world.flinks[0]
        world.network.endpoints["http://127.0.0.1:8081"] = Endpoint(flink)
        world.network.endpoints["http://127.0.0.1:8083"] = Endpoint(world.gateways[flink.name])
        for host in (world.api, *world.workers.values()):
            host.services.settings.git_local_roots[:] = [penstock.home, home]
        # The folder of the local stack's state is a real one; the simulated Flink has its own disk.
        new = {
            "name": "local",
            "jobmanager_url": "http://127.0.0.1:8081",
            "gateway_url": "http://127.0.0.1:8083",
            "flink_version": VERSION,
            "state_dir": "sim://state",
            "force": True,
        }
        if penstock.http.get("/clusters/local").status_code == 404:
            penstock.ok("POST", "/clusters", json=new)
        else:
            penstock.ok(
                "PATCH", "/clusters/local", json={k: new[k] for k in ("jobmanager_url", "gateway_url", "force")}
            )
        return penstock

    def test_two_jobs_run_and_go_on_as_they_should(self, local: Penstock):
        done = local.cli("demo")
        assert done.code == 0, done
        assert done.out.count("RUNNING") >= 2
        local.done("demo-sql", "kill")
        again = local.cli("demo")
        assert (again.code, local.state("demo-sql")) == (0, "RUNNING"), again

    def test_one_that_does_not_start(self, local: Penstock):
        local.cli("demo")
        local.done("demo-sql", "kill")
        refuses = local.world.gateways["flink-a"].refuses
        refuses["count"] = "It cannot be counted."
        done = local.cli("demo")
        refuses.clear()
        assert (done.code, "demo-sql is DEPLOY_FAILED" in done.err) == (1, True), done


class TestProcesses:
    def test_serve(self, home: Path, monkeypatch: pytest.MonkeyPatch):
        ran: list[Any] = []
        monkeypatch.setattr(uvicorn, "run", lambda app, **how: ran.append((app.title, how["host"])))
        assert said("serve").code == 0
        assert ran == [("Penstock", "127.0.0.1")]

    def test_serve_for_everybody(self, home: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("PENSTOCK_API_HOST", "0.0.0.0")
        monkeypatch.setenv("PENSTOCK_AUTHENTICATION", "false")
        done = said("serve")
        assert (done.code, "everybody" in done.err) == (1, True), done

    def test_worker(self, home: Path, monkeypatch: pytest.MonkeyPatch):
        ran: list[Any] = []

        async def run(_: Any, kinds: Any) -> None:
            ran.append(list(kinds))

        monkeypatch.setattr("worker.main.run_worker", run)
        assert said("worker", "--queue", "build", "--queue", "main").code == 0
        assert ran == [["main", "build"]]
        done = said("worker", "--queue", "nothing")
        assert (done.code, "There is no queue nothing" in done.err) == (2, True), done

    def test_migrate(self, home: Path, monkeypatch: pytest.MonkeyPatch):
        assert "newest schema" in said("migrate").out
        assert said("migrate").code == 0
        monkeypatch.setenv("PENSTOCK_DATABASE_URL", f"sqlite+aiosqlite:///{home}")
        settings_.settings.cache_clear()
        done = said("migrate")
        assert done.code == 1
        assert "unable to open database file" in done.err

    def test_the_version_is_told(self):
        assert said("--version").out.startswith("penstock ")


class TestFlinks:
    def test_install_and_list(self, home: Path, monkeypatch: pytest.MonkeyPatch):
        def install(parts: StackParts, version: str) -> Path:
            folder = parts.flink_folder(version)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ".complete").touch()
            return folder

        monkeypatch.setattr(StackParts, "flink", install)
        assert said("flink", "list").out == ""
        done = said("flink", "install", VERSION)
        assert (done.code, f"FLINK_HOME={home.parent / 'cache'}" in done.out) == (0, True), done
        assert VERSION in said("flink", "list").out

    def test_one_that_cannot_be_had(self, home: Path, monkeypatch: pytest.MonkeyPatch):
        def install(*_: Any) -> Path:
            raise PenstockError("There is no Flink 9.9.9.", code="x", remedy="Take another.")

        monkeypatch.setattr(StackParts, "flink", install)
        done = said("flink", "install", "9.9.9")
        assert (done.code, "There is no Flink 9.9.9. Take another." in done.err) == (1, True), done


class TestDoctor:
    @pytest.fixture
    def java(self, machine: list[str], home: Path) -> Path:
        path = home.parent / "bin" / "java"
        path.write_text("#!/bin/sh\necho 'openjdk version \"17.0.15\" 2025-04-15' >&2\n")
        return path

    def test_all_is_well(self, penstock: Penstock, java: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(waits, "UNWATCHED_SECONDS", 1e12)  # the world's time is not this machine's
        penstock.until(lambda: penstock.ok("GET", "/clusters/a")["health"]["reachable"])
        done = penstock.cli("doctor", "--json")
        assert done.code == 0, done
        checks = {check["name"]: check["state"] for check in json.loads(done.out)}
        assert checks.pop("data folder") == checks.pop("cache folder")  # what is free is this machine's
        assert checks.pop("jobs") in ("ok", "warning")  # of the tests before
        assert {n: s for n, s in checks.items() if s != "ok"} == {}, done.out
        assert {"java", "mvn", "git", "API", "database", "temporal", "workers", "cluster a"} <= checks.keys()

    @pytest.mark.parametrize(
        ("of_path", "of_home", "state", "what"),
        [
            ("1.8.0_402", None, "failed", 'bin/java: openjdk version "1.8.0_402"'),
            ("17.0.15", None, "ok", "bin/java, Java 17"),
            ("11.0.2", "17.0.15", "ok", "home/bin/java, of JAVA_HOME, Java 17"),
            ("17.0.15", "11.0.2", "failed", 'home/bin/java, of JAVA_HOME: openjdk version "11.0.2"'),
            (None, "17.0.15", "ok", "home/bin/java, of JAVA_HOME, Java 17"),
            (None, None, "failed", "not found; Flink and Maven run on it"),
            ("17.0.15", "", "failed", "where no bin/java is; Flink and Maven run on it"),
        ],
    )
    def test_the_java_that_our_processes_run_with(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_path: str, of_home: str, state: str, what: str
    ):
        """Flink's scripts, its client, Maven and Gradle take that of JAVA_HOME where it is set, else that of the path."""
        for folder, version in ((tmp_path, of_path), (tmp_path / "home", of_home)):
            if version:
                program = folder / "bin" / "java"
                program.parent.mkdir(parents=True)
                program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n")
                program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin")
        monkeypatch.delenv("JAVA_HOME", raising=False)
        if of_home is not None:
            monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
        check = doctor._java()
        assert (check.state, what in check.what) == (state, True), check
        assert bool(check.then) == (state == "failed")
        assert clients.java(tmp_path, "Main")[0] == (f"{tmp_path}/home/bin/java" if of_home is not None else "java")

    def test_java_is_too_old(self, penstock: Penstock, java: Path):
        java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_402\"' >&2\n")
        done = penstock.cli("doctor")
        assert (done.code, "Flink 2 needs Java 17" in done.out) == (1, True), done

    def test_the_api_is_away(self, penstock: Penstock, java: Path):
        done = penstock.cli("doctor", away=True)
        assert (done.code, "penstock up" in done.out) == (1, True), done

    def test_a_cluster_is_away_and_a_job_waits_for_a_person(self, penstock: Penstock, java: Path):
        penstock.create("broken", sql("nowhere", "nothing"))
        penstock.do("broken", "start")
        penstock.world.network.endpoints["http://flink-a:8081"].mode = "refuse"
        penstock.until(lambda: not penstock.ok("GET", "/clusters/a")["health"]["reachable"])
        done = penstock.cli("doctor")
        assert done.code == 1, done
        assert "cluster a" in done.out
        assert "default:broken (DEPLOY_FAILED)" in done.out


@pytest.mark.parametrize("library", ["aiohttp", "fastapi", "git", "sqlalchemy", "temporalio"])
def test_a_command_does_not_wait_for_libraries_that_only_others_need(library: str):
    """They take longer to load than most commands take."""
    code = f"import sys, cli.main; sys.exit({library!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
