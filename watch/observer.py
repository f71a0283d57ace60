"""One question to a cluster, compared with what is known, told to whom it concerns.

The watch activity, a job's own check and a page that someone opens all come through here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import structlog
from temporalio.service import RPCError

from core.names import old_job_workflow_id
from core.observations import EngineState, Observation
from engine.base import EngineError, JobSeen, Overview
from settings import clock
from store import attempts, clusters
from store.tables import Cluster
from watch import previews
from watch.orphans import OrphanWatch
from watch.services import Services

log = structlog.get_logger()

HEALTH_SECONDS = 30.0
_IN_TRANSITION = frozenset({"DEPLOYING", "DEPLOYED"})


@dataclass(frozen=True)
class Look:
    """What one question gave: `busy` when something on the cluster is in transition."""

    at: datetime
    reachable: bool
    busy: bool
    changed: int = 0


class Observer:
    """`reports`: also says on the timelines what a look shows beside the jobs: a cluster that has not answered
    for long, and Flink jobs that nobody owns. The watch does; a page that is opened does not."""

    def __init__(self, services: Services, *, reports: bool = False):
        self._services = services
        self._reports = reports
        self._orphans = OrphanWatch(services.database)
        self._locks: dict[str, asyncio.Lock] = {}
        self._last: dict[str, tuple[float, Look]] = {}
        self._health: dict[str, float] = {}

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

    async def _ask(self, name: str) -> Look:
        services = self._services
        async with services.database.read() as session:
            cluster = await clusters.get(session, name)
            known = await attempts.open_on(session, name)
        now = clock.now()
        try:
            overview = await services.engines.get(cluster).overview()
        except EngineError as error:
            await self._unreachable(cluster, known, now, error)
            return Look(at=now, reachable=False, busy=False)
        sequence = int(now.timestamp() * 1000)
        changes = compare(known, overview, sequence)
        # First told, then written: were we to die in between, the next look tells it again.
        await asyncio.gather(*(self._tell(row, seen) for row, seen in changes))
        health = await self._fresh_health(cluster)
        if self._reports:
            looked_at = await previews.look(services.database, services.engines.get(cluster), name, overview, now)
            await self._orphans.look(name, overview, {row["handle"] for row in known} | looked_at, now)
        async with services.database.write() as session:
            await attempts.observe(session, [_row(row, seen) for row, seen in changes])
            if cluster.cannot_tell_at is not None:
                await clusters.tell_jobs(session, cluster, known, now, back=True)
            await clusters.answered(session, name, now, health)
        if cluster.unreachable_since is not None:
            log.info("cluster answers again", cluster=name)
        busy = any(row["job_state"] in _IN_TRANSITION or row["busy"] for row in known)
        return Look(at=now, reachable=True, busy=busy or bool(changes), changed=len(changes))

    async def _fresh_health(self, cluster: Cluster) -> dict[str, Any] | None:
        """Slots and task managers, asked for now and then, not with every look."""
        known = cluster.health or {"slots_total": 0}  # a cluster without slots is starting, or in trouble
        asked = known.get("slots_total") != 0 and cluster.unreachable_since is None
        if asked and clock.monotonic() - self._health.get(cluster.name, -1e9) < HEALTH_SECONDS:
            return None
        self._health[cluster.name] = clock.monotonic()
        try:
            return asdict(await self._services.engines.get(cluster).health())
        except EngineError:
            return None

    async def _unreachable(
        self, cluster: Cluster, known: Sequence[Mapping[str, Any]], now: datetime, error: EngineError
    ) -> None:
        if cluster.unreachable_since is None:
            log.warning("cluster cannot be asked", cluster=cluster.name, why=error.message)
            async with self._services.database.write() as session:
                await clusters.did_not_answer(session, cluster.name, now, error.message)

        since = cluster.unreachable_since
        if not self._reports or since is None or cluster.cannot_tell_at is not None:
            return
        if (now - since).total_seconds() >= self._services.settings.cannot_tell_after:
            async with self._services.database.write() as session:
                await clusters.tell_jobs(session, cluster, known, now, back=False)

    async def _tell(self, row: Mapping[str, Any], seen: Observation) -> None:
        handle = self._services.client.get_workflow_handle(
            row["workflow_id"] or old_job_workflow_id(row["project"], row["name"])
        )
        try:
            await handle.signal("observed", seen)
        except RPCError as error:
            # A job without a workflow is for the recovery schedule; Temporal away: the next look tells it.
            log.warning("could not tell a job", job=f"{row['project']}:{row['name']}", why=str(error))


def compare(
    known: Sequence[Mapping[str, Any]], overview: Overview, sequence: int
) -> list[tuple[Mapping[str, Any], Observation]]:
    """The attempts about which `overview` says something else than what is known, with what it says.

    An attempt that was only just recorded may not have been sent yet: that it is missing says nothing.
    """
    changes = []
    for row in known:
        seen = overview.jobs.get(row["handle"]) or JobSeen(row["handle"], EngineState.MISSING, detail="not known")
        if seen.state is EngineState.MISSING and row["state"] in ("RECORDED", "UNKNOWN"):
            continue
        # A look was begun before a later one has been written: its word is old.
        if sequence <= row["sequence"] or seen.state.value == row["seen"]:
            continue
        observation = Observation(
            attempt=row["number"],
            flink_job_id=row["flink_job_id"],
            sequence=sequence,
            state=seen.state,
            detail=seen.detail or None,
        )
        changes.append((row, observation))
    return changes


def _row(row: Mapping[str, Any], seen: Observation) -> dict[str, Any]:
    return {
        "job": row["job_id"],
        "attempt": seen.attempt,
        "saw": seen.state.value,
        "told": seen.detail,
        "seq": seen.sequence,
    }
