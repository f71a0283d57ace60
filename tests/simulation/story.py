"""Stories: what people ask for and what breaks meanwhile, as a list of steps that can be read, repeated and shortened."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pydantic
from temporalio.client import RPCTimeoutOrCancelledError, WorkflowUpdateFailedError
from temporalio.service import RPCError

from activities import contracts as c
from api.clusters import service as clusters_api
from api.clusters.schemas import ClusterPatch, NewCluster
from api.commands import service as commands_api
from api.commands.schemas import NewCommand
from api.jobs import service as jobs_api
from api.jobs.schemas import JobPatch, NewJob
from api.recovery import schemas as recovery_schemas
from api.recovery import service as recovery_api
from api.security import EVERYBODY
from api.versions import NewVersion
from core.errors import PenstockError
from core.jobs.restore import RestoreRequest
from core.jobs.snapshot import JobSnapshot
from core.jobs.states import CommandKind, JobState
from tests.simulation.flink import Job, Program
from tests.simulation.judge import Sent, Violation
from tests.simulation.temporal import ActivityRun
from tests.simulation.world import HAS_SENT, HAS_WRITTEN, Died, World

STATE = "sim://state"
WHO_DOES_IT = "who does it"
"""In the place of a worker's name: the one on which the activity runs at whose moment a step is done."""
COMMANDS = ("start", "pause", "kill", "restart", "resubmit", "savepoint")


@dataclass(frozen=True)
class Moment:
    """`later` seconds after an activity `begins` or `ends` (its `edge`) for the `nth` time, whoever it is for: some faults
    matter only in a window that the clock hits by luck. A start has two more edges: it `has written` and `has sent`."""

    activity: str
    edge: str = "begins"
    nth: int = 1
    later: float = 0.0

    def words(self) -> str:
        often = {1: "", 2: " for the second time", 3: " for the third time"}[self.nth]
        return (f"{self.later:g} s after " if self.later else "as soon as ") + f"{self.activity} {self.edge}{often}"


@dataclass(frozen=True)
class Step:
    """After `wait` seconds: `verb`, about job number `job`, with `args`. With a moment `at` it is done when that moment
    comes next, and the story goes on meanwhile."""

    verb: str
    job: int = 0
    wait: float = 0.0
    args: tuple[tuple[str, Any], ...] = ()
    at: Moment | None = None

    def __getitem__(self, name: str) -> Any:
        return dict(self.args).get(name)

    def having(self, **args: Any) -> Step:
        return replace(self, args=tuple({**dict(self.args), **args}.items()))

    def words(self) -> str:
        shown = ", ".join(f"{k} {v}" for k, v in self.args if v is not None)
        about = f" job {self.job}" if self.verb in _ABOUT_JOBS else ""
        when = f"after {self.wait:g} s" + (f", {self.at.words()}" if self.at else "")
        return f"{when}: {self.verb.replace('_', ' ')}{about}" + (f" ({shown})" if shown else "")


_SQL = {"count": "COUNT(*)", "sum": "SUM(amt)", "double": "SUM(amt * 2)"}
_ABOUT_JOBS = {
    "create",
    "command",
    "delete",
    "version",
    "patch_job",
    "fails",
    "finishes",
    "doomed",
    "lose_workflow",
    "set_back",
    "by_hand",
    "adopt",
    "recreate",
}


def step(verb: str, job: int = 0, wait: float = 0.0, **args: Any) -> Step:
    return Step(verb, job, wait, tuple(args.items()))


@dataclass(frozen=True)
class Story:
    steps: tuple[Step, ...]
    ha: bool = False
    clusters: int = 1
    calm: bool = False
    """Nothing is lost or slow by chance: only the steps."""

    def words(self) -> list[str]:
        head = "a cluster with high availability" if self.ha else "a cluster"
        if self.clusters > 1:
            head += ", and another one"
        lines = [f"{head}; requests are {'never' if self.calm else 'sometimes'} lost or slow by chance"]
        return lines + [s.words() for s in self.steps]


@dataclass(frozen=True)
class Outcome:
    seed: int | str
    story: Story
    violations: tuple[Violation, ...]
    trace: str
    log: tuple[str, ...]
    counts: dict[str, int]
    seconds: float
    """Virtual ones."""

    @property
    def kinds(self) -> set[str]:
        return {v.invariant for v in self.violations}


class Teller:
    """Does the steps of a story in a world."""

    def __init__(self, world: World, story: Story):
        self.world, self.story = world, story
        self.ids: dict[int, str] = {}
        self.pending: list[asyncio.Task[None]] = []
        self.healed = False
        self.armed: list[tuple[Step, int]] = []
        """Steps whose moment is still to come, and how often it has to."""
        world.temporal.on_activity = self._activity

    async def tell(self) -> None:
        await self.begin()
        for one in self.story.steps:
            await self.take(one)
            if self.world.judge.violations:
                return
        await self.rest()

    async def begin(self) -> None:
        for n in range(self.story.clusters):
            await self._cluster(f"{'abc'[n]}", f"http://flink-{'abc'[n]}:8081")
        await asyncio.sleep(0.5)
        self._foreign()

    async def take(self, one: Step) -> None:
        """Do one step. What takes long goes on beside what comes next."""
        await asyncio.sleep(one.wait)
        if self.world.judge.violations:
            return
        self.world.tell(f"* {one.words()}")
        if one.at is not None:
            self.armed.append((one, one.at.nth))
            return
        task = self.world.loop.spawn(self._do(one), None)
        self.pending.append(task)
        await asyncio.wait([task], timeout=one["beside"] if one["beside"] is not None else 30.0)

    def _activity(self, run: ActivityRun, edge: str) -> None:
        """An activity begins or ends: what has waited for that is done."""
        waiting, self.armed = self.armed, []
        for one, times in waiting:
            assert one.at is not None
            if (run.activity.name, edge) != (one.at.activity, one.at.edge):
                self.armed.append((one, times))
            elif times > 1:
                self.armed.append((one, times - 1))
            else:
                if one["name"] == WHO_DOES_IT:
                    one = one.having(name=run.worker.process.name)
                self.pending.append(self.world.loop.spawn(self._later(one), None))

    async def _later(self, one: Step) -> None:
        assert one.at is not None
        if one.at.later:
            await asyncio.sleep(one.at.later)
        if not self.healed:
            self.world.tell(f"* now: {replace(one, at=None).words().partition(': ')[2]}")
            await self._do(one)

    async def _cluster(self, name: str, url: str) -> None:
        gateway = url.replace("flink", "gateway").replace("8081", "8083")
        new = NewCluster(name=name, jobmanager_url=url, gateway_url=gateway, flink_version="2.3.0", state_dir=STATE)
        await self.world.ask(lambda s: clusters_api.create(s, new))

    def _foreign(self) -> None:
        """A job of somebody else on the same Flink, and the workflow of a second installation in the same Temporal."""
        world = self.world
        world.judge.foreign.add("foreign")
        world.names["foreign"] = "a job of a second installation"
        config = {"execution.checkpointing.dir": "sim://other/foreign/checkpoints"}
        program = Program((), "other")
        world.flinks[0].accept("f" * 32, "default:job0", program, config, None, False)
        other = JobSnapshot(
            job_id="other",
            project="default",
            name="job0",
            type="jar",
            cluster="a",
            state_dir=STATE,
            state=JobState.PAUSED,
        )
        world.foreign_workflows.add("job-default:job0-other")
        world.temporal.begin("job-default:job0-other", "JobWorkflow", [other], "penstock-0ther000")

    async def rest(self) -> None:
        """Everything is well again: what is shown has to be right soon, and all that was asked for has to end."""
        world = self.world
        self.heal()
        begun = world.loop.time()
        await asyncio.sleep(world.view_bound + 50)
        world.judge.view()
        while world.loop.time() < begun + 900 and not world.judge.violations:
            busy = world.rows(
                "SELECT 1 FROM jobs WHERE deleted_at IS NULL AND (busy IS NOT NULL OR state IN ('RESTARTING', 'DEPLOYING'))"
            ) or world.rows(
                "SELECT 1 FROM commands c JOIN jobs j ON j.id = c.job_id WHERE c.state IN ('PENDING', 'RUNNING') AND j.deleted_at IS NULL"
            )
            if not busy:
                break
            await asyncio.sleep(20)
        if not world.judge.violations:
            world.judge.at_rest()

    def heal(self) -> None:
        world = self.world
        world.tell("* everything is well from here on")
        self.healed, self.armed = True, []
        world.chance.quiet = True
        world.disk.broken, world.disk.full, world.store.away = None, False, None
        for endpoint in world.network.endpoints.values():
            endpoint.mode = "ok"
        for gateway in world.gateways.values():
            gateway.slow = 0.0
        for flink in world.flinks:
            flink.calm = True
            world.network.endpoints[f"http://{flink.name}:8081"].server = flink
            for job in flink.jobs.values():
                job.doomed = None
        if world.temporal.down:
            world.temporal.start()
        for host in list(world.workers.values()):
            world.thaw(host.process)
        for name in ("worker-1", "worker-2"):
            if name not in world.workers or not world.workers[name].process.alive:
                world.start_worker(name)
        if not world.api.process.alive:
            world.start_api()
        world.thaw(world.api.process)
        for job_id in list(world.temporal.refuse_tasks):
            world.temporal.refuse_tasks.discard(job_id)
        world.reckon()
        world.well_since = world.loop.time() + 60.0

    # Steps ----------------------------------------------------------------------------------

    async def _do(self, one: Step) -> None:
        world = self.world
        if one.verb not in _ASKS:
            world.well_since = None
            if one.verb != "kill_jobmanager":
                world.trouble_at = max(world.trouble_at, world.loop.time() + float(one["back"] or 0.0))
        try:
            await getattr(self, f"_{one.verb}")(one)
        except (PenstockError, pydantic.ValidationError) as error:
            world.tell(f"  refused: {str(error)[:200]}")
        except (Died, RPCError, RPCTimeoutOrCancelledError, WorkflowUpdateFailedError, TimeoutError) as error:
            world.tell(f"  no answer: {type(error).__name__}: {str(error)[:100]}")

    def _spec(self, one: Step) -> dict[str, Any]:
        """A job that writes to a table of its own: a jar, or SQL with one aggregate per operator."""
        if one["sql"]:
            names = str(one["operators"]).split(",")
            sinks = [f"table{one.job}" + ("" if n == "count" else f"_{n}") for n in names]
            columns = "(id BIGINT, name STRING, amt DOUBLE)"
            lines = [f"CREATE TABLE src {columns} WITH ('connector' = 'datagen', 'rows-per-second' = '5');"]
            lines += [f"CREATE TABLE {s} {columns} WITH ('connector' = 'blackhole');" for s in sinks]
            where = " WHERE id > 5" if one["filtered"] else ""
            lines += [f"INSERT INTO {s} SELECT {_SQL[n]} FROM src{where};" for s, n in zip(sinks, names, strict=True)]
            return {"type": "sql", "sql": "\n".join(lines)}
        args = ["--output", f"table{one.job}"]
        for key in ("main", "operators", "ends_after", "fails_after"):
            if one[key]:
                args += [f"--{key.replace('_', '-')}", str(one[key])]
        return {
            "type": "jar",
            "git": {"url": "https://git.example.com/jobs.git", "ref": one["branch"] or "main"},
            "build": {"tool": "maven"},
            "entry_class": "dev.example.Program",
            "args": args,
        }

    async def _create(self, one: Step) -> None:
        new = NewJob.model_validate(
            {
                "name": f"job{one.job}",
                "cluster": one["cluster"] or "a",
                "spec": self._spec(one),
                "restart_policy": {"initial_backoff": one["backoff"] or 5, "max_restarts": 5, "jitter": 0.1},
                "savepoint_policy": {"interval": one["savepoints"]} if one["savepoints"] else {},
                "config": {"execution.checkpointing.interval": f"{one['checkpoints'] or 10} s"},
            }
        )
        made = await self.world.ask(lambda s: jobs_api.create(s, new))
        self.ids[one.job] = made.id
        count = sum(1 for n in self.world.names.values() if n.startswith(f"job{one.job}"))
        self.world.names[made.id] = f"job{one.job}" + (" again" if count else "")

    async def _recreate(self, one: Step) -> None:
        await self._create(one)

    async def _command(self, one: Step) -> None:
        world = self.world
        job = self.ids.get(one.job)
        if job is None:
            return
        restore: RestoreRequest | None = None
        if one["restore"] == "point":
            points = world.judge.points_of(job)
            if points:
                path = points[-1 - min(int(one["which"] or 0), len(points) - 1)].path + (one["spelled"] or "")
                restore = RestoreRequest(mode="point", point=path)
        elif one["restore"]:
            restore = RestoreRequest(mode=one["restore"])
        new = NewCommand(
            kind=CommandKind(one["kind"]),
            restore=restore,
            version=one["version"],
            rollback_within=one["rollback_within"],
            flink_job_id=one["flink_job_id"],
        )
        key = str(uuid.UUID(int=world.ids.getrandbits(128)))
        asked = (restore.mode, restore.point) if restore else None
        at = world.loop.time()
        world.judge.asking[job] = Sent(new.kind.value, asked, at)
        for _ in range(3 if one["again"] else 1):
            try:
                sent = await world.ask(lambda s: commands_api.send(s, EVERYBODY, job, new, key))
            except Died:
                continue  # sent again with the same key, when the API is back
            world.judge.sent[(job, sent.number)] = Sent(new.kind.value, asked, at)
            break

    async def _adopt(self, one: Step) -> None:
        """Take over the orphan that was an attempt of this job, if there is one."""
        job = self.ids.get(one.job)
        alive = self.world.judge.alive(job) if job else []
        if alive:
            await self._command(replace(one, args=(("kind", "adopt"), ("flink_job_id", alive[-1].id))))

    async def _delete(self, one: Step) -> None:
        job = self.ids.get(one.job)
        if job is None:
            return
        await self.world.ask(lambda s: jobs_api.delete(s, job))
        self.world.tell(f"  {self.world.name_of(job)} is deleted")
        self.world.judge.was_deleted(job)

    async def _version(self, one: Step) -> None:
        if one.job in self.ids:
            new = NewVersion.model_validate({"spec": self._spec(one)})
            await self.world.ask(lambda s: jobs_api.add_version(s, self.ids[one.job], new))

    async def _patch_job(self, one: Step) -> None:
        if one.job in self.ids:
            body: dict[str, Any] = {}
            if one["policy"] is not None:
                body["restart_policy"] = {"initial_backoff": one["policy"], "max_restarts": 3}
            if one["savepoints"] is not None:
                body["savepoint_policy"] = {"interval": one["savepoints"], "keep_last": 1, "keep_for": 0}
            if one["checkpoints"] is not None:
                body["config"] = {"execution.checkpointing.interval": f"{one['checkpoints']} s"}
            await self.world.ask(lambda s: jobs_api.patch(s, self.ids[one.job], JobPatch.model_validate(body)))

    async def _patch_cluster(self, one: Step) -> None:
        changes = ClusterPatch(jobmanager_url=f"http://flink-{one['to']}:8081")
        await self.world.ask(lambda s: clusters_api.patch(s, one["cluster"] or "a", changes))

    async def _read(self, one: Step) -> None:
        if one.job in self.ids:
            observer = self.world.observer
            await self.world.ask(lambda s: jobs_api.get(s, observer, self.ids[one.job]))

    async def _recover(self, one: Step) -> None:
        wanted = recovery_schemas.Recover(dry_run=bool(one["dry"]))
        await self.world.ask(lambda s: recovery_api.run(s, wanted))

    async def _settle(self, one: Step) -> None:
        """Wait until no command is under way."""
        for _ in range(int(one["most"] or 60)):
            if not self.world.rows("SELECT 1 FROM commands WHERE state IN ('PENDING', 'RUNNING')"):
                return
            await asyncio.sleep(1)

    async def _push(self, one: Step) -> None:
        """A commit is pushed to a branch."""
        branch = one["branch"] or "main"
        self.world.branches[branch] = self.world.branches.get(branch, 0) + 1

    # What breaks ----------------------------------------------------------------------------

    def _after(self, seconds: float, function: Any, *args: Any) -> None:
        from tests.simulation.loop import NEUTRAL

        self.world.loop.call_later(seconds, function, *args, context=NEUTRAL)

    async def _kill_worker(self, one: Step) -> None:
        host = self.world.workers.get(one["name"])
        if host is not None and host.process.alive:
            self.world.kill_process(host.process)
            self._after(one["back"], self._worker_back, one["name"], host)

    def _worker_back(self, name: str, host: Any) -> None:
        if self.world.workers.get(name) is host:
            self.world.start_worker(name)

    async def _freeze_worker(self, one: Step) -> None:
        host = self.world.workers.get(one["name"])
        if host is not None and host.process.alive:
            self.world.freeze(host.process)
            self._after(one["back"], self.world.thaw, host.process)

    async def _kill_api(self, one: Step) -> None:
        self.world.kill_process(self.world.api.process)
        self.world.start_api()

    async def _temporal_away(self, one: Step) -> None:
        self.world.temporal.stop()
        self.world.reckon()
        self._after(one["back"], self._temporal_back)

    def _temporal_back(self) -> None:
        if self.world.temporal.down:
            self.world.temporal.start()
            self.world.reckon()

    async def _wipe_temporal(self, one: Step) -> None:
        self.world.temporal.wipe()
        self.world.foreign_workflows.clear()

    def _workflows(self, one: Step) -> list[str]:
        """Ids of the workflows of the job that a step is about."""
        found = [(i, getattr(i.object, "_s", None)) for i in self.world.temporal.running.values()]
        return [i.id for i, s in found if i.name == "JobWorkflow" and s and s.job_id == self.ids.get(one.job)]

    async def _lose_workflow(self, one: Step) -> None:
        for id_ in self._workflows(one):
            self.world.temporal.lose(id_)

    async def _set_back(self, one: Step) -> None:
        """Somebody resets the workflow, or it comes from a backup of Temporal."""
        for id_ in self._workflows(one):
            self.world.temporal.set_back(id_, int(one["moments"]), again=bool(one["again"]))

    async def _database_away(self, one: Step) -> None:
        self.world.store.away = "database is locked"
        self.world.reckon()
        self._after(one["back"], self._database_back)

    def _database_back(self) -> None:
        self.world.store.away = None
        self.world.reckon()

    async def _network(self, one: Step) -> None:
        endpoint = self.world.network.endpoints[f"http://{one['to'] or 'flink-a:8081'}"]
        endpoint.mode = one["mode"]
        self._after(one["back"], setattr, endpoint, "mode", "ok")

    async def _kill_jobmanager(self, one: Step) -> None:
        self._flink(one).kill()

    async def _kill_gateway(self, one: Step) -> None:
        self.world.gateways["flink-a"].kill()

    async def _slow_gateway(self, one: Step) -> None:
        gateway = self.world.gateways["flink-a"]
        gateway.slow = one["seconds"]
        self._after(one["back"], setattr, gateway, "slow", 0.0)

    async def _kill_taskmanager(self, one: Step) -> None:
        self._flink(one).kill_task_managers()

    def _flink(self, one: Step) -> Any:
        return next(f for f in self.world.flinks if f.name == f"flink-{one['flink'] or 'a'}")

    def _current(self, one: Step) -> Job | None:
        owner = self.ids.get(one.job)
        return next((j for f in self.world.flinks for j in f.jobs.values() if j.owner == owner and not j.final), None)

    async def _fails(self, one: Step) -> None:
        job = self._current(one)
        if job is not None:
            job.flink.fail(
                job, "java.lang.IllegalStateException: a record that it cannot take", restarts=bool(one["restarts"])
            )

    async def _finishes(self, one: Step) -> None:
        job = self._current(one)
        if job is not None:
            job.flink.finish(job)

    async def _doomed(self, one: Step) -> None:
        """It throws whenever its tasks begin, until everything is well again."""
        job = self._current(one)
        if job is not None:
            job.doomed = "java.lang.IllegalStateException: it cannot go on"
            job.flink.fail(job, job.doomed, restarts=True)

    async def _clock(self, one: Step) -> None:
        """Somebody sets a clock."""
        world, by = self.world, one["by"]
        if one["of"] == "flink":
            for flink in world.flinks:
                flink.offset += by
            world.clock.offset += by
        elif one["of"] == "temporal":
            world.temporal.process.offset += by
            for instance in world.temporal.running.values():
                instance.process.offset += by
        else:
            host = world.workers.get(one["of"])
            if host is not None:
                host.process.offset += by

    async def _disk_away(self, one: Step) -> None:
        self.world.disk.broken = "Input/output error"
        self._after(one["back"], setattr, self.world.disk, "broken", None)

    async def _disk_full(self, one: Step) -> None:
        self.world.disk.full = True
        self._after(one["back"], setattr, self.world.disk, "full", False)

    async def _stranger(self, one: Step) -> None:
        """Another Flink answers at the address for a while."""
        world = self.world
        endpoint = world.network.endpoints["http://flink-a:8081"]
        if world.stranger is None:
            world.stranger = world.add_flink("flink-x")
            world.flinks.append(world.stranger)
        endpoint.server, world.stranger_since = world.stranger, world.loop.time()
        self._after(one["back"], setattr, endpoint, "server", world.flinks[0])

    async def _by_hand(self, one: Step) -> None:
        """Somebody runs an attempt of the job that has ended again, under its own id: a JobManager takes an id that it
        has not seen."""
        owner = self.ids.get(one.job)
        flink = self.world.flinks[0]
        ended = [j for j in self.world.judge.jobs if j.owner == owner and (j.final or j.lost) and j.flink is flink]
        ended = [j for j in ended if j.id not in flink.jobs]
        if ended and owner is not None and not self.world.judge.alive(owner) and flink.up and not flink.electing:
            old = ended[-1]
            self.world.judge.by_hand.add(old.id)
            flink.accept(old.id, old.name, old.program, old.config, None, True)


_ASKS = {
    "create",
    "recreate",
    "command",
    "delete",
    "version",
    "patch_job",
    "read",
    "recover",
    "settle",
    "push",
    "adopt",
}


def play(seed: int | str, story: Story, *, log: bool = False) -> Outcome:
    """One run of a story."""
    world = World(seed, ha=story.ha, clusters=story.clusters, calm=story.calm, log=log)
    world.run(lambda w: Teller(w, story).tell())
    violations = list(world.judge.violations)
    violations += [Violation("nothing unexpected is raised", t, world.loop.time()) for t in world.troubles]
    return Outcome(seed, story, tuple(violations), world.trace, tuple(world.log), world.judge.counts, world.loop.time())


# Making stories -----------------------------------------------------------------------------------


def invent(seed: int | str) -> Story:
    """A story: one or two jobs, some commands, some faults. What kinds of faults there are is drawn once for it. Every
    sixth begins as one that went wrong before (`SKELETONS`), every sixth has a part going away in the middle of an
    activity (`_at_a_moment`). A seed of `KIND:...` has only those of that skeleton."""
    random = Random(f"story {seed}")
    if ":" in (name := str(seed)):
        return next(s for s in SKELETONS if s.__name__ == f"_{name.split(':')[0]}")(random)
    kind = random.random()
    if kind < 1 / 6:
        return random.choice(SKELETONS)(random)
    if kind < 1 / 3:
        return _at_a_moment(random)
    jobs = 1 if random.random() < 0.85 else 2
    clusters = 2 if random.random() < 0.1 else 1
    steps: list[Step] = []
    sql = random.random() < 0.25
    for n in range(jobs):
        steps.append(_creation("create", n, random, sql=sql))
        steps.append(step("command", n, round(random.uniform(0, 0.5), 3), kind="start", again=True))
    kinds = random.sample(sorted(FAULTS), k=random.choice([1, 2, 2, 3]))
    kinds = [k for k in kinds if clusters > 1 or k != "patch_cluster"]
    kinds = [k for k in kinds if k not in RARE or random.random() < 0.5]
    for _ in range(random.choice([2, 3, 4, 5, 6])):
        wait = _wait(random)
        if random.random() < 0.5 and kinds:
            fault = FAULTS[random.choice(kinds)](random, random.randrange(jobs), wait)
            steps.append(timed(fault, _moment(random)) if random.random() < 0.2 else fault)
        else:
            steps.extend(_asked(random, random.randrange(jobs), wait, sql=sql))
    return Story(tuple(steps), ha=random.random() < 0.3, clusters=clusters, calm=random.random() < 0.25)


def _late_loss(random: Random) -> Story:
    """A command that failed while the cluster was away, and much later the cluster loses its jobs."""
    steps = [
        step("create", 0, main=0.2, operators="count", checkpoints=5, backoff=5, sql=random.choice([None, True])),
        step("command", 0, 0.1, kind="start", again=True),
        step(
            "network",
            0,
            random.uniform(8, 20),
            mode=random.choice(["hang", "refuse", "drop"]),
            back=round(random.uniform(125, 170), 1),
        ),
        step(
            "command",
            0,
            round(random.uniform(0, 5), 2),
            kind=random.choice(["pause", "pause", "kill", "restart"]),
            again=True,
        ),
        step("kill_jobmanager", 0, round(random.uniform(100, 420), 1)),
        step("settle", 0, 20.0, most=90, beside=95.0),
    ]
    return Story(tuple(steps), calm=random.random() < 0.5)


def _clock_of_a_worker(random: Random) -> Story:
    """The clock of one that looks is set, and the cluster loses its jobs soon after."""
    steps = [
        step("create", 0, main=0.2, operators="count", checkpoints=random.choice([5, 10]), backoff=5),
        step("command", 0, 0.1, kind="start", again=True),
        step("settle", 0, round(random.uniform(0, 60), 1), most=60, beside=65.0),
        step("clock", 0, 0.1, of="worker-1", by=round(random.choice([-1, -1, 1]) * random.uniform(20, 900), 1)),
        step("kill_jobmanager", 0, round(random.uniform(0, 8), 2)),
    ]
    return Story(tuple(steps), ha=random.random() < 0.2, calm=random.random() < 0.7)


def _clock_between(random: Random) -> Story:
    """A clock is set while one attempt follows another."""
    steps = [
        step("create", 0, main=0.2, operators="count", checkpoints=random.choice([5, 10]), backoff=1),
        step("command", 0, 0.1, kind="start", again=True),
        step("clock", 0, round(random.uniform(8, 40), 1), of="flink", by=-round(random.uniform(20, 900), 1)),
        step("command", 0, round(random.uniform(0, 9), 2), kind=random.choice(["restart", "pause"]), again=True),
        step("settle", 0, 0.5, most=60, beside=65.0),
        step(
            "command",
            0,
            round(random.uniform(5, 30), 2),
            kind=random.choice(["restart", "start", "savepoint"]),
            again=True,
        ),
        random.choice(
            [
                step("fails", 0, round(random.uniform(8, 30), 1)),
                step("kill_jobmanager", 0, 20.0),
                step("settle", 0, 1.0),
            ]
        ),
        step(
            "command",
            0,
            round(random.uniform(8, 40), 1),
            kind=random.choice(["restart", "resubmit", "start"]),
            restore="newest",
            again=True,
        ),
    ]
    return Story(tuple(steps), calm=random.random() < 0.7)


def _run_by_hand(random: Random) -> Story:
    """Somebody runs an attempt that has ended once more, under its own id."""
    steps = [
        step("create", 0, main=0.2, operators="count", checkpoints=5, backoff=5),
        step("command", 0, 0.1, kind="start", again=True),
        step("settle", 0, 5.0, most=60, beside=65.0),
        step("command", 0, round(random.uniform(0, 15), 1), kind=random.choice(["pause", "kill"]), again=True),
        step("settle", 0, 1.0, most=60, beside=65.0),
        step("kill_jobmanager", 0, 1.0),
        step("by_hand", 0, round(random.uniform(20, 60), 1)),
        step("command", 0, round(random.uniform(0.1, 40), 1), kind="start", restore="newest", again=True),
        step("settle", 0, 1.0, most=60, beside=65.0),
        step("command", 0, round(random.uniform(0, 20), 1), kind=random.choice(["kill", "kill", "adopt"]), again=True)
        if random.random() < 0.8
        else step("adopt", 0, 3.0),
    ]
    return Story(tuple(steps), calm=random.random() < 0.7)


def _two_at_once(random: Random) -> Story:
    """DELETE and a command at the same moment, then the name again."""
    first = random.choice(["start", "restart"])
    steps = [
        _creation("create", 0, random, sql=False),
        *(
            [
                step("command", 0, 0.1, kind="start", again=True),
                step("settle", 0, 3.0, most=90, beside=95.0),
                step("command", 0, 5.0, kind=random.choice(["pause", "kill"]), again=True),
                step("settle", 0, 1.0, most=90, beside=95.0),
            ]
            if random.random() < 0.5
            else []
        ),
        step(
            "command",
            0,
            0.2,
            kind=first,
            restore=random.choice([None, "newest", "none"]),
            again=True,
            beside=round(random.uniform(0, 0.03), 4),
        ),
        step("delete", 0),
        _creation("recreate", 0, random, sql=False),
        step("command", 0, round(random.uniform(0, 3), 2), kind="start", again=True),
    ]
    return Story(tuple(steps), calm=random.random() < 0.6)


def _fails_at_once(random: Random) -> Story:
    """A job that fails a moment after it was seen running, again and again, while answers overtake each other."""
    steps = [
        step(
            "create",
            0,
            main=0.2,
            operators="count",
            checkpoints=5,
            backoff=1,
            fails_after=round(random.uniform(0.05, 4), 2),
        ),
        step("command", 0, 0.1, kind="start", again=True),
        step("settle", 0, round(random.uniform(5, 60), 1), most=90, beside=95.0),
        random.choice(
            [
                step("temporal_away", 0, round(random.uniform(0, 20), 1), back=round(random.uniform(11, 40), 1)),
                step("read", 0, 1.0),
            ]
        ),
        step("read", 0, round(random.uniform(0, 5), 2)),
    ]
    return Story(tuple(steps))


def _ends_unseen(random: Random) -> Story:
    """A job ends while nobody can be told, or the cluster cannot be asked."""
    away = random.choice(
        [
            step("temporal_away", 0, round(random.uniform(5, 25), 1), back=round(random.uniform(11, 60), 1)),
            step("network", 0, round(random.uniform(5, 25), 1), mode="hang", back=round(random.uniform(11, 200), 1)),
        ]
    )
    end = random.choice(["finishes", "fails", "kill_jobmanager"])
    steps = [
        step("create", 0, main=0.2, operators="count", checkpoints=5, backoff=5),
        step("command", 0, 0.1, kind="start", again=True),
        away,
        step(end, 0, round(random.uniform(0, 10), 2)),
        step(
            "command", 0, round(random.uniform(0, 30), 2), kind=random.choice(["restart", "pause", "kill"]), again=True
        ),
        step(
            "network",
            0,
            round(random.uniform(0, 9), 2),
            mode=random.choice(["refuse", "hang"]),
            back=round(random.uniform(100, 1900), 1),
        ),
        step("settle", 0, round(random.uniform(0, 600), 1), most=600, beside=random.choice([5.0, 605.0, 605.0])),
    ]
    return Story(tuple(steps), ha=random.random() < 0.3)


def _start_is_cut_off(random: Random) -> Story:
    """A worker dies half way through a start, and its JobManager soon after or before; or a kill comes meanwhile."""
    edge = random.choice([*EDGES_OF_A_START, HAS_SENT, HAS_SENT])
    later = round(random.uniform(0, 6), 2)
    steps = [
        step("create", 0, main=0.2, operators="count", checkpoints=5, backoff=5, sql=random.choice([None, True])),
        timed(
            step("kill_worker", name=WHO_DOES_IT, back=round(random.uniform(1, 60), 1)),
            Moment(c.START_ATTEMPT, edge=edge, nth=random.choice([1, 1, 2])),
        ),
        timed(step("kill_jobmanager"), Moment(c.START_ATTEMPT, edge=edge, later=later)),
        step("command", 0, 0.1, kind="start", again=True),
        step("command", 0, round(random.uniform(0, 30), 2), kind=random.choice(["kill", "restart"]), again=True),
        step("settle", 0, 30.0, most=300, beside=305.0),
    ]
    if random.random() < 0.5:
        del steps[-2]
    return Story(tuple(steps), ha=random.random() < 0.2, calm=random.random() < 0.5)


EDGES_OF_A_START = ("begins", HAS_WRITTEN, HAS_SENT, "ends")
_FOLLOW = {
    "kill_jobmanager": (c.LOOK, c.DIAGNOSE, c.DIAGNOSE, c.RECORD, c.START_ATTEMPT, c.AWAIT_RUNNING),
    "fails": (c.DIAGNOSE, c.RECORD, c.START_ATTEMPT, c.AWAIT_RUNNING),
    "finishes": (c.DIAGNOSE, c.RECORD),
    "settle": (
        c.STOP,
        c.CANCEL,
        c.CANCEL_ALL,
        c.SAVEPOINT,
        c.GATHER,
        c.DIAGNOSE,
        c.START_ATTEMPT,
        c.AWAIT_RUNNING,
        c.RECORD,
    ),
}
"""What is done once something has happened to a job; last what is done for commands only."""


def _at_a_moment(random: Random) -> Story:
    """A part goes away in the middle of an activity that follows from something, often for longer than any command may
    take, and people want something of the job meanwhile."""
    away, long = round(random.uniform(1, 200), 1), round(random.uniform(750, 1500), 1)
    cut = step(
        "network", mode=random.choice(["refuse", "hang", "503", "drop"]), back=random.choice([away, long, long, long])
    )
    other = random.choice(
        [
            step("database_away", back=round(away / 4, 1)),
            step("temporal_away", back=away),
            step("kill_worker", name=WHO_DOES_IT, back=away),
            step("freeze_worker", name=WHO_DOES_IT, back=away),
            step("disk_away", back=random.choice([away, long])),
            step("kill_jobmanager"),
        ]
    )
    cause = random.choice(["kill_jobmanager"] * 3 + ["fails", "finishes", "settle"])
    activity = random.choice(_FOLLOW[cause])
    at = Moment(
        activity,
        edge=random.choice([*EDGES_OF_A_START] if activity == c.START_ATTEMPT else ["begins"] * 3 + ["ends"]),
        nth=random.choice([1, 1, 1, 1, 2]),
        later=random.choice([0.0, 0.0, round(random.uniform(0, 0.05), 3), round(random.uniform(0, 5), 2)]),
    )
    steps = [
        step("create", 0, main=0.2, operators="count", checkpoints=5, backoff=random.choice([1, 5])),
        step("command", 0, 0.1, kind="start", again=True),
        step("settle", 0, 8.0, most=60, beside=65.0),
        replace(random.choice([cut, cut, other]), wait=round(random.uniform(0, 10), 1), at=at),
        step(cause, 0, round(random.uniform(0, 3), 1)),
        *(
            step("command", 0, round(random.uniform(0, 100), 1), kind=kind, again=True)
            for kind in random.choice([(random.choice(COMMANDS),), (random.choice(COMMANDS), "kill")])
        ),
        step("settle", 0, 1.0, most=900, beside=905.0),
    ]
    return Story(tuple(steps), ha=random.random() < 0.2, calm=random.random() < 0.5)


def _workers_die(random: Random) -> Story:
    """Workers die again and again while something takes long."""
    steps = [
        step("create", 0, main=random.choice([0.2, 150.0, 700.0]), operators="count", checkpoints=5, backoff=5),
        step("command", 0, 0.1, kind="start", again=True),
    ]
    if random.random() < 0.7:
        steps.append(step("network", 0, 0.2, mode=random.choice(["hang", "drop"]), back=3000.0))
    for _ in range(random.choice([5, 15, 25])):
        steps += [
            step("kill_worker", 0, round(random.uniform(20, 80), 1), name="worker-1", back=2.0),
            step("kill_worker", 0, 0.1, name="worker-2", back=2.0),
        ]
    return Story(tuple(steps), calm=True)


def _away_behind_an_end(random: Random) -> Story:
    """The cluster takes the cancel or the stop of an attempt that another one is to follow, and then does not answer for
    longer than the command waits."""
    kind, restore = random.choice(
        [("restart", None), ("restart", "none"), ("resubmit", "newest"), ("resubmit", "none")]
    )
    moment = Moment(
        c.STOP if restore in (None, "newest") else c.CANCEL, edge="begins", later=round(random.uniform(0.0, 2.0), 2)
    )
    mode = random.choice(["refuse", "hang", "503", "drop"])
    steps = [
        step("create", 0, main=0.2, operators="count", checkpoints=5, backoff=5, sql=random.choice([None, True])),
        step("command", 0, 0.1, kind="start", again=True),
        step("settle", 0, 8.0, most=60, beside=65.0),
        timed(step("network", mode=mode, back=round(random.uniform(125, 400), 1)), moment),
        step("command", 0, round(random.uniform(0, 20), 2), kind=kind, restore=restore, again=True),
        step("settle", 0, 30.0, most=500, beside=505.0),
    ]
    return Story(tuple(steps), ha=random.random() < 0.3, calm=random.random() < 0.5)


def _lost_at_an_end(random: Random) -> Story:
    """A workflow that is lost around the moment at which it tells an attempt to end, for a command that starts another
    one or not."""
    kind = random.choice(["restart", "resubmit", "pause", "kill"])
    again = {"restart": random.choice(["newest", "point", "none", None]), "resubmit": "newest"}.get(kind)
    more = {"restore": again} if again else {}
    which = c.CANCEL if kind == "kill" or again in ("none", "point") else c.STOP
    lost = timed(step("lose_workflow", 0), Moment(which, later=round(random.uniform(0, 0.5), 3)))
    steps = [
        step("create", 0, main=0.2, operators="count", checkpoints=5, backoff=random.choice([1, 5]), sql=None),
        step("command", 0, 0.1, kind="start", again=True),
        step("command", 0, round(random.uniform(8, 20), 2), kind="savepoint", again=True),
        lost,
        step("command", 0, round(random.uniform(3, 12), 2), kind=kind, again=True, **more),
        step("settle", 0, round(random.uniform(1, 20), 1), most=200, beside=205.0),
    ]
    return Story(tuple(steps), ha=random.random() < 0.3, calm=random.random() < 0.7)


def _set_back(random: Random) -> Story:
    """A workflow that is set back behind what has become of its job since."""

    def one() -> Step:
        wait = round(random.choice([random.uniform(0, 1), random.uniform(1, 15), random.uniform(15, 60)]), 2)
        kind = random.choice(["fails", "kill_jobmanager", "finishes", "cut", "settle", *COMMANDS, *COMMANDS])
        if kind == "cut":
            return step("network", 0, wait, mode=random.choice(["refuse", "hang", "503"]), back=_back(random))
        if kind == "settle":
            return step("settle", 0, wait, most=90, beside=95.0)
        if kind not in COMMANDS:
            return step(kind, 0, wait)
        restores = random.choice([None, "newest", "newest", "none"])
        return step(
            "command",
            0,
            wait,
            kind=kind,
            restore=(restores or ("newest" if kind == "resubmit" else None))
            if kind in ("start", "restart", "resubmit")
            else None,
            again=True,
        )

    back = FAULTS["set_back"](random, 0, round(random.uniform(0, 30), 2))
    steps = [
        step("create", 0, main=0.2, operators="count", checkpoints=5, backoff=random.choice([1, 5])),
        step("command", 0, 0.1, kind="start", again=True),
        step("settle", 0, 5.0, most=60, beside=65.0),
        *(one() for _ in range(random.choice([1, 2, 2, 3]))),
        timed(back, replace(_moment(random), later=round(random.uniform(0, 2), 2))) if random.random() < 0.4 else back,
        *(one() for _ in range(random.choice([0, 1, 2]))),
        step("settle", 0, 1.0, most=300, beside=305.0),
    ]
    if random.random() < 0.2:
        steps.insert(-1, FAULTS["set_back"](random, 0, _wait(random)))
    return Story(tuple(steps), ha=random.random() < 0.2, calm=random.random() < 0.7)


def _set_back_in_a_step(random: Random) -> Story:
    """The same after commands only, one after the other: it does once more what an attempt of before was to do."""

    def settled(one: Step) -> list[Step]:
        return [one, step("settle", 0, round(random.uniform(0.2, 1), 2), most=90, beside=95.0)]

    def command(kind: str, restore: str | None = None) -> list[Step]:
        wait = round(random.choice([random.uniform(0, 2), random.uniform(2, 12)]), 2)
        return settled(step("command", 0, wait, kind=kind, restore=restore, again=True))

    steps = [
        step("create", 0, main=0.2, operators="count", checkpoints=5, backoff=random.choice([1, 5])),
        *command("start"),
    ]
    for _ in range(random.choice([1, 2, 2])):
        steps += command(random.choice(["kill", "kill", "pause", "restart"]))
        if random.random() < 0.4:
            steps += settled(step("kill_jobmanager", 0, round(random.uniform(0, 6), 2)))
        if random.random() < 0.6:
            steps += command("start", random.choice(["newest", "none"]))
    wait = round(random.uniform(0, 6), 2)
    steps += [
        step("set_back", 0, wait, moments=random.randint(1, 30), again=random.choice([True, False])),
        step("settle", 0, 1.0, most=300, beside=305.0),
    ]
    return Story(tuple(steps), ha=random.random() < 0.1, calm=random.random() < 0.7)


SKELETONS: list[Callable[[Random], Story]] = [
    _late_loss,
    _clock_between,
    _run_by_hand,
    _two_at_once,
    _fails_at_once,
    _ends_unseen,
    _start_is_cut_off,
    _workers_die,
    _away_behind_an_end,
    _lost_at_an_end,
    _set_back,
    _set_back_in_a_step,
    _clock_of_a_worker,
]


def _wait(random: Random) -> float:
    kind = random.random()
    if kind < 0.25:
        return round(random.uniform(0, 0.1), 3)
    if kind < 0.6:
        return round(random.uniform(0.1, 6), 2)
    return round(random.uniform(6, 45), 1)


def _creation(verb: str, job: int, random: Random, *, sql: bool) -> Step:
    return step(
        verb,
        job,
        0.0,
        sql=sql or None,
        main=round(random.choice([0.2, 0.2, 0.2, 1.0, 20.0, 90.0, 150.0]), 1),
        operators=random.choice(["count", "count", "count,sum", "sum,double"]),
        ends_after=random.choice([None, None, None, 40.0]),
        fails_after=random.choice([None, None, None, None, round(random.uniform(0.05, 3), 2), 12.0]),
        savepoints=random.choice([None, None, None, 30]),
        checkpoints=random.choice([5, 10, 30]),
        backoff=random.choice([1, 5, 20]),
    )


def _asked(random: Random, job: int, wait: float, *, sql: bool) -> list[Step]:
    verb = random.choices(
        ["command", "delete", "version", "patch_job", "read", "recover", "settle", "adopt", "recreate"],
        [60, 6, 6, 5, 4, 3, 14, 3, 4],
    )[0]
    if verb == "command":
        kind = random.choices(COMMANDS, [14, 22, 22, 16, 12, 10])[0]
        restore = (
            random.choices([None, "newest", "none", "point"], [50, 30, 12, 8])[0]
            if kind in ("start", "restart", "resubmit")
            else None
        )
        if kind == "resubmit" and restore is None:
            restore = "newest"
        if kind == "start" and restore is None and random.random() < 0.5:
            restore = "newest"
        made = step(
            "command",
            job,
            wait,
            kind=kind,
            restore=restore,
            which=random.choice([0, 0, 1, 2]) if restore == "point" else None,
            spelled=random.choice(["", "/"]) if restore == "point" else None,
            again=random.random() < 0.7,
        )
        if kind == "resubmit" and random.random() < 0.2:
            made = replace(made, args=(*made.args, ("rollback_within", 40.0)))
        if random.random() < 0.12:
            # At the same moment, something that does not go with it.
            other = random.choice(["delete", "command"])
            beside = replace(made, args=(*made.args, ("beside", round(random.uniform(0, 0.03), 4))))
            return [
                beside,
                step("delete", job)
                if other == "delete"
                else step("command", job, kind=random.choice(["kill", "pause"]), again=True),
            ]
        return [made]
    if verb == "delete":
        return [
            step("delete", job, wait),
            *(
                [_creation("recreate", job, random, sql=sql), step("command", job, 0.1, kind="start", again=True)]
                if random.random() < 0.6
                else []
            ),
        ]
    if verb == "version":
        operators = random.choice(["count", "count,sum", "sum,count", "sum,double", "double,sum"])
        return [step("version", job, wait, sql=sql or None, operators=operators, filtered=random.choice([None, True]))]
    if verb == "patch_job":
        key = random.choice(["policy", "savepoints", "checkpoints"])
        return [step("patch_job", job, wait, **{key: {"policy": 10, "savepoints": 30, "checkpoints": 5}[key]})]
    if verb == "recreate":
        return [step("delete", job, wait), _creation("recreate", job, random, sql=sql)]
    if verb == "settle":
        return [step("settle", 0, wait, most=90, beside=95.0)]
    return [step(verb, job, wait)]


def _back(random: Random) -> float:
    return round(random.choice([random.uniform(0.5, 8), random.uniform(8, 40), random.uniform(40, 160)]), 1)


FAULTS: dict[str, Any] = {
    "kill_worker": lambda r, j, w: step("kill_worker", 0, w, name=r.choice(["worker-1", "worker-2"]), back=_back(r)),
    "freeze_worker": lambda r, j, w: step(
        "freeze_worker", 0, w, name=r.choice(["worker-1", "worker-2"]), back=_back(r)
    ),
    "kill_api": lambda r, j, w: step("kill_api", 0, w),
    "temporal_away": lambda r, j, w: step("temporal_away", 0, w, back=_back(r)),
    "wipe_temporal": lambda r, j, w: step("wipe_temporal", 0, w),
    "lose_workflow": lambda r, j, w: step("lose_workflow", j, w),
    "set_back": lambda r, j, w: step(
        "set_back", j, w, moments=r.choice([1, 2, 3, 4, 6, 8, 13, 20, 40, 100]), again=r.choice([True, False])
    ),
    "database_away": lambda r, j, w: step("database_away", 0, w, back=round(r.uniform(0.5, 30), 1)),
    "network": lambda r, j, w: step(
        "network", 0, w, mode=r.choice(["refuse", "hang", "503", "html", "drop"]), back=_back(r)
    ),
    "kill_jobmanager": lambda r, j, w: step("kill_jobmanager", 0, w),
    "kill_gateway": lambda r, j, w: step("kill_gateway", 0, w),
    "slow_gateway": lambda r, j, w: step("slow_gateway", 0, w, seconds=r.choice([5.0, 70.0, 200.0]), back=_back(r)),
    "gateway_network": lambda r, j, w: step(
        "network", 0, w, to="gateway-a:8083", mode=r.choice(["refuse", "hang", "503", "drop"]), back=_back(r)
    ),
    "kill_taskmanager": lambda r, j, w: step("kill_taskmanager", 0, w),
    "fails": lambda r, j, w: step("fails", j, w, restarts=r.random() < 0.3),
    "finishes": lambda r, j, w: step("finishes", j, w),
    "doomed": lambda r, j, w: step("doomed", j, w),
    "clock": lambda r, j, w: step(
        "clock",
        0,
        w,
        of=r.choice(["flink", "flink", "temporal", "worker-1"]),
        by=round(r.choice([-1, 1]) * r.uniform(3, 400), 1),
    ),
    "disk_away": lambda r, j, w: step("disk_away", 0, w, back=_back(r)),
    "disk_full": lambda r, j, w: step("disk_full", 0, w, back=_back(r)),
    "stranger": lambda r, j, w: step("stranger", 0, w, back=_back(r)),
    "by_hand": lambda r, j, w: step("by_hand", j, w),
    "patch_cluster": lambda r, j, w: step("patch_cluster", 0, w, cluster="a", to=r.choice("ab")),
}


RARE = {"set_back"}
"""Faults that half of the stories leave out which could have them: what was set back may end BLOCKED."""


MOMENTS = (
    c.DIAGNOSE,
    c.LOOK,
    c.START_ATTEMPT,
    c.FENCE,
    c.STOP,
    c.CANCEL,
    c.AWAIT_RUNNING,
    c.RECORD,
    c.START_ATTEMPT,
    c.START_ATTEMPT,
    c.OPEN_ATTEMPT,
    c.GATHER,
    c.SAVEPOINT,
    c.CANCEL_ALL,
    c.RETAIN,
    c.RECOVER,
    c.PROVE,
    "check",
)
"""Activities at which any fault may be timed."""


def _moment(random: Random) -> Moment:
    activity = random.choice(MOMENTS)
    return Moment(
        activity,
        edge=random.choice([*EDGES_OF_A_START] if activity == c.START_ATTEMPT else ["begins", "begins", "ends"]),
        nth=random.choice([1, 1, 1, 2, 3]),
        later=random.choice([0.0, 0.0, round(random.uniform(0, 0.05), 3), round(random.uniform(0, 20), 2)]),
    )


def timed(fault: Step, at: Moment) -> Step:
    """A fault at a moment. A worker that is meant by its name is the one that the moment is about."""
    return replace(fault.having(name=WHO_DOES_IT) if fault["name"] else fault, at=at)


# Making them short --------------------------------------------------------------------------------


def shrink(outcome: Outcome, *, tries: int = 8, seconds: float = 30.0) -> Outcome:
    """The shortest story found that breaks one of the same invariants; for each shorter one a few seeds are tried."""
    best, end = outcome, time.monotonic() + seconds
    wanted = {outcome.violations[0].invariant}

    def attempt(story: Story, seeds: Sequence[int | str]) -> Outcome | None:
        for seed in seeds:
            if time.monotonic() > end:
                return None
            found = play(seed, story)
            if found.kinds & wanted:
                return found
        return None

    changed = True
    while changed and time.monotonic() < end:
        changed = False
        seeds = [best.seed, *(f"{best.seed}/{n}" for n in range(tries))]
        for shorter in _shorter(best.story):
            found = attempt(shorter, seeds if shorter.calm or len(shorter.steps) < len(best.story.steps) else seeds[:3])
            if found is not None:
                best, changed = found, True
                break
    return play(best.seed, best.story, log=True)


def _shorter(story: Story) -> list[Story]:
    found: list[Story] = []
    steps = story.steps
    if len(steps) > 4:
        found.append(replace(story, steps=steps[: len(steps) // 2]))
        found.append(replace(story, steps=steps[: len(steps) * 3 // 4]))
    found += [replace(story, steps=steps[:n] + steps[n + 1 :]) for n in range(len(steps) - 1, 0, -1)]
    if not story.calm:
        found.append(replace(story, calm=True))
    if story.ha:
        found.append(replace(story, ha=False))
    for n, one in enumerate(steps):
        plainer: list[Moment | None] = [] if one.at is None else [Moment(one.at.activity), replace(one.at, later=0.0)]
        if one.at is not None and one["name"] != WHO_DOES_IT:
            plainer.insert(0, None)
        found += [
            replace(story, steps=(*steps[:n], replace(one, at=at), *steps[n + 1 :])) for at in plainer if at != one.at
        ]
        for key, value in one.args:
            plain = {
                "savepoints": None,
                "ends_after": None,
                "main": 0.2,
                "operators": "count",
                "rollback_within": None,
            }.get(key, value)
            if plain != value:
                args = tuple((k, plain if k == key else v) for k, v in one.args)
                found.append(replace(story, steps=(*steps[:n], replace(one, args=args), *steps[n + 1 :])))
    return found


def told(outcome: Outcome) -> str:
    """A story in words, with what was seen."""
    lines = [f"seed {outcome.seed!r}", *(f"  {w}" for w in outcome.story.words())]
    if outcome.log:
        lines += ["what happened:", *(f"  {line}" for line in outcome.log)]
    lines += ["broken:", *(f"  {v}" for v in outcome.violations)]
    return "\n".join(lines)
