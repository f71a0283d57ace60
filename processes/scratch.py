"""Temporary folders that know whose they are, so that those of a process that was killed are cleaned up."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from processes.identity import identity


def _owner(pid: int) -> str:
    """Changes when the pid is given to another process."""
    return f"penstock-{socket.gethostname()}-{pid}-{identity(pid)}-"


@contextmanager
def temporary(parent: Path | None = None) -> Iterator[Path]:
    """A folder below `parent` (the system's temporary folder by default), gone at the end."""
    prefix = _owner(os.getpid())
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)


def sweep(parent: Path | None = None) -> int:
    """Delete what processes of this machine left below `parent` when they were killed; returns how many."""
    left = 0
    for path in (parent or Path(tempfile.gettempdir())).glob(f"penstock-{socket.gethostname()}-*-*-*"):
        pid, _, token = path.name.removeprefix(f"penstock-{socket.gethostname()}-").partition("-")
        try:
            # A number alone is the start by the wall clock, of a version that knew no better: the pid has to do.
            by_clock = token.partition("-")[0].isdigit() and psutil.pid_exists(int(pid))
            alive = by_clock or path.name.startswith(_owner(int(pid)))
        except (psutil.NoSuchProcess, ValueError):
            alive = False
        if not alive:
            shutil.rmtree(path, ignore_errors=True)
            left += 1
    return left
