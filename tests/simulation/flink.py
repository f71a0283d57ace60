"""A Flink at the level of its HTTP: JobManager, task managers, jobs that count, checkpoints as files.

What it answers is what `docs` of Flink say and what was seen on 2.3 and 1.20; the engine's contract suite holds it to
the real ones (`tests/simulation/test_contract.py`). Every job has operators, each with a state of its own: who made it
is written into every checkpoint, so that a restore which gives an operator the state of another one is seen.
"""

from __future__ import annotations

import asyncio
import json
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clusters.flink.identity import seconds
from tests.simulation.loop import EPOCH, NEUTRAL, SimLoop

if TYPE_CHECKING:
    from tests.simulation.chance import Chance
    from tests.simulation.files import Disk

HEAD = struct.Struct(">IIq")
"""Of a `_metadata`: magic, version, number of the checkpoint."""
FINAL = ("FINISHED", "CANCELED", "FAILED")
DUPLICATE = "org.apache.flink.runtime.client.DuplicateJobSubmissionException: Job has already been submitted."
Answer = tuple[int, Any]
PRINTED = b"+I[1, a]\nmine:2> +I[2, b]\nmine> -U[3]\nother> +I[4]\n"
"""The stdout of every task manager: what is given as bytes is no JSON."""
RESET: Answer = (0, None)
"""The connection was closed without an answer."""


def error(status: int, *lines: str) -> Answer:
    return status, {"errors": ["\n".join(lines)]}


@dataclass(frozen=True)
class Operator:
    """`meaning` is what it computes; `uid` is by what Flink finds its state again."""

    uid: str
    meaning: str
    stateful: bool = True


@dataclass(frozen=True)
class Program:
    """What a submission runs: `output` is the table or file that it writes to, `main` the seconds that its `main` takes
    inside the JobManager, `ends_after` the seconds after which a bounded job is done, `fails_after` those after which it
    fails for good."""

    operators: tuple[Operator, ...]
    output: str
    main: float = 0.0
    ends_after: float | None = None
    fails_after: float | None = None
    does_nothing: bool = False
    refused: str | None = None


@dataclass(frozen=True)
class Point:
    """A completed checkpoint or savepoint, as the judge knows it."""

    path: str
    job: str
    owner: str
    savepoint: bool
    states: Mapping[str, tuple[str, float]]
    begun: float
    done: float
    order: int
    number: int


@dataclass(eq=False)
class Job:
    """One execution under one Flink job id. `owner` and `output` say whose it is, whatever its name is."""

    id: str
    name: str
    program: Program
    config: Mapping[str, str]
    restore: str | None
    allow_lost: bool
    flink: Flink
    order: int
    owner: str = ""
    state: str = "INITIALIZING"
    tasks: bool = False
    started_at: float = 0.0
    asked_at: float = 0.0
    """When the request for it came in."""
    since: float = 0.0
    counted: dict[str, tuple[str, float]] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    """Completed ones, oldest first."""
    forgotten: int = 0
    completed: int = 0
    failed: int = 0
    restored: int = 0
    numbers: int = 0
    failure: str | None = None
    failures: int = 0
    failed_at: list[int] = field(default_factory=list)
    stopping: bool = False
    stopped: bool = False
    """It has ended because it was told to stop with a savepoint."""
    doomed: str | None = None
    lost: bool = False
    """Its JobManager is gone, and this one does not know it: only its tasks may still run."""
    generation: int = 0

    @property
    def final(self) -> bool:
        return self.state in FINAL

    @property
    def interval(self) -> float | None:
        text = self.config.get("execution.checkpointing.interval")
        return seconds(text, 0.0) or None

    @property
    def directory(self) -> str:
        return f"{self.config.get('execution.checkpointing.dir', 'sim://nowhere')}/{self.id}"

    def states(self, at: float) -> dict[str, tuple[str, float]]:
        grown = max(0.0, at - self.since) if self.tasks else 0.0
        return {uid: (meaning, n + grown) for uid, (meaning, n) in self.counted.items()}


@dataclass
class Trigger:
    state: str  # IN_PROGRESS, COMPLETED
    path: str | None = None
    failure: str | None = None
    ended_at: float | None = None


class Flink:
    """A session cluster. `judge` is told of everything that happens to jobs."""

    def __init__(
        self, name: str, loop: SimLoop, chance: Chance, disk: Disk, judge: Any, *, ha: bool = False, slots: int = 64
    ):
        self.name, self.loop, self.chance, self.disk, self.judge = name, loop, chance, disk, judge
        self.ha, self.slots = ha, slots
        self.heartbeat_timeout = 50.0
        self.version = "2.3.0"
        self.up = True
        self.electing = False
        self.calm = False
        self.generation = 0
        self.offset = 0.0
        self.jobs: dict[str, Job] = {}
        self.zombies: list[Job] = []
        """Jobs whose JobManager is gone, and whose tasks still run."""
        self.coming: list[Job] = []
        """Jobs that the next leader will go on with."""
        self.asked: list[asyncio.Future[Answer]] = []
        self.jars: dict[str, str] = {}
        self.triggers: dict[str, Trigger] = {}
        self.disposals: dict[str, tuple[str, str | None]] = {}
        self.task_managers_known = True
        self.programs: Callable[[str, Mapping[str, Any]], Program] = lambda jar, body: Program((), "")
        self.random = chance.random
        self.number = 0

    # Time -----------------------------------------------------------------------------------

    def _later(self, wait: float, function: Callable[..., None], *args: Any) -> None:
        self.loop.call_later(wait, function, *args, context=NEUTRAL)

    def now_ms(self) -> int:
        return int((EPOCH + self.loop.time() + self.offset) * 1000)

    def _pause(self, usual: float) -> float:
        return usual * (0.3 + 2 * self.random.random() ** 2)

    @property
    def identity(self) -> str:
        return f"/tmp/flink-web-{self.name}-{self.generation}"

    # What happens to it ---------------------------------------------------------------------

    def kill(self) -> None:
        """kill -9 of the JobManager; another one is started in its place."""
        if not self.up:
            return
        self.up = False
        self.generation += 1
        self.triggers.clear()
        self.jars.clear()
        self.disposals.clear()
        self.task_managers_known = False
        # What it had not recovered yet is written down still, for the next one.
        left = [*self.coming, *(job for job in self.jobs.values() if not job.final)]
        for job in left:
            job.generation += 1
            if job.tasks and job not in self.zombies:
                self.zombies.append(job)
                if not self.ha:
                    self._later(self.heartbeat_timeout * self.random.uniform(0.9, 1.0), self._give_up, job)
            job.lost = True
        self.judge.jobmanager_killed(self)
        self.jobs = {}
        self.coming = left if self.ha else []
        asked, self.asked = self.asked, []
        for future in asked:
            if not future.done():
                future.set_result(RESET)
        wait = self.random.uniform(1, 12)
        self._later(wait, self._begin, self.generation, left if self.ha else [])

    def _give_up(self, job: Job) -> None:
        """The task managers have missed the JobManager for long enough."""
        if job in self.zombies:
            self.zombies.remove(job)
            self._tasks_end(job)

    def _begin(self, generation: int, recovered: list[Job]) -> None:
        if generation != self.generation:
            return
        self.up = True
        if self.ha:
            self.electing = True
            self._later(self.random.uniform(5, 25), self._lead, generation, recovered)
            return
        self._later(self.random.uniform(0.5, 10), self._register, generation)

    def _register(self, generation: int) -> None:
        if generation == self.generation:
            self.task_managers_known = True

    def _lead(self, generation: int, recovered: list[Job]) -> None:
        if generation != self.generation:
            return
        self.electing = False
        self.task_managers_known = True
        self.coming = []
        for job in recovered:
            if job in self.zombies:
                self.zombies.remove(job)
            self._tasks_end(job)
            job.lost = False
            self.jobs[job.id] = job
            job.state = "INITIALIZING"
            self._restart_tasks(job)

    def fail(self, job: Job, why: str, *, restarts: bool) -> None:
        """The program throws: for good, or Flink starts its tasks again."""
        if job.final or job.lost or job.id not in self.jobs:
            return
        self._tasks_end(job)
        job.failure = why
        job.failures += 1
        job.failed_at.append(self.now_ms())
        job.generation += 1
        if restarts:
            job.state = "RESTARTING"
            self._later(self._pause(2), self._again, job, job.generation)
        else:
            self._end(job, "FAILED")

    def _again(self, job: Job, generation: int) -> None:
        if job.generation == generation and not job.lost and not job.final:
            self._restart_tasks(job)

    def _restart_tasks(self, job: Job) -> None:
        """From its newest checkpoint, or from where it began."""
        job.restored += 1
        newest = job.points[-1] if job.points else None
        if newest is not None:
            job.counted = dict(newest.states)
        else:
            job.counted = self._initial(job)
        self._deploy(job)

    def kill_task_managers(self) -> None:
        for job in list(self.jobs.values()):
            if job.tasks:
                self.fail(
                    job, "org.apache.flink.runtime.jobmaster.JobMasterException: TaskManager was lost", restarts=True
                )
        for job in list(self.zombies):
            self._give_up(job)

    def finish(self, job: Job) -> None:
        if not job.final and job.id in self.jobs and job.tasks:
            self._tasks_end(job)
            self._end(job, "FINISHED")

    # A job ----------------------------------------------------------------------------------

    def accept(
        self, job_id: str, name: str, program: Program, config: Mapping[str, str], restore: str | None, allow: bool
    ) -> Answer | None:
        """Take a job; an answer when it is refused."""
        if job_id in self.jobs:
            return error(
                400,
                "org.apache.flink.client.program.ProgramInvocationException: The main method caused an error",
                f"Caused by: {DUPLICATE}",
            )
        self.number = self.judge.next_order()
        job = Job(job_id, name, program, config, restore, allow, self, self.number)
        directory = config.get("execution.checkpointing.dir", "")
        match = re.search(r"/([^/]+)/checkpoints$", directory)
        job.owner = match.group(1) if match else name
        job.started_at = self.loop.time()
        job.asked_at = job.started_at - program.main - 1.0
        self.jobs[job_id] = job
        self.judge.accepted(job)
        if program.does_nothing:
            job.state = "RUNNING"
            self._later(self._pause(0.2), lambda: self._end(job, "FINISHED") if not job.final else None)
            return None
        self._later(self._pause(0.1), self._initialize, job, job.generation)
        return None

    def _initialize(self, job: Job, generation: int) -> None:
        if job.final or job.lost or job.generation != generation:
            return
        if job.state == "CANCELLING":
            return
        if job.restore:
            try:
                kept = self._read(job.restore)
            except (OSError, ValueError, KeyError) as reason:
                job.failure = (
                    "org.apache.flink.runtime.client.JobInitializationException: Could not start the JobMaster.\n"
                    f"Caused by: java.io.FileNotFoundException: Cannot find checkpoint or savepoint file/directory "
                    f"'{job.restore}': {reason}"
                )
                self._end(job, "FAILED")
                return
            mine = {o.uid for o in job.program.operators if o.stateful}
            left = {uid for uid in kept if uid not in mine}
            if left and not job.allow_lost:
                job.failure = (
                    "org.apache.flink.runtime.client.JobInitializationException: Could not start the JobMaster.\n"
                    "Caused by: java.lang.IllegalStateException: Failed to rollback to checkpoint/savepoint "
                    f"{job.restore}. Cannot map checkpoint/savepoint state for operator {sorted(left)[0]} to the new program"
                )
                self._end(job, "FAILED")
                return
            job.restored += 1
            job.numbers = HEAD.unpack_from(self.disk.read(f"{job.restore}/_metadata"))[2]
        job.counted = self._initial(job)
        self.judge.restored(job)
        self._deploy(job)

    def _initial(self, job: Job) -> dict[str, tuple[str, float]]:
        kept: Mapping[str, tuple[str, float]] = {}
        if job.restore:
            try:
                kept = self._read(job.restore)
            except (OSError, ValueError, KeyError):
                kept = {}
        return {
            o.uid: (kept[o.uid][0] if o.uid in kept else o.meaning, kept[o.uid][1] if o.uid in kept else 0.0)
            for o in job.program.operators
            if o.stateful
        }

    def _read(self, path: str) -> dict[str, tuple[str, float]]:
        body = json.loads(self.disk.read(f"{path}/_metadata")[HEAD.size :])
        return {uid: (m, n) for uid, (m, n) in body["states"].items()}

    def _deploy(self, job: Job) -> None:
        job.state = "RUNNING"
        self._later(self._pause(1.0), self._tasks_begin, job, job.generation)

    def _tasks_begin(self, job: Job, generation: int) -> None:
        if job.generation != generation or job.state != "RUNNING" or job.tasks:
            return
        if job.doomed is not None:
            self.fail(job, job.doomed, restarts=True)
            return
        job.tasks = True
        job.since = self.loop.time()
        self.judge.writes(job)
        if job.interval:
            self._later(job.interval, self._checkpoint, job, generation)
        if job.program.ends_after is not None:
            self._later(job.program.ends_after, self._done, job, generation)
        if job.program.fails_after is not None and not self.calm:
            self._later(job.program.fails_after, self._throws, job, generation)

    def _throws(self, job: Job, generation: int) -> None:
        if job.generation == generation and not self.calm:
            self.fail(job, "java.lang.IllegalStateException: it does this every time", restarts=False)

    def _done(self, job: Job, generation: int) -> None:
        if job.generation == generation:
            self.finish(job)

    def _tasks_end(self, job: Job) -> None:
        if job.tasks:
            job.counted = job.states(self.loop.time())
            job.tasks = False
            self.judge.writes_no_more(job)

    def _end(self, job: Job, state: str) -> None:
        self._tasks_end(job)
        job.state = state
        job.generation += 1
        self.judge.ended(job)

    # Checkpoints ----------------------------------------------------------------------------

    def _checkpoint(self, job: Job, generation: int) -> None:
        if job.generation != generation or not job.tasks or job.lost:
            return
        if not job.stopping:
            begun = self.loop.time()
            job.numbers += 1
            self._later(self._pause(0.3), self._completed, job, generation, job.numbers, begun, job.states(begun))
        assert job.interval is not None
        self._later(job.interval, self._checkpoint, job, generation)

    def _completed(
        self, job: Job, generation: int, number: int, begun: float, states: dict[str, tuple[str, float]]
    ) -> None:
        if job.generation != generation or job.lost or job.stopping:
            return
        point = self._write(job, f"{job.directory}/chk-{number}", states, begun, number, savepoint=False)
        if point is None:
            job.failed += 1
            return
        checkpoints = [p for p in job.points if not p.savepoint]
        for old in checkpoints[:-3]:
            self.disk.remove(old.path)
            job.points.remove(old)
            job.forgotten += 1

    def _write(
        self, job: Job, path: str, states: dict[str, tuple[str, float]], begun: float, number: int, *, savepoint: bool
    ) -> Point | None:
        try:
            head = HEAD.pack(0x4960672D, 6, number)
            self.disk.write(f"{path}/_metadata", head + json.dumps({"job": job.id, "states": states}).encode())
        except OSError:
            return None
        now = self.loop.time()
        point = Point(path, job.id, job.owner, savepoint, states, begun, now, job.order, number)
        job.points.append(point)
        job.completed += 1
        self.judge.completed(point)
        return point

    def _savepoint(self, job_id: str, trigger_id: str, directory: str, *, stop: bool) -> Answer:
        if trigger_id in self.triggers:
            return 202, {"request-id": trigger_id}
        trigger = self.triggers[trigger_id] = Trigger("IN_PROGRESS")
        self.judge.triggered(self.jobs.get(job_id), job_id, trigger_id, stop)
        job = self.jobs.get(job_id)
        if job is None or job.final:
            self._fail_trigger(
                trigger,
                f"org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job ({job_id})",
            )
            return 202, {"request-id": trigger_id}
        if not job.tasks or job.stopping:
            self._fail_trigger(
                trigger,
                "org.apache.flink.runtime.checkpoint.CheckpointException: Checkpoint triggering task is not being executed "
                "at the moment. Aborting checkpoint. Failure reason: Not all required tasks are currently running.",
            )
            return 202, {"request-id": trigger_id}
        job.stopping = stop
        self._later(self._pause(0.5), self._take, job, job.generation, trigger, trigger_id, directory, stop)
        return 202, {"request-id": trigger_id}

    def _fail_trigger(self, trigger: Trigger, why: str) -> None:
        trigger.state, trigger.failure, trigger.ended_at = "COMPLETED", why, self.loop.time()

    def _take(self, job: Job, generation: int, trigger: Trigger, trigger_id: str, directory: str, stop: bool) -> None:
        if job.generation != generation:
            job.stopping = False
            self._fail_trigger(trigger, "org.apache.flink.runtime.checkpoint.CheckpointException: The job has failed.")
            return
        now = self.loop.time()
        path = f"{directory.rstrip('/')}/savepoint-{job.id[:6]}-{trigger_id[:12]}"
        job.numbers += 1
        point = self._write(job, path, job.states(now), now, job.numbers, savepoint=True)
        if point is None:
            job.stopping = False
            self._fail_trigger(trigger, "java.io.IOException: No space left on device")
            return
        if not stop:
            trigger.state, trigger.path, trigger.ended_at = "COMPLETED", path, now
            return
        self._tasks_end(job)
        self._later(self._pause(0.2), self._stopped, job, generation, trigger, path)

    def _stopped(self, job: Job, generation: int, trigger: Trigger, path: str) -> None:
        if job.generation != generation:
            return
        trigger.state, trigger.path, trigger.ended_at = "COMPLETED", path, self.loop.time()
        job.stopped = True
        self._end(job, "FINISHED")

    # HTTP -----------------------------------------------------------------------------------

    def handle(self, method: str, path: str, more: Mapping[str, Any]) -> Answer | asyncio.Future[Answer]:
        """The answer of the JobManager at this moment, or a future when it takes it a while."""
        if self.electing:
            return 503, {
                "errors": ["Service temporarily unavailable due to an ongoing leader election. Please refresh."]
            }
        body = more.get("json") or {}
        parts = path.strip("/").split("/")
        match (method, *parts):
            case ("GET", "jobs", "overview"):
                return 200, {"jobs": [self._shown(job) for job in self.jobs.values()]}
            case ("GET", "overview"):
                used = sum(job.tasks for job in self.jobs.values())
                known = self.task_managers_known
                return 200, {
                    "taskmanagers": int(known),
                    "slots-total": self.slots if known else 0,
                    "slots-available": self.slots - used if known else 0,
                    "jobs-running": used,
                    "flink-version": self.version,
                }
            case ("GET", "jobmanager", "config"):
                found = [
                    {"key": "web.tmpdir", "value": self.identity},
                    {"key": "jobmanager.rpc.address", "value": self.name},
                    {"key": "rest.address", "value": self.name},
                    {"key": "heartbeat.timeout", "value": f"{int(self.heartbeat_timeout)} s"},
                ]
                if self.ha:
                    found += [
                        {"key": "high-availability.type", "value": "zookeeper"},
                        {"key": "high-availability.cluster-id", "value": f"/{self.name}"},
                    ]
                return 200, found
            case ("GET", "jobmanager", "environment"):
                return 200, {"jvm": {"options": [f"-Dlog.file=/opt/{self.name}/log/jobmanager.log"]}}
            case ("GET", "jobmanager", "logs"):
                return 200, {"logs": [{"name": "jobmanager.log", "size": 40, "mtime": self.now_ms()}]}
            case ("GET", "taskmanagers", _, "logs") if self.task_managers_known:
                return 200, {"logs": [{"name": "taskmanager.log", "size": 12, "mtime": self.now_ms()}]}
            case ("GET", "jobmanager", "logs", "jobmanager.log"):
                return 200, f"{self.name} leads\nand has a job\n".encode()
            case ("GET", "taskmanagers"):
                return 200, {"taskmanagers": [{"id": f"tm-{self.name}"}] if self.task_managers_known else []}
            case ("GET", "taskmanagers", _):
                if not self.task_managers_known:
                    return error(404, "not found")
                holding = [j.id for j in self.jobs.values() if j.tasks or j.state in ("RUNNING", "CANCELLING")]
                return 200, {"allocatedSlots": [{"jobId": i} for i in [*holding, *(j.id for j in self.zombies)]]}
            case ("GET", "taskmanagers", _, "stdout"):
                return 200, PRINTED
            case ("GET", "jars"):
                return 200, {"files": [{"id": i, "name": n} for i, n in self.jars.items()]}
            case ("POST", "jars", "upload"):
                name = more["files"]["jarfile"][0]
                jar_id = f"{len(self.jars)}-{self.generation}_{name}"
                self.jars[jar_id] = name
                return 200, {"filename": f"{self.identity}/flink-web-upload/{jar_id}", "status": "success"}
            case ("POST", "jars", jar_id, "run"):
                return self._run(jar_id, body)
            case ("DELETE", "jars", jar_id):
                self.jars.pop(jar_id, None)
                return 200, {}
            case ("POST", "savepoint-disposal"):
                trigger = f"d{len(self.disposals)}-{self.generation}"
                target = str(body["savepoint-path"])
                missing = not self.disk.exists(f"{target}/_metadata")
                self.disposals[trigger] = (target, "java.io.FileNotFoundException: Cannot find it" if missing else None)
                if not missing:
                    self.disk.remove(target)
                    self.judge.deleted_point(target)
                return 202, {"request-id": trigger}
            case ("GET", "savepoint-disposal", trigger):
                if trigger not in self.disposals:
                    return error(404, "no such operation")
                why = self.disposals[trigger][1]
                operation = {"failure-cause": {"stack-trace": why}} if why else {}
                return 200, {"status": {"id": "COMPLETED"}, "operation": operation}
        if parts[0] == "jobs" and len(parts) >= 2:
            return self._of_job(method, parts[1], parts[2:], body)
        return error(404, f"Not found: {path}")

    def _of_job(self, method: str, job_id: str, rest: list[str], body: Mapping[str, Any]) -> Answer:
        match (method, *rest):
            case ("POST", "stop"):
                return self._savepoint(job_id, str(body["triggerId"]), str(body["targetDirectory"]), stop=True)
            case ("POST", "savepoints"):
                return self._savepoint(job_id, str(body["triggerId"]), str(body["target-directory"]), stop=False)
            case ("GET", "savepoints", trigger_id):
                trigger = self.triggers.get(trigger_id)
                if trigger is not None and trigger.ended_at is not None and self.loop.time() - trigger.ended_at > 300:
                    trigger = None
                    del self.triggers[trigger_id]
                if trigger is None:
                    return error(
                        404,
                        "org.apache.flink.runtime.rest.handler.async.UnknownOperationKeyException: No ongoing operation",
                    )
                if trigger.state == "IN_PROGRESS":
                    return 200, {"status": {"id": "IN_PROGRESS"}}
                if trigger.failure:
                    return 200, {
                        "status": {"id": "COMPLETED"},
                        "operation": {"failure-cause": {"stack-trace": trigger.failure}},
                    }
                return 200, {"status": {"id": "COMPLETED"}, "operation": {"location": trigger.path}}
        job = self.jobs.get(job_id)
        if job is None:
            return error(
                404, f"org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job ({job_id})"
            )
        match (method, *rest):
            case ("PATCH",):
                return self._cancel(job)
            case ("GET",):
                return 200, {
                    "jid": job.id,
                    "name": job.name,
                    "state": job.state,
                    "vertices": [
                        {
                            "id": o.uid,
                            "name": o.meaning,
                            "status": "RUNNING" if job.tasks else "CREATED",
                            "parallelism": 1,
                            "metrics": {},
                        }
                        for o in job.program.operators
                    ],
                }
            case ("GET", "vertices", _, "taskmanagers"):
                place = {"taskmanager-id": f"tm-{self.name}", "endpoint": f"{self.name}:6122"}
                return 200, {"taskmanagers": [place]}
            case ("GET", "config"):
                found = job.config.get("pipeline.global-job-parameters", "")
                parameters = dict(item.split(":", 1) for item in found.split(",") if ":" in item)
                return 200, {"jid": job.id, "name": job.name, "execution-config": {"user-config": parameters}}
            case ("GET", "metrics"):
                return 200, [{"id": "numRestarts", "value": str(job.failures)}]
            case ("GET", "exceptions"):
                if job.failure is None:
                    return 200, {"exceptionHistory": {"entries": []}}
                entries = [{"stacktrace": job.failure, "timestamp": at} for at in job.failed_at[-16:]]
                return 200, {
                    "exceptionHistory": {
                        "entries": entries or [{"stacktrace": job.failure, "timestamp": self.now_ms()}]
                    },
                    "root-exception": job.failure,
                }
            case ("GET", "checkpoints", "config"):
                if not job.interval:
                    return error(
                        404,
                        "org.apache.flink.runtime.rest.handler.RestHandlerException: Checkpointing has not been enabled.",
                    )
                return 200, {"interval": int(job.interval * 1000)}
            case ("GET", "checkpoints"):
                return 200, self._checkpoints(job)
        return error(404, "Not found")

    def _checkpoints(self, job: Job) -> Any:
        shown = [self._point(p) for p in reversed(job.points)]
        if job.stopped and shown and shown[0]["is_savepoint"]:
            shown[0]["checkpoint_type"] = "SYNC_SAVEPOINT"
        return {
            "counts": {
                "completed": job.completed,
                "restored": job.restored,
                "failed": job.failed,
                "in_progress": 0,
                "total": job.completed + job.failed,
            },
            "history": shown[:10],
            "latest": {
                "completed": next((p for p in shown if not p["is_savepoint"]), None),
                "savepoint": next((p for p in shown if p["is_savepoint"]), None),
                "restored": {"external_path": job.restore} if job.restore else None,
            },
        }

    def _point(self, point: Point) -> Any:
        at = int((EPOCH + point.done + self.offset) * 1000)
        return {
            "id": 1,
            "status": "COMPLETED",
            "is_savepoint": point.savepoint,
            "external_path": point.path,
            "trigger_timestamp": int((EPOCH + point.begun + self.offset) * 1000),
            "latest_ack_timestamp": at,
        }

    def _cancel(self, job: Job) -> Answer:
        if job.final:
            return error(
                409, "org.apache.flink.runtime.messages.FlinkJobTerminatedWithoutCancellationException: Already ended"
            )
        if job.state != "CANCELLING":
            job.state = "CANCELLING"
            job.generation += 1
            self.judge.cancelled(job)
            self._later(self._pause(0.4), self._cancelled, job, job.generation)
        return 202, {}

    def _cancelled(self, job: Job, generation: int) -> None:
        if job.generation == generation and not job.lost:
            self._end(job, "CANCELED")

    def _shown(self, job: Job) -> Any:
        total = max(1, len(job.program.operators))
        return {
            "jid": job.id,
            "name": job.name,
            "state": job.state,
            "start-time": int((EPOCH + job.started_at + self.offset) * 1000),
            "tasks": {"total": total, "running": total if job.tasks else 0, "finished": 0},
        }

    def _run(self, jar_id: str, body: Mapping[str, Any]) -> Answer | asyncio.Future[Answer]:
        """The program's `main` runs in the JobManager; it is answered when that is over."""
        if jar_id not in self.jars:
            return error(
                500,
                "org.apache.flink.runtime.rest.handler.RestHandlerException: Jar file "
                f"{self.identity}/flink-web-upload/{jar_id} does not exist",
            )
        program = self.programs(self.jars[jar_id], body)
        future: asyncio.Future[Answer] = self.loop.create_future()
        self.asked.append(future)
        generation = self.generation

        def submit() -> None:
            if generation != self.generation or not self.up:
                return  # the main died with its JobManager, and so did the connection
            if program.refused:
                future.set_result(
                    error(400, f"org.apache.flink.client.program.ProgramInvocationException: {program.refused}")
                )
                return
            config = dict(body.get("flinkConfiguration") or {})
            refused = self.accept(
                str(body["jobId"]),
                config.get("pipeline.name", "a job"),
                program,
                config,
                body.get("savepointPath"),
                bool(body.get("allowNonRestoredState")),
            )
            future.set_result(refused or (200, {"jobid": body["jobId"]}))

        self._later(self._pause(0.1) + program.main, submit)
        return future
