"""How Penstock speaks to a cluster: what every kind can do, and what only some can.

`Engine` is for all. Each of the other protocols is a capability: an adapter claims it by being a subclass of it, and
has no method for what it cannot do. Who needs one asks (`isinstance(engine, Savepoints)`), and says what holds without
it. What a kind can do, before there is a cluster of it, is asked of its `ClusterKind` (`clusters/kind.py`).

One contract test suite (`tests/real/test_engine_contract.py`) holds every implementation to it. What is
above this file knows neither REST paths nor YARN applications.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from clusters.sql import SqlGateway
from core.effects import EngineError, LogSink
from core.jobs.observations import EngineState, Trouble
from core.jobs.output import LastLines
from core.jobs.restore import RestoreKind
from core.sql.script import Script


class Unreachable(EngineError):
    """The cluster could not be asked: refused, timed out, no leader, or no answer of a Flink.

    `sent` tells whether the request may have arrived all the same.
    """

    def __init__(self, message: str, *, sent: bool = True):
        super().__init__(message)
        self.sent = sent


class AnotherFlink(Unreachable):
    """What answers is not the cluster that was asked: nothing of what it says is about the attempts there."""


class AliveElsewhere(Unreachable):
    """The cluster does not know an attempt that goes on writing: it is alive where nobody can ask."""


class ProgramFailed(EngineError):
    """The program of an attempt failed after it had started its Flink job, or started more than one. `jobs` are
    all that the cluster shows of it: they are to be cancelled, and nothing else of it will run."""

    def __init__(self, message: str, *, jobs: Sequence[Ref], code: str, stack: str | None = None):
        super().__init__(message, stack=stack)
        self.jobs = list(jobs)
        self.code = code


SEVERAL_JOBS = "several_jobs"
"""The `code` of a `ProgramFailed` that has started more than one Flink job."""


class Unclear(EngineError):
    """It was sent, and the cluster cannot say yet what became of it."""


@dataclass(frozen=True)
class Ref:
    """A job on a cluster. `handle` is what the cluster knows it by: of an attempt what `reserve` gave, of others what
    the cluster says (`JobSeen.ref`, `Engine.ref_of`). On a session cluster it is the Flink job id again, elsewhere the
    id of an application. Who is above the protocol never makes one out of the other."""

    flink_job_id: str
    handle: str


CompiledPlan = dict[str, Any]
"""A compiled plan of Flink, as JSON."""

Planner = Callable[[CompiledPlan | None, str], Awaitable[CompiledPlan | None]]
"""Given the compiled plan of a script, or None and why there is none: the plan to run, None for the text."""


@dataclass(frozen=True)
class SqlProgram:
    """`before` are statements that make what the script names; `secrets` are values that no message may show.

    With `plan` that plan is run. Else `planner` is asked with what the script compiles to, before anything
    is sent that starts a job. `scratch` is a folder that the gateway and this process both see.
    """

    script: Script
    before: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    plan: CompiledPlan | None = None
    planner: Planner | None = None
    scratch: str | None = None


@dataclass(frozen=True)
class JarProgram:
    """`sha256` names the content of `path`; `secrets` are values in `args` that no message may show."""

    path: Path
    sha256: str
    entry_class: str | None
    args: list[str]
    secrets: Sequence[str] = ()


@dataclass(frozen=True)
class PythonProgram:
    """`root` is the checked-out program, `python` the interpreter with its requirements. `files` are texts that lie
    beside it, by their path below `root`; `env` and `java_properties` are those of its client; `jar` brings the classes
    of its libraries, `modules` are further Python files. `secrets` are values that no message may show."""

    root: Path
    entry_file: str | None
    module: str | None
    args: list[str]
    python: Path
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    java_properties: Mapping[str, str] = field(default_factory=dict)
    jar: Path | None = None
    modules: Sequence[Path] = ()
    secrets: Sequence[str] = ()


@dataclass(frozen=True)
class ClusterProgram:
    """A session cluster to run. The ports stay the same from attempt to attempt, so that its address does;
    memory is that of a whole process, in Flink's words (`1728m`)."""

    flink_version: str
    rest_port: int
    gateway_port: int
    state_dir: str
    taskmanagers: int
    slots: int
    jobmanager_memory: str
    taskmanager_memory: str


Program = SqlProgram | JarProgram | PythonProgram | ClusterProgram


@dataclass(frozen=True)
class Aftermath:
    """Where is told what a program says and does once its job runs: `log` opens the log of its command once more,
    `alert` writes a line on its job's timeline, `trouble` what stays wrong with the attempt, finished or not."""

    log: Callable[[], AbstractAsyncContextManager[LogSink]]
    alert: Callable[[str], Awaitable[None]]
    trouble: Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class Submission:
    """`maybe_sent`: an earlier send of it may have arrived, or may yet. Without `aftermath` a program ends when it is
    submitted."""

    ref: Ref
    name: str
    program: Program
    config: Mapping[str, str]
    parallelism: int | None
    restore_path: str | None
    allow_non_restored_state: bool
    maybe_sent: bool = False
    aftermath: Aftermath | None = None


@dataclass(frozen=True)
class Loss:
    """A part of an attempt that died, and was not stopped: its name, when that was seen, and its last words."""

    part: str
    at: datetime
    why: str


@dataclass(frozen=True)
class JobSeen:
    """One job as a cluster shows it, by its handle and its Flink job id, whoever submitted it. `detail` is the engine's
    own wording, with task counts."""

    ref: Ref
    state: EngineState
    name: str = ""
    detail: str = ""
    started_at: datetime | None = None
    modified_at: int = 0
    """Changes with every change of the job or one of its tasks; 0 when the engine does not tell."""
    is_being_set_up: bool = False
    """Tasks of it are being set up, or are about to be."""
    losses: tuple[Loss, ...] = ()
    """The last parts of it that died while it went on, where it is a cluster itself."""


@dataclass(frozen=True)
class Overview:
    """All jobs of a cluster, by handle, from one question. `fenced` are handles whose id is spent on nothing: no
    job of theirs is in `jobs`, and none will ever run."""

    jobs: Mapping[str, JobSeen]
    fenced: frozenset[str] = frozenset()


@dataclass(frozen=True)
class PointSeen:
    """A completed checkpoint or savepoint that the engine tells of, with its number, or that a folder has; whether it
    is still there is another question. `stops`: it is the savepoint of a stop, whoever asked for that."""

    kind: RestoreKind
    path: str
    completed_at: datetime
    number: int | None = None
    stops: bool = False


class TriggerState(StrEnum):
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"  # the trigger id is not (or no longer) known


@dataclass(frozen=True)
class TriggerStatus:
    state: TriggerState
    path: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed: the root cause in a line, with the engine's own words; `trouble` when it is one
    of restoring its state."""

    message: str
    trouble: Trouble | None = None


@dataclass(frozen=True)
class TaskFailure:
    """One failure as the engine tells it: its root cause in a line, and the whole `stack`. `task` is None when it is of
    the whole job; `place` is where the task ran, `taskmanager` the id of that."""

    at: datetime
    message: str
    stack: str
    task: str | None = None
    place: str | None = None
    taskmanager: str | None = None


@dataclass(frozen=True)
class LogFile:
    """A log of a part of a cluster (`jobmanager`, the id of a task manager). `size` is in bytes; `of_attempt`: the part
    has tasks of the attempt that was asked for."""

    part: str
    file: str
    size: int
    changed_at: datetime | None
    of_attempt: bool = False


@dataclass(frozen=True)
class Progress:
    """Of one attempt: checkpoints completed, and how often the engine has restarted its tasks."""

    completed: int
    restarts: int


@dataclass(frozen=True)
class Course:
    """How one attempt has fared: `failures` are the moments at which its engine restarted it, newest first, as far back
    as it remembers; `restarts` all of them, None when it does not count. `completed` and `failed` are checkpoints,
    `completed_at` the newest, `interval` the seconds between two, None without."""

    failures: list[datetime]
    failure: Failure | None = None
    restarts: int | None = None
    completed: int = 0
    failed: int = 0
    completed_at: datetime | None = None
    interval: float | None = None


@dataclass(frozen=True)
class RestoreOrigin:
    """What Flink says an attempt was really restored from last (None: nothing, or not known), whether its checkpoints
    outlive a cancel (None: it takes none, or it is not known), whether they are written to files from the beginning,
    whether it was given what it was restored from, to delete it, and whether it can be restored at all (in batch mode
    it is not). A program may have set each itself."""

    restored_from: str | None
    keeps_checkpoints: bool | None
    on_files: bool
    claimed: bool = False
    restores: bool = True


@dataclass(frozen=True)
class Vertex:
    """A task of a job: records read and written so far, all its subtasks together."""

    name: str
    state: str
    parallelism: int
    read: int
    written: int


@dataclass(frozen=True)
class TaskManagerOutput:
    """The last lines of what has been printed on a task manager, by whatever runs there; `left_out` lines like them
    stand before these. `size` is of all that it has printed, in bytes. `why` there are none, where they cannot be
    read."""

    id: str
    host: str
    lines: list[str] = field(default_factory=list)
    left_out: int = 0
    size: int | None = None
    why: str | None = None


@dataclass(frozen=True)
class Leader:
    """Who leads the cluster. `identity` changes with the process that leads; None when it cannot be told.
    With `ha` jobs survive that. `heartbeat_timeout` is after how many seconds without its leader a task manager has
    given up every task. `forgets`: results of jobs that have ended are deleted, and their ids may be taken again.
    `cluster` is what stays the same when the same cluster is led anew, and differs for another one; None when it cannot
    be told."""

    identity: str | None
    ha: bool
    heartbeat_timeout: float
    forgets: bool = False
    cluster: str | None = None


@dataclass(frozen=True)
class FoundAt:
    """Where a cluster is found that an attempt runs: as a cluster of `kind`, at `address` in the shape of that kind,
    which has these ports in it."""

    kind: str
    address: Mapping[str, Any]
    rest_port: int
    gateway_port: int


@dataclass(frozen=True)
class EngineHealth:
    flink_version: str | None = None
    taskmanagers: int | None = None
    slots_total: int | None = None
    slots_available: int | None = None
    jobs_running: int | None = None
    gateway: bool | None = None
    leader: str | None = None
    ha: bool = False
    cluster: str | None = None
    notes: list[str] = field(default_factory=list)


@runtime_checkable
class Engine(Protocol):
    """What every kind of cluster can do. Methods raise `Unreachable` when the cluster could not be asked; that is never
    an answer."""

    async def reserve(self, flink_job_id: str) -> str:
        """The handle to record before `submit`. Has no effect on the cluster that matters if it is lost."""
        ...

    async def ref_of(self, flink_job_id: str) -> Ref | None:
        """By what the cluster knows a job of which only the Flink job id is written down; None when it does not know
        it. Where handles are Flink job ids nothing is asked, and whether the job is there is another question. Raises
        `Unreachable`."""
        ...

    async def submit(self, submission: Submission, tell: LogSink) -> None:
        """Returns when the cluster has the attempt; also when it had it already from an earlier call with
        the same `Ref`. Raises `Rejected` when it has not and will not, `Unclear` when it may have, and
        `ProgramFailed` when it has, and the program it came from has not ended well, or has started more.

        Takes the programs of the types of job that the kind claims (`ClusterKind.job_types`). Who compiles SQL is the
        adapter's business: its own gateway, or that of another cluster."""
        ...

    async def fence(self, ref: Ref) -> bool:
        """Spend the id: True when nothing will ever run under it from now on, whatever of an earlier `submit` is
        still under way; False when the cluster has, or had, the attempt itself. Doing it again is safe. Raises
        `Unclear` and `Unreachable` when it cannot be told."""
        ...

    async def overview(self) -> Overview:
        """All that runs on the cluster, or has run there lately, from one question."""
        ...

    async def look(self, ref: Ref) -> JobSeen:
        """One attempt; state MISSING only when a leader answers and does not know it."""
        ...

    async def failure(self, ref: Ref) -> Failure | None:
        """The last failure of an attempt; None when there was none, or the engine does not know the attempt."""
        ...

    async def leader(self) -> Leader:
        """Who leads the cluster now."""
        ...

    async def slot_holders(self, ref: Ref) -> list[str]:
        """Ids of the task managers (or processes) that still hold slots for an attempt, also when the leader does not
        know it."""
        ...

    async def cancel(self, ref: Ref) -> None:
        """Ask for it; fine when the job is already at its end or gone. Raises `NotNow` while a cancel could end what
        runs beside the job, `Rejected`, `Unreachable`."""
        ...

    async def health(self) -> EngineHealth:
        """What the cluster says of itself."""
        ...

    async def close(self) -> None:
        """Let go of connections. The cluster is left alone."""
        ...

    def close_when_unused(self) -> None:
        """As `close`, once nobody uses it, or a gateway of it, any more."""
        ...


@runtime_checkable
class Savepoints(Engine, Protocol):
    """Attempts can be stopped with a savepoint, and one can be taken while they run."""

    async def stop_with_savepoint(self, ref: Ref, *, trigger_id: str, directory: str) -> None:
        """Ask for it; the same `trigger_id` asks for the same. Raises `Rejected` when the job cannot be stopped."""
        ...

    async def savepoint(self, ref: Ref, *, trigger_id: str, directory: str) -> None:
        """Ask for one while the job runs on; the same `trigger_id` asks for the same. Raises `Rejected`."""
        ...

    async def trigger_status(self, ref: Ref, trigger_id: str) -> TriggerStatus:
        """What became of what was asked for with `trigger_id`."""
        ...

    async def dispose(self, path: str) -> None:
        """Delete a savepoint with all that belongs to it. Raises `Rejected` with the engine's reason."""
        ...


@runtime_checkable
class Checkpoints(Protocol):
    """Attempts take checkpoints by themselves. Where a kind lacks it, no attempt ever has one."""

    def keeps_state_in(self, folder: str) -> None:
        """From now on paths below `folder`, the cluster's state_dir, are told in its spelling."""
        ...

    async def checkpoints(self, ref: Ref) -> list[PointSeen]:
        """What the engine remembers of completed restore points; empty when it does not know the attempt."""
        ...

    async def origin(self, ref: Ref) -> RestoreOrigin | None:
        """None when the engine does not know the attempt."""
        ...

    async def takes_checkpoints(self, ref: Ref) -> bool | None:
        """Whether the attempt really takes checkpoints; None when the engine does not know the attempt."""
        ...


@runtime_checkable
class Metrics(Protocol):
    """The engine counts what its attempts do."""

    async def progress(self, ref: Ref) -> Progress | None:
        """None when the engine does not know the attempt."""
        ...

    async def course(self, ref: Ref, *, whole: bool) -> Course | None:
        """How it has fared; unless `whole`, without its checkpoints when it has never failed. None when the engine does
        not know the attempt."""
        ...

    async def vertices(self, ref: Ref) -> list[Vertex]:
        """The tasks of an attempt with what they have read and written; empty when it is not known."""
        ...


@runtime_checkable
class Failures(Protocol):
    """The engine remembers each failure of an attempt, not only the last one."""

    async def failures(self, ref: Ref) -> list[TaskFailure] | None:
        """Newest first, as far back as it remembers; None when it does not know the attempt."""
        ...


@runtime_checkable
class Logs(Protocol):
    """The logs of its parts can be read."""

    async def logs(self, ref: Ref) -> list[LogFile]:
        """Of all its parts; those that have tasks of an attempt are marked."""
        ...

    async def log(self, ref: Ref, part: str, file: str, *, last: int) -> bytes | None:
        """The last bytes of a log, `last` at most; None when there is none of that name."""
        ...


@runtime_checkable
class Outputs(Protocol):
    """What programs print on its task managers can be read."""

    async def outputs(self, ref: Ref, collector: Callable[[], LastLines]) -> list[TaskManagerOutput] | None:
        """Of each task manager on which the attempt runs, or ran last; each is given to what `collector` makes. None
        when the engine does not know the attempt."""
        ...


@runtime_checkable
class SharedByPrograms(Protocol):
    """A program that runs on the cluster may start more jobs there than the one it was asked for. A kind on which each
    attempt has a cluster of its own lacks it."""

    async def started_by(self, flink_job_ids: Collection[str]) -> Mapping[str, str]:
        """Of these Flink jobs, those that a program of an attempt has started, with the Flink job id of that."""
        ...

    async def check_whole(self, ref: Ref) -> None:
        """Of an attempt that the cluster has. Raises `ProgramFailed` when its program has started other jobs too."""
        ...


@runtime_checkable
class Identified(Protocol):
    """What answers at the cluster's address can be told from any other Flink (`Leader.cluster`)."""

    def expect(self, identity: str | None) -> None:
        """From now on what another one than `identity` says is `AnotherFlink`; None takes whichever answers."""
        ...

    async def leaders(self) -> list[Leader]:
        """Who leads at each of the cluster's addresses, asked one by one; those that do not answer are left out."""
        ...


@runtime_checkable
class HostsClusters(Protocol):
    """Its attempts are clusters themselves (`ClusterProgram`)."""

    def found_at(self, before: Mapping[str, Any] | None, *, keep: bool) -> FoundAt:
        """Where a cluster that is run here is found: at its address `before`, if it had one. Unless `keep`, a port of
        that which somebody else has taken meanwhile becomes another one."""
        ...

    async def scale(self, ref: Ref, taskmanagers: int) -> None:
        """Have so many task managers from now on. Raises `Rejected` when the cluster does not run."""
        ...


@runtime_checkable
class SqlSessions(Protocol):
    """It has SQL gateways: SQL can be validated, explained and compiled there (`clusters/sql.py`).

    What runs on the cluster is another question: a plan that is compiled here may be submitted to another cluster
    (`Engines.compiler`)."""

    def gateway(self, url: str | None) -> SqlGateway | None:
        """The gateway at `url`; None when the cluster has none there (any more)."""
        ...

    async def open_session(self, properties: Mapping[str, str]) -> tuple[SqlGateway, str]:
        """A session on the first gateway that answers. Raises `Rejected` when the cluster has no gateway, and
        `EngineError`."""
        ...


@runtime_checkable
class SqlWorkbench(Engine, Metrics, SqlSessions, Protocol):
    """What a query of its sessions starts runs on the cluster itself, and is seen and cancelled there: previews and
    interactive sessions need that."""

    async def lookup_connector(self) -> Path:
        """A jar for the cluster's version with a connector, `core.sql.given_rows.LOOKUPS`, that answers lookups from a
        file. Raises `Rejected` where this machine cannot make it."""
        ...


CAPABILITIES: tuple[type, ...] = (
    Savepoints,
    Checkpoints,
    Metrics,
    Failures,
    Logs,
    Outputs,
    SharedByPrograms,
    Identified,
    HostsClusters,
    SqlSessions,
    SqlWorkbench,
)
"""All of them; what an adapter claims is which of them it is a subclass of."""
