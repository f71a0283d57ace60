"""Which process a pid stands for, told without the wall clock.

On Linux by the boot of the machine and the clock ticks since then at which it started (field 22 of proc(5)
/proc/<pid>/stat). The time of its start in seconds of the epoch moves when the clock is set: it is that of the boot,
which /proc/stat gives by the wall clock of now, plus these ticks.
"""

from __future__ import annotations

from pathlib import Path

import psutil

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_START_TICKS = 22 - 3  # what is left of `(command)` are two fields, and the command may hold spaces


def identity(pid: int) -> str:
    """Changes when the pid is given to another process; holds no `-`. Raises `psutil.NoSuchProcess`."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        boot = _BOOT.read_text().strip().replace("-", "")
    except (FileNotFoundError, ProcessLookupError):
        return f"at{int(psutil.Process(pid).create_time())}"  # not Linux, or no such process
    return f"{boot}.{stat.rpartition(')')[2].split()[_START_TICKS]}"


def writes_to(pid: int, log: Path) -> bool:
    """Whether the standard output of a process is this file (Linux; False where that cannot be told)."""
    try:
        return Path(f"/proc/{pid}/fd/1").readlink() == log.resolve()
    except OSError:
        return False
