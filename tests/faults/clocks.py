"""Clocks that step: a small library (clock.c) that API and workers are started with adds an offset to the wall clock.

Monotonic clocks and the times of files stay right, as with a clock that an administrator or NTP sets on one machine.
Neither of the usual means does: libfaketime 0.9.10 (Debian 12) lets Python's `time.sleep` fail with EINVAL, and a time
namespace shifts monotonic clocks only. Temporal's server (Go) asks the kernel past any library, and stays right.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_name("clock.c")


def available() -> bool:
    return shutil.which("gcc") is not None


def library(folder: Path) -> Path:
    """The library, built into `folder` unless it is there."""
    built = folder / "clock.so"
    if not built.exists():
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", str(built), str(_SOURCE), "-ldl"], check=True)
    return built


def environment(file: Path) -> dict[str, str]:
    """For a process whose clock is right until `file` says otherwise."""
    step(file, 0)
    return {"LD_PRELOAD": str(library(file.parent)), "PENSTOCK_FAULTS_CLOCK": str(file)}


def step(file: Path, seconds: float) -> None:
    """The clock of whoever was started with `file` goes by so many seconds more than the right one, at once."""
    with open(file, "r+b" if file.exists() else "w+b") as clock:
        clock.write(struct.pack("=q", int(seconds * 1e9)))
