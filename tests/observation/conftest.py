"""An observer over a scripted cluster and a Temporal that can be away, with real rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.service import RPCError, RPCStatusCode

from clusters.protocol import (
    AnotherFlink,
    Course,
    EngineHealth,
    JobSeen,
    Leader,
    Metrics,
    Overview,
    Ref,
    SharedByPrograms,
    Unreachable,
)
from core.jobs.observations import EngineState, Observation
from core.jobs.snapshot import JobSnapshot
from observation.observer import Observer
from settings import Settings, clock
from store.database import Database
from store.tables import Attempt, Cluster, Job
from store.vault import Vault
from tests.rows import attempt_row
from tests.store.test_store import add_job

ID = "a" * 32


class Time:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self._now, self._monotonic = datetime(2026, 1, 2, tzinfo=UTC), 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def go_on(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds


@dataclass
class Flink(Metrics, SharedByPrograms):
    """What it says of the attempt `ID`; `asked` counts the questions that are put per job."""

    state: EngineState = EngineState.RUNNING
    modified_at: int = 0
    says: str | None = None
    leads: str = "jm-1"
    identity: str | None = "flink-1"
    expected: str | None = None
    away: bool = False
    course_: Course | None = None
    asked: list[str] = field(default_factory=list)
    before_it_answers: Callable[[], Any] | None = None

    def _answers(self) -> None:
        if self.away:
            raise Unreachable("it is away")

    async def overview(self) -> Overview:
        self._answers()
        state, modified_at = self.state, self.modified_at
        if self.before_it_answers:
            await self.before_it_answers()
        if state is EngineState.MISSING:
            return Overview({})
        return Overview(
            {
                ID: JobSeen(
                    Ref(ID, ID), state, name="default:j", detail=self.says or state.value, modified_at=modified_at
                )
            }
        )

    async def leader(self) -> Leader:
        self._answers()
        self.asked.append("leader")
        if self.expected is not None and self.expected != self.identity:
            raise AnotherFlink(f"another Flink ({self.identity}), not the one that was registered ({self.expected})")
        return Leader(self.leads, False, 1.0, cluster=self.identity)

    async def started_by(self, flink_job_ids: Any) -> dict[str, str]:
        return {}

    async def health(self) -> EngineHealth:
        await self.leader()
        return EngineHealth(slots_total=1, leader=self.leads, cluster=self.identity)

    async def course(self, ref: Ref, *, whole: bool) -> Course | None:
        self.asked.append("course")
        return self.course_


class Temporal:
    """Takes signals, unless it is away; `lost`: it does not know the workflow until it is started."""

    def __init__(self) -> None:
        self.away = self.lost = False
        self.started: list[str] = []
        self.tries = 0
        self.signals: list[Observation] = []

    @property
    def told(self) -> list[str]:
        return [seen.state.value for seen in self.signals]

    def get_workflow_handle(self, _: str) -> Any:
        async def signal(name: str, seen: Observation, **_: Any) -> None:
            self.tries += 1
            if self.away:
                raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")
            if self.lost:
                raise RPCError("workflow not found for ID", RPCStatusCode.NOT_FOUND, b"")
            self.signals.append(seen)

        return SimpleNamespace(signal=signal)

    async def start_workflow(self, name: str, snapshot: JobSnapshot, **_: Any) -> None:
        self.started.append(f"{name} of {snapshot.project}:{snapshot.name}")
        self.lost = False


@dataclass
class World:
    database: Database
    flink: Flink
    temporal: Temporal
    time: Time
    job_id: str
    vault: Vault | None = None

    def observer(self, *, reports: bool = False) -> Observer:
        def get(cluster: Cluster) -> Flink:
            self.flink.expected = cluster.identity
            return self.flink

        engines = SimpleNamespace(get=get)
        services = SimpleNamespace(
            settings=Settings(),
            database=self.database,
            engines=engines,
            vault=self.vault,
            client=self.temporal,
            installation=SimpleNamespace(queues=SimpleNamespace(main="penstock")),
        )
        return Observer(services, reports=reports)  # type: ignore[arg-type]

    async def attempt(self) -> Attempt:
        async with self.database.read() as session:
            found = await session.get(Attempt, (self.job_id, 1))
            assert found is not None
            return found

    async def job(self) -> Job:
        async with self.database.read() as session:
            found = await session.get(Job, self.job_id)
            assert found is not None
            return found

    async def cluster(self) -> Cluster:
        async with self.database.read() as session:
            found = await session.get(Cluster, "local")
            assert found is not None
            return found

    async def write(self, **values: Any) -> None:
        """Change the job's row, as its workflow does."""
        async with self.database.write() as session:
            job = await session.get(Job, self.job_id)
            for key, value in values.items():
                setattr(job, key, value)


@pytest.fixture
def time() -> Iterator[Time]:
    made = Time()
    before = clock.use(made)
    yield made
    clock.use(before)


@pytest.fixture
async def world(database: Database, time: Time) -> World:
    """A job that runs as its attempt 1."""
    job = await add_job(database, state="RUNNING")
    async with database.write() as session:
        session.add(
            attempt_row(
                job.id, flink_job_id=ID, handle=ID, state="RUNNING", started_at=time.now(), seen="RUNNING", sequence=1
            )
        )
    made = World(database, Flink(), Temporal(), time, job.id)
    await made.write(current_attempt=1)
    return made
