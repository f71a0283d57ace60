"""One question to a cluster, compared with what is known, told to whom it concerns.

The watch activity, a job's own check and a page that someone opens all come through here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import structlog
from temporalio.service import RPCError, RPCStatusCode

from clusters.protocol import AnotherFlink, Identified, JobSeen, Metrics, Overview, Ref, SharedByPrograms
from clusters.registry import kind_of
from core.effects import EngineError
from core.jobs import messages
from core.jobs.observations import ENDED, FINAL, EngineState, Observation, disagrees, in_order
from core.jobs.states import AttemptState, JobState
from core.names import old_job_workflow_id
from observation import previews
from observation.condition import Conditions
from observation.losses import Losses
from observation.orphans import OrphanWatch
from services import Services
from settings import clock, waits
from store import attempts, clusters, jobs
from store.tables import Cluster
from temporal.client import tell
from temporal.delivery import start_job

log = structlog.get_logger()

_IN_TRANSITION = frozenset({"DEPLOYING", "DEPLOYED"})


@dataclass(frozen=True)
class Look:
    """What one question gave: `busy` when something on the cluster is in transition."""

    at: datetime
    reachable: bool
    busy: bool
    changed: int = 0


@dataclass(frozen=True)
class _Told:
    """What the workflow of an attempt was told last, when (monotonic seconds), and how long that is left to work."""

    state: EngineState
    at: float
    wait: float


class Told:
    """When a workflow is told what its cluster says: at once when that changes, and again as long as what the
    workflow has written says otherwise. Of a signal that could not be sent nothing is kept."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, int], _Told] = {}
        self._failed: set[tuple[str, int]] = set()
        self._sent_now: dict[tuple[str, int], float] = {}
        """Since when (monotonic seconds) an attempt has been seen that its start has not written of yet."""

    def is_due(self, row: Mapping[str, Any], observation: Observation) -> bool:
        """Whether the workflow of an attempt (`row` is one of `attempts.open_on`) has to be told what was seen now."""
        key = (row["job_id"], row["number"])
        if self._is_looked_at(key, row, observation):
            return False
        if key in self._failed or observation.state.value != row["seen"]:
            return True
        if row["number"] != row["current_attempt"] or not disagrees(
            observation, JobState(row["job_state"]), row["reason"]
        ):
            return False
        last = self._told.get(key)
        if last is not None and last.state is observation.state:
            return clock.monotonic() - last.at >= last.wait
        written = in_order(int(row["sequence"]), observation.sequence)
        return observation.sequence == written or observation.sequence - written >= waits.SETTLE_SECONDS * 1000

    def _is_looked_at(self, key: tuple[str, int], row: Mapping[str, Any], observation: Observation) -> bool:
        """The step that sends an attempt looks at it, too, and writes what it has seen: for a moment it is left to
        that. An end is told at once."""
        if row["state"] != AttemptState.RECORDED or observation.state in ENDED:
            return False
        since = self._sent_now.setdefault(key, clock.monotonic())
        return clock.monotonic() - since < waits.SETTLE_SECONDS

    def sent(self, row: Mapping[str, Any], observation: Observation) -> None:
        """It was told."""
        key = (row["job_id"], row["number"])
        last = self._told.get(key)
        again = last is not None and last.state is observation.state
        wait = waits.TELL_AGAIN_PACE.after(last.wait) if last is not None and again else waits.TELL_AGAIN_PACE.first
        self._told[key] = _Told(observation.state, clock.monotonic(), wait)
        self._failed.discard(key)

    def not_sent(self, row: Mapping[str, Any]) -> None:
        """It could not be told: it is due again at the next look."""
        key = (row["job_id"], row["number"])
        self._told.pop(key, None)
        self._failed.add(key)

    def only(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Forget all attempts but these."""
        keys = {(row["job_id"], row["number"]) for row in rows}
        self._told = {key: last for key, last in self._told.items() if key in keys}
        self._failed &= keys
        self._sent_now = {key: since for key, since in self._sent_now.items() if key in keys}


def says_so_itself(row: Mapping[str, Any], observation: Observation) -> bool:
    """Whether an attempt that is seen for the first time is what its workflow has written already: then it need not be
    told."""
    is_current = row["seen"] is None and row["number"] == row["current_attempt"]
    return is_current and not disagrees(observation, JobState(row["job_state"]), row["reason"])


class Observer:
    """`reports`: also says on the timelines what a look shows beside the jobs: a cluster that has not answered
    for long, and Flink jobs that nobody owns. The watch does; a page that is opened does not."""

    def __init__(self, services: Services, *, reports: bool = False):
        self._services = services
        self._reports = reports
        self._orphans = OrphanWatch(services.database)
        self._losses = Losses(services)
        self._locks: dict[str, asyncio.Lock] = {}
        self._last: dict[str, tuple[float, Look]] = {}
        self._health: dict[str, float] = {}
        self._told: dict[str, Told] = {}
        self._conditions: dict[str, Conditions] = {}

    async def observe(self, cluster: str, *, not_older_than: float = 0.0) -> Look:
        """Ask `cluster` once and write down what changed. Callers at the same time share one question;
        one that was asked less than `not_older_than` seconds ago is taken for an answer."""
        asked = clock.monotonic()
        async with self._locks.setdefault(cluster, asyncio.Lock()):
            last = self._last.get(cluster)
            if last is not None and (last[0] >= asked or asked - last[0] < not_older_than):
                return last[1]
            began = clock.monotonic()
            look = await self._ask(cluster)
            self._last[cluster] = (began, look)
            return look

    def names(self) -> set[str]:
        """Of the clusters of which something is kept."""
        return {name for kept in self._kept() for name in kept}

    def forget(self, cluster: str) -> None:
        """It has been removed: nothing of it is kept."""
        for kept in self._kept():
            kept.pop(cluster, None)

    def _kept(self) -> tuple[dict[str, Any], ...]:
        """By the names of clusters."""
        return self._locks, self._last, self._health, self._told, self._conditions

    async def _ask(self, name: str) -> Look:
        services = self._services
        async with services.database.read() as session:
            cluster = await clusters.get(session, name)
            known = await attempts.open_on(session, name)
        now, sequence = clock.now(), clock.now_ms()
        engine = services.engines.get(cluster)
        try:
            overview = await engine.overview()
            health = await self._fresh_health(cluster)
            if health is None and any(_is_suddenly_missing(row, overview) for row in known):
                # Before that is believed: is it the Flink that was asked before? (raises `AnotherFlink`)
                await engine.leader()
        except EngineError as error:
            await self._unreachable(cluster, known, now, error)
            return Look(at=now, reachable=False, busy=False)
        told_before = self._told.setdefault(name, Told())
        told_before.only(known)
        changes, reworded = [], []
        for row, observation in compare(known, overview, sequence):
            if told_before.is_due(row, observation):
                changes.append((row, observation))
            elif observation.state.value == row["seen"] and observation.detail != row["detail"]:
                # Of the same state other words: they are for who looks, and no news to the workflow.
                reworded.append((row, observation))
        # First told, then written: were we to die in between, the next look tells it again.
        await asyncio.gather(
            *(
                self._tell(told_before, row, observation)
                for row, observation in changes
                if not says_so_itself(row, observation)
            )
        )
        if self._reports:
            fares = self._conditions.setdefault(name, Conditions(services))
            # After what was told above: the workflow takes one observation of a moment.
            hopeless = await fares.look(engine, known, overview, sequence + 1) if isinstance(engine, Metrics) else []
            await asyncio.gather(*(self._tell(told_before, row, observation) for row, observation in hopeless))
            looked_at = await previews.look(services.database, engine, name, overview, now)
            owned = {row["flink_job_id"] for row in known} | looked_at
            started_by = engine.started_by if isinstance(engine, SharedByPrograms) else None
            for ref in await self._orphans.look(name, overview, owned, now, started_by):
                with contextlib.suppress(EngineError):  # it is reported, too
                    await engine.cancel(ref)
        async with services.database.write() as session:
            await attempts.observe(session, [_row(row, observation) for row, observation in (*changes, *reworded)])
            if cluster.cannot_tell_at is not None:
                await clusters.tell_jobs(session, cluster, known, now, back=True)
            await clusters.answered(session, name, now, health)
            if self._reports:
                await self._losses.tell(session, cluster, known, overview, health, now)
            if cluster.identity is None and health is not None and health["cluster"] is not None:
                await clusters.identified(session, cluster, health["cluster"])
        if cluster.unreachable_since is not None:
            log.info("cluster answers again", cluster=name)
        busy = any(row["job_state"] in _IN_TRANSITION or row["busy"] for row in known)
        return Look(at=now, reachable=True, busy=busy or bool(changes), changed=len(changes))

    async def _fresh_health(self, cluster: Cluster) -> dict[str, Any] | None:
        """Slots and task managers, and who leads, asked for now and then, not with every look. Raises
        `AnotherFlink`."""
        known = cluster.health or {"slots_total": 0}  # a cluster without slots is starting, or in trouble
        asked = known.get("slots_total") != 0 and cluster.unreachable_since is None
        asked = asked and (cluster.identity is not None or not kind_of(cluster).can(Identified))
        if asked and clock.monotonic() - self._health.get(cluster.name, -1e9) < waits.HEALTH_SECONDS:
            return None
        self._health[cluster.name] = clock.monotonic()
        try:
            return asdict(await self._services.engines.get(cluster).health())
        except AnotherFlink:
            raise
        except EngineError:
            return None

    async def _unreachable(
        self, cluster: Cluster, known: Sequence[Mapping[str, Any]], now: datetime, error: EngineError
    ) -> None:
        if cluster.unreachable_since is None:
            log.warning("cluster cannot be asked", cluster=cluster.name, why=error.message)
            async with self._services.database.write() as session:
                await clusters.did_not_answer(session, cluster.name, now, error.message)

        self._told.pop(cluster.name, None)  # what it says when it answers again is told anew
        since = cluster.unreachable_since
        if not self._reports or since is None or cluster.cannot_tell_at is not None:
            return
        if (now - since).total_seconds() >= self._services.settings.cannot_tell_after:
            async with self._services.database.write() as session:
                await clusters.tell_jobs(session, cluster, known, now, back=False)

    async def _tell(self, told_before: Told, row: Mapping[str, Any], observation: Observation) -> None:
        label = f"{row['project']}:{row['name']}"
        handle = self._services.client.get_workflow_handle(
            row["workflow_id"] or old_job_workflow_id(row["project"], row["name"])
        )
        try:
            await tell(handle, messages.OBSERVED, observation, within=None)
            told_before.sent(row, observation)
        except (RPCError, RuntimeError) as error:
            # Whatever it was, the next look tells it.
            told_before.not_sent(row)
            log.warning("could not tell a job", job=label, why=str(error))
            if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                await self._begin_anew(row["job_id"], label)

    async def _begin_anew(self, job_id: str, label: str) -> None:
        """The workflow of a job that has news is not there: it is begun from its last record at once, where the
        recovery schedule would do so within its interval. Jobs without news are left to that."""
        try:
            async with self._services.database.read() as session:
                job = await jobs.lived_by_id(session, job_id)
                if job is None:
                    return
                cluster = await clusters.get(session, job.cluster)
            await start_job(self._services, job, cluster)
            log.warning("the workflow of a job was lost, and is begun from its last record", job=label)
        except Exception as error:  # whatever is the matter with this job: the look is of all jobs of the cluster
            log.exception("could not begin the workflow of a job", job=label, exc_info=error)


def compare(
    known: Sequence[Mapping[str, Any]], overview: Overview, sequence: int
) -> list[tuple[Mapping[str, Any], Observation]]:
    """What `overview` says of each attempt, where it can be believed.

    An attempt that was only just recorded, and never seen, may not have been sent yet: that it is missing says nothing.
    A look that was begun before a later one was written down is old, unless what it saw is final. A final state stays
    what is said, also when the cluster has forgotten the attempt since.
    """
    changes = []
    for row in known:
        ref = Ref(row["flink_job_id"], row["handle"])
        status = overview.jobs.get(ref.handle) or JobSeen(ref, EngineState.MISSING, detail="not known")
        if status.state is EngineState.MISSING and row["seen"] is None and row["state"] in ("RECORDED", "UNKNOWN"):
            continue
        at = sequence
        if status.state not in FINAL and row["seen"] in FINAL:
            status, at = JobSeen(ref, EngineState(row["seen"]), detail=row["detail"] or ""), row["sequence"]
        elif status.state not in FINAL and sequence <= in_order(row["sequence"], sequence):
            continue
        observation = Observation(
            attempt=row["number"],
            flink_job_id=row["flink_job_id"],
            sequence=at,
            state=status.state,
            detail=status.detail or None,
        )
        changes.append((row, observation))
    return changes


def _is_suddenly_missing(row: Mapping[str, Any], overview: Overview) -> bool:
    return row["handle"] not in overview.jobs and row["seen"] is not None and row["seen"] not in ENDED


def _row(row: Mapping[str, Any], observation: Observation) -> dict[str, Any]:
    return {
        "job": row["job_id"],
        "attempt": observation.attempt,
        "saw": observation.state.value,
        "told": observation.detail,
        "seq": observation.sequence,
    }


async def forget_removed(services: Services, observer: Observer) -> None:
    """Let go of what this process keeps of clusters that are there no more. Who removes one does so at once; other
    processes have not heard of it."""
    async with services.database.read() as session:
        there = await clusters.names(session)
    for name in observer.names() - there:
        observer.forget(name)
    for name in services.engines.names() - there:
        services.engines.forget(name)


async def keep_forgetting(services: Services, observer: Observer) -> None:
    """The same, now and then, until it is cancelled."""
    while True:
        await asyncio.sleep(waits.FORGET_REMOVED_SECONDS)
        try:
            await forget_removed(services, observer)
        except Exception as error:  # the database is away: the next time comes soon
            log.warning("removed clusters are not forgotten yet", why=str(error) or type(error).__name__)
