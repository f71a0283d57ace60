"""What a cluster says about an attempt, and what follows from it."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from core.jobs.states import AttemptState, JobState


class EngineState(StrEnum):
    """The state of one job on a cluster, in words that serve every kind of cluster."""

    STARTING = "STARTING"  # known to the cluster, not all of its tasks run
    RUNNING = "RUNNING"  # all tasks run
    RECOVERING = "RECOVERING"  # the engine's own restart strategy is at work
    STOPPING = "STOPPING"
    FINISHED = "FINISHED"
    CANCELED = "CANCELED"
    FAILED = "FAILED"
    MISSING = "MISSING"  # a leader that answers does not know the id


class Lost(StrEnum):
    """Why a leader that answers does not know an attempt."""

    CLUSTER = "cluster"  # another JobManager than the one that took it, and no high availability: all jobs are lost
    FORGOTTEN = "forgotten"  # the cluster lost no jobs: it ended there, and nobody saw how


class Trouble(StrEnum):
    """What is wrong with a restore."""

    UNREADABLE = "unreadable"  # corrupt, incomplete or gone
    UNMAPPABLE = "unmappable"  # the program has no place for the state
    OVERRIDDEN = "overridden"  # the program has chosen another state, or that its own is deleted


FINAL = frozenset({EngineState.FINISHED, EngineState.CANCELED, EngineState.FAILED})
"""States that an attempt never leaves: whoever says so, and whenever, is right for good."""

ENDED = FINAL | {EngineState.MISSING}


class Observation(BaseModel):
    """`sequence` is the moment of the question in milliseconds since 1970; it orders observations. `restarts` are told
    when they are too many: the engine's own, without a completed checkpoint between them; `failure` is the last."""

    model_config = ConfigDict(frozen=True)
    attempt: int
    flink_job_id: str
    sequence: int
    state: EngineState
    detail: str | None = None
    restarts: int | None = None
    failure: str | None = None


AHEAD_MS = 60_000
"""A moment that lies further in the future was written by a clock that was set ahead for a while: it orders nothing."""


def in_order(sequence: int, now: int) -> int:
    """A sequence that was written down, as far as it can be believed at `now` (both in milliseconds since 1970)."""
    return sequence if sequence - now <= AHEAD_MS else 0


def is_stale(observation: Observation, *, attempt: int | None, flink_job_id: str | None, last_sequence: int) -> bool:
    """Whether an observation may change nothing: it is about another attempt, or older than what is known.

    A final state is never old: an older question may have been answered after a younger one, and what it was
    answered then stays true.
    """
    if observation.attempt != attempt or observation.flink_job_id != flink_job_id:
        return True
    return observation.state not in FINAL and observation.sequence <= last_sequence


def newer(waiting: Observation | None, observation: Observation) -> bool:
    """Whether `observation` takes the place of an observation that is waiting to be looked at."""
    if waiting is None or observation.attempt != waiting.attempt:
        return waiting is None or observation.attempt > waiting.attempt
    if (observation.state in FINAL) != (waiting.state in FINAL):
        return observation.state in FINAL
    return observation.sequence > waiting.sequence


def in_place_of(waiting: Observation | None, observation: Observation) -> Observation:
    """`observation`, with what `waiting` has told of restarts: a job that is restarted all the time is told of all the
    time, and what counts would be displaced by its next change."""
    if waiting is None or waiting.restarts is None or observation.restarts is not None:
        return observation
    if (waiting.attempt, waiting.flink_job_id) != (observation.attempt, observation.flink_job_id):
        return observation
    return observation.model_copy(update={"restarts": waiting.restarts, "failure": waiting.failure})


class Intent(StrEnum):
    """Why an attempt is being ended by us."""

    PAUSE = "pause"
    KILL = "kill"
    REPLACE = "replace"
    ABANDON = "abandon"  # it cannot restore its state, and Flink would try for ever


class Ending(BaseModel):
    """`restartable`: the end was a failure that the restart policy may answer. `unseen`: it ended, and
    nobody can tell how."""

    model_config = ConfigDict(frozen=True)
    job: JobState
    attempt: AttemptState
    restartable: bool
    why: str
    unseen: bool = False


_ATTEMPT = {
    EngineState.STARTING: AttemptState.ACCEPTED,
    EngineState.RUNNING: AttemptState.RUNNING,
    EngineState.RECOVERING: AttemptState.RUNNING,
    EngineState.STOPPING: AttemptState.RUNNING,
    EngineState.FINISHED: AttemptState.FINISHED,
    EngineState.CANCELED: AttemptState.CANCELED,
    EngineState.FAILED: AttemptState.FAILED,
    EngineState.MISSING: AttemptState.GONE,
}


def attempt_state(state: EngineState) -> AttemptState:
    """What is written down of an attempt that is seen in `state`."""
    return _ATTEMPT[state]


def alive(job: JobState, observation: Observation) -> tuple[JobState, str]:
    """The job's state and reason when its attempt is seen alive."""
    if observation.state is EngineState.RUNNING:
        return JobState.RUNNING, ""
    was_running = job is JobState.RUNNING
    if observation.state is EngineState.RECOVERING:
        return (
            JobState.RUNNING if was_running else JobState.DEPLOYED
        ), "Flink is restarting it (its own restart strategy)"
    if observation.state is EngineState.STOPPING:
        return (job if job in (JobState.RUNNING, JobState.DEPLOYED) else JobState.DEPLOYED), "it is being stopped"
    if was_running:
        return JobState.RUNNING, "some of its tasks are not running: " + (observation.detail or "being deployed again")
    return JobState.DEPLOYED, "waiting for its tasks to run: " + (observation.detail or "being deployed")


def disagrees(observation: Observation, job: JobState, reason: str) -> bool:
    """Whether a job whose workflow has written `job` and `reason` has to be told what its cluster says of its
    current attempt, which that workflow has not seen to end."""
    return observation.state in ENDED or alive(job, observation) != (job, reason)


def killed(stateless: bool) -> str:
    """The reason of a job that was killed."""
    return "stopped" if stateless else "killed, its state given up"


def ended(
    state: EngineState,
    intent: Intent | None,
    *,
    savepoint: str | None,
    cause: str | None,
    lost: Lost | None = None,
    stateless: bool = False,
    stopped_with: str | None = None,
) -> Ending:
    """What the end of an attempt means for its job.

    `savepoint` is the path of the savepoint that our stop took, `cause` the engine's own reason, `lost` why a missing
    attempt is missing. `stopped_with` is the savepoint with which somebody else has stopped it.
    """
    attempt = attempt_state(state)
    if intent is Intent.KILL:
        return Ending(job=JobState.KILLED, attempt=attempt, restartable=False, why=killed(stateless))
    if intent is Intent.ABANDON and state is not EngineState.FINISHED:
        return Ending(job=JobState.FAILED, attempt=attempt, restartable=True, why=cause or "its restore failed")
    if state is EngineState.FINISHED or (state is EngineState.MISSING and savepoint is not None):
        if savepoint is not None:
            return Ending(
                job=JobState.PAUSED,
                attempt=attempt,
                restartable=False,
                why=f"stopped with savepoint {savepoint}",
            )
        why = "it came to its end"
        if stopped_with is not None:
            # What was drained must not go on: its windows are closed. Flink does not tell one from the other.
            why = (
                f"it was stopped on the cluster with savepoint {stopped_with}, not by Penstock. Unless it was drained, "
                "a start can go on from there"
            )
        return Ending(job=JobState.FINISHED, attempt=attempt, restartable=False, why=why)
    if state is EngineState.CANCELED:
        return Ending(
            job=JobState.KILLED,
            attempt=attempt,
            restartable=False,
            why="it was cancelled on the cluster, not by Penstock",
        )
    if state is EngineState.MISSING and intent is Intent.PAUSE and lost is Lost.CLUSTER:
        return Ending(
            job=JobState.PAUSED,
            attempt=attempt,
            restartable=False,
            why="the cluster lost it while it was being stopped; a start goes on from its newest restore point",
        )
    if state is EngineState.MISSING and lost is Lost.FORGOTTEN:
        return Ending(
            job=JobState.BLOCKED, attempt=attempt, restartable=False, unseen=True, why="it ended, and nobody saw how"
        )
    if state is EngineState.MISSING:
        why = "the cluster lost it: its JobManager answers and does not know the job any more"
    else:
        why = cause or "it failed on the cluster"
    return Ending(job=JobState.FAILED, attempt=attempt, restartable=True, why=why)
