"""Asking for a run: a query to look at, or a whole script to debug."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from clusters.protocol import SqlWorkbench
from clusters.sql import SqlGateway, StatementFailed, scrub, told
from core.effects import Rejected, no_log
from core.errors import InvalidInput
from core.specs import Use
from core.sql.references import check_script
from core.sql.script import Script, Statement, placed
from services import Services
from settings.waits import planning
from sql.compiling import scratch_of
from sql.debugging import Given, read_as, streams_of
from sql.environment import Environment, environment, python_properties
from sql.options import pointing_to_libraries
from sql.run_registry import Runs
from sql.runs import Run
from sql.streams import Limits, Stream
from sql.validate import Report, StatementInfo, Validation, explain, summary, table_name
from store import clusters, jobs
from store.tables import Cluster


@dataclass(frozen=True)
class RunRequest:
    """What to run. `sources` are rows for tables, by their names in the script; the others are read live. With
    `allow_unread` there may be rows for a table that the script does not read. `asked` is what a person asked for, to
    be run again by it."""

    project: str
    cluster: str
    script: Script
    libraries: Sequence[Use] = ()
    limits: Limits = field(default_factory=Limits)
    materialize: bool = False
    sources: dict[str, Given] | None = None
    allow_unread: bool = False
    config: dict[str, str] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)


def refused(statement: Statement, error: StatementFailed, secrets: Sequence[str], shift: int = 0) -> InvalidInput:
    """The answer to who sent the statement: Flink's words with the place in the script, without values of secrets.
    `shift` is how many lines were put in front of the statement."""
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
            f"A preview is one query, with what it needs in front; this has {len(script.queries)} queries and "
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


async def start(services: Services, runs: Runs, request: RunRequest) -> Run:
    """Start a run. Raises `InvalidInput` with Flink's words and their place, `Unreachable`."""
    async with pointing_to_libraries(services, request.project, request.cluster, request.libraries):
        return await _start(services, runs, request)


async def _start(services: Services, runs: Runs, request: RunRequest) -> Run:
    debugging = request.sources is not None
    if debugging:
        check_inserts(request.script)
    else:
        check_query(request.script)
    env, cluster = await _environment(services, request)
    opened = env.script
    engine = services.engines.workbench(cluster)
    properties = {**request.config, **python_properties(services, cluster, env)}
    try:
        gateway, session = await engine.open_session({**properties, "pipeline.name": "preview"})
    except Rejected as error:
        raise InvalidInput(error.message, code="no_gateway", field="cluster") from error
    run: Run | None = None
    has_started = False
    rows = f"{scratch_of(cluster)}/rows/{session}"
    try:
        async with planning(services.settings, "Preparing the preview"):
            await _set_up(gateway, session, env, opened)
            sources: dict[str, Given] = {}
            if request.sources is not None:
                validation = await explained(gateway, session, opened.inserts, env)
                sources = request.sources
                if request.allow_unread:
                    sources = {name: source for name, source in sources.items() if read_as(name, validation)}
                streams = await streams_of(
                    gateway, session, opened.inserts, validation, sources, rows, partial(_connector, services, engine)
                )
            else:
                query = opened.queries[0]
                if any(not r.read for r in env.rights.values()):
                    await explained(gateway, session, [query], env)
                streams = [Stream("", placed(query))]
        run = Run(
            services,
            engine,
            gateway,
            session,
            streams,
            request.limits,
            secrets=env.secrets,
            materialize=request.materialize or debugging,
            folder=rows if debugging else None,
            given=sources,
        )
        runs.add(run)
        await run.write_down(request.project, cluster.name, request.asked)
        await run.start(request.project)
        has_started = True
        return run
    except StatementFailed as error:
        raise refused((opened.queries or opened.inserts)[0], error, env.secrets) from error
    finally:  # also when the request is cancelled meanwhile
        if not has_started and (run is None or not run.sent):
            await gateway.close(session)
        if not has_started and run is not None:
            runs.drop(run)


async def _environment(services: Services, request: RunRequest) -> tuple[Environment, Cluster]:
    async with services.database.read() as session:
        await jobs.project(session, request.project)
        cluster = await clusters.get(session, request.cluster)
        env = await environment(
            services, session, request.project, request.script, uses=request.libraries, open_secrets=True
        )
        return env, cluster


async def _set_up(gateway: SqlGateway, session: str, env: Environment, script: Script) -> None:
    try:
        await gateway.prepare(session, env.before, no_log)
        for statement in script.setup:
            try:
                await gateway.execute(session, placed(statement))
            except StatementFailed as error:
                raise refused(statement, error, env.secrets) from error
    except Rejected as error:
        raise InvalidInput(scrub(error.message, env.secrets), code="sql_invalid", field="sql") from error


async def explained(gateway: SqlGateway, session: str, statements: list[Statement], env: Environment) -> Validation:
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
            raise refused(statement, error, env.secrets, shift=1) from error
    validation = summary(report, env)
    env.check([table_name(t) for t in validation.reads], [table_name(t) for t in validation.writes])
    return validation


async def _connector(services: Services, engine: SqlWorkbench) -> Path:
    """The jar that answers lookups, where libraries lie: gateways read it there. Raises `Rejected`."""
    jar = await engine.lookup_connector()
    digest, _ = await asyncio.to_thread(services.artifacts.put_jar, jar)
    return services.artifacts.jar(digest)
