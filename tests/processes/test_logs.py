"""Logs of what is kept here stay within their bound, however much is printed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from processes import logs, outlets
from processes.supervised import Processes, Spec

SECONDS = float(os.environ.get("PENSTOCK_TEST_PRINTING_SECONDS", "2"))
"""How long something prints without end; 600 is a good night's form."""
COUNTS = "import itertools\nfor n in itertools.count():\n  print(n, 'x' * 90, flush=True)"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path)
    yield made
    made.stop(*made.names())


def sizes(log: Path) -> list[int]:
    """Of a log and its older part: none of them where it is being rotated."""
    found = []
    for path in (log, log.with_name(f"{log.name}.1")):
        with contextlib.suppress(FileNotFoundError):
            found.append(path.stat().st_size)
    return found


def soon(what: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def writer(processes: Processes, name: str) -> outlets.Outlet:
    return outlets.loaded(processes._record(name)["outlets"])[0]


def last(log: Path) -> int:
    """The number in the last whole line; -1 in the moment in which the log is rotated."""
    try:
        lines = log.read_bytes().splitlines()[-2:-1]
    except FileNotFoundError:
        return -1
    return int(lines[0].split()[0]) if lines else -1


def read(log: Path) -> bytes:
    """Nothing in the moment of a rotation, in which there is no such file."""
    with contextlib.suppress(FileNotFoundError):
        return log.read_bytes()
    return b""


def test_what_prints_without_end_has_two_bounded_files(processes: Processes):
    """Found by an attack: `yes` had 163 MB, for who looked each second looked too seldom. Nobody looks here."""
    processes.start(Spec(name="yes", command=["yes"]))
    log, most, until = processes.log("yes"), 0, time.monotonic() + SECONDS
    while time.monotonic() < until:
        assert all(size <= logs.BOUND for size in sizes(log))
        most = max(most, sum(sizes(log)))
        time.sleep(0.001)
    assert most > logs.BOUND, "it was rotated"
    soon(lambda: set(read(log)) == set(b"y\n"))


def test_a_process_outlives_the_writer_of_its_log(processes: Processes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logs, "BOUND", 200_000)
    processes.start(Spec(name="printer", command=[sys.executable, "-c", COUNTS]))
    log = processes.log("printer")
    soon(log.exists)
    soon(lambda: last(log) > 100)
    os.kill(writer(processes, "printer").pid, signal.SIGKILL)
    soon(lambda: not writer(processes, "printer").is_written)
    seen = last(log)
    soon(lambda: psutil.Process(processes.find("printer").pid).status() == psutil.STATUS_SLEEPING)  # type: ignore[union-attr]
    time.sleep(0.2)
    assert (last(log), processes.find("printer") is not None) == (seen, True), "it waits for another one"
    processes.tend_logs()
    soon(lambda: last(log) > seen + 20_000)
    assert all(size <= 200_000 for size in sizes(log))
    before = writer(processes, "printer")
    processes.tend_logs()
    assert writer(processes, "printer") == before, "one that has a writer keeps it"


def test_a_writer_ends_with_its_process_and_has_its_last_words(processes: Processes):
    processes.start(Spec(name="short", command=["sh", "-c", "sleep 0.3; echo one; echo; echo two >&2"]))
    of = writer(processes, "short")
    assert of.is_written
    soon(lambda: processes.find("short") is None)
    assert processes.last_words("short") == ["one", "two"]
    assert not of.is_written
    assert processes.last_words("nobody") == []


def test_who_started_it_may_die(tmp_path: Path, processes: Processes):
    """As `penstock up` does at once, and a worker by kill."""
    code = "import sys; from pathlib import Path; from processes.supervised import Processes, Spec\n"
    code += f"Processes(Path(sys.argv[1])).start(Spec(name='it', command=[sys.executable, '-c', {COUNTS!r}]))"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=env, check=True)
    soon(processes.log("it").exists)
    seen = last(processes.log("it"))
    soon(lambda: last(processes.log("it")) > seen + 1000)


def test_its_stdout_may_have_a_file_of_its_own(tmp_path: Path, processes: Processes):
    out = tmp_path / "flink" / "it.out"
    out.parent.mkdir()
    out.write_text("of the one before\n")
    processes.start(Spec(name="it", command=["sh", "-c", "echo out; echo err >&2; exec sleep 60"], stdout=out))
    soon(lambda: out.read_text() == "out\n" and processes.last_words("it") == ["err"])
    for outlet in outlets.loaded(processes._record("it")["outlets"]):
        os.kill(outlet.pid, signal.SIGKILL)
        soon(lambda outlet=outlet: not outlet.is_written)
    processes.tend_logs()
    assert [(o.number, o.log, o.is_written) for o in outlets.loaded(processes._record("it")["outlets"])] == [
        (1, str(out), True),
        (2, str(processes.log("it")), True),
    ]


def test_a_disk_that_takes_nothing_does_not_stop_the_process(tmp_path: Path, processes: Processes):
    done = (
        "n = 0\nwhile n < 40000:\n  n += 1\n  print('x' * 99)\nopen('done', 'w').close()\n__import__('time').sleep(60)"
    )
    processes.log("it").mkdir()
    processes.start(Spec(name="it", command=[sys.executable, "-c", done], cwd=tmp_path))
    soon((tmp_path / "done").exists)


def test_one_that_cannot_be_started_leaves_no_writer(processes: Processes, monkeypatch: pytest.MonkeyPatch):
    made: list[outlets.Outlet] = []
    written = outlets._written
    monkeypatch.setattr(outlets, "_written", lambda *how: made.append(written(*how)) or made[-1])
    with pytest.raises(FileNotFoundError):
        processes.start(Spec(name="it", command=["/no/such/program"]))
    soon(lambda: made and not made[0].is_written)


def test_one_that_nobody_looked_at_for_long_keeps_its_end(tmp_path: Path):
    log = tmp_path / "a.log"
    log.write_bytes(b"old\n" * 100_000 + b"new\n" * 10)
    logs.tend(tmp_path, 1000)
    assert log.read_bytes() == b""
    kept = (tmp_path / "a.log.1").read_bytes()
    assert (len(kept), kept[-40:]) == (1000, b"new\n" * 10)


def test_flinks_own_files_roll_sooner():
    text = "appender.rolling.policies.size.size=100MB\nappender.rolling.strategy.max = ${env:MAX_LOG_FILE_NUMBER:-10}\n"
    assert logs.bounded(text).splitlines()[0] == f"appender.rolling.policies.size.size= {logs.FLINK_BOUND}"


def test_one_that_another_process_rotates_is_left_to_it(tmp_path: Path):
    """Two would write to the same copy, and the second would find the log empty and give up what the first kept."""
    log = tmp_path / "a.log"
    log.write_bytes(b"x" * 2000)
    with open(log, "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        logs.tend(tmp_path, 1000)
        assert (log.stat().st_size, list(tmp_path.iterdir())) == (2000, [log])
    logs.tend(tmp_path, 1000)
    assert (log.stat().st_size, (tmp_path / "a.log.1").stat().st_size) == (0, 1000)
