"""Logs of processes that are kept here: bounded in size and number, whatever they print.

What a process prints is rotated by its writer (`outlets.py`). This here is for logs that somebody writes by himself,
at the end of the file (O_APPEND): a process that an older version started, and Flink past its log4j. Such a log is
rotated under him by copying and emptying, as often as somebody looks; what is printed in between the two is lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Sequence
from pathlib import Path

BOUND = 32_000_000
"""Bytes of a log, at most: then it is rotated. One older part of that size is kept beside it, as `NAME.1`."""
FLINK_BOUND, FLINK_KEPT = "16MB", "3"
"""The same of the logs that Flink writes itself, by log4j."""
_SIZE = re.compile(r"^(\s*appender\.\w+\.policies\.size\.size\s*=).*$", re.MULTILINE)


def tend(folder: Path, bound: int = BOUND) -> None:
    """Rotate each log of a folder that is larger than `bound` bytes. What cannot be written now is tried again by who
    calls: a full disk is no reason to end."""
    for path in (*folder.glob("*.log"), *folder.glob("*.out")):
        with contextlib.suppress(OSError):
            if path.stat().st_size > bound:
                _rotate_alone(path, bound)


def _rotate_alone(path: Path, bound: int) -> None:
    """Unless another process does so now, or just has: each worker of a machine looks at the local stack's logs."""
    with open(path, "rb") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if os.fstat(log.fileno()).st_size > bound:
            _rotate(path, bound)


def _rotate(path: Path, bound: int) -> None:
    """Keeps the last `bound` bytes as `NAME.1`. On a disk without room for that they are given up: it has to end."""
    older, half = path.with_name(f"{path.name}.1"), path.with_name(f"{path.name}.1.half")
    try:
        with open(path, "rb") as log, open(half, "wb") as copy:
            log.seek(max(0, os.path.getsize(path) - bound))
            left = bound  # it grows meanwhile
            while left and (part := log.read(min(left, 1 << 20))):
                left -= copy.write(part)
        half.replace(older)
    except OSError:
        half.unlink(missing_ok=True)
        older.unlink(missing_ok=True)
    os.truncate(path, 0)


def size_of(folder: Path, name: str = "*") -> int:
    """Bytes of all logs of a folder, or of those of one process, older parts too."""
    total = 0
    for path in (*folder.glob(f"{name}.log*"), *folder.glob(f"{name}.out*")):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


def bounded(properties: str) -> str:
    """The configuration of log4j that Flink comes with, whose files roll at `FLINK_BOUND`."""
    return _SIZE.sub(rf"\g<1> {FLINK_BOUND}", properties)


_OF_THE_SCRIPT = ("[ERROR] The execution result is empty", "[ERROR] Could not get JVM parameters", "[ERROR] Raw output")
"""What Flink's start script says, where the JVM that it asks for the sizes of memory has said why there are none."""


_OUT_OF_MEMORY = "OutOfMemoryError: "
_MORE_MEMORY = {
    "metaspace": "each Python job that runs takes 27 MB of it: give it more by `taskmanager.memory.jvm-metaspace.size`",
    "direct buffer memory": "each Python job that runs takes 9 MB of it, connectors take more: give it more by "
    "`taskmanager.memory.task.off-heap.size`",
    "java heap space": "give the process more: `taskmanager.memory.process.size`",
}
"""What gives more of what has run out. The figures are in `processes/flink.py`."""


def _out_of_memory(lines: Sequence[str]) -> str | None:
    """What is to be said of the last memory that ran out; what is logged after that follows from it."""
    told = next((line for line in reversed(lines) if _OUT_OF_MEMORY in line), None)
    if told is None:
        return None
    words = told[told.index(_OUT_OF_MEMORY) :][:150]
    more = next((more for kind, more in _MORE_MEMORY.items() if kind in words.lower()), None)
    return f"{words} ({more})" if more else words


def last_words(lines: Sequence[str]) -> str:
    """Which memory has run out, else the last line of a log that names an error, else the last one; at most 300
    characters, and what to do."""
    if memory := _out_of_memory(lines):
        return memory
    errors = [line for line in lines if "ERROR" in line or "FATAL" in line or "Exception" in line]
    causes = [line for line in errors if not line.startswith(_OF_THE_SCRIPT)]
    return (causes or errors or lines or ["its log is empty"])[-1][:300]
