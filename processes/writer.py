"""Writes what one process prints into its log: `python writer.py LOG BOUND`, from its stdin to the end of that.

It rotates the log by itself, so that neither the log nor the one older part beside it (`LOG.1`) is ever larger than
BOUND bytes, however fast something is printed. It outlives who started it, and ends with the last process that can
still print. A disk that takes nothing costs what was printed meanwhile, and never the process that prints it.

A script of its own, without a package around it: it is started beside every process that is kept, and takes 10 MB.
"""

from __future__ import annotations

import os
import signal
import sys

PART = 1 << 16


def keep(log: str, bound: int) -> None:
    """Copy stdin into the file `log`, of at most `bound` bytes, until it ends. What the disk does not take is lost."""
    out = -1
    while part := os.read(0, min(PART, bound)):
        try:
            if out < 0:
                out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            if os.fstat(out).st_size + len(part) > bound:
                out = _rotated(out, log)
            os.write(out, part)
        except OSError:
            continue


def _rotated(out: int, log: str) -> int:
    """The file to go on in. Where the older part cannot be kept it is given up: the log has to stay small."""
    try:
        os.replace(log, f"{log}.1")
        new = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError:
        os.ftruncate(out, 0)
        return out
    os.close(out)
    return new


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # it has to hear the last words
        signal.signal(number, signal.SIG_IGN)
    keep(sys.argv[1], int(sys.argv[2]))
