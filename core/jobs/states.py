"""States of jobs, commands and attempts, and which command a state allows."""

from __future__ import annotations

from enum import StrEnum

from core.errors import Conflict
from core.jobs.types import traits


class JobState(StrEnum):
    CREATED = "CREATED"
    DEPLOYING = "DEPLOYING"
    DEPLOYED = "DEPLOYED"
    DEPLOY_FAILED = "DEPLOY_FAILED"
    RUNNING = "RUNNING"
    RESTARTING = "RESTARTING"
    PAUSED = "PAUSED"
    KILLED = "KILLED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    BLOCKED = "BLOCKED"


class CommandKind(StrEnum):
    START = "start"
    PAUSE = "pause"
    KILL = "kill"
    RESTART = "restart"
    RESUBMIT = "resubmit"
    SAVEPOINT = "savepoint"
    ADOPT = "adopt"


class CommandState(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class AttemptState(StrEnum):
    """One submission. RECORDED: written down, nothing known of it on the cluster yet. UNKNOWN: it was
    sent, and the cluster could not be asked. GONE: a leader that answers does not know it."""

    RECORDED = "RECORDED"
    UNKNOWN = "UNKNOWN"
    ACCEPTED = "ACCEPTED"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    CANCELED = "CANCELED"
    FAILED = "FAILED"
    GONE = "GONE"
    NOT_SUBMITTED = "NOT_SUBMITTED"


def ended_as(state: JobState) -> AttemptState:
    """How the last attempt of a job ended, as far as the state tells that the job rests in since. Of a pause it may
    have failed before: that nothing of it can be newer than its savepoint is not known."""
    return {
        JobState.FINISHED: AttemptState.FINISHED,
        JobState.KILLED: AttemptState.CANCELED,
        JobState.FAILED: AttemptState.FAILED,
    }.get(state, AttemptState.GONE)


COMMAND_ENDED = frozenset({CommandState.SUCCEEDED, CommandState.FAILED, CommandState.CANCELLED})
ATTEMPT_ENDED = frozenset(
    {
        AttemptState.FINISHED,
        AttemptState.CANCELED,
        AttemptState.FAILED,
        AttemptState.GONE,
        AttemptState.NOT_SUBMITTED,
    }
)
LIVE = frozenset({JobState.DEPLOYING, JobState.DEPLOYED, JobState.RUNNING, JobState.RESTARTING})
"""States in which something runs, or is about to, on behalf of the job."""

RESTING = frozenset({JobState.CREATED, JobState.PAUSED, JobState.KILLED, JobState.FINISHED, JobState.FAILED})
"""States in which no attempt may be alive."""

DELETABLE = frozenset(JobState) - LIVE

_K = CommandKind
STARTS = frozenset({_K.START, _K.RESTART, _K.RESUBMIT})
"""Commands that end in a new attempt."""

_AGAIN = STARTS | {_K.ADOPT}

ALLOWED: dict[JobState, frozenset[CommandKind]] = {
    JobState.CREATED: frozenset({_K.START, _K.ADOPT}),
    JobState.DEPLOYING: frozenset({_K.KILL}),
    JobState.DEPLOYED: frozenset({_K.PAUSE, _K.KILL, _K.RESTART, _K.RESUBMIT}),
    JobState.DEPLOY_FAILED: _AGAIN,
    JobState.RUNNING: frozenset({_K.PAUSE, _K.KILL, _K.RESTART, _K.RESUBMIT, _K.SAVEPOINT}),
    JobState.RESTARTING: frozenset({_K.PAUSE, _K.KILL, _K.RESTART, _K.RESUBMIT, _K.ADOPT}),
    JobState.PAUSED: _AGAIN,
    JobState.KILLED: _AGAIN,
    JobState.FINISHED: _AGAIN,
    JobState.FAILED: _AGAIN,
    JobState.BLOCKED: _AGAIN | {_K.KILL},
}


_OF_STATE = frozenset({_K.PAUSE, _K.SAVEPOINT, _K.ADOPT})


def allowed(type_: str, state: JobState, busy: CommandKind | None) -> frozenset[CommandKind]:
    """What may be sent to a job. `busy` is the kind of the command that is being carried out now: then only
    `kill` may be."""
    if busy is not None:
        return frozenset() if busy is CommandKind.KILL else frozenset({CommandKind.KILL})
    return ALLOWED[state] if traits(type_).keeps_state else ALLOWED[state] - _OF_STATE


def check_allowed(job: str, type_: str, state: JobState, kind: CommandKind, busy: CommandKind | None = None) -> None:
    """Raise `Conflict` unless `kind` may be sent to a job of this type in `state`; for `busy` see `allowed`."""
    may = allowed(type_, state, busy)
    if kind in may:
        return
    if busy is None and kind in ALLOWED[state]:
        raise Conflict(
            f"Job {job} is a {type_}, which has no state of its own: {kind.value} has no meaning with it.",
            code="command_not_allowed",
            allowed=sorted(k.value for k in may),
            remedy="Its jobs have state. `kill` stops it, once they are paused.",
        )
    words = sorted(k.value for k in may)
    doing = f" and its command {busy.value} is still being carried out" if busy else ""
    raise Conflict(
        f"Job {job} is {state.value}{doing}, which does not allow {kind.value}.",
        code="command_not_allowed",
        allowed=words,
        remedy=f"Allowed now: {', '.join(words)}." if words else "Wait until that command has ended.",
    )
