"""What goes into each activity and what comes out: all that a workflow knows of activities."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from core.jobs.observations import EngineState, Lost, Observation, Trouble
from core.jobs.records import Record
from core.jobs.restore import RestorePoint
from core.jobs.retention import SavepointPolicy
from core.jobs.snapshot import Adopted, JobSnapshot, Ran

# Names, as they stand in histories.
RECORD = "record"
OPEN_ATTEMPT = "open_attempt"
START_ATTEMPT = "start_attempt"
BUILD = "build"
RUN_BUILD = "run_build"
FETCH_LIBRARY = "fetch_library"
SUBMIT = "submit"
AWAIT_RUNNING = "await_running"
LOOK = "look"
CHECK = "check"
DIAGNOSE = "diagnose"
GATHER = "gather_restore_points"
STOP = "stop_with_savepoint"
SAVEPOINT = "take_savepoint"
CANCEL = "cancel"
CANCEL_ALL = "cancel_all"
FENCE = "fence"
WATCH = "watch_cluster"
RECOVER = "recover"
PROVE = "prove"
RETAIN = "retain"
RESCALE = "rescale"
ADOPTABLE = "adoptable"
ROW_MISSING = "row_missing"
"""Type of the error of an activity that was told of what the database does not have; it is not tried again."""
ANOTHER_VERSION = "another_version"
"""Code of a submission that was to run again what ran, where the version by that number is another one."""


class AttemptIn(BaseModel):
    """Names an attempt; its cluster, ids and configuration are in its row. `command_id` is whose log to write to,
    `leader` the identity of the JobManager that took the attempt, `patience` the seconds to wait at the most
    (None: the setting's). `maybe_sent`: an earlier submission of it may be under way. `known` is the number of the
    newest attempt that the workflow knows: it may follow an older one that it has adopted. `revision` is that of the
    workflow's last record: what changes something is not done where the database has a later one."""

    job_id: str
    number: int
    command_id: str | None = None
    leader: str | None = None
    patience: float | None = None
    maybe_sent: bool = False
    known: int = 0
    revision: int | None = None


SET_BACK = "set_back"
"""Type of the error of a step whose workflow was set back, or has left it: it has done nothing."""


class Recorded(BaseModel):
    """`newer` is what the database has of the job in place of what a record says: one of the same workflow that was
    quicker, or what a workflow wrote that was set back since (reset, or Temporal was restored from a backup)."""

    newer: JobSnapshot


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
    accept_changed_state: bool = False
    accept_unknown_state: bool = False
    automatic: bool = False
    """Started by the restart policy: it goes on with what ran, and nobody is there to accept anything."""
    like: int | None = None
    """The attempt whose compiled plan, tables and libraries it runs with again."""
    cause: str
    build_key: str | None
    commit: str | None
    record: Record
    adopted: Adopted | None = None
    """Nothing is sent: it runs already, started past Penstock."""
    again: bool = False
    """Its row was there, and was lost with others."""
    ran: Ran = Ran()
    """What it has run (`again`), or the attempt before it whose version it runs once more."""


class OpenedAttempt(BaseModel):
    """`conflict`: this number was used before, for another submission, so that this workflow does not know all of its
    job's attempts. `number` and the rest name the newest one that is written down. `owner`: the Flink job is an attempt
    of another job (its `project:name`) since a moment ago; nothing was written."""

    conflict: bool = False
    owner: str | None = None
    number: int = 0
    flink_job_id: str = ""
    version: int = 0
    ended: bool = False
    revision: int = 0
    commands: int = 0
    """The number of the newest command that has ended."""
    newer: JobSnapshot | None = None
    """With `conflict`: the job's last record, where it knows the newest attempt. The workflow was set back, and goes on
    from that."""


class StartAttempt(OpenAttempt):
    """The same, to be sent as soon as it is written down. `command_id` is whose log to write to, `patience` the seconds
    that it has to run in (None: the setting's)."""

    command_id: str | None = None
    patience: float | None = None


class BuildIn(BaseModel):
    """`pinned` is the key of the build that this version ran with before: then its commit is used again,
    wherever the branch may have gone since; `like` is an attempt whose commit is used again."""

    job_id: str
    version: int
    command_id: str | None
    pinned: str | None = None
    like: int | None = None


BUILD_ABANDONED = "build_abandoned"
"""Code of a build that was ended because nobody waited for it any more."""


class RunBuild(BaseModel):
    """One build, shared by all who want the same `key`. `spec` is a job spec as JSON."""

    key: str
    commit: str
    cluster_flink_version: str
    spec: dict[str, object]


class FetchLibrary(BaseModel):
    """One version of a library, written down before."""

    project: str
    name: str
    version: str


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
    OCCUPIED = "occupied"  # another attempt of the job is alive; nothing was sent
    RAN = "ran"  # an earlier try was taken, ran, and is gone


class Submitted(Outcome):
    """`leader` is the JobManager that took it; `other` and `other_id` name the attempt that is alive. `maybe_sent`: an
    earlier try may have sent it."""

    state: SubmitState
    maybe_sent: bool = False
    leader: str | None = None
    other: int | None = None
    other_id: str | None = None


class Fenced(Outcome):
    """`fenced`: nothing will ever run under the attempt's id; `ran`: it has completed checkpoints before. Else
    `observation` is what the cluster has of it. Neither: it cannot be told, `error` says why. `unknown` says why it
    cannot be told whether it has completed checkpoints."""

    fenced: bool = False
    ran: bool = False
    unknown: str | None = None
    observation: Observation | None = None
    leader: str | None = None
    """Who leads the cluster that has it, where the workflow did not know."""


class Seen(BaseModel):
    """`observation` None: the cluster could not be asked, `why` says so. `trouble`: it tries to restore its
    state, and cannot; `why` is the cause then."""

    observation: Observation | None = None
    why: str | None = None
    trouble: Trouble | None = None
    old_checkpoints: bool = False
    """There may be checkpoints of ended attempts that the job's policy does not keep."""
    newest: OpenedAttempt | None = None
    """The database has a newer attempt than the one that was asked about, which was not looked at."""
    leader: str | None = None
    """Who leads the cluster that has it, where the workflow did not know."""
    check_interval: float | None = None
    """Seconds between a job's own checks, as the settings have it where this one was made."""


class Started(BaseModel):
    """How far a start came. `conflict`: the attempt was not written down, and nothing of it sent. `seen` is how it
    runs, or ended; None while that is not known, and where the cluster does not have it."""

    conflict: OpenedAttempt | None = None
    submitted: Submitted = Submitted(state=SubmitState.UNREACHABLE)
    seen: Seen | None = None
    ran: Ran = Ran()


class Diagnosis(BaseModel):
    """After an end: the engine's reason, and whether it is certain that no restore point has completed.

    `savepoint` is that of our stop, `stopped_with` that of somebody else's, who has stopped it on the cluster.
    `lost` and `ha` say why a missing attempt is missing, `undecided` why that cannot be told; `trouble` that it failed
    to restore; `unread` that the folder of a savepoint could not be read; `points` are the newest restore points.
    """

    cause: str | None = None
    untouched: bool = False
    savepoint: str | None = None
    stopped_with: str | None = None
    lost: Lost | None = None
    ha: bool = False
    trouble: Trouble | None = None
    unread: str | None = None
    undecided: str | None = None
    points: list[RestorePoint] = []


class GatherIn(BaseModel):
    """`named` is a path or id that has to be checked as well."""

    job_id: str
    named: str | None = None


POINTS_UNDECIDED = "points_undecided"


class Gathered(Outcome):
    """`vanished`: points that were known, and whose files are gone. With the code `POINTS_UNDECIDED` there may be newer
    ones than `points`, of which nobody but a person can know; `unowned` is the path of one."""

    points: list[RestorePoint] = []
    vanished: list[RestorePoint] = []
    unowned: str | None = None


class TriggerIn(AttemptIn):
    trigger_id: str
    directory: str


class Stopped(Outcome):
    """`state` None: it could not be found out; `savepoint` is the path of a completed one."""

    state: EngineState | None = None
    sequence: int = 0
    savepoint: RestorePoint | None = None


class DiagnoseIn(AttemptIn):
    """`state` is how it was seen to end; `savepoint_directory` is that of the last stop, before which others may have
    been sent."""

    state: EngineState | None = None
    savepoint_directory: str | None = None
    earlier_directories: list[str] = []


class ProveIn(AttemptIn):
    """`within` is in seconds, from the start of the attempt on."""

    within: float


class Proven(BaseModel):
    """Healthy: all tasks run, and a checkpoint of its own has completed."""

    healthy: bool
    why: str = ""
    observation: Observation | None = None


class RescaleIn(AttemptIn):
    """`version` is what a session cluster is to become without being restarted."""

    version: int


class Rescaled(Outcome):
    """`done` False without an error: it takes more than task managers to become that version."""

    done: bool = False


class RetainIn(AttemptIn):
    policy: SavepointPolicy


class Retained(BaseModel):
    """Paths that were deleted; `refused` says what was left alone, and why. `checkpoints` are folders of checkpoints,
    by the attempt that wrote them. `more`: not all that is to be deleted is, so that what else is due gets its turn."""

    deleted: list[str] = []
    half_written: list[str] = []
    refused: list[str] = []
    checkpoints: dict[int, str] = {}
    more: bool = False


class AdoptIn(BaseModel):
    job_id: str
    flink_job_id: str
    command_id: str | None = None


class Adoptable(Outcome):
    """`number` is the attempt of this job that the Flink job was, None when it was none. `restored_from` is what Flink
    says of one that was none."""

    number: int | None = None
    version: int | None = None
    build_key: str | None = None
    commit: str | None = None
    leader: str | None = None
    observation: Observation | None = None
    restored_from: str | None = None
    adopted: Adopted | None = None


class RecoverIn(BaseModel):
    """`dry_run` looks and changes nothing."""

    dry_run: bool = False


class Finding(BaseModel):
    """One thing that is not as it ought to be, as the API shows it."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)  # an answer always has all fields

    kind: str = Field(description="watch, workflow, row, policy, deletion, command, attempt, orphan or recovery")
    subject: str
    what: str
    action: str = Field(description="What is done about it, or what a person can do")
    safe: bool = Field(default=True, description="It is mended by itself; otherwise a person has to decide")
    done: bool = Field(default=False, description="It was mended")


class Recovered(BaseModel):
    """`more`: how many of each kind there are beside those in `findings`."""

    findings: list[Finding] = []
    more: dict[str, int] = {}
