"""Finding the useful line in a Java stack, and the place in a SQL text that it speaks of."""

from __future__ import annotations

import re

from core import java, missing_classes
from core.effects import EngineError
from core.jobs.observations import Trouble

MAX_MESSAGE, MAX_ABOVE = 1200, 300
_DUPLICATE = ("DuplicateJobSubmissionException", "DuplicateApplicationSubmissionException")
_CAUSE = re.compile(r"^(?:Caused by: |\[CIRCULAR REFERENCE: ?)?((?:[a-z_][\w$]*\.)+[A-Z][\w$]*)(?:: (.*))?$")
_NOISE = re.compile(
    r"^(Failed to fetchResults\.?|Failed to execute the operation [0-9a-f-]+\.?|Internal server error\.?|"
    r"Could not execute application\.?|Failed to execute job.*|Recovery is suppressed by .*|null|"
    r"Error while retrieving result\.|Failed to fetch next result|Failed to fetch job execution result|"
    r"Job failed \(JobID: .*|Job execution failed\.|Failed to submit job.*|Could not start the JobMaster\.?|"
    r"One or more fetchers have encountered exception|SplitFetcher thread .* received unexpected exception.*|"
    r"Global failure triggered by OperatorCoordinator.*|Failed to execute sql|Failed to execute statement\.|)$"
)
_CLASSES = re.compile(r"^(?:(?:[a-z_][\w$]*\.)+[A-Z][\w$]*: )+")  # a cause that was turned into text
_WRAPPERS = ("CompletionException", "ExecutionException", "InvocationTargetException", "RestHandlerException")
_PLACE = re.compile(r"[Aa]t line (\d+), column (\d+)|[Ff]rom line (\d+), column (\d+)")
# What a Python function raised, at the end of its own traceback.
_PYTHON = re.compile(r"^([A-Za-z_][\w.]*(?:Error|Exception|Warning|Interrupt|Exit)(?:: .*)?)$", re.MULTILINE)


# As Flink 1.20 and 2.3 word it (seen by restoring a changed query, a changed graph, a truncated `_metadata`
# and a checkpoint whose state file is gone).
_DOES_NOT_MAP = (
    "Cannot map checkpoint/savepoint state",
    "There is no operator for the state",
    "StateMigrationException",
    "Max parallelism mismatch",
)
_CANNOT_READ = (
    "Could not restore keyed state backend",
    "Could not restore operator state backend",
    "Exception while creating StreamOperatorStateContext",
    "Failed when trying to restore",
    "Failed to rollback to checkpoint/savepoint",
    "Cannot find checkpoint or savepoint",
    "Cannot find meta data file",
)
# The JobMaster reads `_metadata` while it starts, and says no more than which exception that gave.
_AT_START = "Could not start the JobMaster"
_READING = ("EOFException", "FileNotFoundException", "IOException", "CorruptedException", "unexpected magic number")


def restore_trouble(stack: str) -> Trouble | None:
    """Whether a failure of an attempt that was restored from somewhere is one of the restore itself."""
    if any(word in stack for word in _DOES_NOT_MAP):
        return Trouble.UNMAPPABLE
    at_start = _AT_START in stack and any(word.lower() in stack.lower() for word in _READING)
    if at_start or any(word in stack for word in _CANNOT_READ):
        return Trouble.UNREADABLE
    return None


# As the gateway of 1.20 and 2.3 says it of handles; what the work itself says comes in other exceptions.
_FORGOTTEN = re.compile(
    r"Session '[^']*' does not exist\.?|Can not find the submitted operation in the OperationManager.*"
)


# What Flink's words for what a program does wrong do not tell who reads them.
_MEANT = {
    "Job client must be a CoordinationRequestGateway": (
        "The program wants rows back (`print()`, `collect()` on a result), which a jar that runs on a cluster cannot "
        "have: let it write to a sink, such as the connector `print`."
    ),
    "No jobs included in application": (
        "The program's `main` came to its end without a job: it never called `execute()`, or has caught an error and "
        "gone on. What it printed is in the JobManager's log."
    ),
}


def is_forgotten(stack: str) -> bool:
    """Whether the gateway does not know the session, or the operation, that it was asked about."""
    return any(name.endswith(".SqlGatewayException") and _FORGOTTEN.fullmatch(said) for name, said in causes(stack))


def causes(stack: str) -> list[tuple[str, str]]:
    """(exception class, message) of each cause in a Java stack, outermost first. Messages keep their lines."""
    found: list[tuple[str, list[str]]] = []
    reading = False
    for line in stack.splitlines():
        if line.startswith(("\tat ", "\t...", "\tSuppressed", "End of exception")) or line.lstrip().startswith("at "):
            reading = False
            continue
        match = _CAUSE.match(line.strip().removeprefix("<Exception on server side:"))
        if match:
            found.append((match.group(1), [match.group(2) or ""]))
            reading = True
        elif reading:
            found[-1][1].append(line.rstrip())
    return [(name, "\n".join(lines).strip()) for name, lines in found]


def root_cause(stack: str, in_jar: bool | None = None) -> str:
    """One message for a person: the deepest cause that says something, with its exception class where the message alone
    would not be understood, and what to do about a class that is missing (`in_jar` as there). Where it is not Flink's
    own, and so knows nothing of fields, tables and hosts (`For input string: "x"`), what stands above it goes first."""
    said = _root_cause(stack, in_jar)
    meant = next((meant for words, meant in _MEANT.items() if words in said), None)
    return f"{said.rstrip('.')}. {meant}" if meant else said


def _root_cause(stack: str, in_jar: bool | None) -> str:
    told = [(n, m) for n, m in causes(stack) if m and not _NOISE.match(_CLASSES.sub("", m.splitlines()[0]))]
    if not told:
        names = [n for n, _ in causes(stack)]
        first = stack.strip().splitlines()[0] if stack.strip() else "no reason given"
        return names[-1] if names else first[:MAX_MESSAGE]
    name, message = told[-1]
    if raised := _PYTHON.findall(message):
        return _short(raised[-1])
    short = name.rpartition(".")[2]
    text = _short(message)
    speaks = short.endswith(("ValidationException", "ParseException", "ParserException", "ValidatorException"))
    if speaks or short in _WRAPPERS or short == "CalciteException" or text.startswith(short):
        return text
    said = f"{short}: {text}"
    known = missing_classes.explained(said, in_jar) or java.of_class_file(said)
    return f"{_above(told)}{said}" + (f". {known}" if known else "")


def _above(told: list[tuple[str, str]]) -> str:
    """What the cause above the deepest one says more, to be put in front of it; or nothing."""
    if len(told) < 2 or told[-1][0].startswith(("org.apache.flink.", "org.apache.calcite.")):
        return ""
    (name, message), (_, deepest) = told[-2:]
    first = message.splitlines()[0].strip()
    if first.replace("/", ".") == deepest:  # NoClassDefFoundError, and the class that was not found
        return ""
    if name.rpartition(".")[2] in _WRAPPERS or first in deepest or first.endswith(deepest):
        return ""
    return f"{first[:MAX_ABOVE].rstrip('. ')}: "


def place(stack: str) -> tuple[int, int] | None:
    """Line and column that the deepest message with a place speaks of, counted from 1."""
    found = None
    for _, message in causes(stack):
        match = _PLACE.search(message)
        if match:
            line, column = (g for g in match.groups() if g is not None)
            found = int(line), int(column)
    return found


def _short(message: str) -> str:
    head, sep, tail = message.partition("\nWas expecting")
    if sep:
        expected = re.findall(r'"[^"]+"|<[A-Z_]+>', tail)[:8]
        message = f"{head.strip()} Expected one of: {', '.join(expected)}, ..." if expected else head
    message = re.sub(r"(SQL validation failed\. )+", "SQL validation failed. ", message)
    message = re.sub(r"\n\s*\n+", "\n", message).strip()
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"


def is_duplicate(error: EngineError) -> bool:
    """Whether Flink has refused an id because it has taken it before."""
    return any(word in (error.stack or "") for word in _DUPLICATE)
