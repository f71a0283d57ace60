"""Programs that a machine lacks: which one, on which machine, and what to install."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from core.effects import Rejected

_INSTALL = {
    "git": "Git",
    "java": "a JDK 17 or later",
    "javac": "a JDK 17 or later",
    "mvn": "Maven (the README says which) and a JDK 17 or later",
    "sh": "a POSIX shell",
}


class ProgramMissing(Rejected):
    """A program is not there, or the system does not run it: on this machine the same again gives the same answer."""


def not_found(program: str) -> ProgramMissing:
    """The error for a program that was to be started by this name or path."""
    return ProgramMissing(
        f"The program {program} was not found on the machine {socket.gethostname()}. {_todo(program)}"
    )


def not_started(program: str, error: OSError) -> ProgramMissing | None:
    """What to say of the `error` that the system gave in place of a process of `program`; None where that is about
    something else: the folder to start it in, or a machine that has no room for one more."""
    if error.filename is None or os.fspath(error.filename) != program:
        return None
    if error.errno == errno.ENOENT and not Path(program).is_file():
        return not_found(program)
    why = "what its first line names was not found" if error.errno == errno.ENOENT else error.strerror
    return ProgramMissing(f"The program {program} cannot be run on the machine {socket.gethostname()}: {why}.")


def _todo(program: str) -> str:
    name = Path(program).name
    if name.startswith("python"):
        return "Run `penstock flink install` there with the version of the cluster, then try again."
    where = (
        "and set JAVA_HOME of the workers to it" if program != name else "so that the PATH of the workers leads to it"
    )
    return f"Install {_INSTALL.get(name, name)} there, {where}, then try again."
