"""What goes into each activity and what comes out: all that a workflow knows of activities."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel

from core.observations import EngineState, Observation
from core.records import Record
from core.restore import RestorePoint

# Names, as they stand in histories.
RECORD = "record"
OPEN_ATTEMPT = "open_attempt"
BUILD = "build"
RUN_BUILD = "run_build"
SUBMIT = "submit"
AWAIT_RUNNING = "await_running"
LOOK = "look"
DIAGNOSE = "diagnose"
GATHER = "gather_restore_points"
STOP = "stop_with_savepoint"
SAVEPOINT = "take_savepoint"
CANCEL = "cancel"
WATCH = "watch_cluster"
RECOVER = "recover"


class AttemptIn(BaseModel):
    """Names an attempt; its cluster, ids and configuration are in its row. `command_id` is whose log to write to."""

    job_id: str
    number: int
    command_id: str | None = None


class OpenAttempt(BaseModel):
    """The attempt to write down before anything is sent, with the record that goes along with it."""

    job_id: str
    cluster: str
    number: int
    flink_job_id: str
    version: int
    restore_path: str | None
    restore_why: str
    allow_non_restored_state: bool
    cause: str
    build_key: str | None
    commit: str | None
    record: Record


class BuildIn(BaseModel):
    """`pinned` is the key of the build that this version ran with before: then its commit is used again,
    wherever the branch may have gone since."""

    job_id: str
    version: int
    command_id: str | None
    pinned: str | None = None


class RunBuild(BaseModel):
    """One build, shared by all who want the same `key`. `spec` is a job spec as JSON."""

    key: str
    commit: str
    cluster_flink_version: str
    spec: dict[str, object]


class Outcome(BaseModel):
    """`error` None means success."""

    error: str | None = None
    code: str | None = None


class Built(Outcome):
    key: str | None = None
    commit: str | None = None


class SubmitState(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNREACHABLE = "unreachable"  # nothing was sent
    UNCLEAR = "unclear"  # it may run


class Submitted(Outcome):
    state: SubmitState


class Seen(BaseModel):
    """`observation` None: the cluster could not be asked, `why` says so. `changed` False: nothing new."""

    observation: Observation | None = None
    why: str | None = None


class Diagnosis(BaseModel):
    """After an end: the engine's reason, and whether it is certain that no restore point has completed."""

    cause: str | None = None
    untouched: bool = False
    savepoint: str | None = None


class GatherIn(BaseModel):
    """`named` is a path or id that has to be checked as well."""

    job_id: str
    named: str | None = None


class Gathered(Outcome):
    points: list[RestorePoint] = []


class TriggerIn(AttemptIn):
    trigger_id: str
    directory: str


class Stopped(Outcome):
    """`state` None: it could not be found out; `savepoint` is the path of a completed one."""

    state: EngineState | None = None
    sequence: int = 0
    savepoint: RestorePoint | None = None


class DiagnoseIn(AttemptIn):
    savepoint_directory: str | None = None
