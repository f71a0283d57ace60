"""Why a Python program has failed, from the output of its client: Python's own error, or what Java said behind it."""

from __future__ import annotations

import re

from clusters.flink.errors import root_cause
from core import missing_classes
from processes.child import ProcessFailed

_TRACEBACK = "Traceback (most recent call last)"
_EXIT = re.compile(r"Python process exits with code: (-?\d+)")
# From here on the client tells that Python has ended, in words of its own version.
_CLIENT = re.compile(r"ProgramAbortException|Python process exits with code|\bmain ERROR\b")
# Py4J's words for an exception of Java; a program that wraps one (`raise RuntimeError(str(error))`) repeats them.
_JAVA = "An error occurred while calling "
_CHAINED = ("The above exception was the direct cause", "During handling of the above exception")
# PyFlink's own remedy is an option of a command line that nobody types here.
_JARFILE = re.compile(r"The Java dependencies could be specified via command line argument '--jarfile'.*")
# The same of a class that Python looks for by its name, or the name of a method behind it.
_NOT_THERE = re.compile(r"Could not found the Java class '([\w.$]+)'|Py4JError: ([\w.$]+) does not exist in the JVM")
MAX = 1000


def why(error: ProcessFailed) -> str:
    """Python's last error when there is a traceback, else the root of Flink's stack."""
    if error.stopped:
        return f"The program had not ended: {error.message}"
    lines = [line for line in error.lines if line.strip()]
    if said := _said(lines):
        return f"The program failed: {said}"
    if codes := _EXIT.findall("\n".join(lines)):
        return f"The program failed: Python ended with exit code {codes[-1]}"
    return f"The program was not submitted: {root_cause(chr(10).join(lines), in_jar=False)}" if lines else error.message


def _said(lines: list[str]) -> str | None:
    """The error at the end of the last traceback, with the cause that Java gave for it, if it was raised from that."""
    begins = [number for number, line in enumerate(lines) if line.startswith(_TRACEBACK)]
    if not begins:
        return None
    error, java = _raised(lines[begins[-1] :])
    if error is None or java is not None:
        return java or error
    before = begins[-2] if len(begins) > 1 else None
    if before is not None and lines[begins[-1] - 1].startswith(_CHAINED):
        _, cause = _raised(lines[before : begins[-1] - 1])
        return f"{error}: {cause}" if cause else error
    return error


def _raised(traceback: list[str]) -> tuple[str | None, str | None]:
    """Python's error at the end of a traceback, and the cause in Java's words where it is one of Java."""
    said = [line for line in traceback if not line.startswith((" ", "\t", _TRACEBACK))]
    if not said:
        return None, None
    if _JAVA not in said[0]:
        return _of_class(said[0])[:MAX], None
    stack: list[str] = []
    for line in said[1:]:
        if _CLIENT.search(line):
            break
        stack.append(line.removeprefix(": "))
    return said[0][:MAX], root_cause("\n".join(stack), in_jar=False) if stack else None


def _of_class(said: str) -> str:
    """Python's words for a class of Java that is not there, with the artifact that has it where that is known."""
    if (match := _NOT_THERE.search(said)) is None:
        return said
    known = missing_classes.missing(match[1] or match[2], in_jar=False)
    remedy = f"{missing_classes.LIBRARY[0].upper()}{missing_classes.LIBRARY[1:]}."
    words = _JARFILE.sub("", said).rstrip(". ")
    return f"{words}. {known or remedy}"
