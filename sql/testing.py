"""Tests of a script: rows for its sources, and the rows that its sinks have to have at the end."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, Field

from core.errors import InvalidInput
from core.specs import SqlSpec
from core.sql.changelog import differences
from core.sql.script import parse
from core.sql.variables import text_of
from services import Services
from sql.previews import Given, Wanted, start
from sql.runs import Ended, Limits, Run, Runs
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
    made = await finished(services, runs, job, spec, test.inputs, seconds)
    results = []
    for sink, expected in test.expected.items():
        stream = next((s for s in made.streams if s.name == sink), None)
        if stream is None:
            raise InvalidInput(
                f"Test {test.name}: the script does not write {sink}.",
                code="sink_not_written",
                field="expected",
                remedy=f"It writes: {', '.join(s.name for s in made.streams)}.",
            )
        names = [c["name"] for c in stream.columns]
        missing, unexpected = differences(
            [[_plain(row.get(n)) for n in names] for row in expected],
            [[_plain(v) for v in r] for r in stream.table.rows()],
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
    wrong = [s for s in made.streams if s.ended is not Ended.FINISHED and s.name in test.expected]
    why = f"{wrong[0].name}: {wrong[0].why}" if wrong else ""
    took = made.seconds()
    return TestResult(
        name=test.name, passed=not why and all(r.passed for r in results), why=why, seconds=took, sinks=results
    )


async def finished(
    services: Services, runs: Runs, job: Job, spec: SqlSpec, inputs: dict[str, Rows], seconds: float
) -> Run:
    """A debug run of a version with given rows, at its end."""
    wanted = Wanted(
        project=job.project,
        cluster=job.cluster,
        script=parse(text_of(spec)),
        libraries=spec.libraries,
        limits=Limits(rows=TEST_ROWS, seconds=seconds),
        materialize=True,
        sources={name: Given(rows) for name, rows in inputs.items()},
        request={"kind": "test"},
    )
    made = await start(services, runs, wanted)
    async for _ in made.listen():
        pass
    return made


def table_of(made: Run) -> dict[str, Rows]:
    """What each sink has at the end, by column."""
    return {
        s.name: [dict(zip([c["name"] for c in s.columns], map(_plain, r), strict=True)) for r in s.table.rows()]
        for s in made.streams
    }


def _plain(value: Any) -> Any:
    """Numbers are compared by value: 1 and 1.0 and what JSON makes of a DECIMAL are the same."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return json.loads(json.dumps(value, sort_keys=True))
