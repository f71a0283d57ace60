"""Where a kept process prints to: a pipe to a writer of its log (`writer.py`), which keeps that within its bound.

The process holds both ends of the pipe. So it goes on without a writer: what it prints waits in the pipe, and once that
is full it waits, too, until it is given another writer. It never prints into nothing, which would end many programs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from processes import logs
from processes.identity import identity

_WRITER = Path(__file__).with_name("writer.py")
_PIPE_BYTES = 1 << 20
"""What a process may print while it has no writer: the most that Linux gives without asking."""


@dataclass(frozen=True)
class Outlet:
    """A writer of `log`, known by `pid` and `token`, for what a process prints as its file descriptor `number`."""

    number: int
    log: str
    pid: int
    token: str

    @property
    def is_written(self) -> bool:
        """Whether its writer lives; False also when its pid has gone to another process."""
        try:
            return psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE and identity(self.pid) == self.token
        except psutil.NoSuchProcess:
            return False


def opened(number: int, log: Path) -> tuple[int, Outlet]:
    """A file descriptor for a process that is to be started, to be closed by the caller then, and its outlet."""
    read, write = os.pipe()
    try:
        with contextlib.suppress(OSError):  # more than a user may have: it is smaller then
            fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        outlet = _written(number, log, read)
        with contextlib.suppress(OSError):  # not Linux: it prints into nothing when its writer is killed
            both = os.open(f"/proc/self/fd/{write}", os.O_RDWR)
            os.close(write)
            write = both
        return write, outlet
    except BaseException:
        os.close(write)
        raise
    finally:
        os.close(read)


def mended(outlet: Outlet, pid: int) -> Outlet:
    """The outlet of the living process `pid`, with another writer where it has lost the one that it had."""
    if outlet.is_written:
        return outlet
    read = os.open(f"/proc/{pid}/fd/{outlet.number}", os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.set_blocking(read, True)
        return _written(outlet.number, Path(outlet.log), read)
    finally:
        os.close(read)


def _written(number: int, log: Path, read: int) -> Outlet:
    writer = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_WRITER), str(log), str(logs.BOUND)],
        stdin=read,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    return Outlet(number, str(log), writer.pid, identity(writer.pid))


def stored(outlets: Sequence[Outlet]) -> list[dict[str, Any]]:
    """As the record of a process has them, in JSON; `loaded` reads it."""
    return [asdict(outlet) for outlet in outlets]


def loaded(rows: list[dict[str, Any]]) -> list[Outlet]:
    """From what `stored` gave. Raises `TypeError` for other fields."""
    return [Outlet(**row) for row in rows]
