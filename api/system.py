"""Health of the API itself, and metrics."""

from __future__ import annotations

import asyncio
from collections import Counter as Counted
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel
from temporalio.service import RPCError

from api.deps import Parts
from core.jobs.states import RESTING, JobState
from services import Services
from settings import clock, waits
from store import clusters, jobs, orphans

router = APIRouter(tags=["system"])
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
"""Others, which anybody can make up, are counted together."""


class Health(BaseModel):
    status: str


class Ready(BaseModel):
    status: str
    checks: dict[str, str]


@router.get("/healthz", summary="The process is alive")
async def healthz() -> Health:
    """Whether this process answers; it asks nobody else."""
    return Health(status="ok")


@router.get(
    "/readyz",
    summary="Database and Temporal answer, and the database takes writes",
    responses={503: {"model": Ready, "description": "Not ready"}},
)
async def readyz(parts: Parts, response: Response) -> Ready:
    """Whether the database takes writes and Temporal answers, each by name; 503 when one does not."""
    checks = {"database": await _database(parts), "temporal": await _temporal(parts)}
    ready = all(word == "ok" for word in checks.values())
    response.status_code = 200 if ready else 503
    return Ready(status="ok" if ready else "not ready", checks=checks)


async def _database(parts: Services) -> str:
    try:
        async with asyncio.timeout(waits.READY_SECONDS):
            await parts.database.ping()
    except Exception as error:
        return type(error).__name__
    return "ok"


async def _temporal(parts: Services) -> str:
    try:
        async with asyncio.timeout(waits.READY_SECONDS):
            return "ok" if await parts.client.service_client.check_health() else "not serving"
    except (RPCError, RuntimeError, TimeoutError) as error:
        return type(error).__name__


class PrometheusMetrics:
    """Requests are counted as they come; what the database knows is read when somebody scrapes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ["method", "route", "status"]
        self.requests = Counter("penstock_http_requests", "Requests", labels, registry=self.registry)
        self.seconds = Histogram(
            "penstock_http_request_seconds", "Seconds per request", ["route"], registry=self.registry
        )
        self._jobs = Gauge("penstock_jobs", "Jobs by cluster and state", ["cluster", "state"], registry=self.registry)
        self._up = Gauge(
            "penstock_cluster_reachable", "1 when the cluster answers", ["cluster"], registry=self.registry
        )
        self._orphans = Gauge(
            "penstock_orphans", "Flink jobs that run and that nobody owns", ["cluster"], registry=self.registry
        )
        self._age = Gauge(
            "penstock_cluster_last_observation_age_seconds",
            "Age of the last answer",
            ["cluster"],
            registry=self.registry,
        )

    async def render(self, services: Services) -> bytes:
        """All figures as text; jobs are counted by state in the database, once per call."""
        async with services.database.read() as session:
            counts = await jobs.count_by_state(session)
            rows = await clusters.all_(session)
            keepers = await clusters.keepers(session, rows)
            strays = Counted(row.cluster for row in await orphans.all_(session))
        for gauge in (self._jobs, self._up, self._age, self._orphans):
            gauge.clear()
        for cluster, state, n in counts:
            self._jobs.labels(cluster, state).set(n)
        for row in rows:
            keeper = keepers.get(row.managed_by or "")
            if keeper is not None and JobState(keeper.state) in RESTING:
                continue  # nobody expects an answer of a cluster that was stopped
            self._orphans.labels(row.name).set(strays[row.name])
            self._up.labels(row.name).set(1 if row.observed_at and not row.unreachable_since else 0)
            if row.observed_at:
                self._age.labels(row.name).set((clock.now() - row.observed_at).total_seconds())
        return generate_latest(self.registry)

    def count(self, request: Request, status: int, seconds: float) -> None:
        """Note a request that took `seconds`; its route is the path's pattern, so that ids make no new series."""
        route: Any = request.scope.get("route")
        path = getattr(route, "path", "unknown")
        method = request.method if request.method in METHODS else "other"
        self.requests.labels(method, path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request, parts: Parts) -> Response:
    """Figures of this process and of the jobs, in the text format of Prometheus."""
    collected: PrometheusMetrics = request.app.state.metrics
    return Response(await collected.render(parts), media_type=CONTENT_TYPE_LATEST)
