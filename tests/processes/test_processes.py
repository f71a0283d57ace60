"""A process is known by what does not move with the clock."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from clusters.local import hosted
from clusters.local.keeper import JOBMANAGER, KEEPER, ClusterOrder, ClusterReport
from clusters.protocol import ClusterProgram
from core.jobs.observations import EngineState
from processes import supervised
from processes.flink import Flink
from processes.scratch import sweep, temporary
from processes.supervised import Processes

ROOT = Path(__file__).parent.parent.parent
# What another process says, of each folder, of its processes and of what its own keeper would do next.
ASK = """
import json, sys
from pathlib import Path
from clusters.local import hosted
from clusters.local.keeper import Keeper
from processes.supervised import Processes
said = []
for folder in map(Path, sys.argv[1:]):
    processes = Processes(folder)
    keeper = object.__new__(Keeper)
    keeper.folder, keeper.processes, keeper._lives, keeper._seen, keeper.signalled = folder, processes, {}, None, ""
    keeper._have = keeper._look = lambda count: None
    end = ""
    try:
        keeper._go_on(0)
    except Exception as error:
        end = str(error)
    found = {name: processes.find(name) is not None for name in processes.names()}
    said.append({"found": found, "state": hosted._state(folder).state.value, "end": end})
print(json.dumps(said))
"""
SWEEP = "import sys; from pathlib import Path; from processes.scratch import sweep; print(sweep(Path(sys.argv[1])))"


def as_if_the_clock_were_set(seconds: int, code: str, *arguments: object) -> str:
    """Run `code` where the boot of the machine is `seconds` later, as it is after the clock was set: in a mount
    namespace with a /proc/stat of its own."""
    script = (
        f'sed "s/^btime.*/btime $(($(awk \'/^btime/ {{print $2}}\' /proc/stat) + {seconds}))/" /proc/stat > "$1" && '
        'mount --bind "$1" /proc/stat && shift && exec "$@"'
    )
    fake = Path(str(arguments[0])).parent / "stat"
    command = ["unshare", "-m", "sh", "-c", script, "sh", fake, sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    if done.returncode and ("unshare" in done.stderr or "mount" in done.stderr):
        pytest.skip(f"no mount namespace to be had: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def sleeping(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as out:
        child = subprocess.Popen(["sleep", "60"], stdout=out)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Of two clusters. Of the second the version before has written down what runs."""
    made = [tmp_path / ("a" * 32), tmp_path / ("b" * 32)]
    program = ClusterProgram("2.3.0", 1, 2, "s", 1, 1, "1m", "1m")
    for folder in made:
        folder.mkdir()
        ClusterOrder(name="x", home=Path("/"), program=program, config={}).write(folder / "wanted.json")
        ClusterReport(state=EngineState.RUNNING, detail="up", of=1).write(folder / "seen.json")
    return made


def test_a_keeper_that_stands_still_is_told(folders: list[Path]):
    """Found by an attack: its cluster was RUNNING without a word while its task managers died."""
    with sleeping(folders[0] / "keeper.log") as keeper:
        Processes(folders[0]).write_down(KEEPER, keeper.pid)
        assert hosted._state(folders[0]).detail == "up"
        keeper.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 30
        while "stands still" not in (told := hosted._state(folders[0]).detail):
            assert time.monotonic() < deadline
        assert f"kill -CONT {keeper.pid}" in told


@pytest.mark.parametrize("step", [0, 3, -3, 86_400])
def test_a_clock_that_is_set_ends_no_cluster(folders: list[Path], step: int):
    with contextlib.ExitStack() as running:
        for folder in folders:
            processes = Processes(folder)
            for name, log in ((KEEPER, folder / "keeper.log"), (JOBMANAGER, processes.log(JOBMANAGER))):
                processes.write_down(name, running.enter_context(sleeping(log)).pid)
                if folder == folders[1]:
                    path = folder / "run" / f"{name}.json"
                    record = json.loads(path.read_text())
                    path.write_text(json.dumps({k: v for k, v in record.items() if k != "identity"}))
        lives = {"found": {KEEPER: True, JOBMANAGER: True}, "state": "RUNNING", "end": ""}
        assert json.loads(as_if_the_clock_were_set(step, ASK, *folders)) == [lives, lives]
    for said in json.loads(as_if_the_clock_were_set(step, ASK, *folders)):
        assert said["found"] == {KEEPER: False, JOBMANAGER: False}
        assert said["state"] == "FAILED"
        assert said["end"].startswith("its JobManager died")


def test_a_pid_that_another_process_has_is_not_ours(tmp_path: Path):
    processes = Processes(tmp_path)
    with sleeping(tmp_path / "log") as child:
        processes.write_down("it", child.pid)
        path = tmp_path / "run" / "it.json"
        record = json.loads(path.read_text())
        boot, _, ticks = record["identity"].partition(".")
        for other in (f"{boot}.{int(ticks) - 1}", f"{'0' * 32}.{ticks}"):
            path.write_text(json.dumps({**record, "identity": other}))
            assert processes.find("it") is None
        assert not processes.stop("it")
        assert child.poll() is None
        # An old record of a process that has gone, and whose pid a stranger has now.
        path.write_text(json.dumps({"pid": child.pid, "created": record["created"] - 100, "fingerprint": ""}))
        assert processes.find("it") is None


@pytest.mark.parametrize("step", [0, 3, -3, 86_400])
def test_a_clock_that_is_set_deletes_no_folder_in_use(tmp_path: Path, step: int):
    parent = tmp_path / "scratch"
    parent.mkdir()
    with temporary(parent) as mine:
        prefix, _, _ = mine.name.rpartition("-")[0].rpartition("-")
        older = parent / f"{prefix}-{int(psutil.Process().create_time())}-x"
        older.mkdir()
        assert as_if_the_clock_were_set(step, SWEEP, parent).strip() == "0"
        assert mine.exists()
        assert older.exists()


def test_the_folder_of_a_process_that_has_gone_is_deleted(tmp_path: Path):
    code = "import sys, os; from pathlib import Path; from processes.scratch import temporary\n"
    code += "with temporary(Path(sys.argv[1])) as made: os._exit(0)"
    subprocess.run([sys.executable, "-c", code, tmp_path], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    left = list(tmp_path.iterdir())
    assert len(left) == 1
    started = time.monotonic()
    assert sweep(tmp_path) == 1
    assert time.monotonic() - started < 5
    assert list(tmp_path.iterdir()) == []


def test_a_task_manager_has_registered_when_its_own_port_is_known(tmp_path: Path):
    """A JobManager knows one that has died for some time: another one would have counted as registered."""
    flink = Flink(home=tmp_path, folder=tmp_path, rest_port=1, rpc_port=2, gateway_port=3)
    known: list[dict[str, int]] = []
    jobmanager = httpx.MockTransport(lambda _: httpx.Response(200, json={"taskmanagers": known}))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        me = psutil.Process()
        assert not flink.has_registered(me, jobmanager)
        known.append({"dataPort": port + 1})
        assert not flink.has_registered(me, jobmanager)
        known.append({"dataPort": port})
        assert flink.has_registered(me, jobmanager)
        assert not flink.has_registered(None, jobmanager)


@pytest.mark.parametrize("text", ["<p>hello", "[]", '{"taskmanagers": null}', '{"errors": ["wait"]}'])
def test_no_task_manager_has_registered_where_something_else_answers(tmp_path: Path, text: str):
    flink = Flink(home=tmp_path, folder=tmp_path, rest_port=1, rpc_port=2, gateway_port=3)
    assert not flink.has_registered(psutil.Process(), httpx.MockTransport(lambda _: httpx.Response(200, text=text)))


@pytest.mark.parametrize(("status", "is_up"), [(200, True), (503, False), (None, False)])
def test_who_answers_is_up(status: int | None, is_up: bool):
    def answer(_: httpx.Request) -> httpx.Response:
        if status is None:
            raise httpx.ConnectError("Connection refused")
        return httpx.Response(status)

    assert supervised.http_ok("http://x", httpx.MockTransport(answer))() is is_up


def test_no_port_is_given_twice(monkeypatch: pytest.MonkeyPatch):
    """Servers of one stack that have not been started yet were given the same one, by chance."""
    monkeypatch.setattr(supervised, "PORTS", (29_900, 29_960))
    monkeypatch.setattr(supervised, "_given", set())
    assert len({supervised.free_port() for _ in range(25)}) == 25
