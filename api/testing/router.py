"""Test sets of a project, and tests of a job's versions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from api.deps import JobRef, Page, Parts, Workbench
from api.exact import ExactRoute
from api.problems import made_or_changed, responses
from api.testing import schemas as s
from api.testing import service
from core.names import NAME_PATTERN
from sql.testing import TestResult

router = APIRouter(tags=["sql tests"], route_class=ExactRoute)
Project = Annotated[str, Path(max_length=80)]
SetName = Annotated[str, Path(max_length=80, pattern=NAME_PATTERN)]
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
Seconds = Annotated[float, Query(ge=1, le=600, description="How long one test may take")]
_ALL = responses(404, 422, 503)
_RUN = responses(404, 409, 422, 503)


@router.get("/projects/{project}/test-sets", responses=_ALL, summary="Test sets of a project")
async def list_test_sets(project: Project, parts: Parts) -> Page[s.TestSetOut]:
    """The test sets of a project: rows kept under a name, to be given to tables."""
    return Page(items=await service.all_(parts, project))


@router.put(
    "/projects/{project}/test-sets/{name}",
    responses=made_or_changed(s.TestSetOut, 404, 422, 503),
    summary="Keep rows under a name",
)
async def put_test_set(
    project: Project, name: SetName, body: s.TestSetBody, parts: Parts, response: Response
) -> s.TestSetOut:
    """Keep rows under a name. 201 when it is new."""
    row, is_new = await service.put(parts, project, name, body.tables, body.description)
    response.status_code = 201 if is_new else 200
    return row


@router.get("/projects/{project}/test-sets/{name}", responses=_ALL, summary="One test set")
async def get_test_set(project: Project, name: SetName, parts: Parts) -> s.TestSetOut:
    """A test set with its rows."""
    return await service.get(parts, project, name)


@router.delete("/projects/{project}/test-sets/{name}", status_code=204, responses=_ALL, summary="Forget a test set")
async def delete_test_set(project: Project, name: SetName, parts: Parts) -> None:
    """Delete a test set."""
    await service.remove(parts, project, name)


@router.post(
    "/projects/{project}/test-sets/{name}/sample",
    status_code=201,
    responses=_RUN,
    summary="Take rows from live sources",
)
async def sample(project: Project, name: SetName, body: s.SampleBody, parts: Parts, bench: Workbench) -> s.TestSetOut:
    """Reads up to `rows` rows of each table and keeps them as a test set. A table without data gives none, and an
    error says so."""
    row, _ = await service.sample(parts, bench, project, name, body)
    return row


@router.get("/jobs/{id}/versions/{number}/tests", responses=_ALL, summary="Tests of a version")
async def list_tests(ref: JobRef, number: Number, parts: Parts) -> Page[s.TestOut]:
    """Its own, or those of the newest version before it that has some."""
    return Page(items=await service.tests(parts, ref, number))


@router.put(
    "/jobs/{id}/versions/{number}/tests/{name}",
    responses=made_or_changed(s.TestOut, 404, 409, 422, 503),
    summary="Keep a test with a version",
)
async def put_test(
    ref: JobRef, number: Number, name: SetName, body: s.TestBody, parts: Parts, bench: Workbench, response: Response
) -> s.TestOut:
    """Rows for its sources and the rows that its sinks have to have at the end. Without `expected` the script is run,
    and what it writes is kept: look at it before you trust it."""
    row, is_new = await service.put_test(parts, bench, ref, number, name, body)
    response.status_code = 201 if is_new else 200
    return row


@router.delete("/jobs/{id}/versions/{number}/tests/{name}", status_code=204, responses=_ALL, summary="Forget a test")
async def delete_test(ref: JobRef, number: Number, name: SetName, parts: Parts) -> None:
    """Delete a test of a version."""
    await service.remove_test(parts, ref, number, name)


@router.post("/jobs/{id}/versions/{number}/tests/run", responses=_RUN, summary="Run the tests of a version")
async def run_tests(
    ref: JobRef, number: Number, parts: Parts, bench: Workbench, seconds: Seconds = 60
) -> Page[TestResult]:
    """One after the other; nothing is written anywhere. A version without tests of its own is held to those of the
    version before it."""
    return Page(items=await service.run(parts, bench, ref, number, seconds))


@router.post("/jobs/{id}/versions/{a}/diff/{b}/rows", responses=_RUN, summary="Compare what two versions write")
async def compare_rows(
    ref: JobRef, a: Number, b: Number, body: s.CompareBody, parts: Parts, bench: Workbench, seconds: Seconds = 60
) -> s.ComparisonOut:
    """Runs both with the same rows, one after the other, and compares what each sink has at the end; beside that,
    whether the job's newest state fits the version after. Nothing is written anywhere. Rows come from a test set,
    `sample` takes them from live sources."""
    return await service.compare(parts, bench, ref, a, b, body, seconds)
