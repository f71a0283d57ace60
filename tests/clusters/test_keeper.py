"""What keeps a session cluster goes on while its disk is full, or does not answer."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from clusters.local.hosted import HostedClusters
from clusters.local.keeper import JOBMANAGER, KEEPER, ClusterOrder, ClusterReport, Keeper
from clusters.protocol import ClusterProgram, Ref, Unreachable
from core.jobs.observations import EngineState
from processes.logs import last_words
from processes.supervised import NotReady, Processes, Spec
from settings import waits

PROGRAM = ClusterProgram("2.3.0", 1, 2, "s", 1, 1, "1m", "1m")


class _Processes:
    """What is started runs."""

    def __init__(self) -> None:
        self.running: set[str] = set()

    def find(self, name: str) -> object | None:
        return name if name in self.running else None

    def start(self, spec: Spec, **_: Any) -> bool:
        self.running.add(spec.name)
        return True

    def stop(self, *names: str, grace: float) -> bool:
        self.running -= set(names)
        return True

    def last_words(self, name: str) -> list[str]:
        return []

    def tend_logs(self) -> None:
        pass


class Disk:
    def __init__(self) -> None:
        self.full = self.silent = False

    def write(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")

    def read(self) -> None:
        if self.silent:
            raise OSError(errno.EIO, "Input/output error")


class _Flink:
    """Its processes need a configuration, which is written."""

    url = gateway_url = "http://x"

    def __init__(self, disk: Disk):
        self._disk = disk

    def _spec(self, name: str) -> Spec:
        self._disk.write()
        return Spec(name=name, command=[], env={}, ports=[], ready=lambda: True, fingerprint="")

    def jobmanager(self) -> Spec:
        return self._spec(JOBMANAGER)

    def gateway(self) -> Spec:
        return self._spec("gateway")

    def taskmanager(self, number: int, *_: str) -> Spec:
        return self._spec("taskmanager" if number == 1 else f"taskmanager-{number}")


def flink(request: httpx.Request) -> httpx.Response:
    """A gateway that is up, and a JobManager with two task managers that run nothing."""
    idle = [{"id": f"tm-{n}", "freeSlots": 1, "slotsNumber": 1} for n in (1, 2)]
    return httpx.Response(200, json={"taskmanagers": idle} if request.url.path == "/taskmanagers" else {})


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    write, read = Path.write_text, Path.read_bytes

    def write_text(path: Path, text: str) -> int:
        if made.full:
            write(path, text[:3])
        made.write()
        return write(path, text)

    def read_bytes(path: Path) -> bytes:
        made.read()
        return read(path)

    monkeypatch.setattr(Path, "write_text", write_text)
    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    return made


@pytest.fixture
def keeper(tmp_path: Path, disk: Disk) -> Keeper:
    return kept(tmp_path, disk, flink)


def kept(folder: Path, disk: Disk, answer: Callable[[httpx.Request], httpx.Response]) -> Keeper:
    order(folder)
    made = Keeper(folder, transport=httpx.MockTransport(answer))
    made.processes, made._flink = _Processes(), _Flink(disk)  # type: ignore[assignment]
    return made


@pytest.mark.parametrize("text", ["<p>hello", "[]", "{}", '{"taskmanagers": null}', '{"taskmanagers": [1]}'])
def test_something_else_at_the_jobmanagers_port_is_no_answer(tmp_path: Path, disk: Disk, text: str):
    """It would have ended the keeper, and left its processes to nobody."""
    keeper = kept(tmp_path, disk, lambda _: httpx.Response(200, text=text))
    keeper._look(1)
    report = ClusterReport.read(tmp_path / "seen.json")
    assert report is not None
    assert (report.state, report.detail) == (EngineState.STARTING, "its JobManager runs and does not answer")


def order(folder: Path, count: int = 1, *, stop: bool = False) -> None:
    program = replace(PROGRAM, taskmanagers=count)
    ClusterOrder(name="x", home=Path("/"), program=program, config={}, stop=stop).write(folder / "wanted.json")


def said(folder: Path) -> ClusterReport:
    report = ClusterReport.read(folder / "seen.json")
    assert report is not None
    return report


def played(keeper: Keeper, story: Callable[[], Iterator[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep until the end; `story` goes on by a step with each pause of the keeper."""
    steps = story()
    monkeypatch.setattr(time, "sleep", lambda _: next(steps))
    keeper.keep()


def test_a_disk_that_is_full_for_a_while_ends_nothing(keeper: Keeper, disk: Disk, monkeypatch: pytest.MonkeyPatch):
    folder, running = keeper.folder, keeper.processes.running  # type: ignore[attr-defined]

    def story() -> Iterator[None]:
        yield
        assert (said(folder).state, said(folder).of) == (EngineState.RUNNING, 1)
        order(folder, count=2)
        disk.full = True
        running.discard("gateway")
        for _ in range(3):
            yield
        assert running == {JOBMANAGER, "taskmanager", "gateway"}, "what has died is started again"
        assert said(folder).of == 1
        disk.full = False
        yield
        yield
        assert running == {JOBMANAGER, "taskmanager", "taskmanager-2", "gateway"}
        assert (said(folder).state, said(folder).of) == (EngineState.RUNNING, 2)
        disk.silent = True
        yield
        assert JOBMANAGER in running
        disk.silent = False
        order(folder, count=2, stop=True)
        disk.full = True
        yield
        assert running == set()
        yield
        disk.full = False
        yield

    played(keeper, story, monkeypatch)
    assert (said(folder).state, said(folder).detail) == (EngineState.CANCELED, "stopped")
    assert sorted(path.name for path in folder.glob("*.json*")) == ["seen.json", "wanted.json"], "no halves"


def test_one_that_cannot_say_that_it_begins_does_not_begin(keeper: Keeper, disk: Disk):
    """A try that finds no word of it begins it."""
    disk.full = True
    with pytest.raises(OSError, match="No space"):
        keeper.keep()
    assert keeper.processes.running == set()  # type: ignore[attr-defined]


def test_one_that_dies_again_and_again_is_started_ever_more_seldom(
    tmp_path: Path, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
):
    """At once after the first death, then after 1, 3, 7 s and so on, half a minute at most; after a long life as at
    first. What it said last stands in the report, and each death with its moment."""
    now, begun = [1000.0], list[float]()
    running, start = keeper.processes.running, keeper.processes.start  # type: ignore[attr-defined]

    def noted(spec: Spec, **how: Any) -> bool:
        if spec.name == "taskmanager":
            begun.append(now[0])
        return start(spec, **how)

    keeper.processes.start = noted  # type: ignore[method-assign]
    keeper.processes.last_words = lambda _: ["ERROR Sum of memory"]  # type: ignore[method-assign, misc]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def story() -> Iterator[None]:
        yield
        for _ in range(8):
            running.discard("taskmanager")
            until = now[0] + 40
            while "taskmanager" not in running:
                assert now[0] < until, "it is started again"
                now[0] += 0.5
                yield
        pauses = [round(later - sooner, 1) for sooner, later in itertools.pairwise(begun)]
        assert pauses == [0.5, 1.5, 3.5, 7.5, 15.5, 29.5, 29.5, 29.5], "a tick more than the pause"
        now[0] += waits.LONG_LIFE_SECONDS + 1
        running.discard("taskmanager")
        yield
        assert "taskmanager" in running, "its death counts as the first one"
        order(tmp_path, stop=True)
        yield

    played(keeper, story, monkeypatch)
    died = said(tmp_path).died
    assert {(part.part, part.why) for part in died} == {("taskmanager", "ERROR Sum of memory")}
    assert len(died) == 9


def test_a_jobmanager_that_takes_too_long_is_told_with_the_setting_for_it(tmp_path: Path, keeper: Keeper):
    order = ClusterOrder.read(tmp_path / "wanted.json")
    assert order is not None
    keeper._order = order.model_copy(update={"start_timeout": 7})

    def start(spec: Spec, *, timeout: float, **_: Any) -> bool:
        raise NotReady(spec.name, f"is not ready after {timeout:.0f} s.", Path("/nowhere"))

    keeper.processes.start = start  # type: ignore[method-assign]
    keeper.keep()
    assert said(tmp_path).state is EngineState.FAILED
    assert "did not answer within 7 s; PENSTOCK_FLINK_START_TIMEOUT" in said(tmp_path).detail


def test_a_process_that_cannot_be_written_down_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    started = []

    def write_down(_: Processes, __: str, pid: int, *___: object) -> None:
        started.append(pid)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Processes, "write_down", write_down)
    spec = Spec(name="x", command=["sleep", "60"], env={}, ports=[], ready=lambda: True, fingerprint="")
    with pytest.raises(OSError, match="No space"):
        Processes(tmp_path).start(spec)
    assert not Path(f"/proc/{started[0]}").exists()


@pytest.fixture
def hosted(tmp_path: Path) -> tuple[HostedClusters, Path, Ref]:
    """An attempt whose keeper is this process."""
    ref = Ref("a" * 32, "a" * 32)
    folder = tmp_path / ref.handle
    folder.mkdir()
    order(folder)
    ClusterReport(state=EngineState.RUNNING, detail="up", of=1).write(folder / "seen.json")
    Processes(folder).write_down(KEEPER, os.getpid())
    return HostedClusters(tmp_path, "here", "here", lambda _: None, [], 180), folder, ref


async def test_a_stop_is_not_taken_back_by_a_scaling_that_began_before(
    hosted: tuple[HostedClusters, Path, Ref], monkeypatch: pytest.MonkeyPatch
):
    engine, folder, ref = hosted
    write, stopping = ClusterOrder.write, []

    def slowly(wanted: ClusterOrder, path: Path) -> None:
        if not stopping:
            stopping.append(threading.Thread(target=lambda: asyncio.run(engine.cancel(ref))))
            stopping[0].start()
            stopping[0].join(0.3)
        write(wanted, path)

    monkeypatch.setattr(ClusterOrder, "write", slowly)
    await engine.scale(ref, 3)
    await asyncio.to_thread(stopping[0].join)
    wanted = ClusterOrder.read(folder / "wanted.json")
    assert wanted is not None
    assert (wanted.stop, wanted.program.taskmanagers) == (True, 3)


async def test_what_cannot_be_written_has_not_been_wanted(
    hosted: tuple[HostedClusters, Path, Ref], disk: Disk, monkeypatch: pytest.MonkeyPatch
):
    engine, folder, ref = hosted
    monkeypatch.setattr(waits, "KEEPER_ORDER_SECONDS", 0.0)
    with open(folder / "wanted.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Unreachable, match="somebody else") as refused:
            await engine.cancel(ref)
        assert not refused.value.sent
    disk.full = True
    with pytest.raises(Unreachable, match="No space left"):
        await engine.scale(ref, 3)
    disk.full = False
    wanted = ClusterOrder.read(folder / "wanted.json")
    assert wanted is not None
    assert (wanted.stop, wanted.program.taskmanagers) == (False, 1)


async def test_what_is_no_log_is_none_and_one_that_cannot_be_read_is_told(
    hosted: tuple[HostedClusters, Path, Ref], monkeypatch: pytest.MonkeyPatch
):
    engine, folder, ref = hosted
    (folder / "logs" / "folder.log").mkdir(parents=True)
    os.mkfifo(folder / "logs" / "pipe.log")  # who reads it would wait for ever
    (folder / "logs" / "a.log").write_text("one\ntwo\n")
    assert [log.file for log in await engine.logs(ref)] == ["a.log"]
    for name in ("folder.log", "pipe.log"):
        assert await engine.log(ref, "processes", name, last=100) is None
    assert await engine.log(ref, "processes", "a.log", last=4) == b"two\n"

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("clusters.local.hosted.open", refused, raising=False)
    with pytest.raises(Unreachable, match=r"processes/a\.log cannot be read: Permission denied"):
        await engine.log(ref, "processes", "a.log", last=4)


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ([], "its log is empty"),
        (["begins", "ends"], "ends"),
        (["ERROR one", "2026 FATAL two", "ends"], "2026 FATAL two"),
        # What Flink 2.3 says of a process that has too little memory, in the order in which it was seen, and the other.
        (
            [
                "[ERROR] The execution result is empty.",
                "Exception in x",
                "Caused by: IllegalConfigurationException: Sum",
            ],
            2,
        ),
        (["Exception in x: Sum", "[ERROR] The execution result is empty.", "[ERROR] Could not get JVM parameters"], 0),
        (["[ERROR] The execution result is empty."], 0),
    ],
)
def test_its_last_words_are_the_cause(log: list[str], told: str | int):
    assert last_words(log) == (told if isinstance(told, str) else log[told])


@pytest.mark.parametrize(
    ("cause", "key"),
    [
        ("Metaspace. The metaspace out-of-memory error has occurred. This can mean" + " x" * 300, "jvm-metaspace.size"),
        ("Direct buffer memory", "task.off-heap.size"),
        ("Cannot reserve 4194304 bytes of direct buffer memory (allocated: 1, limit: 2)", "task.off-heap.size"),
        ("Java heap space", "process.size"),
    ],
)
def test_memory_that_has_run_out_is_told_before_what_it_led_to_with_what_gives_more(cause: str, key: str):
    """Seen: the last line with an error said no more than "Fatal error occurred while executing the TaskManager"."""
    log = [
        "2026 ERROR TaskManagerRunner - Fatal error occurred while executing the TaskManager. Shutting it down...",
        f"java.lang.OutOfMemoryError: {cause}",
        "at java.base/java.lang.ClassLoader.defineClass1(Native Method)",
        "2026 ERROR Something else - it is ending, RejectedExecutionException",
    ]
    told = last_words(log)
    assert told.startswith(f"OutOfMemoryError: {cause[:20]}")
    assert f"`taskmanager.memory.{key}`" in told
    assert len(told) < 400
