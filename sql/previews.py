"""Asking for a run: a query to look at, or a whole script to debug."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from clusters import state_files
from clusters.sql import SqlGateway, StatementFailed, scrub, told
from core.effects import Rejected, no_log
from core.errors import InvalidInput
from core.specs import Use
from core.sql.references import check_script
from core.sql.rewriting import Described, Sink, as_lines, as_query, described, rows_of_csv, stand_in, taken_apart
from core.sql.script import Script, Statement, placed
from core.sql.tokens import Chain, chain_at, quoted_name, tokens
from services import Services
from settings.waits import planning
from sql.compiling import scratch_of
from sql.environment import Environment, environment, python_properties
from sql.runs import Limits, Run, Runs, Stream
from sql.validate import Report, StatementInfo, Validation, explain, summary, table_name
from store import clusters, jobs
from store.tables import Cluster


@dataclass(frozen=True)
class Given:
    """Rows that stand in for a table."""

    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Wanted:
    """What to run. `sources` are rows for tables, by their names in the script; the others are read live."""

    project: str
    cluster: str
    script: Script
    libraries: Sequence[Use] = ()
    limits: Limits = field(default_factory=Limits)
    materialize: bool = False
    sources: dict[str, Given] | None = None
    config: dict[str, str] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)


def refused(statement: Statement, error: StatementFailed, secrets: Sequence[str], shift: int = 0) -> InvalidInput:
    line, column, message = told(statement, error, shift=shift)
    return InvalidInput(
        f"Statement {statement.number}, line {line}, column {column}: {scrub(message, secrets)}",
        code="sql_invalid",
        field="sql",
    )


def check_query(script: Script) -> None:
    """Raise `InvalidInput` unless a script sets up and has one query."""
    check_script(script)
    asked = {q.number for q in script.queries}
    if wrong := [m for m in script.misplaced if m.statement.number not in asked]:
        raise wrong[0].error
    if len(script.queries) != 1 or script.inserts:
        raise InvalidInput(
            f"A preview is one SELECT, with what it needs in front; this has {len(script.queries)} queries and "
            f"{len(script.inserts)} INSERTs.",
            code="not_one_query",
            field="sql",
            remedy="To see what INSERTs would write, debug the script.",
        )


def check_inserts(script: Script) -> None:
    """Raise `InvalidInput` unless a script has INSERTs, and nothing that a job may not have."""
    check_script(script)
    if script.misplaced:
        raise script.misplaced[0].error
    if not script.inserts:
        raise InvalidInput("The script has no INSERT to debug.", code="sql_no_insert", field="sql")


async def start(services: Services, runs: Runs, wanted: Wanted) -> Run:
    """Start a run. Raises `InvalidInput` with Flink's words and their place, `Unreachable`."""
    debugging = wanted.sources is not None
    if debugging:
        check_inserts(wanted.script)
    else:
        check_query(wanted.script)
    made, cluster = await _environment(services, wanted)
    opened = made.script
    engine = services.engines.workbench(cluster)
    properties = {**wanted.config, **python_properties(services, cluster, made)}
    try:
        gateway, session = await engine.open_session({**properties, "pipeline.name": "preview"})
    except Rejected as error:
        raise InvalidInput(error.message, code="no_gateway", field="cluster") from error
    run: Run | None = None
    has_started = False
    rows = f"{scratch_of(cluster)}/rows/{session}"
    try:
        async with planning(services.settings, "Preparing the preview"):
            await _set_up(gateway, session, made, opened)
            if wanted.sources is not None:
                streams = await _debug(gateway, session, made, opened, wanted.sources, rows)
            else:
                query = opened.queries[0]
                if any(not r.read for r in made.rights.values()):
                    await explained(gateway, session, [query], made)
                streams = [Stream("", placed(query))]
        run = Run(
            services,
            engine,
            gateway,
            session,
            streams,
            wanted.limits,
            secrets=made.secrets,
            materialize=wanted.materialize or debugging,
            folder=rows if debugging else None,
        )
        runs.add(run)
        await run.write_down(wanted.project, cluster.name, wanted.request)
        await run.start(wanted.project)
        has_started = True
        return run
    except StatementFailed as error:
        raise refused((opened.queries or opened.inserts)[0], error, made.secrets) from error
    finally:  # also when the request is cancelled meanwhile
        if not has_started and (run is None or not run.sent):
            await gateway.close(session)
        if not has_started and run is not None:
            runs.drop(run)


async def _environment(services: Services, wanted: Wanted) -> tuple[Environment, Cluster]:
    async with services.database.read() as session:
        await jobs.project(session, wanted.project)
        cluster = await clusters.get(session, wanted.cluster)
        made = await environment(
            services, session, wanted.project, wanted.script, uses=wanted.libraries, open_secrets=True
        )
        return made, cluster


async def _set_up(gateway: SqlGateway, session: str, made: Environment, script: Script) -> None:
    try:
        await gateway.prepare(session, made.before, no_log)
        for statement in script.setup:
            try:
                await gateway.execute(session, placed(statement))
            except StatementFailed as error:
                raise refused(statement, error, made.secrets) from error
    except Rejected as error:
        raise InvalidInput(scrub(error.message, made.secrets), code="sql_invalid", field="sql") from error


async def explained(gateway: SqlGateway, session: str, statements: list[Statement], made: Environment) -> Validation:
    """What statements read and write, and whether they may. Raises `InvalidInput`."""
    report = Report()
    for statement in statements:
        info = StatementInfo(
            number=statement.number, line=statement.line, column=statement.column, kind=statement.kind.value, head=""
        )
        report.infos.append(info)
        try:
            await explain(gateway, session, statement, info, report)
        except StatementFailed as error:
            raise refused(statement, error, made.secrets, shift=1) from error
    validation = summary(report, made)
    made.check([table_name(t) for t in validation.reads], [table_name(t) for t in validation.writes])
    return validation


async def _debug(
    gateway: SqlGateway,
    session: str,
    made: Environment,
    script: Script,
    sources: dict[str, Given],
    folder: str,
) -> list[Stream]:
    """Each INSERT as a query of the rows that it would write. No sink is ever opened."""
    validation = await explained(gateway, session, script.inserts, made)
    tables: dict[Chain, tuple[list[Described], str]] = {}
    for name, given in sources.items():
        chain = chain_at(tokens(name))
        columns = await _described(gateway, session, chain)
        full = chain[-1]
        if not any(read.split(".")[-1] == full for read in validation.reads):
            raise InvalidInput(
                f"The script does not read {name}.",
                code="source_not_read",
                field=f"sources.{name}",
                remedy=f"It reads: {', '.join(validation.reads)}.",
            )
        tables[chain] = columns, as_lines(given.rows, columns, name)
    sinks = [taken_apart(s) for s in script.inserts]
    named = [(sink, sink.columns or await _persisted(gateway, session, sink)) for sink in sinks]
    for number, (chain, (columns, lines)) in enumerate(tables.items()):
        path = f"{folder}/{number}"
        await state_files.make_folder(path)
        await state_files.write(f"{path}/rows.json", lines)
        await gateway.execute(session, stand_in(chain, columns, path))
    return [Stream(_stream_name(sink, sinks), as_query(sink, columns)) for sink, columns in named]


def _stream_name(sink: Sink, sinks: list[Sink]) -> str:
    """The sink's table; with the number of the statement when several INSERTs write it."""
    name = ".".join(sink.table)
    alone = sum(1 for s in sinks if s.table == sink.table) == 1
    return name if alone else f"{name}#{sink.statement.number}"


async def _described(gateway: SqlGateway, session: str, chain: Chain) -> list[Described]:
    try:
        return described(await gateway.rows(session, f"DESCRIBE {quoted_name(*chain)}"))
    except StatementFailed as error:
        raise InvalidInput(
            f"There is no table {'.'.join(chain)[:200]} in the script.", code="source_not_found", field="sources"
        ) from error


async def _persisted(gateway: SqlGateway, session: str, sink: Sink) -> list[str]:
    return [c.name for c in await _described(gateway, session, sink.table) if c.persisted]


def given(name: str, rows: list[dict[str, Any]] | None, text: str | None) -> Given:
    """Rows as they were typed: objects, or CSV with a header."""
    return Given(rows if rows is not None else rows_of_csv(text or "", name))
