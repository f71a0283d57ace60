"""Tests of a script: rows for its sources, and the rows that its sinks have to have at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, Field

from core.errors import InvalidInput
from core.specs import SqlSpec
from core.sql.changelog import Row, as_text, differences
from core.sql.script import parse
from core.sql.values import Type, comparable
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
            [[row.get(n) for n in names] for row in expected], stream.table.rows(), key=_key(stream.types)
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


class SinkChange(BaseModel):
    """What a sink has at the end, before and after a change of the script."""

    sink: str
    same: bool
    columns_added: list[str]
    columns_removed: list[str]
    removed: Rows = Field(description="Rows that only the version before writes; by the columns that both have")
    added: Rows = Field(description="Rows that only the version after writes; by the columns that both have")
    rows_before: int
    rows_after: int


def changes(before: Run, after: Run) -> list[SinkChange]:
    """What differs between two runs that have come to their end, sink by sink."""
    sinks = {stream.name: stream for stream in before.streams} | {stream.name: stream for stream in after.streams}
    return [
        _change(
            name,
            next((s for s in before.streams if s.name == name), Stream(name, "")),
            next((s for s in after.streams if s.name == name), Stream(name, "")),
        )
        for name in sinks
    ]


def _change(sink: str, before: Stream, after: Stream) -> SinkChange:
    names_before, names_after = ([c["name"] for c in stream.columns] for stream in (before, after))
    if before.columns and after.columns:
        common = [name for name in names_after if name in names_before]
    else:
        common = names_before or names_after  # one of them does not write it
    types = dict(zip(names_before, before.types, strict=True)) | dict(zip(names_after, after.types, strict=True))
    rows_before, rows_after = (
        [[row[names.index(name)] for name in common] for row in stream.table.rows()]
        for stream, names in ((before, names_before), (after, names_after))
    )
    removed, added = differences(rows_before, rows_after, key=_key([types[name] for name in common]))
    columns_added = [name for name in names_after if name not in names_before]
    columns_removed = [name for name in names_before if name not in names_after]
    return SinkChange(
        sink=sink,
        same=not (removed or added or columns_added or columns_removed),
        columns_added=columns_added,
        columns_removed=columns_removed,
        removed=[dict(zip(common, row, strict=True)) for row in removed],
        added=[dict(zip(common, row, strict=True)) for row in added],
        rows_before=len(rows_before),
        rows_after=len(rows_after),
    )


async def finished(
    services: Services,
    runs: Runs,
    job: Job,
    spec: SqlSpec,
    inputs: dict[str, Rows],
    seconds: float,
    *,
    allow_unread: bool = False,
) -> Run:
    """A debug run of a version with given rows, at its end. With `allow_unread` there may be rows for a table that it
    does not read."""
    request = RunRequest(
        project=job.project,
        cluster=job.cluster,
        script=parse(text_of(spec)),
        libraries=spec.libraries,
        limits=Limits(rows=TEST_ROWS, seconds=seconds),
        materialize=True,
        sources={name: Given(rows) for name, rows in inputs.items()},
        allow_unread=allow_unread,
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


def _key(types: Sequence[Type]) -> Callable[[Row], str]:
    """What is equal for rows of these types that are equal in SQL."""
    return lambda row: as_text([comparable(v, t) for v, t in zip(row, types, strict=True)])
