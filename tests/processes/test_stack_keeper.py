"""The keeper of the local stack: what it starts again, when, and what it leaves alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from processes.kept import StackReport
from processes.supervised import Processes, Spec
from settings import ApiSettings, Settings, StackSettings
from stack.keeper import StackKeeper
from stack.local import LocalStack, alone
from stack.parts import StackParts


class Stack:
    """A stack whose task manager is a shell."""

    def __init__(self, folder: Path):
        self.home = folder / "home"
        flink = folder / "cache" / "flink" / "2.3.0" / "lib" / "python3.11" / "site-packages" / "pyflink"
        flink.mkdir(parents=True)
        settings = Settings(home=self.home, cache=folder / "cache")
        local = LocalStack(settings, StackSettings(), ApiSettings(), StackParts(folder / "cache"))
        self.processes = Processes(self.home)
        self.spec = Spec(name="taskmanager", command=["sh", "-c", "echo OutOfMemoryError: Direct >&2; exec sleep 600"])
        self.keeper = StackKeeper(local, [self.spec])

    @property
    def report(self) -> StackReport:
        report = StackReport.read(StackReport.path(self.home))
        assert report is not None
        return report

    def dies(self) -> None:
        process = self.processes.find("taskmanager")
        assert process is not None
        _until(lambda: self.processes.last_words("taskmanager"))
        process.kill()
        _until(lambda: self.processes.find("taskmanager") is None)

    def runs(self) -> bool:
        return self.processes.find("taskmanager") is not None


def _until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path)
    made.processes.start(made.spec)
    made.keeper.look()
    yield made
    made.processes.stop("taskmanager", grace=1)


def test_one_that_dies_is_started_again_at_once(stack: Stack):
    stack.dies()
    stack.keeper.look()
    assert stack.runs()
    (death,) = stack.report.died
    assert (death.part, death.why) == ("taskmanager", "OutOfMemoryError: Direct")
    assert stack.report.due == {}


def test_one_that_dies_again_and_again_waits_longer_each_time(stack: Stack, monkeypatch: pytest.MonkeyPatch):
    now = time.monotonic()
    monkeypatch.setattr("processes.kept.time.monotonic", lambda: now)
    pauses = []
    for _ in range(5):
        stack.dies()
        stack.keeper.look()
        pause = 0.0
        while not stack.runs():
            due = stack.report.due["taskmanager"]
            assert due.why == "taskmanager died: OutOfMemoryError: Direct"
            assert due.deaths == len(pauses) + 1
            pause, now = pause + 1, now + 1
            stack.keeper.look()
        pauses.append(pause)
        stack.keeper.look()
    assert pauses == [0, 1, 3, 7, 15]
    assert len(stack.report.died) == 5


def test_what_somebody_has_stopped_stays_stopped(stack: Stack):
    stack.processes.stop("taskmanager", grace=1)
    stack.keeper.look()
    assert not stack.runs()
    assert stack.report.died == []


def test_nothing_is_started_beside_an_up_or_a_down(stack: Stack):
    stack.dies()
    with alone(stack.home):
        stack.keeper.look()
        assert not stack.runs()
    stack.keeper.look()
    assert stack.runs()


def test_what_has_a_name_of_its_own_is_not_stopped_with_who_started_it(tmp_path: Path):
    """Found by trying it: an `up` that stopped the keeper killed the task manager that the keeper had started."""
    processes, pids = Processes(tmp_path), tmp_path / "pids"
    inner = f"sleep 600 & echo named $! >> {pids}; wait"
    script = f"sleep 600 & echo nameless $! >> {pids}; sh -c '{inner}' & echo part $! >> {pids}; wait"
    processes.start(Spec(name="starter", command=["sh", "-c", script]))
    _until(lambda: pids.exists() and len(pids.read_text().splitlines()) == 3)
    found = {word: psutil.Process(int(pid)) for word, pid in map(str.split, pids.read_text().splitlines())}
    processes.write_down("part", found["part"].pid)
    processes.stop("starter", grace=5)
    assert {word for word, process in found.items() if process.is_running()} == {"part", "named"}
    processes.stop("part", grace=5)
    assert not found["named"].is_running()
