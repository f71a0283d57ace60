"""Test sets of a project, and tests of a job's versions."""

from __future__ import annotations

from typing import Any

from api.deps import SqlRuntime
from api.scripts import rows_of
from api.testing import schemas as out
from core.errors import InvalidInput, NotFound, PenstockError
from core.jobs.restore import RestoreRequest
from core.jobs.types import traits
from core.specs import SqlSpec
from core.sql.script import parse
from core.sql.tokens import chain_at, quoted_name, tokens
from core.sql.variables import filled
from core.sql.verdict import StateVerdict, unknown
from services import Services
from settings import clock, waits
from sql import testing
from sql.compiling import judge
from sql.previews import RunRequest, start
from sql.runs import Run
from sql.streams import Ended, Limits
from store import jobs, testsets
from store.tables import Job, SqlTest, TestSet


async def all_(services: Services, project: str) -> list[out.TestSetOut]:
    """Test sets by name. Raises `NotFound` for the project."""
    async with services.database.read() as session:
        await jobs.project(session, project)
        return [_show(row) for row in await testsets.all_(session, project)]


async def get(services: Services, project: str, name: str) -> out.TestSetOut:
    """Raises `NotFound`."""
    async with services.database.read() as session:
        return _show(await testsets.get(session, project, name))


async def put(
    services: Services, project: str, name: str, tables: dict[str, Any], description: str
) -> tuple[out.TestSetOut, bool]:
    """Keep rows under a name; and whether it is new."""
    async with services.database.write() as session:
        await jobs.project(session, project, hold=True)
        row, is_new = await testsets.put(session, project, name, tables, description, clock.now())
        return _show(row), is_new


async def remove(services: Services, project: str, name: str) -> None:
    """Raises `NotFound`."""
    async with services.database.write() as session:
        await testsets.remove(session, await testsets.get(session, project, name))


async def sample(
    services: Services, bench: SqlRuntime, project: str, name: str, body: out.SampleBody
) -> tuple[out.TestSetOut, bool]:
    """Read some rows of each table, and keep them; and whether the test set is new. Raises `InvalidInput` when a table
    gives none."""
    rows: dict[str, list[dict[str, Any]]] = {}
    setup = _without_inserts(filled(body.sql, body.variables, field="variables"))
    for table in body.tables:
        chain = chain_at(tokens(table))
        if not chain:
            raise InvalidInput(f"{table[:100]!r} is not a table's name.", code="bad_table", field="tables")
        query = f"{setup}\nSELECT * FROM {quoted_name(*chain)}"
        request = RunRequest(
            project=project,
            cluster=body.cluster,
            script=parse(query),
            libraries=body.libraries,
            config=body.config,
            limits=Limits(rows=body.rows, seconds=body.seconds),
            materialize=True,
            asked={"kind": "sample"},
        )
        run = await start(services, bench.runs, request)
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
        rows[table] = [dict(zip(names, row, strict=True)) for row in stream.table.rows()[: body.rows]]
    return await put(services, project, name, rows, body.description)


def _without_inserts(text: str) -> str:
    """What a script sets up, without what it writes."""
    return "".join(f"{statement.text};\n" for statement in parse(text).setup)


def _show(row: TestSet) -> out.TestSetOut:
    return out.TestSetOut(
        project=row.project,
        name=row.name,
        tables=row.tables,
        description=row.description,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


async def _version(services: Services, ref: str, number: int) -> tuple[Job, SqlSpec]:
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
        version = await jobs.version(session, job, number)
    if not traits(job.type).compiles:
        raise InvalidInput("Only SQL jobs have tests here.", code="not_sql", field="id")
    return job, SqlSpec.model_validate(version.spec)


async def tests(services: Services, ref: str, number: int) -> list[out.TestOut]:
    """Of a version, or of the newest before it that has some. Raises `NotFound`, `InvalidInput`."""
    job, _ = await _version(services, ref, number)
    return [_test(test) for test in await _tests(services, job, number)]


async def _tests(services: Services, job: Job, number: int) -> list[SqlTest]:
    async with services.database.read() as session:
        of = await testsets.tested_version(session, job.id, number)
        return list(await testsets.tests(session, job.id, of)) if of else []


async def put_test(
    services: Services, bench: SqlRuntime, ref: str, number: int, name: str, body: out.TestBody
) -> tuple[out.TestOut, bool]:
    """Keep a test; and whether it is new. Raises `InvalidInput` when the script does not come to its end."""
    job, spec = await _version(services, ref, number)
    inputs = {t: (await rows_of(services, job.project, t, source)).rows for t, source in body.inputs.items()}
    expected = body.expected
    if expected is None:
        finished = await testing.finished(services, bench.runs, job, spec, inputs, waits.TEST_OUTPUT_SECONDS)
        _check_finished(finished, "The script", "inputs")
        expected = testing.table_of(finished)
    async with services.database.write() as session:
        row, is_new = await testsets.put_test(session, job.id, number, name, inputs, expected, clock.now())
        return _test(row), is_new


def _check_finished(run: Run, what: str, field: str) -> None:
    """Raise `InvalidInput` unless each stream came to its end."""
    if unfinished := next((stream for stream in run.streams if stream.ended is not Ended.FINISHED), None):
        raise InvalidInput(
            f"{what} did not come to its end with these rows: {unfinished.name}: {unfinished.why}.",
            code="test_not_finished",
            field=field,
            remedy="Give rows for every source that it reads; a live source never ends.",
        )


async def compare(
    services: Services, bench: SqlRuntime, ref: str, before: int, after: int, body: out.CompareBody, seconds: float
) -> out.ComparisonOut:
    """What two versions write, given the same rows. Raises `NotFound`, and `InvalidInput` when one of them does not
    come to its end."""
    job, _ = await _version(services, ref, before)
    inputs = {t: (await rows_of(services, job.project, t, source)).rows for t, source in body.sources.items()}
    runs = []
    for number in (before, after):
        _, spec = await _version(services, ref, number)
        run = await testing.finished(services, bench.runs, job, spec, inputs, seconds, allow_unread=True)
        _check_finished(run, f"Version {number}", "sources")
        runs.append(run)
    if unread := sorted(set(inputs) - runs[0].given - runs[1].given):
        raise InvalidInput(
            f"Neither version reads {', '.join(unread)}.", code="source_not_read", field=f"sources.{unread[0]}"
        )
    sinks = testing.changes(*runs)
    state = await _of_state(services, job, after)
    return out.ComparisonOut(
        before=before, after=after, same=all(sink.same for sink in sinks), sinks=sinks, state=state
    )


async def _of_state(services: Services, job: Job, number: int) -> StateVerdict:
    try:
        found = await judge(services, job, number, RestoreRequest(mode="newest"))
    except PenstockError as error:  # the rows are worth having without it
        return unknown(error.message)
    return found or unknown("The job has no state yet.")


async def remove_test(services: Services, ref: str, number: int, name: str) -> None:
    """Raises `NotFound`."""
    job, _ = await _version(services, ref, number)
    async with services.database.write() as session:
        await testsets.remove(session, await testsets.test(session, job.id, number, name))


async def run(services: Services, bench: SqlRuntime, ref: str, number: int, seconds: float) -> list[testing.TestResult]:
    """Run the tests of a version, each for so many seconds at the most. Raises `NotFound` when there are none."""
    job, spec = await _version(services, ref, number)
    held_to = await _tests(services, job, number)
    if not held_to:
        raise NotFound(
            f"No version of {job.project}:{job.name} up to {number} has tests.",
            code="no_tests",
            remedy="PUT one to /jobs/{id}/versions/{number}/tests/{name}.",
        )
    return [await testing.run(services, bench.runs, job, spec, test, seconds) for test in held_to]


def _test(row: SqlTest) -> out.TestOut:
    return out.TestOut(
        version=row.version, name=row.name, inputs=row.inputs, expected=row.expected, created_at=row.created_at
    )
