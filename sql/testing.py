"""Tests of a script: rows for its sources, and the rows that its sinks have to have at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, Field

from core.errors import InvalidInput
from core.specs import SqlSpec
from core.sql.changelog import Row, as_text, differences
from core.sql.script import parse
from core.sql.values import comparable
from core.sql.variables import text_of
from services import Services
from sql.debugging import Given
from sql.previews import RunRequest, start
from sql.run_registry import Runs
from sql.runs import Run
from sql.streams import Ended, Limits, Stream
from store.tables import Job, SqlTest

Rows = list[dict[str, Any]]
TEST_ROWS = 10_000


class SinkResult(BaseModel):
    sink: str
    passed: bool
    missing: Rows = Field(description="Expected and not written")
    unexpected: Rows = Field(description="Written and not expected")
    rows: int


class TestResult(BaseModel):
    name: str
    passed: bool
    why: str = Field(description="When it could not be run to its end")
    seconds: float
    sinks: list[SinkResult]


async def run(services: Services, runs: Runs, job: Job, spec: SqlSpec, test: SqlTest, seconds: float) -> TestResult:
    """Run one test of a version. Raises `InvalidInput` when the script or the test do not fit each other."""
    finished_run = await finished(services, runs, job, spec, test.inputs, seconds)
    results = []
    for sink, expected in test.expected.items():
        stream = next((s for s in finished_run.streams if s.name == sink), None)
        if stream is None:
            raise InvalidInput(
                f"Test {test.name}: the script does not write {sink}.",
                code="sink_not_written",
                field="expected",
                remedy=f"It writes: {', '.join(s.name for s in finished_run.streams)}.",
            )
        names = [c["name"] for c in stream.columns]
        if names and (unknown := sorted({name for row in expected for name in row} - set(names))):
            raise InvalidInput(
                f"Test {test.name}: a row expected in {sink} has {unknown[0][:100]!r}, which is no column of it.",
                code="bad_rows",
                field="expected",
                remedy=f"Columns: {', '.join(names)}.",
            )
        missing, unexpected = differences(
            [[row.get(n) for n in names] for row in expected], stream.table.rows(), key=_key(stream)
        )
        results.append(
            SinkResult(
                sink=sink,
                passed=not missing and not unexpected,
                missing=[dict(zip(names, r, strict=True)) for r in missing],
                unexpected=[dict(zip(names, r, strict=True)) for r in unexpected],
                rows=len(stream.table.rows()),
            )
        )
    wrong = [s for s in finished_run.streams if s.ended is not Ended.FINISHED and s.name in test.expected]
    why = f"{wrong[0].name}: {wrong[0].why}" if wrong else ""
    took = finished_run.seconds()
    return TestResult(
        name=test.name, passed=not why and all(r.passed for r in results), why=why, seconds=took, sinks=results
    )


async def finished(
    services: Services, runs: Runs, job: Job, spec: SqlSpec, inputs: dict[str, Rows], seconds: float
) -> Run:
    """A debug run of a version with given rows, at its end."""
    request = RunRequest(
        project=job.project,
        cluster=job.cluster,
        script=parse(text_of(spec)),
        libraries=spec.libraries,
        limits=Limits(rows=TEST_ROWS, seconds=seconds),
        materialize=True,
        sources={name: Given(rows) for name, rows in inputs.items()},
        asked={"kind": "test"},
    )
    run = await start(services, runs, request)
    async for _ in run.listen():
        pass
    return run


def table_of(run: Run) -> dict[str, Rows]:
    """What each sink has at the end, by column."""
    return {
        s.name: [dict(zip([c["name"] for c in s.columns], r, strict=True)) for r in s.table.rows()] for s in run.streams
    }


def _key(stream: Stream) -> Callable[[Row], str]:
    """What is equal for rows of a stream that are equal in SQL."""
    return lambda row: as_text([comparable(v, t) for v, t in zip(row, stream.types, strict=True)])
