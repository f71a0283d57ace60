"""States of jobs, commands and attempts, and which command a state allows."""

from __future__ import annotations

from enum import StrEnum

from core.errors import Conflict


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
_STARTS = frozenset({_K.START, _K.RESTART, _K.RESUBMIT})
_AGAIN = _STARTS | {_K.ADOPT}

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


def check_allowed(job: str, state: JobState, kind: CommandKind, *, busy: CommandKind | None = None) -> None:
    """Raise `Conflict` unless `kind` may be sent to a job in `state`.

    `busy` is the kind of the command that is being carried out now: then only `kill` may be sent.
    """
    allowed = ALLOWED[state]
    if busy is not None:
        allowed = frozenset() if busy is CommandKind.KILL else frozenset({CommandKind.KILL})
    if kind in allowed:
        return
    words = sorted(k.value for k in allowed)
    doing = f" and its command {busy.value} is still being carried out" if busy else ""
    raise Conflict(
        f"Job {job} is {state.value}{doing}, which does not allow {kind.value}.",
        code="command_not_allowed",
        allowed=words,
        remedy=f"Allowed now: {', '.join(words)}." if words else "Wait until that command has ended.",
    )
