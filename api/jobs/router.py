"""/jobs and /jobs/{id}/versions."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from api.deps import JobRef, Page, Paging, Parts, Watcher
from api.jobs import service
from api.jobs.schemas import ConfigOut, JobOut, JobPatch, NewJob, PlanOut, VersionDiff, VersionOut
from api.problems import responses
from api.security import CurrentCaller
from api.versions import NewVersion
from core.jobs.states import JobState
from core.specs import JobType
from core.sql.verdict import StateVerdict
from store.jobs import Filter

router = APIRouter(tags=["jobs"])
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


class JobQuery(Paging):
    project: str | None = None
    state: JobState | None = None
    type: JobType | None = None
    cluster: str | None = None
    text: str | None = None
    sort: Literal["name", "-name", "state", "-state", "created_at", "-created_at", "updated_at", "-updated_at"] = "name"


@router.post("/jobs", status_code=201, responses=responses(404, 409, 422, 503), summary="Create a job")
async def create_job(new: NewJob, parts: Parts, response: Response) -> JobOut:
    """Creates the job with version 1. It does not run yet: send it a `start` command."""
    job = await service.create(parts, new)
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return job


@router.get("/jobs", responses=responses(422, 503), summary="List jobs")
async def list_jobs(parts: Parts, query: Annotated[JobQuery, Query()], caller: CurrentCaller) -> Page[JobOut]:
    """Jobs of the projects that you may see, filtered and sorted by the database, page by page."""
    wanted_jobs = Filter(
        projects=caller.principal.projects(),
        project=_clean(query.project),
        state=query.state.value if query.state else None,
        type=query.type,
        cluster=_clean(query.cluster),
        text=_clean(query.text),
    )
    items, following = await service.search(parts, wanted_jobs, sort=query.sort, limit=query.limit, cursor=query.cursor)
    return Page(items=items, next_cursor=following)


def _clean(text: str | None) -> str | None:
    """PostgreSQL knows no NUL in a text; nothing has one in its name either."""
    return text.replace("\x00", "\ufffd") if text is not None else None


@router.get("/jobs/{id}", responses=responses(404, 422, 503), summary="One job, fresh")
async def get_job(ref: JobRef, parts: Parts, watcher: Watcher) -> JobOut:
    """When its last observation is older than two seconds, its cluster is asked first."""
    return await service.get(parts, watcher, ref)


@router.patch("/jobs/{id}", responses=responses(404, 422, 503), summary="Change labels, policy or configuration")
async def patch_job(ref: JobRef, changes: JobPatch, parts: Parts, caller: CurrentCaller) -> JobOut:
    """Change labels, policies or the configuration. What runs goes on; the spec is changed by a new version. What was
    changed is a line of the timeline."""
    return await service.patch(parts, ref, changes, requested_by=caller.name)


@router.delete("/jobs/{id}", status_code=204, responses=responses(404, 409, 422, 503), summary="Delete a job")
async def delete_job(ref: JobRef, parts: Parts, watcher: Watcher) -> None:
    """Only a job of which nothing runs and that has no command left. Its savepoints and checkpoints stay where they
    are. From then on it takes no commands. 503 with `deletion_unfinished`: the job's workflow could not be asked; the
    recovery finishes the deletion, or takes it back, once it can be."""
    await service.delete(parts, watcher, ref)


@router.post("/jobs/{id}/versions", status_code=201, responses=responses(404, 422, 503), summary="Add a version")
async def add_version(ref: JobRef, new: NewVersion, parts: Parts, caller: CurrentCaller) -> VersionOut:
    """Versions are immutable and numbered. What runs goes on; `resubmit` takes the newest version."""
    return await service.add_version(parts, ref, new, requested_by=caller.name)


@router.get("/jobs/{id}/versions", responses=responses(404, 422, 503), summary="List versions, newest first")
async def list_versions(
    ref: JobRef,
    parts: Parts,
    branches: Annotated[
        bool, Query(description="Ask the repositories of those that have run where the refs are now")
    ] = False,
) -> Page[VersionOut]:
    """The versions of a job's spec, the newest first."""
    return Page(items=await service.versions(parts, ref, branches=branches))


@router.get("/jobs/{id}/versions/{number}", responses=responses(404, 422, 503), summary="One version")
async def get_version(ref: JobRef, number: Number, parts: Parts) -> VersionOut:
    """One version of a job's spec."""
    return await service.version(parts, ref, number)


@router.get("/jobs/{id}/versions/{a}/diff/{b}", responses=responses(404, 422, 503), summary="Compare two versions")
async def diff_versions(ref: JobRef, a: Number, b: Number, parts: Parts) -> VersionDiff:
    """What differs between two versions, field by field."""
    return await service.diff(parts, ref, a, b)


@router.get("/jobs/{id}/versions/{number}/verdict", responses=responses(404, 422, 503), summary="Would its state fit?")
async def get_verdict(
    ref: JobRef,
    number: Number,
    parts: Parts,
    caller: CurrentCaller,
    point: Annotated[str | None, Query(max_length=2048, description="Restore point; the newest by default")] = None,
) -> StateVerdict:
    """Compares the compiled plan that made the job's state with that of a version, operator by operator. Changes
    nothing."""
    return await service.verdict(parts, caller, ref, number, point)


@router.get("/jobs/{id}/versions/{number}/plan", responses=responses(404, 422, 503), summary="The compiled plan")
async def get_plan(ref: JobRef, number: Number, parts: Parts) -> PlanOut:
    """The plan that the version ran from last; before its first run, what it compiles to now. Null, with the reason,
    for what cannot be compiled."""
    return await service.plan(parts, ref, number)


@router.get("/jobs/{id}/config", responses=responses(404, 422, 503), summary="Effective configuration")
async def get_config(
    ref: JobRef, parts: Parts, version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None
) -> ConfigOut:
    """Each key with its value and the layer it came from. Secrets are shown as `******`."""
    return await service.config(parts, ref, version)
