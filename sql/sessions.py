"""Interactive sessions that outlive their gateway and the API.

What makes a session is in its row: configuration, libraries, and the statements that set it up. A gateway that
has forgotten it, or is gone, costs a rebuild on any gateway of the cluster. SETs are not made again: they are for the
moment, and their loss is told. Nor is what was done to a catalog that outlives the session: that was done once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from clusters.protocol import SqlWorkbench, Unreachable
from clusters.sql import SessionGone, SqlGateway, StatementFailed, scrub
from core.config import check_new_config
from core.effects import EngineError, Rejected, no_log
from core.errors import Conflict, InvalidInput, NotFound
from core.specs import Use
from core.sql.catalogs import BEGINNING, Position, position_after
from core.sql.interactive import SETUP, session_statement, setting_of
from core.sql.outside import changed_outside, own_catalogs
from core.sql.script import EMPTY, Script, Statement, StatementKind, parse
from core.sql.tokens import literal
from services import Services
from services.hidden import hidden
from settings import clock, waits
from settings.polling import poll
from sql.ending import cancelled
from sql.environment import Environment, environment, python_properties
from sql.making import make_all, make_for
from sql.options import pointing_to_libraries
from sql.previews import explained, refused
from sql.run_registry import Runs
from sql.runs import Run
from sql.streams import Limits, Stream
from store import catalogs, clusters, jobs, previews
from store import sessions as rows
from store.database import Session
from store.tables import Cluster, SqlSession

MAX_RESULT_ROWS = 1000
log = structlog.get_logger()


@dataclass
class Rebuilt:
    """What a rebuild did not bring back."""

    reset: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


@dataclass
class StatementResult:
    """Of one statement. A query gives a `run` and no rows."""

    columns: list[dict[str, Any]] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    truncated: bool = False
    run: Run | None = None
    rebuilt: Rebuilt | None = None


class Sessions:
    """Of one process; the rows are everybody's."""

    def __init__(self, services: Services, runs: Runs):
        self._services, self._runs = services, runs
        self._locks: dict[str, asyncio.Lock] = {}
        self._kept: dict[str, float] = {}
        self._beating: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Keep sessions that were used lately from going idle on their gateway, until `close`. Needs a running event
        loop."""
        self._beating = asyncio.create_task(self._beat())

    async def close(self) -> None:
        """End that. The sessions stay, and go on in another process."""
        if self._beating:
            self._beating.cancel()

    async def create(
        self, project: str, cluster: str, name: str, config: dict[str, str], libraries: list[Use]
    ) -> SqlSession:
        """Raises `InvalidInput`, `NotFound`, `Unreachable`."""
        check_new_config(config, "config")
        async with self._services.database.write() as session:
            await jobs.project(session, project, hold=True)
            await clusters.get(session, cluster)
            row = rows.add(session, project, cluster, name, config, libraries, clock.now())
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self.end, row.id)
            await self._rebuild(row)
            undo.pop_all()
        return row

    async def end(self, id_: str) -> None:
        """Close a session; its previews end with it."""
        async with self._services.database.write() as session:
            row = await rows.close(session, id_, clock.now())
            cluster = await clusters.get(session, row.cluster)
            # Perhaps another process streams one of them.
            queries = [
                p.flink_job_id
                for p in await previews.on_cluster(session, row.cluster)
                if p.request.get("session") == id_
            ]
        await cancelled(self._services.engines.workbench(cluster), queries)
        self._kept.pop(id_, None)
        self._locks.pop(id_, None)
        if row.handle and (gateway := self._gateway(cluster, row)) is not None:
            await gateway.close(row.handle)

    def _gateway(self, cluster: Cluster, row: SqlSession) -> SqlGateway | None:
        return self._services.engines.workbench(cluster).gateway(row.gateway_url)

    # Statements -------------------------------------------------------------------------------

    async def execute(self, id_: str, text: str, limits: Limits, *, materialize: bool = False) -> StatementResult:
        """Run one statement. Raises `InvalidInput` with Flink's words, `Conflict` while another one runs."""
        script = parse(text)
        statement = session_statement(script)
        lock = self._locks.setdefault(id_, asyncio.Lock())
        if lock.locked():
            raise Conflict("Another statement of this session is running.", code="session_busy", remedy="Wait for it.")
        async with lock:
            async with self._services.database.read() as session:
                row = await rows.get(session, id_)
                cluster = await clusters.get(session, row.cluster)
                env = await self._environment(session, row, script)
            uses = [Use.model_validate(u) for u in row.libraries]
            async with pointing_to_libraries(self._services, row.project, row.cluster, uses):
                answer = await self._answered(row, cluster, statement, env, limits, materialize)
            await self._remember(row, script, statement)
            self._kept[id_] = asyncio.get_running_loop().time()
            return answer

    async def _answered(
        self,
        row: SqlSession,
        cluster: Cluster,
        statement: Statement,
        env: Environment,
        limits: Limits,
        materialize: bool,
    ) -> StatementResult:
        """The answer to a statement, of a session that is made again where its gateway has forgotten it."""
        rebuilt: Rebuilt | None = None
        for last in (False, True):
            gateway = self._gateway(cluster, row)
            try:
                if gateway is None or row.handle is None:
                    raise SessionGone("The session has no gateway.")
                answer = await self._run(row, gateway, row.handle, statement, env, limits, materialize)
                break
            except StatementFailed as error:
                raise refused(statement, error, env.secrets) from error
            except (SessionGone, Unreachable) as error:
                if last or (error.sent and statement.first in SETUP):
                    raise
                rebuilt = await self._rebuild(row)
        answer.rebuilt = rebuilt
        return answer

    async def _environment(self, session: Session, row: SqlSession, script: Script) -> Environment:
        uses = [Use.model_validate(u) for u in row.libraries]
        where = position_after(map(parse, row.setup))
        env = await environment(self._services, session, row.project, script, uses=uses, open_secrets=True, where=where)
        # What was made earlier may show secrets that this statement does not name.
        return replace(env, secrets=await hidden(self._services, session, row.project))

    async def _run(
        self,
        row: SqlSession,
        gateway: SqlGateway,
        handle: str,
        statement: Statement,
        env: Environment,
        limits: Limits,
        materialize: bool,
    ) -> StatementResult:
        await make_for(gateway, handle, env, statement)
        if statement.kind is StatementKind.QUERY:
            return await self._query(row, gateway, handle, statement, env, limits, materialize)
        operation = await gateway.start(handle, env.script.text)
        answer, token, polling = StatementResult(), 0, poll(waits.SESSION_STATEMENT_PACE)
        try:
            while True:
                page = await gateway.page(handle, operation, token)
                if not page.ready:
                    await polling.again()
                    continue
                answer.columns = answer.columns or [{"name": c["name"]} for c in page.columns]
                answer.rows += [_scrubbed(r["fields"], env.secrets) for r in page.rows]
                if page.next is None or len(answer.rows) >= MAX_RESULT_ROWS:
                    answer.truncated = page.next is not None
                    return answer
                token = page.next
        finally:  # also when the client has gone: what it runs on Flink ends with the operation
            await asyncio.shield(gateway.cancel(handle, operation))

    async def _query(
        self,
        row: SqlSession,
        gateway: SqlGateway,
        handle: str,
        statement: Statement,
        env: Environment,
        limits: Limits,
        materialize: bool,
    ) -> StatementResult:
        if any(not r.read for r in env.rights.values()):
            await explained(gateway, handle, [statement], env)
        async with self._services.database.read() as session:
            engine = self._services.engines.workbench(await clusters.get(session, row.cluster))
        run = Run(
            self._services,
            engine,
            gateway,
            handle,
            [Stream("", env.script.text)],
            limits,
            secrets=env.secrets,
            materialize=materialize,
            owns_session=False,
        )
        self._runs.add(run)
        with ExitStack() as undo:
            undo.callback(self._runs.drop, run)
            await run.write_down(
                row.project, row.cluster, {"kind": "session", "session": row.id, "sql": statement.text}
            )
            await run.start(row.project)
            undo.pop_all()
        return StatementResult(run=run)

    async def _remember(self, row: SqlSession, script: Script, statement: Statement) -> None:
        async with self._services.database.write() as session:
            current = await rows.get(session, row.id)
            setup, settings = current.setup, current.settings
            alone = len(statement.tokens) == 1
            if statement.first in SETUP:
                made = [parse(text) for text in setup]
                own = await _own(session, row.project, made)
                if changed_outside(statement.tokens, position_after(made).catalog, own) is None:
                    setup = [*setup, script.text]
            elif statement.first == "SET" and not alone:
                key, value = setting_of(statement)
                settings = {**settings, key: value}
            elif statement.first == "RESET":
                key = "" if alone else literal(statement.tokens[1].text)
                settings = {k: v for k, v in settings.items() if key and k != key}
            rows.used(current, setup, settings, clock.now())

    # Rebuilding -------------------------------------------------------------------------------

    async def _rebuild(self, row: SqlSession) -> Rebuilt:
        """Make the session again on a gateway that answers. When another process was faster, its session is taken."""
        services = self._services
        async with services.database.read() as session:
            current = await rows.get(session, row.id)
            if current.generation != row.generation:
                rows.refresh(row, current)
                return Rebuilt()
            cluster = await clusters.get(session, row.cluster)
            uses = [Use.model_validate(u) for u in row.libraries]
            env = await environment(
                services, session, row.project, EMPTY, uses=uses, open_secrets=True, everything=True
            )
            own = await _own(session, row.project, map(parse, current.setup))
        engine = services.engines.workbench(cluster)
        gateway, handle = await self._open(engine, cluster, row, env)
        rebuilt = Rebuilt(reset=dict(current.settings))
        async with AsyncExitStack() as undo:
            undo.push_async_callback(gateway.close, handle)
            where = BEGINNING
            for statement in current.setup:
                script = parse(statement)
                # Where the session could not move, a short name may be that of a table which outlives it.
                changed = [changed_outside(parts, where.catalog, own) for parts in script.statements()]
                if (outside := next(filter(None, changed), None)) is not None:
                    rebuilt.lost.append(f"{statement[:200]}: it would change the catalog {outside[1]}")
                    continue
                try:
                    async with services.database.read() as session:
                        one = await environment(services, session, row.project, script, open_secrets=True, where=where)
                except (InvalidInput, NotFound) as error:  # a secret or a library that has gone since
                    rebuilt.lost.append(f"{statement[:200]}: {error.message}")
                    continue
                try:
                    await gateway.prepare(handle, one.catalogs, no_log)
                    await gateway.execute(handle, one.script.text)
                except (StatementFailed, Rejected) as error:
                    rebuilt.lost.append(f"{statement[:200]}: {scrub(error.message, one.secrets)}")
                    continue
                where = position_after([script], where)
            undo.pop_all()
        async with services.database.write() as session:
            is_ours = await rows.rebuilt(session, row, gateway.url, handle)
        if not is_ours:
            await gateway.close(handle)
        async with services.database.read() as session:
            rows.refresh(row, await rows.get(session, row.id))
        self._kept[row.id] = asyncio.get_running_loop().time()
        return rebuilt

    async def _open(
        self, engine: SqlWorkbench, cluster: Cluster, row: SqlSession, env: Environment
    ) -> tuple[SqlGateway, str]:
        properties = {**row.config, **python_properties(self._services, cluster, env)}
        try:
            gateway, handle = await engine.open_session({**properties, "pipeline.name": f"session {row.id[:8]}"})
        except Rejected as error:
            raise InvalidInput(error.message, code="no_gateway", field="cluster") from error
        try:
            await make_all(gateway, handle, env)
        except Rejected as error:
            await gateway.close(handle)
            raise InvalidInput(scrub(error.message, env.secrets), code="sql_invalid", field="libraries") from error
        return gateway, handle

    async def complete(self, id_: str, text: str, position: int) -> list[str]:
        """What may stand at a position, for a session with all that was made in it."""
        async with self._services.database.read() as session:
            row = await rows.get(session, id_)
            cluster = await clusters.get(session, row.cluster)
        for last in (False, True):
            gateway = self._gateway(cluster, row)
            try:
                if gateway is None or row.handle is None:
                    raise SessionGone("The session has no gateway.")
                return await gateway.complete(row.handle, text, position)
            except (SessionGone, Unreachable):
                if last:
                    raise
                await self._rebuild(row)
        return []

    async def libraries(self, id_: str) -> list[Use]:
        """Those that it was opened with. Raises `NotFound`."""
        async with self._services.database.read() as session:
            return [Use.model_validate(u) for u in (await rows.get(session, id_)).libraries]

    async def position(self, id_: str) -> Position:
        """Where a session is after its statements."""
        async with self._services.database.read() as session:
            return position_after(map(parse, (await rows.get(session, id_)).setup))

    # Keeping ----------------------------------------------------------------------------------

    async def _beat(self) -> None:
        """A session that was used lately does not go idle on its gateway."""
        while True:
            await asyncio.sleep(waits.SESSION_BEAT_SECONDS)
            now = asyncio.get_running_loop().time()
            self._kept = {i: at for i, at in self._kept.items() if now - at < waits.SESSION_KEEP_SECONDS}
            for id_ in list(self._kept):
                try:
                    async with self._services.database.read() as session:
                        row = await rows.get(session, id_)
                        cluster = await clusters.get(session, row.cluster)
                    if row.handle and (gateway := self._gateway(cluster, row)) is not None:
                        await gateway.heartbeat(row.handle)
                except NotFound:
                    self._kept.pop(id_, None)
                except EngineError:
                    continue  # the next statement rebuilds it
                except Exception as error:
                    log.warning("a session was not kept alive", session=id_, why=str(error))


async def _own(session: Session, project: str, made: Iterable[Script]) -> set[str]:
    """The catalogs that end with a session in which this was made."""
    registered = await catalogs.of_project(session, project)
    return own_catalogs(made, {row.name for row in registered if not catalogs.definition_of(row).outlives})


def _scrubbed(fields: list[Any], secrets: list[str]) -> list[Any]:
    return [scrub(f, secrets) if isinstance(f, str) else f for f in fields]
