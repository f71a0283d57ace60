"""Processes on this machine: started in a session of their own, known by pid and identity."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from core.errors import PenstockError
from processes import logs, outlets
from processes.child import die_with_parent
from processes.identity import identity, writes_to
from settings import waits
from settings.polling import poll

PORTS = 15_000, 30_000  # below those that Linux gives to outgoing connections


class StartFailed(PenstockError):
    def __init__(self, name: str, why: str, log: Path):
        tail = log.read_text(errors="replace").splitlines()[-12:] if log.exists() else []
        super().__init__(f"{name} {why}\n" + "\n".join(tail) + "\n", code="start_failed", remedy=f"See {log}.")


class NotReady(StartFailed):
    """It runs, and was not ready in time."""


@dataclass(frozen=True)
class Port:
    """A port that a process listens on, and the setting that changes it, if one does."""

    number: int
    setting: str = ""


@dataclass(frozen=True)
class Spec:
    """A process to run. `ready` says whether it answers; `fingerprint` changes when it has to be started anew.
    With `bound` it is killed when the thread that started it ends, however that comes (Linux). What it prints goes into
    its log; its stdout into the file `stdout` instead where there is one, which begins anew with each start."""

    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)
    ports: list[Port] = field(default_factory=list)
    ready: Callable[[], bool] = lambda: True
    fingerprint: str = ""
    cwd: Path | None = None
    bound: bool = False
    stdout: Path | None = None


_given: set[int] = set()


KEYS = ("PENSTOCK_BOOTSTRAP_TOKEN", "PENSTOCK_TOKEN", "PENSTOCK_SECRET_KEY")
"""What opens Penstock. Only who is given them by name has them: code of a job reads the environment of its Flink."""


def environment() -> dict[str, str]:
    """What a process of ours is given of this one's."""
    return {name: value for name, value in os.environ.items() if name not in KEYS}


def free_port() -> int:
    """A port that nobody listens on, below those that the kernel gives to outgoing connections: one of
    these could be taken while the server that it belongs to is being started again. One process gives none twice: who
    was given it may not listen on it yet, or not listen on it for a moment."""
    first, last = PORTS
    if len(_given) > (last - first) / 2:
        _given.clear()
    while True:
        port = random.randint(first, last)  # noqa: S311 - no secret
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port


def local_client(transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """For servers on this machine. `transport` None: the network."""
    return httpx.Client(timeout=waits.LOCAL_ANSWER_SECONDS, trust_env=False, transport=transport)


def http_ok(url: str, transport: httpx.BaseTransport | None = None) -> Callable[[], bool]:
    """A check of readiness: whether a GET is answered with 200, within two seconds and past any proxy."""

    def ask() -> bool:
        try:
            with local_client(transport) as http:
                return http.get(url).status_code == 200
        except httpx.HTTPError:
            return False

    return ask


def listens(port: int, host: str = "127.0.0.1") -> Callable[[], bool]:
    """A check of readiness: whether something takes connections on the port, within a second."""

    def ask() -> bool:
        with socket.socket() as probe:
            probe.settimeout(waits.LOCAL_CONNECT_SECONDS)
            return probe.connect_ex((host, port)) == 0

    return ask


class Processes:
    """`folder` holds a record and a log for each process."""

    def __init__(self, folder: Path):
        self._records = folder / "run"
        self._logs = folder / "logs"
        for path in (self._records, self._logs):
            path.mkdir(parents=True, exist_ok=True)

    def log(self, name: str) -> Path:
        """Where it prints to, whether there is such a process or not."""
        return self._logs / f"{name}.log"

    def tend_logs(self) -> None:
        """Give those that have lost the writer of their log another one. Logs of processes that have none, since an
        older version started them, are kept within their bound."""
        for name in self.names():
            with contextlib.suppress(OSError, psutil.Error):  # it has just ended, or is tried again soon
                self._mend(name)
        logs.tend(self._logs)

    def _mend(self, name: str) -> None:
        if all(outlet.is_written for outlet in outlets.loaded(self._record(name).get("outlets", []))):
            return
        with open(self._records / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # each worker of a machine looks at the local stack's
            record, process = self._record(name), self.find(name)
            if process is not None and "outlets" in record:
                mended = [outlets.mended(outlet, process.pid) for outlet in outlets.loaded(record["outlets"])]
                self._write_record(name, {**record, "outlets": outlets.stored(mended)})

    def last_words(self, name: str, size: int = 20_000) -> list[str]:
        """The last lines of the log of one that may just have died, of at most `size` bytes, without empty ones; with
        what was on its way into the log."""
        if self.find(name) is None:
            self._settle(outlets.loaded(self._record(name).get("outlets", [])))
        try:
            with open(self.log(name), "rb") as log:
                log.seek(max(0, os.path.getsize(log.name) - size))
                text = log.read(size).decode(errors="replace")
        except OSError:
            return []
        return [line.strip() for line in text.splitlines() if line.strip()]

    def _settle(self, of: list[outlets.Outlet]) -> None:
        """A writer ends when it has written all; not while something that the process left behind may still print."""
        polling = poll(waits.START_PACE, seconds=waits.LAST_WORDS_SECONDS)
        while any(outlet.is_written for outlet in of) and polling.again_in_thread():
            pass

    def size_of_logs(self, name: str) -> int:
        """In bytes, older parts too."""
        return logs.size_of(self._logs, name)

    def _record(self, name: str) -> dict[str, Any]:
        try:
            loaded: dict[str, Any] = json.loads((self._records / f"{name}.json").read_text())
            return loaded
        except (FileNotFoundError, ValueError):
            return {}

    def find(self, name: str) -> psutil.Process | None:
        """The running process of this name: the pid of the record, if that pid is still the same process."""
        record = self._record(name)
        try:
            process = psutil.Process(record["pid"])
            same = self._is_of(record, name, process) and process.status() != psutil.STATUS_ZOMBIE
        except (KeyError, psutil.NoSuchProcess):
            return None
        return process if same else None

    def _is_of(self, record: dict[str, Any], name: str, process: psutil.Process) -> bool:
        if "identity" in record:
            return bool(record["identity"] == identity(process.pid))
        # Of a version that knew a process by the wall clock: when that was set since, by the log that it writes.
        if abs(process.create_time() - record["created"]) < 2:
            return True
        return any(writes_to(process.pid, log) for log in (self.log(name), self._records.parent / f"{name}.log"))

    def write_down(self, name: str, pid: int, fingerprint: str = "", prints: Sequence[outlets.Outlet] = ()) -> None:
        """Make `pid` the process of this name; `prints` are the writers of its logs."""
        created = psutil.Process(pid).create_time()  # for workers of a version that goes by the clock
        record = {"pid": pid, "identity": identity(pid), "created": created, "fingerprint": fingerprint}
        self._write_record(name, {**record, "outlets": outlets.stored(prints)} if prints else record)

    def _write_record(self, name: str, record: dict[str, Any]) -> None:
        half = self._records / f"{name}.json.{os.getpid()}"
        half.write_text(json.dumps(record))
        half.replace(self._records / f"{name}.json")

    def names(self) -> list[str]:
        """Of all that have been started and not stopped since."""
        return sorted(path.stem for path in self._records.glob("*.json"))

    def is_current(self, spec: Spec) -> bool:
        """Whether the process runs, and was started with the same `fingerprint`."""
        return self.find(spec.name) is not None and self._record(spec.name).get("fingerprint") == spec.fingerprint

    def start(
        self, spec: Spec, *, timeout: float = waits.START_SECONDS, note: Callable[[str], None] = lambda _: None
    ) -> bool:
        """Start `spec` unless it runs already; wait until it is ready. Returns whether it was started.

        Raises `StartFailed` when a port is taken or the process ends, `NotReady` when that takes more than `timeout` s.
        """
        log = self.log(spec.name)
        started = False
        if not self.is_current(spec):
            self.stop(spec.name)
            self._check_ports(spec)
            child, prints = self._begin(spec, log)
            try:
                self.write_down(spec.name, child.pid, spec.fingerprint, prints)
            except OSError:  # nobody would know it, and the next try would start a second one
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                raise
            started = True
        self.wait(spec, timeout=timeout, note=note)
        return started

    def wait(
        self, spec: Spec, *, timeout: float = waits.START_SECONDS, note: Callable[[str], None] = lambda _: None
    ) -> None:
        """Until one that was started is ready. Raises as `start`."""
        polling = poll(waits.START_PACE, seconds=timeout)
        while not spec.ready():
            if self.find(spec.name) is None:
                why = f"ended while it was starting: {logs.last_words(self.last_words(spec.name))}"
                raise StartFailed(spec.name, why, self.log(spec.name))
            note("waiting until it answers")
            if not polling.again_in_thread():
                raise NotReady(spec.name, f"is not ready after {timeout:.0f} s.", self.log(spec.name))

    def died(self, name: str) -> bool:
        """Whether one that was started, and that nobody has stopped since, does not run."""
        return bool(self._record(name)) and self.find(name) is None

    def _begin(self, spec: Spec, log: Path) -> tuple[subprocess.Popen[bytes], list[outlets.Outlet]]:
        paths = {1: log} if spec.stdout is None else {1: _emptied(spec.stdout), 2: log}
        opened: dict[int, tuple[int, outlets.Outlet]] = {}
        try:
            for number, path in paths.items():
                opened[number] = outlets.opened(number, path)
            child = subprocess.Popen(
                spec.command,
                stdin=subprocess.DEVNULL,
                stdout=opened[1][0],
                stderr=opened[2][0] if 2 in opened else subprocess.STDOUT,
                env={**environment(), **spec.env},
                cwd=spec.cwd,
                start_new_session=True,
                preexec_fn=die_with_parent if spec.bound else None,
            )
        finally:
            for end, _ in opened.values():
                os.close(end)
        return child, [outlet for _, outlet in opened.values()]

    def _check_ports(self, spec: Spec) -> None:
        for port in spec.ports:
            # The sockets of a process that has just been killed live on until the last of its threads is gone.
            polling = poll(waits.START_PACE, seconds=waits.PORT_FREE_SECONDS)
            while listens(port.number)():
                if polling.again_in_thread():
                    continue
                raise PenstockError(
                    f"Port {port.number}, which {spec.name} needs, is taken{_holder(port.number)}.",
                    code="port_taken",
                    remedy=f"Stop that process{f', or set {port.setting} to a free port' if port.setting else ''}.",
                )

    def stop(self, *names: str, grace: float = waits.STOP_GRACE_SECONDS) -> bool:
        """Stop processes and what they started, politely and then for good; not what has another name here: a keeper
        goes, and what it keeps stays. Returns whether one ran."""
        processes = [found for name in names if (found := self.find(name)) is not None]
        others = {found.pid for name in self.names() if name not in names and (found := self.find(name)) is not None}
        family = [*processes]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                family += _descendants(process, besides=others)
                process.terminate()
        _, alive = psutil.wait_procs(processes, timeout=grace)
        for left in [*alive, *(p for p in family if p.is_running())]:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        psutil.wait_procs(family, timeout=waits.KILLED_SECONDS)
        for name in names:
            (self._records / f"{name}.json").unlink(missing_ok=True)
        return bool(processes)


def _descendants(process: psutil.Process, *, besides: set[int]) -> list[psutil.Process]:
    """What it has started, and what that has; not `besides` (pids) and what those have."""
    try:
        children = [child for child in process.children() if child.pid not in besides]
    except psutil.NoSuchProcess:  # it has just ended
        return []
    return [*children, *(each for child in children for each in _descendants(child, besides=besides))]


def _emptied(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,) and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        return ""
    return ""
