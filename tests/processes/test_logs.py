"""Logs of what is kept here stay within their bound, however much is printed."""

from __future__ import annotations

import fcntl
import sys
import time
from pathlib import Path

import pytest

from processes import logs
from processes.supervised import Processes, Spec

BOUND = 200_000


def test_a_process_that_prints_without_end_has_two_bounded_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logs.tend, "__defaults__", (BOUND,))
    processes = Processes(tmp_path)
    printing = "n = 0\nwhile True:\n  n += 1\n  print(n, 'x' * 90, flush=n % 50 == 0)\n  n % 2000 or __import__('time').sleep(.02)"
    processes.start(Spec(name="printer", command=[sys.executable, "-c", printing]))
    try:
        until, written = time.monotonic() + 60, 0
        while written < 20 * BOUND and time.monotonic() < until:
            time.sleep(0.05)
            processes.tend_logs()
            older = tmp_path / "logs" / "printer.log.1"
            assert not older.exists() or older.stat().st_size <= BOUND
            lines = processes.log("printer").read_bytes().splitlines()[-2:-1]
            written = int(lines[0].split()[0]) * 95 if lines and lines[0][:1].isdigit() else written
        assert written >= 20 * BOUND, "it goes on writing to the file that was emptied"
        processes.tend_logs()
        assert sorted(p.name for p in (tmp_path / "logs").iterdir()) == ["printer.log", "printer.log.1"]
        assert b"\0" not in processes.log("printer").read_bytes(), "it writes at the end, not where it was"
    finally:
        processes.stop("printer")


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
