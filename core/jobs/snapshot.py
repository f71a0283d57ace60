"""All that a job's workflow knows, in one serializable model.

It is carried over continue-as-new, and written beside the job's row, so that a workflow that was lost
is started again where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from core.jobs.blocked import Blocked
from core.jobs.commands import CommandRequest
from core.jobs.observations import Intent, Observation, Trouble
from core.jobs.policy import RestartPolicy
from core.jobs.restore import Accepted, Basis, StateLineage
from core.jobs.retention import SavepointPolicy
from core.jobs.states import JobState
from core.jobs.types import traits
from core.paths import PointPath, of_point

GENERATION = 2
"""Of the workflow's code: what a run does differently from an earlier one. A history begins with the generation that it
was made by, and is replayed so; a run of an earlier generation goes over to this one at its next step, by continuing
as new. 1: an attempt that was perhaps sent is fenced. 2: one step writes an attempt down, sends it and sees it run, and
that it runs is written with the end of its command."""

REVISIONS_APART = 1000
"""Between the last record that was written and the first of a workflow that is begun anew: its predecessor may have one
under way, of a worker that stands still. That one is older then, whatever its number."""

ADOPTED = "adopted as it ran"
"""Why the state of an adopted attempt is what it is."""


class Adopted(BaseModel):
    """What is known of the checkpoints of a Flink job that was adopted: they lie where whoever started it has said.
    `checkpoint_folder` is None as long as none has been seen, `takes_checkpoints` None when it was not told."""

    checkpoint_folder: str | None = None
    takes_checkpoints: bool | None = None

    @property
    def is_known(self) -> bool:
        """Whether it is known where they lie, or that there are none."""
        return self.checkpoint_folder is not None or self.takes_checkpoints is False


class Ran(BaseModel):
    """What an attempt runs, beside the number of its version, by which another text may be found once the database was
    restored from a backup: the name of the version (`core.specs.name_of`), the digest of the compiled plan. None: not
    known."""

    spec: str | None = None
    plan: str | None = None


class AttemptSnapshot(BaseModel):
    number: int
    flink_job_id: str
    version: int
    ended: bool = False
    unresolved: bool = False
    """It was perhaps sent, and nothing clear has been heard of it: that the cluster does not know it says nothing."""
    build_key: str | None = None
    commit: str | None = None
    running_since: datetime | None = None
    restored_from: PointPath | None = None
    accepted: Accepted = Accepted()
    """What a person has accepted of the state that it was started from; goes on with that state."""
    leader: str | None = None
    """Identity of the JobManager that took it."""
    before: int | None = None
    """The version of the attempt before it."""
    adopted: Adopted | None = None
    """Of one that was started past Penstock."""
    ran: Ran = Ran()

    @property
    def program(self) -> str:
        return program(self.version, self.commit)


def program(version: int, commit: str | None) -> str:
    """What runs, in words: a version that names a branch is another program with each commit."""
    return f"version {version} (commit {commit[:7]})" if commit else f"version {version}"


class Successor(BaseModel):
    """`command` that wants another attempt in the place of one that it cancels, and the restore `point` of that, where
    it is known."""

    command: str
    point: PointPath | None = None


class StopSnapshot(BaseModel):
    """A stop that was asked for: remembered, so that an end that is seen later is understood."""

    intent: Intent
    trigger_id: str | None = None
    directory: str | None = None
    trouble: Trouble | None = None
    why: str | None = None
    at: datetime | None = None
    withdrawn: bool = False
    """It was told to have failed, and the job was seen running since: only a savepoint that it completes yet counts."""
    unstable: bool = False
    """It was restarted all the time by its engine: what it ran forgives no restart."""
    successor: Successor | None = None
    """What was to run after a stop whose outcome was not seen; None when nothing was."""
    cancelled_for: Successor | None = None
    """What was to run after a cancel, of this stop or of one before it whose outcome was not seen."""
    earlier: list[str] = []
    """The folders of the savepoints of stops before this one, which may be carried out yet."""

    @property
    def directories(self) -> list[str]:
        """Where the savepoint is that the attempt was stopped with, if one of its stops is what ended it."""
        return [*([self.directory] if self.directory else []), *self.earlier]


class JobSnapshot(BaseModel):
    generation: int = 0
    job_id: str
    project: str
    name: str
    type: str
    cluster: str
    state_dir: str
    state: JobState = JobState.CREATED
    reason: str = ""
    version: int = 1
    basis: Basis = Basis.FRESH
    lineage: StateLineage = StateLineage()
    attempt: AttemptSnapshot | None = None
    attempts: int = 0
    others_alive: bool = False
    """An earlier attempt, which had been taken for ended, was seen alive."""
    sequence: int = 0
    stop: StopSnapshot | None = None
    policy: RestartPolicy = RestartPolicy()
    savepoints: SavepointPolicy = SavepointPolicy()
    savepoint_at: datetime | None = None
    retain_due: bool = False
    """A savepoint has been taken since retention last looked."""
    checkpoints_at: datetime | None = None
    """When old checkpoints are looked for again."""
    restarts: list[datetime] = []
    restart_at: datetime | None = None
    failed_restores: dict[PointPath, int] = {}
    """How often in a row each path has failed to restore, since a person last started the job."""
    unusable: list[PointPath] = []
    """Paths that the policy passes over."""
    blocked: Blocked | None = None
    command: CommandRequest | None = None
    """The command that is being carried out: were the workflow lost, its successor ends it."""
    last_command: CommandRequest | None = None
    """The newest command that has succeeded. What was sent before it is not carried out after it."""
    ended_for: str | None = None
    """Id of the command that has ended an attempt to start another one, while it is carried out."""
    goes_back: str | None = None
    """Of a roll-back that has not begun its attempt yet: where to, in words. `version` is the one it comes from."""
    check_at: datetime | None = None
    check_interval: float = 600
    queue: list[CommandRequest] = []
    seen: Observation | None = None
    """The newest observation that has not been looked at yet; older ones have nothing to say beside it."""
    handled: list[str] = []
    revision: int = 0

    @property
    def label(self) -> str:
        return f"{self.project}:{self.name}"

    @property
    def stateless(self) -> bool:
        return not traits(self.type).keeps_state

    def was_to_go_on(self) -> bool:
        """Of a workflow that was lost: whether its job ran, and was to run on from its newest state. So it is in a
        restart by the policy, and for a command that had ended an attempt to start another one from there; not in a
        roll-back, which is from a version that nobody wants to run again."""
        command = self.command
        if self.goes_back is not None:
            return False
        if command is None:
            return True
        return self.ended_for == command.id and (command.restore is None or command.restore.mode == "newest")


def lineage_of(snapshot: Mapping[str, Any] | None) -> StateLineage:
    """The lineage in a snapshot as it is kept beside the job's row; of a job that never ran the one it begins with."""
    return StateLineage.model_validate((snapshot or {}).get("lineage") or {})


def renewed(snapshot: JobSnapshot) -> JobSnapshot:
    """The snapshot as a run of this generation takes it over: an attempt that an earlier one has not seen running was
    perhaps sent, for all that it knew."""
    attempt = snapshot.attempt
    if snapshot.generation < 1 and attempt is not None and not attempt.ended and attempt.running_since is None:
        attempt = attempt.model_copy(update={"unresolved": True})
    return snapshot.model_copy(update={"generation": GENERATION, "attempt": attempt})


def going_on_from(newer: JobSnapshot, queue: Sequence[CommandRequest], now: datetime) -> JobSnapshot:
    """The snapshot that a workflow goes on from that was set back behind `newer`; `queue` is what it was to do next.
    What it was given once more has been done, and what it has heard of was perhaps not all: it looks at once."""
    last, known = newer.last_command, known_to(newer)
    more = [c for c in queue if c.id not in known and (last is None or not c.was_sent_before(last))]
    anew = {"queue": [*newer.queue, *more], "check_at": now, "revision": newer.revision + REVISIONS_APART}
    going_on = newer.model_copy(update=anew)
    # One of a later generation stays one: who begins with it and does not know it waits for a worker that does.
    return going_on if newer.generation > GENERATION else renewed(going_on)


def known_to(snapshot: JobSnapshot) -> set[str]:
    """The ids of the commands that have ended, are carried out or wait, as far back as is remembered."""
    current = [snapshot.command] if snapshot.command is not None else []
    return {*snapshot.handled, *(command.id for command in (*current, *snapshot.queue))}


def savepoint_directory(state_dir: str, job_id: str, attempt: int, trigger_id: str) -> str:
    """A folder of its own for each savepoint that is asked for, so that it is found when the answer is lost."""
    return f"{savepoint_root(state_dir, job_id)}/{attempt}-{trigger_id}"


def savepoint_root(state_dir: str, job_id: str) -> str:
    """The folder that all savepoints of a job lie below, each in one of its own."""
    return f"{state_dir.rstrip('/')}/{job_id}/savepoints"


def checkpoint_directory(state_dir: str, job_id: str) -> str:
    """Flink adds a folder for each attempt, named by its Flink job id."""
    return f"{state_dir.rstrip('/')}/{job_id}/checkpoints"


def attempt_checkpoints(state_dir: str, job_id: str, flink_job_id: str) -> str:
    """The folder that an attempt's checkpoints lie in: known before it starts."""
    return f"{checkpoint_directory(state_dir, job_id)}/{flink_job_id}"


def folder_of(checkpoints: Iterable[str], flink_job_id: str) -> str | None:
    """The folder in which `checkpoints`, by their paths, lie; None when there are none, or when it does not have the
    Flink job's id for its name: other jobs may keep theirs in it, too."""
    for path in checkpoints:
        folder, _, name = of_point(path).rpartition("/")
        if name.startswith("chk-") and folder.endswith(f"/{flink_job_id}"):
            return folder
    return None
