"""Keeps the processes of one session cluster: `python -m clusters.local.keeper FOLDER`, one keeper per attempt.

It starts JobManager, task managers and SQL gateway, starts the latter two again when they die, and has as many task
managers as `wanted.json` says. It ends, and all of them with it, when the JobManager dies, when `wanted.json` says
stop, or when it is killed itself: its processes are bound to it. What it sees stands in `seen.json`; one that has
ended is never begun again. A disk that is full, or does not answer for a while, ends nothing: what could not be read or
written is tried again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

import httpx

from clusters.protocol import ClusterProgram
from core.errors import PenstockError
from core.jobs.observations import ENDED, EngineState
from processes import logs
from processes.flink import Flink
from processes.kept import DEATHS, Kept, PartDied, StateFile
from processes.supervised import NotReady, Port, Processes, Spec, free_port, local_client
from settings import waits
from settings.polling import poll

KEEPER, JOBMANAGER, GATEWAY = "keeper", "jobmanager", "gateway"
HELD = 3  # exit code: another keeper holds this folder
FENCED = "never begun: it was given up before it could be"


class ClusterOrder(StateFile):
    """What Penstock wants of a keeper: `wanted.json`. `home` is FLINK_HOME, `start_timeout` the seconds that its
    JobManager has to answer in."""

    name: str
    home: Path
    program: ClusterProgram
    config: dict[str, str]
    start_timeout: float = 180  # of one that an older Penstock has ordered
    stop: bool = False


class ClusterReport(StateFile):
    """What a keeper sees: `seen.json`. `of` is how many task managers were wanted then; `died` are the last parts that
    did."""

    state: EngineState
    detail: str
    of: int = 0
    died: list[PartDied] = []

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class _End(Exception):
    def __init__(self, state: EngineState, why: str):
        super().__init__(why)
        self.state = state


@dataclass
class Keeper:
    folder: Path
    signalled: str = ""
    transport: httpx.BaseTransport | None = None
    _lives: dict[str, Kept] = field(default_factory=dict)
    _seen: ClusterReport | None = None
    _died: list[PartDied] = field(default_factory=list)
    _looked: float = 0.0

    def __post_init__(self) -> None:
        self.processes = Processes(self.folder)
        order = ClusterOrder.read(self.folder / "wanted.json")
        assert order is not None
        self._order = order
        self._flink = Flink(
            home=order.home,
            folder=self.folder / "flink",
            rest_port=order.program.rest_port,
            rpc_port=free_port(),
            gateway_port=order.program.gateway_port,
            slots=order.program.slots,
            jobmanager_memory=order.program.jobmanager_memory,
            taskmanager_memory=order.program.taskmanager_memory,
            extra=order.config,
            state=order.program.state_dir,
        )
        self._http = local_client(self.transport)

    def keep(self) -> None:
        """Until the end of the cluster."""
        try:
            # Raises an error where it cannot be written: what nobody knows to have begun would be begun again.
            self._write(ClusterReport(state=EngineState.STARTING, detail="its JobManager is starting"))
            self._begin()
            while True:
                with contextlib.suppress(OSError):
                    self._go_on(self._wanted().program.taskmanagers)
                time.sleep(waits.KEEPER_TICK_SECONDS)
        except _End as end:
            self._stop_all()
            polling = poll(waits.KEEPER_PACE, seconds=waits.KEEPER_LAST_WORDS_SECONDS)
            while not self._say(end.state, str(end)) and polling.again_in_thread():
                pass

    def _begin(self) -> None:
        seconds = self._order.start_timeout
        try:
            spec = _bound(self._flink.jobmanager())
            self.processes.start(spec, timeout=seconds, note=lambda _: self._still_wanted())
            self._lives[GATEWAY] = Kept(_unwaited(self._flink.gateway()))
        except NotReady as error:
            why = f"its JobManager did not answer within {seconds:.0f} s; PENSTOCK_FLINK_START_TIMEOUT of the workers"
            raise _End(EngineState.FAILED, f"{why} gives the next one longer. {error}") from error
        except (PenstockError, OSError) as error:
            raise _End(EngineState.FAILED, str(error)) from error

    def _still_wanted(self) -> None:
        self._wanted()

    def _wanted(self) -> ClusterOrder:
        """What is wanted now. Raises `_End`."""
        with contextlib.suppress(OSError):  # cannot be read now: no news
            order = ClusterOrder.read(self.folder / "wanted.json")
            if order is None:
                raise _End(EngineState.FAILED, f"{self.folder} has gone")
            self._order = order
        order = self._order
        if order.stop:
            self._say(EngineState.STOPPING, "being stopped")
            raise _End(EngineState.CANCELED, "stopped")
        if self.signalled:
            raise _End(EngineState.FAILED, f"it was stopped on its machine ({self.signalled}), not by Penstock")
        return order

    def _go_on(self, count: int) -> None:
        self.processes.tend_logs()
        logs.tend(self.folder / "flink" / "log")
        if self.processes.find(JOBMANAGER) is None:
            raise _End(EngineState.FAILED, f"its JobManager died: {self._last_words(JOBMANAGER)}")
        with contextlib.suppress(OSError):  # a new one has no configuration yet: the others are seen to all the same
            self._have(count)
        for life in self._lives.values():
            self._see_to(life)
        report = self._seen
        steady = report is not None and report.state is EngineState.RUNNING and report.of == count
        if not steady or time.monotonic() - self._looked > waits.KEEPER_LOOK_SECONDS:
            self._look(count)

    def _have(self, count: int) -> None:
        """As many task managers as `count`; those that go first are dead, then idle, then the youngest."""
        mine = [name for name in self._lives if name != GATEWAY]
        number = 0
        while len(mine) < count:
            number += 1
            spec = self._flink.taskmanager(number, "-D", f"taskmanager.resource-id=tm-{number}")
            if spec.name not in self._lives:
                self._lives[spec.name] = Kept(_unwaited(spec))
                mine.append(spec.name)
        if len(mine) > count:
            idle = self._registered() or {}
            mine.sort(
                key=lambda name: (self.processes.find(name) is None, idle.get(_resource(name), False), _number(name))
            )
            going = mine[count:]
            self.processes.stop(*going, grace=15)
            for name in going:
                del self._lives[name]

    def _see_to(self, life: Kept) -> None:
        if (death := life.see_to(self.processes)) is not None:
            self._died = [*self._died, death][-DEATHS:]
            self._looked = 0.0

    def _look(self, count: int) -> None:
        self._looked = time.monotonic()
        gateway = False
        alive = {_resource(name) for name in self._lives if self.processes.find(name) is not None}
        taskmanagers = self._registered()
        registered, answers = len((taskmanagers or {}).keys() & alive), taskmanagers is not None
        with contextlib.suppress(httpx.HTTPError):
            gateway = self._http.get(f"{self._flink.gateway_url}/info").status_code == 200
        words = [f"{registered} of {count} task managers", f"gateway {'up' if gateway else 'not up'}"]
        if not answers:
            words = ["its JobManager runs and does not answer"]
        runs = answers and gateway and registered == count
        if runs:  # as long as that is so the words stay the same: they are told when the state changes
            words = ["JobManager, task managers and gateway are up"]
        else:
            words += [life.trouble for life in self._lives.values() if life.trouble]
        for life in self._lives.values():
            life.trouble = "" if runs else life.trouble
        self._say(EngineState.RUNNING if runs else EngineState.STARTING, "; ".join(words), count)

    def _registered(self) -> dict[str, bool] | None:
        """Task managers by resource id, and whether each runs nothing; None when the JobManager does not answer."""
        try:
            taskmanagers = self._http.get(f"{self._flink.url}/taskmanagers").json()["taskmanagers"]
            return {t["id"]: t["freeSlots"] == t["slotsNumber"] for t in taskmanagers}
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return None

    def _last_words(self, name: str) -> str:
        return logs.last_words(self.processes.last_words(name))

    def _say(self, state: EngineState, detail: str, of: int = 0) -> bool:
        """Returns whether it stands there; what could not be written is no reason to end, and looked at again at
        once."""
        try:
            self._write(ClusterReport(state=state, detail=detail, of=of, died=self._died))
        except OSError:
            self._looked = 0.0
            return False
        return True

    def _write(self, report: ClusterReport) -> None:
        if report != self._seen and self.folder.exists():
            report.write(self.folder / "seen.json")
            self._seen = report

    def _stop_all(self) -> None:
        """Gateway and task managers before the JobManager, so that it can take leave of them."""
        for names in (self._lives, (JOBMANAGER,)):
            with contextlib.suppress(OSError):
                self.processes.stop(*names, grace=10)


def _bound(spec: Spec) -> Spec:
    return replace(spec, bound=True, ports=[Port(port.number) for port in spec.ports])


def _unwaited(spec: Spec) -> Spec:
    return replace(_bound(spec), ready=lambda: True)


def _number(name: str) -> int:
    return int(name.partition("-")[2] or 1)


def _resource(name: str) -> str:
    """The id under which a task manager registers."""
    return f"tm-{_number(name)}" if name != GATEWAY else ""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Hold the lock of an attempt's folder; False when a keeper has it."""
    with open(folder / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def main(folder: Path) -> int:
    """Become the keeper of an attempt's folder, in a process of its own, and keep its cluster until that ends. Exit
    code: `HELD` when another keeper has the folder, else 0, at once for a cluster that has ended before."""
    with held(folder) as mine:
        if not mine:
            return HELD
        before = ClusterReport.read(folder / "seen.json")
        if before is not None:  # one that has ended, or whose keeper has died: it is never begun again
            return 0
        if os.fork():  # nobody's child: who stops a worker with all that it has started does not mean a cluster
            return 0
        os.setsid()
        keeper = Keeper(folder)
        keeper.processes.write_down(KEEPER, os.getpid())

        def told(number: int, _: FrameType | None) -> None:
            keeper.signalled = signal.Signals(number).name

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, told)
        keeper.keep()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
