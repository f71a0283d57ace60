"""Processes of the local stack: started in a session of their own, known by pid and start time."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from core.errors import PenstockError

PORT_PATIENCE = 3.0


class StartFailed(PenstockError):
    def __init__(self, name: str, why: str, log: Path):
        tail = log.read_text(errors="replace").splitlines()[-12:] if log.exists() else []
        super().__init__(f"{name} {why}\n" + "\n".join(tail) + "\n", code="start_failed", remedy=f"See {log}.")


@dataclass(frozen=True)
class Port:
    """A port that a process listens on, and the setting that changes it."""

    number: int
    setting: str


@dataclass(frozen=True)
class Spec:
    """A process to run. `ready` says whether it answers; `fingerprint` changes when it has to be started anew."""

    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)
    ports: list[Port] = field(default_factory=list)
    ready: Callable[[], bool] = lambda: True
    fingerprint: str = ""
    cwd: Path | None = None


def http_ok(url: str) -> Callable[[], bool]:
    def ask() -> bool:
        try:
            return httpx.get(url, timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    return ask


def listens(port: int, host: str = "127.0.0.1") -> Callable[[], bool]:
    def ask() -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
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
        return self._logs / f"{name}.log"

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
            same = abs(process.create_time() - record["created"]) < 2 and process.status() != psutil.STATUS_ZOMBIE
        except (KeyError, psutil.NoSuchProcess):
            return None
        return process if same else None

    def is_current(self, spec: Spec) -> bool:
        return self.find(spec.name) is not None and self._record(spec.name).get("fingerprint") == spec.fingerprint

    def start(self, spec: Spec, *, timeout: float = 120, note: Callable[[str], None] = lambda _: None) -> bool:
        """Start `spec` unless it runs already; wait until it is ready. Returns whether it was started.

        Raises `StartFailed` when a port is taken, the process ends, or it is not ready in `timeout` seconds.
        """
        log = self.log(spec.name)
        started = False
        if not self.is_current(spec):
            self.stop(spec.name)
            self._check_ports(spec)
            with open(log, "ab") as out:
                child = subprocess.Popen(
                    spec.command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **spec.env},
                    cwd=spec.cwd,
                    start_new_session=True,
                )
            created = psutil.Process(child.pid).create_time()
            record = {"pid": child.pid, "created": created, "fingerprint": spec.fingerprint}
            (self._records / f"{spec.name}.json").write_text(json.dumps(record))
            started = True
        deadline = time.monotonic() + timeout
        while not spec.ready():
            if self.find(spec.name) is None:
                raise StartFailed(spec.name, "ended while it was starting.", log)
            if time.monotonic() > deadline:
                raise StartFailed(spec.name, f"is not ready after {timeout:.0f} s.", log)
            note("waiting until it answers")
            time.sleep(0.1)
        return started

    def _check_ports(self, spec: Spec) -> None:
        for port in spec.ports:
            # The sockets of a process that has just been killed live on until the last of its threads is gone.
            deadline = time.monotonic() + PORT_PATIENCE
            while listens(port.number)() and time.monotonic() < deadline:
                time.sleep(0.1)
            if listens(port.number)():
                raise PenstockError(
                    f"Port {port.number}, which {spec.name} needs, is taken{_holder(port.number)}.",
                    code="port_taken",
                    remedy=f"Stop that process, or set {port.setting} to a free port.",
                )

    def stop(self, name: str, *, grace: float = 20) -> bool:
        """Stop a process and what it started, politely and then for good. Returns whether it ran."""
        process = self.find(name)
        if process is not None:
            family = [process, *process.children(recursive=True)]
            process.terminate()
            _, alive = psutil.wait_procs([process], timeout=grace)
            for left in [*alive, *(p for p in family if p.is_running())]:
                try:
                    left.kill()
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(family, timeout=10)
        (self._records / f"{name}.json").unlink(missing_ok=True)
        return process is not None


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,) and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        return ""
    return ""
