"""One run: the simulated world, with the real API services, workflows, activities, store and observer in it."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import hashlib
import random
import sys
import tempfile
import uuid
import warnings
import zipfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import structlog

import builds.git
import clusters.flink.fence
import clusters.flink.http
import clusters.flink.rest
from activities.build import Builder
from activities.record import Recorder
from activities.submit import Submitter
from builds.artifacts import Artifacts
from clusters.registry import Engines
from core import names
from observation.observer import Observer
from services import Services
from settings import Settings, clock
from store.vault import Vault
from tests.simulation import database, files
from tests.simulation.chance import Chance
from tests.simulation.flink import Flink, Operator, Program
from tests.simulation.gateway import Gateway
from tests.simulation.judge import Judge
from tests.simulation.loop import Process, SimClock, SimLoop
from tests.simulation.network import Client, Endpoint, Network
from tests.simulation.temporal import SimClient, Temporal, Worker, come_to
from worker.main import WORKFLOWS, activities_of
from worker.temporal import keep_prepared, prepare

T = TypeVar("T")
HAS_WRITTEN, HAS_SENT = "has written", "has sent"
"""How far a start has come, between its begin and its end."""
HOME = Path(tempfile.gettempdir()) / "penstock-simulation"
SETTINGS = Settings(
    authentication=False,
    local_token=False,
    home=HOME,
    cache=HOME / "cache",
    database_url="sqlite+aiosqlite:///simulated",
    secret_key="MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",  # type: ignore[arg-type]
    host="simulated",
    watch_interval=10,
    watch_interval_busy=2,
    check_interval=600,
    submit_timeout=120,
    stop_timeout=120,
    running_timeout=60,
    plan_timeout=30,
    lost_grace=5,
    cannot_tell_after=60,
    recovery_interval=60,
)
INSTALLATION = names.Installation("51b1a7ed")


@atexit.register
def collect() -> None:
    """Drop what runs have left. Coroutines that were cut off complain when they are closed; nobody has to know."""
    kept, sys.unraisablehook = sys.unraisablehook, lambda _: None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()
    sys.unraisablehook = kept


def leave() -> None:
    """When a test with a world is over: drop what it has left, and let the collector go on as before. What there is then
    (pytest's own, all modules) it does not look at again: that would take longer than most tests."""
    collect()
    gc.freeze()
    gc.enable()


class Died(Exception):
    """The API process was killed before it answered."""


class Shared:
    """What all runs of this process share: the migrated database to copy from, and SQLAlchemy's engine."""

    made: Shared | None = None

    def __init__(self) -> None:
        HOME.mkdir(exist_ok=True)
        self.jar = HOME / "program.jar"
        with zipfile.ZipFile(self.jar, "w") as archive:
            archive.writestr("dev/example/Program.class", b"")
        self.fence = HOME / "penstock-fence-0123456789abcdef.jar"
        self.fence.write_bytes(b"does nothing")
        with tempfile.TemporaryDirectory() as folder:
            self.template = asyncio.run(database.migrated(f"{folder}/template.db", INSTALLATION.id))
        self.database: Any = database.SimDatabase()
        # What a run leaves is collected when it is over, and at no other time: finalizers run code.
        gc.collect()
        gc.freeze()

    @staticmethod
    def get() -> Shared:
        if Shared.made is None:
            Shared.made = Shared()
        return Shared.made


class Host:
    """A process of ours with services of its own."""

    def __init__(self, world: World, name: str):
        self.process = Process(name)
        self.services = Services(
            settings=world.settings,
            database=world.shared.database,
            engines=Engines(world.settings),
            artifacts=Artifacts(world.settings.artifact_root()),
            vault=Vault(SETTINGS.secret_key.get_secret_value(), HOME / "secret.key"),
            client=SimClient(world.temporal),  # type: ignore[arg-type]
            installation=INSTALLATION,
        )


def _at(home: Path) -> dict[str, Any]:
    """Settings of a world with files, and with an API that is asked over HTTP."""
    of_access = {"authentication": True, "local_token": True}
    return {"home": home, "cache": home / "cache", "git_local_roots": [home], **of_access}


class World:
    runs = 0

    """`seed` decides everything that is left to chance. `ha` of the first Flink; `clusters` is how many there are.
    `home` is a folder for what is built: then it is built, where otherwise a build is a wait and a hash."""

    def __init__(
        self,
        seed: int | str,
        *,
        ha: bool = False,
        clusters: int = 1,
        calm: bool = False,
        log: bool = False,
        home: Path | None = None,
    ):
        self.shared = Shared.get()
        self.seed = seed
        self.log: list[str] = []
        self.logs = log
        self.chance = Chance(seed, calm=calm)
        # Looks are most of what a run costs: few runs look as often as in production.
        self.builds = home is not None
        self.settings = SETTINGS.model_copy(
            update={
                **(_at(home) if home else {}),
                "watch_interval": self.chance.random.choice([10.0, 30.0, 30.0]),
                "watch_interval_busy": self.chance.random.choice([1.0, 5.0, 10.0]),
                "recovery_interval": self.chance.random.choice([60.0, 120.0]),
            }
        )
        self.loop = SimLoop(self.chance.disk)
        self.clock = SimClock(self.loop)
        self.ids = random.Random(f"ids {seed}")
        self.well_since: float | None = 0.0
        self.trouble_at = 0.0
        """When the last fault (but for the loss of a JobManager) is over."""
        self.view_bound = 100.0
        self.names: dict[str, str] = {}
        self.outages: list[tuple[float, float]] = []
        self.branches: dict[str, int] = {}
        self.foreign_workflows: set[str] = set()
        self.stranger: Flink | None = None
        self.stranger_since: float | None = None
        self.gateways: dict[str, Gateway] = {}
        self.hash = hashlib.blake2b(digest_size=8)
        self.troubles: list[str] = []
        with self.entered():
            self.store = database.Store(self.shared.template, self.chance.store)
            database.CURRENT[:] = [self.store]
            self.disk = files.Disk(lambda: 1_700_000_000.0 + self.loop.time() + self.clock.offset)
            files.use(self.disk)
            self.judge = Judge(self)
            self.store.on_commit = self._committed
            self.network = Network(self.loop, self.chance)
            self.temporal = Temporal(self.loop, self.chance, WORKFLOWS)
            self.flinks = [self.add_flink(f"flink-{'abc'[n]}", ha=ha and n == 0) for n in range(clusters)]
            self.workers: dict[str, Host] = {}
            self.api = Host(self, "API")
            self.observer = Observer(self.api.services)
            self.loop.on_turn = self.temporal.moved
            self.loop.on_step = self._step

    # Running --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Everything that reads time, makes ids or asks a Flink is ours meanwhile."""
        before = clock.use(self.clock)
        kept = (
            uuid.uuid4,
            clusters.flink.http.new_client,
            Artifacts.jar,
            Artifacts.scratch,
            builds.git.resolve,
            builds.git.check_local,
            builds.git.checkout,
            Builder._make,
            sys.unraisablehook,
            clusters.flink.fence.jar,
        )
        logging = structlog.get_config()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50), cache_logger_on_first_use=False)
        state = random.getstate()
        random.seed(f"module {self.seed}")
        uuid.uuid4 = lambda: uuid.UUID(int=self.ids.getrandbits(128), version=4)
        real_client = clusters.flink.http.new_client
        clusters.flink.http.new_client = lambda timeout, transport: (
            real_client(timeout, transport) if transport else Client(self.network, timeout)
        )  # type: ignore[assignment,return-value]
        clusters.flink.fence.jar = self._fence_jar
        if not self.builds:
            Artifacts.jar = lambda artifacts, sha256: self.shared.jar  # type: ignore[method-assign]
            Artifacts.scratch = lambda artifacts: contextlib.nullcontext(HOME)  # type: ignore[method-assign,assignment]
            builds.git.resolve = self._resolve
            builds.git.check_local = lambda source, roots: None
            builds.git.checkout = _checkout
            Builder._make = self._make  # type: ignore[method-assign,assignment]
        sys.unraisablehook = lambda _: None
        try:
            yield
        finally:
            clock.use(before)
            (
                uuid.uuid4,
                clusters.flink.http.new_client,
                Artifacts.jar,
                Artifacts.scratch,  # type: ignore[misc,method-assign]
                builds.git.resolve,
                builds.git.check_local,
                builds.git.checkout,
                Builder._make,
                sys.unraisablehook,  # type: ignore[method-assign]
                clusters.flink.fence.jar,
            ) = kept
            random.setstate(state)
            structlog.configure(**logging)

    def run(self, story: Callable[[World], Awaitable[T]]) -> T:
        """Begin everything, do `story`, and leave nothing behind."""
        with self.opened() as play:
            return play(story(self))

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[Awaitable[Any]], Any]]:
        """The same for a story in parts: gives what plays a part of it."""
        with self.entered():
            gc.disable()  # for good: what is collected in the middle of a run would run finalizers there
            try:
                for name in ("worker-1", "worker-2"):
                    self.start_worker(name)
                yield lambda part: self.loop.run_until_complete(_awaited(part))
            finally:
                self._leave()
                World.runs += 1
                if World.runs % 10 == 0:
                    collect()
                    gc.freeze()  # what runs have left over (about 1 MB each) is not looked at each time again

    def _leave(self) -> None:
        self.troubles += [*self.temporal.troubles, *self.loop.troubles]
        self.loop.leave()
        self.temporal.running.clear()
        self.temporal.closed.clear()
        for host in [self.api, *self.workers.values()]:
            host.process.parked.clear()
            host.process.tasks.clear()

    def _step(self, handle: asyncio.Handle) -> None:
        pass

    def _committed(self, touched: set[str]) -> None:
        self.hash.update(f"{self.loop.time():.9f} {self.loop.steps} {sorted(touched)}".encode())
        self.judge.on_commit(touched)

    def tell(self, words: str) -> None:
        self.hash.update(words.encode())
        if self.logs:
            self.log.append(f"{self.loop.time():9.2f} s  {words}")

    @property
    def trace(self) -> str:
        """The same for the same seed and story."""
        return self.hash.hexdigest()

    # Looking --------------------------------------------------------------------------------

    def row(self, query: str, *args: Any) -> Any:
        return self.store.db.execute(query, args).fetchone()

    def rows(self, query: str, *args: Any) -> list[Any]:
        return self.store.db.execute(query, args).fetchall()

    def name_of(self, owner: str) -> str:
        return self.names.get(owner, owner)

    def workflow_id(self, project: str, name: str, written: str | None) -> str:
        return written or names.job_workflow_id(project, name)

    def bound(self, kind: str) -> float:
        """Seconds that a command may take when all that it needs is well."""
        return {"kill": 150.0, "savepoint": 150.0, "pause": 200.0, "any": 700.0}.get(kind, 500.0)

    def blind(self, since: float, until: float) -> float:
        """Seconds in between in which no worker, no Temporal or no database was there."""
        open_ = [] if self._outage is None else [(self._outage, until)]
        return sum(max(0.0, min(until, b) - max(since, a)) for a, b in [*self.outages, *open_])

    _outage: float | None = None

    def reckon(self) -> None:
        """Note since when all is well, and whether we can do anything at all."""
        able = any(h.process.runs for h in self.workers.values()) and not self.temporal.down and not self.store.away
        if not able and self._outage is None:
            self._outage = self.loop.time()
        elif able and self._outage is not None:
            self.outages.append((self._outage, self.loop.time()))
            self._outage = None

    # Parts ----------------------------------------------------------------------------------

    def add_flink(self, name: str, *, ha: bool = False) -> Flink:
        made = Flink(name, self.loop, self.chance, self.disk, self.judge, ha=ha)
        made.programs = self.program
        gateway = self.gateways[name] = Gateway(made)
        self.network.endpoints[f"http://{name}:8081"] = Endpoint(made)
        self.network.endpoints[f"http://{name.replace('flink', 'gateway')}:8083"] = Endpoint(gateway)
        return made

    def start_worker(self, name: str) -> None:
        host = self.workers[name] = Host(self, name)
        queues = INSTALLATION.queues
        activities = activities_of(host.services, Observer(host.services, reports=True))
        worker = Worker(host.process, {queues.of(k): {_name(f): f for f in fs} for k, fs in activities.items()})

        async def begin() -> None:
            await asyncio.sleep(self.chance.rpc())
            while True:
                try:
                    await prepare(host.services)
                    break
                except Exception:  # the process ends, and is begun again by whoever runs it
                    await asyncio.sleep(2)
            self.temporal.add_worker(worker)
            self.reckon()
            await keep_prepared(host.services)

        self.loop.spawn(begin(), host.process)

    def kill_process(self, process: Process) -> None:
        process.alive = False
        self.store.release(process)
        self.temporal.changed()
        self.reckon()

    def freeze(self, process: Process) -> None:
        process.frozen = True
        self.temporal.changed()
        self.reckon()

    def thaw(self, process: Process) -> None:
        if process.alive and process.frozen:
            self.loop.thaw(process)
            self.temporal.changed()
            self.reckon()

    def start_api(self) -> None:
        self.api = Host(self, "API")
        self.observer = Observer(self.api.services)

    async def ask(self, work: Callable[[Services], Awaitable[T]]) -> T:
        """Something that the API does. Raises what it raises, and `Died` when its process was killed meanwhile."""
        host = self.api
        await asyncio.sleep(self.chance.rpc())
        task = self.loop.spawn(_awaited(work(host.services)), host.process)
        done: asyncio.Future[None] = self.loop.create_future()
        task.add_done_callback(lambda _: done.done() or done.set_result(None), context=contextless())
        while not done.done():
            await asyncio.wait([done], timeout=1.0)
            if not host.process.alive and not done.done():
                raise Died
        result: T = task.result()
        return result

    # Programs -------------------------------------------------------------------------------

    def program(self, jar: str, body: Any) -> Program:
        """What a jar does, by its arguments."""
        args = list(body.get("programArgsList") or [])
        options = dict(zip(args[::2], args[1::2], strict=False))
        made = tuple(Operator(f"uid-{o}", o) for o in options.get("--operators", "count").split(","))
        ends, fails = options.get("--ends-after"), options.get("--fails-after")
        return Program(
            operators=(Operator("source", "source"), *made),
            output=options.get("--output", ""),
            main=float(options.get("--main", "0")),
            ends_after=float(ends) if ends else None,
            fails_after=float(fails) if fails else None,
            does_nothing=body.get("entryClass") == clusters.flink.fence.ENTRY_CLASS,
        )

    async def _fence_jar(self, folder: Path) -> Path:
        await asyncio.sleep(self.chance.disk())
        return self.shared.fence

    async def _resolve(self, source: Any) -> str:
        await asyncio.sleep(self.chance.disk())
        return hashlib.sha1(f"{source.url} {source.ref} {self.branches.get(source.ref, 0)}".encode()).hexdigest()

    async def _make(self, spec: Any, wanted: Any, root: Path, source: Path, tell: Any) -> tuple[str, int]:
        await asyncio.sleep(0.2 + self.chance.disk())
        return hashlib.sha256(wanted.commit.encode()).hexdigest(), 1000


async def _checkout(source: Any, commit: str, folder: Path, tell: Any) -> Path:
    return folder


async def _awaited(work: Awaitable[T]) -> T:
    return await work


def contextless() -> Any:
    from tests.simulation.loop import NEUTRAL

    return NEUTRAL.copy()


def _come_to(owner: type, name: str, edge: str) -> None:
    """Moments inside of an activity: when a method of it is done."""
    original = getattr(owner, name)

    async def wrapped(self: Any, *args: Any, **more: Any) -> Any:
        result = await original(self, *args, **more)
        come_to(edge)
        return result

    setattr(owner, name, wrapped)


_come_to(Recorder, "open", HAS_WRITTEN)
_come_to(Submitter, "send", HAS_SENT)


def _name(function: Any) -> str:
    return str(getattr(function, "__temporal_activity_definition").name)
