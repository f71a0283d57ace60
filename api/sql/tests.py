"""Test sets of a project, and tests of a job's versions."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from api.deps import JobRef, Page, Parts, Workbench
from api.problems import made_or_changed, responses
from api.sql import schemas as s
from api.sql.router import rows_of
from core.errors import InvalidInput, NotFound
from core.jobs.types import traits
from core.names import NAME_PATTERN
from core.specs import SqlSpec
from core.sql.references import chain_at, quoted_name
from core.sql.script import sort_script, tokens
from services import Services
from settings import clock
from sql import testing
from sql.previews import Wanted, start
from sql.runs import Ended, Limits
from store import jobs, testsets
from store.tables import Job, SqlTest, TestSet

router = APIRouter(tags=["sql tests"])
Project = Annotated[str, Path(max_length=80)]
SetName = Annotated[str, Path(max_length=80, pattern=NAME_PATTERN)]
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
Seconds = Annotated[float, Query(ge=1, le=600, description="How long one test may take")]
_ALL = responses(404, 422, 503)
_RUN = responses(404, 409, 422, 503)


@router.get("/projects/{project}/test-sets", responses=_ALL, summary="Test sets of a project")
async def list_test_sets(project: Project, parts: Parts) -> Page[s.TestSetOut]:
    async with parts.database.read() as session:
        await jobs.project(session, project)
        return Page(items=[_show(row) for row in await testsets.all_(session, project)])


@router.put(
    "/projects/{project}/test-sets/{name}",
    responses=made_or_changed(s.TestSetOut, 404, 422, 503),
    summary="Keep rows under a name",
)
async def put_test_set(
    project: Project, name: SetName, body: s.TestSetBody, parts: Parts, response: Response
) -> s.TestSetOut:
    return _show(await _keep(parts, project, name, body.tables, body.description, response))


@router.get("/projects/{project}/test-sets/{name}", responses=_ALL, summary="One test set")
async def get_test_set(project: Project, name: SetName, parts: Parts) -> s.TestSetOut:
    async with parts.database.read() as session:
        return _show(await testsets.get(session, project, name))


@router.delete("/projects/{project}/test-sets/{name}", status_code=204, responses=_ALL, summary="Forget a test set")
async def delete_test_set(project: Project, name: SetName, parts: Parts) -> None:
    async with parts.database.write() as session:
        await session.delete(await testsets.get(session, project, name))


@router.post(
    "/projects/{project}/test-sets/{name}/sample",
    status_code=201,
    responses=_RUN,
    summary="Take rows from live sources",
)
async def sample(
    project: Project, name: SetName, body: s.SampleBody, parts: Parts, bench: Workbench, response: Response
) -> s.TestSetOut:
    """Reads up to `rows` rows of each table and keeps them as a test set. A table without data gives none, and an
    error says so."""
    found: dict[str, list[dict[str, Any]]] = {}
    setup = _without_inserts(body.sql)
    for table in body.tables:
        chain = chain_at(list(tokens(table)))
        if not chain:
            raise InvalidInput(f"{table[:100]!r} is not a table's name.", code="bad_table", field="tables")
        query = f"{setup}\nSELECT * FROM {quoted_name(*chain)}"
        wanted = Wanted(
            project=project,
            cluster=body.cluster,
            sql=query,
            libraries=body.libraries,
            config=body.config,
            limits=Limits(rows=body.rows, seconds=body.seconds),
            materialize=True,
            request={"kind": "sample"},
        )
        run = await start(parts, bench.runs, wanted)
        async for _ in run.listen():
            pass
        (stream,) = run.streams
        if stream.ended is Ended.FAILED:
            raise InvalidInput(f"{table}: {stream.why}", code="sample_failed", field="tables")
        if not stream.rows:
            raise InvalidInput(
                f"{table} gave no row in {body.seconds:g} seconds.",
                code="no_data",
                field="tables",
                remedy="Wait longer (`seconds`), read from the beginning (for Kafka: scan.startup.mode), or type rows.",
            )
        names = [c["name"] for c in stream.columns]
        found[table] = [dict(zip(names, row, strict=True)) for row in stream.table.rows()[: body.rows]]
    return _show(await _keep(parts, project, name, found, body.description, response))


def _without_inserts(text: str) -> str:
    """What a script sets up, without what it writes."""
    script, _ = sort_script(text)
    return "".join(f"{statement.text};\n" for statement in script.setup)


async def _keep(
    parts: Services, project: str, name: str, tables: dict[str, Any], description: str, response: Response
) -> TestSet:
    now = clock.now()
    async with parts.database.write() as session:
        await jobs.project(session, project)
        row = await session.get(TestSet, (project, name))
        if row is None:
            row = TestSet(project=project, name=name, created_at=now)
            response.status_code = 201
        row.tables, row.description, row.updated_at = tables, description, now
        session.add(row)
        await session.flush()
        return row


def _show(row: TestSet) -> s.TestSetOut:
    return s.TestSetOut(
        project=row.project,
        name=row.name,
        tables=row.tables,
        description=row.description,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


# Tests of a version ---------------------------------------------------------------------------


async def _version(parts: Services, ref: str, number: int) -> tuple[Job, SqlSpec]:
    async with parts.database.read() as session:
        job = await jobs.get(session, ref)
        version = await jobs.version(session, job, number)
    if not traits(job.type).compiles:
        raise InvalidInput("Only SQL jobs have tests here.", code="not_sql", field="id")
    return job, SqlSpec.model_validate(version.spec)


@router.get("/jobs/{id}/versions/{number}/tests", responses=_ALL, summary="Tests of a version")
async def list_tests(ref: JobRef, number: Number, parts: Parts) -> Page[s.TestOut]:
    """Its own, or those of the newest version before it that has some."""
    job, _ = await _version(parts, ref, number)
    async with parts.database.read() as session:
        of = await testsets.tested_version(session, job.id, number)
        return Page(items=[_test(t) for t in await testsets.tests(session, job.id, of)] if of else [])


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
    job, spec = await _version(parts, ref, number)
    inputs = {t: (await rows_of(parts, job.project, t, source)).rows for t, source in body.inputs.items()}
    expected = body.expected
    if expected is None:
        made = await testing.finished(parts, bench.runs, job, spec, inputs, 120)
        if wrong := next((x for x in made.streams if x.ended is not Ended.FINISHED), None):
            raise InvalidInput(
                f"The script did not come to its end with these rows: {wrong.name}: {wrong.why}.",
                code="test_not_finished",
                field="inputs",
                remedy="Give rows for every source that it reads; a live source never ends.",
            )
        expected = testing.table_of(made)
    async with parts.database.write() as session:
        row = await session.get(SqlTest, (job.id, number, name))
        if row is None:
            row = SqlTest(job_id=job.id, version=number, name=name, created_at=clock.now())
            response.status_code = 201
        row.inputs, row.expected = inputs, expected
        session.add(row)
        await session.flush()
        return _test(row)


@router.delete("/jobs/{id}/versions/{number}/tests/{name}", status_code=204, responses=_ALL, summary="Forget a test")
async def delete_test(ref: JobRef, number: Number, name: SetName, parts: Parts) -> None:
    job, _ = await _version(parts, ref, number)
    async with parts.database.write() as session:
        row = await session.get(SqlTest, (job.id, number, name))
        if row is None:
            raise NotFound(f"Version {number} has no test {name}.", code="test_not_found")
        await session.delete(row)


@router.post("/jobs/{id}/versions/{number}/tests/run", responses=_RUN, summary="Run the tests of a version")
async def run_tests(
    ref: JobRef, number: Number, parts: Parts, bench: Workbench, seconds: Seconds = 60
) -> Page[testing.TestResult]:
    """One after the other; nothing is written anywhere. A version without tests of its own is held to those of the
    version before it."""
    job, spec = await _version(parts, ref, number)
    async with parts.database.read() as session:
        of = await testsets.tested_version(session, job.id, number)
        found = list(await testsets.tests(session, job.id, of)) if of else []
    if not found:
        raise NotFound(
            f"No version of {job.project}:{job.name} up to {number} has tests.",
            code="no_tests",
            remedy="PUT one to /jobs/{id}/versions/{number}/tests/{name}.",
        )
    return Page(items=[await testing.run(parts, bench.runs, job, spec, test, seconds) for test in found])


def _test(row: SqlTest) -> s.TestOut:
    return s.TestOut(
        version=row.version, name=row.name, inputs=row.inputs, expected=row.expected, created_at=row.created_at
    )
