"""/clusters and /projects."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Annotated

import structlog
from fastapi import APIRouter, Path
from temporalio.service import RPCError

from api.clusters.schemas import (
    ClusterHealth,
    ClusterOut,
    ClusterPatch,
    NewCluster,
    NewProject,
    ProjectOut,
    ProjectPatch,
)
from api.deps import Page, Parts, Watcher
from api.problems import responses
from core import config as rules
from core.errors import Conflict
from core.names import cluster_workflow_id
from store import clusters, jobs
from store.tables import Cluster, Project
from watch.delivery import start_watch

router = APIRouter(tags=["clusters"])
ClusterName = Annotated[str, Path(max_length=100)]
FRESH_SECONDS = 2.0
log = structlog.get_logger()


@router.get("/clusters", responses=responses(422, 503), summary="List clusters")
async def list_clusters(parts: Parts) -> Page[ClusterOut]:
    async with parts.database.read() as session:
        return Page(items=[_show(row) for row in await clusters.all_(session)])


@router.post("/clusters", status_code=201, responses=responses(409, 422, 503), summary="Register a cluster")
async def create_cluster(new: NewCluster, parts: Parts) -> ClusterOut:
    row = Cluster(**new.model_dump(), created_at=datetime.now(UTC))
    async with parts.database.write() as session:
        if await session.get(Cluster, new.name):
            raise Conflict(f"There is a cluster {new.name} already.", code="cluster_exists", remedy="PATCH it.")
        session.add(row)
    try:
        await start_watch(parts.client, new.name)
    except (RPCError, RuntimeError) as error:  # the recovery schedule starts it
        log.warning("the watch is not started yet", cluster=new.name, why=str(error))
    return _show(row)


@router.get("/clusters/{name}", responses=responses(404, 422, 503), summary="One cluster with its health, fresh")
async def get_cluster(name: ClusterName, parts: Parts, watcher: Watcher) -> ClusterOut:
    async with parts.database.read() as session:
        row = await clusters.get(session, name)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(3):
            await watcher.observe(row.name, not_older_than=FRESH_SECONDS)
    async with parts.database.read() as session:
        return _show(await clusters.get(session, name))


@router.patch("/clusters/{name}", responses=responses(404, 422, 503), summary="Change a cluster")
async def patch_cluster(name: ClusterName, changes: ClusterPatch, parts: Parts) -> ClusterOut:
    """A new address is used from the next question on. `config` counts from each job's next attempt on."""
    async with parts.database.write() as session:
        row = await clusters.get(session, name)
        for field, value in changes.model_dump(exclude_unset=True).items():
            if value is not None or field == "gateway_url":
                setattr(row, field, value)
    return _show(row)


@router.delete("/clusters/{name}", status_code=204, responses=responses(404, 409, 422, 503), summary="Forget a cluster")
async def delete_cluster(name: ClusterName, parts: Parts) -> None:
    """Only when no job is on it. The cluster itself is left alone."""
    async with parts.database.write() as session:
        row = await clusters.get(session, name)
        if count := await clusters.jobs_on(session, name):
            raise Conflict(
                f"{count} jobs are on the cluster {name}.", code="cluster_in_use", remedy="Delete those jobs first."
            )
        if await clusters.ever_used(session, name):
            raise Conflict(
                f"Jobs, sessions or previews of the cluster {name} are kept for the record, and name it.",
                code="cluster_has_history",
                remedy="Leave it; it costs one question a watch interval.",
            )
        await session.delete(row)
    with contextlib.suppress(RPCError, RuntimeError):
        await parts.client.get_workflow_handle(cluster_workflow_id(name)).cancel()


def _show(row: Cluster) -> ClusterOut:
    return ClusterOut(
        name=row.name,
        kind=row.kind,
        jobmanager_url=row.jobmanager_url,
        standby_urls=row.standby_urls,
        gateway_url=row.gateway_url,
        gateway_urls=row.gateway_urls,
        flink_version=row.flink_version,
        state_dir=row.state_dir,
        config={k: rules.shown(k, v) for k, v in row.config.items()},
        health=ClusterHealth(
            reachable=row.observed_at is not None and row.unreachable_since is None,
            last_observed_at=row.observed_at,
            unreachable_since=row.unreachable_since,
            why=row.unreachable_why if row.unreachable_since else None,
            details=row.health,
        ),
        created_at=row.created_at,
    )


@router.get("/projects", responses=responses(422, 503), summary="List projects", tags=["projects"])
async def list_projects(parts: Parts) -> Page[ProjectOut]:
    async with parts.database.read() as session:
        return Page(items=[_project(row) for row in await jobs.projects(session)])


@router.post(
    "/projects", status_code=201, responses=responses(409, 422, 503), summary="Create a project", tags=["projects"]
)
async def create_project(new: NewProject, parts: Parts) -> ProjectOut:
    row = Project(name=new.name, config=new.config, created_at=datetime.now(UTC))
    async with parts.database.write() as session:
        if await session.get(Project, new.name):
            raise Conflict(f"There is a project {new.name} already.", code="project_exists")
        session.add(row)
    return _project(row)


@router.patch("/projects/{name}", responses=responses(404, 422, 503), summary="Change a project", tags=["projects"])
async def patch_project(name: ClusterName, changes: ProjectPatch, parts: Parts) -> ProjectOut:
    async with parts.database.write() as session:
        row = await jobs.project(session, name)
        if changes.config is not None:
            row.config = changes.config
    return _project(row)


def _project(row: Project) -> ProjectOut:
    shown = {k: rules.shown(k, v) for k, v in row.config.items()}
    return ProjectOut(name=row.name, config=shown, created_at=row.created_at)
