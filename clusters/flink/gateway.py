"""Flink's SQL gateway (REST v2 and later): sessions, statements, results, compiled plans."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog

from clusters import state_files
from clusters.flink.errors import is_forgotten, place
from clusters.flink.http import Http, Refused, Transport, reads
from clusters.protocol import SqlProgram, Unreachable
from clusters.sql import (
    NO_OPTIONS,
    KnownOptions,
    NoPlan,
    Result,
    SessionGone,
    SqlGateway,
    StatementFailed,
    as_set,
    first_line,
    rejected,
)
from core.effects import EngineError, LogSink, Rejected
from core.sql.catalogs import may_fail
from core.sql.operators import Json, TableName, table_in
from core.sql.references import options_of_created, stays_in_session
from core.sql.script import STATEMENT_SET_HEAD, Script, Statement, as_one_job, placed
from core.sql.tokens import Token, literal, options_in, tokens
from core.sql.values import of_gateway, shown
from settings import clock, waits
from settings.polling import poll

log = structlog.get_logger()

_NO_DRIVER = "No suitable driver"


class RestGateway(SqlGateway):
    """`loads_drivers` gives the statements of `drivers.loading`; `transport`
    takes the place of the network."""

    def __init__(
        self,
        url: str,
        *,
        loads_drivers: Callable[[Sequence[str]], Awaitable[list[str]]] | None = None,
        transport: Transport | None = None,
    ):
        self._url = url.rstrip("/")
        self._loads_drivers = loads_drivers
        self.http = Http([url], "SQL gateway", in_jar=False, transport=transport)

    @property
    def url(self) -> str:
        return self._url

    async def answers(self) -> bool:
        """Whether GET /info is answered now; False also when nothing can be reached. Raises nothing."""
        try:
            await self.http.call("GET", "/info")
        except EngineError:
            return False
        return True

    @asynccontextmanager
    async def session(self, properties: Mapping[str, str]) -> AsyncIterator[str]:
        """A session that is closed at the end, whatever happens. Raises `Unreachable` or `Refused`."""
        handle = await self.open(properties)
        try:
            yield handle
        finally:
            await asyncio.shield(self.close(handle))

    @reads
    async def open(self, properties: Mapping[str, str]) -> str:
        """A session with these properties as its configuration, by POST /v2/sessions; returns its handle. Who opens it
        closes it. Raises `Unreachable` and `Refused`."""
        body = await self.http.call("POST", "/v2/sessions", json={"properties": dict(properties)})
        return str(body["sessionHandle"])

    async def close(self, handle: str) -> None:
        try:
            await self.http.call("DELETE", f"/v2/sessions/{handle}")
        except EngineError:
            return  # the gateway is gone, or has forgotten the session: then it is closed

    async def heartbeat(self, handle: str) -> None:
        """Keep a session from being idle. Raises `SessionGone`."""
        try:
            await self.http.call("POST", f"/v2/sessions/{handle}/heartbeat")
        except Refused as error:
            raise _failed(error) from error

    @reads
    async def start(self, session: str, statement: str, config: Mapping[str, str] | None = None) -> str:
        """Send a statement; returns its operation. Raises `SessionGone` and `StatementFailed`."""
        body: Json = {"statement": statement}
        if config:
            body["executionConfig"] = dict(config)
        try:
            answer = await self.http.call("POST", f"/v2/sessions/{session}/statements", json=body)
        except Refused as error:
            raise _failed(error) from error
        return str(answer["operationHandle"])

    @reads
    async def page(self, session: str, operation: str, token: int) -> Result:
        """A page of an operation's result. Raises `StatementFailed` with Flink's words; and whatever becomes of this
        question, the statement was sent."""
        try:
            body = await self.http.call(
                "GET",
                f"/v2/sessions/{session}/operations/{operation}/result/{token}",
                params={"rowFormat": "JSON"},
                exact=True,
            )
        except Unreachable as error:
            raise Unreachable(error.message) from error
        except Refused as error:
            raise _failed(error, sent=True) from error
        found = body.get("results") or {}
        following = str(body.get("nextResultUri") or "")
        columns = found.get("columns") or []
        return Result(
            columns=columns,
            rows=_shown(columns, found.get("data") or []),
            next=int(following.rpartition("/")[2].partition("?")[0]) if following else None,
            ready=body.get("resultType") != "NOT_READY",
            job_id=body.get("jobID"),
            kind=str(body.get("resultKind") or ""),
        )

    async def cancel(self, session: str, operation: str) -> None:
        """Stop an operation; fine when it is gone."""
        try:
            await self.http.call("DELETE", f"/v2/sessions/{session}/operations/{operation}/close")
        except EngineError:
            return

    async def execute(
        self,
        session: str,
        statement: str,
        *,
        timeout: float = waits.STATEMENT_SECONDS,
        config: Mapping[str, str] | None = None,
        plans: bool = False,
    ) -> Result:
        """Run one statement and wait for its first result. One that `plans` is not asked for at once. Raises
        `StatementFailed` with Flink's words, and `Unreachable`."""
        operation = await self.start(session, statement, config)
        await asyncio.sleep(waits.PLAN_SECONDS if plans else 0)
        polling = poll(waits.PLAN_PACE if plans else waits.STATEMENT_PACE, seconds=timeout)
        while True:
            asked = clock.monotonic()
            result = await self.page(session, operation, 0)
            if result.ready:
                return result
            # A gateway that is busy answers slowly, and is asked less often.
            if not await polling.again(at_least=clock.monotonic() - asked):
                raise Unreachable(f"The SQL gateway has not finished a statement after {timeout:.0f} s")

    async def rows(self, session: str, statement: str, *, timeout: float = waits.STATEMENT_SECONDS) -> list[list[Any]]:
        """All rows of a statement that only asks, and whose result is short (SHOW, DESCRIBE, EXPLAIN): whatever is
        raised, nothing was sent that counts."""
        try:
            return await self._rows(session, statement, timeout)
        except (Unreachable, SessionGone) as error:
            error.sent = False
            raise

    @reads
    async def _rows(self, session: str, statement: str, timeout: float) -> list[list[Any]]:
        operation = await self.start(session, statement)
        found: list[list[Any]] = []
        token: int | None = 0
        polling = poll(waits.ROWS_PACE, seconds=timeout)
        while token is not None:
            result = await self.page(session, operation, token)
            found += [row["fields"] for row in result.rows]
            if not result.ready and not await polling.again():
                raise Unreachable(f"The SQL gateway has not finished a statement after {timeout:.0f} s")
            token = result.next
        return found

    @reads
    async def complete(self, session: str, statement: str, position: int) -> list[str]:
        """What may stand at a position of a statement, as Flink's own completer says."""
        try:
            body = await self.http.call(
                "GET",
                f"/v2/sessions/{session}/complete-statement",
                json={"statement": statement, "position": position},
            )
        except Refused as error:
            raise _failed(error) from error
        return [str(c) for c in body.get("candidates") or []]

    async def compile(self, session: str, text: str, scratch: str, known: KnownOptions = NO_OPTIONS) -> Json:
        """The compiled plan of INSERTs, with the options of their tables; those that are not `known` are asked for.
        Raises `StatementFailed`, `NoPlan`."""
        path = f"{scratch.rstrip('/')}/{uuid.uuid4().hex}.json"
        try:
            await state_files.make_folder(scratch)
            await self.execute(
                session,
                f"COMPILE PLAN '{path}' FOR {text}",
                # Options may hold secrets: they are not written to a file, but added below.
                config={"table.plan.compile.catalog-objects": "SCHEMA"},
                plans=True,
            )
            body: Json = json.loads(await _read(path))
        finally:
            with contextlib.suppress(Unreachable):
                await state_files.remove(path)
        await self._add_options(session, body, known)
        return body

    async def _add_options(self, session: str, plan: Json, known: KnownOptions) -> None:
        found = dict(known)
        for table in filter(None, map(table_in, plan["nodes"])):
            if identifier := str(table.get("identifier") or ""):
                name = TableName.parse(identifier)
                if name not in found:
                    found[name] = await self.options(session, identifier)
                if isinstance(table.get("resolvedTable"), dict):
                    table["resolvedTable"]["options"] = dict(found[name])

    async def options(self, session: str, table: str) -> dict[str, str]:
        """The options of a table (its name quoted), as the session has them; empty for what has none."""
        try:
            found = await self.rows(session, f"SHOW CREATE TABLE {table}")
        except StatementFailed:
            return {}
        parts = tokens(str(found[0][0])) if found else []
        start = max((i for i, t in enumerate(parts) if t.word == "WITH"), default=len(parts))
        return {literal(key.text): literal(value.text) for key, value in options_in(parts[start:])}

    async def run(self, session: str, program: SqlProgram, tell: LogSink) -> None:
        """Run a program as one Flink job. Raises `Rejected` with the statement, its line and column, and
        Flink's message; Flink's stack goes to `tell`."""
        await self.prepare(session, program.before, tell)
        await self.set_up(session, program.script, tell)
        for statement in program.script.inserts:
            tell(f"statement {statement.number}: {first_line(statement)}")
        plan = program.plan
        if plan is None and program.planner is not None and program.scratch:
            plan = await self._planned(session, program, tell)
        if plan is not None and program.scratch:
            await self._run_plan(session, plan, program.scratch)
            return
        text = as_one_job(program.script.inserts)
        try:
            await self.execute(session, text, plans=True)
        except StatementFailed as error:
            shift = 1 if text.startswith(STATEMENT_SET_HEAD) else 0
            culprit = await self.culprit(session, program.script.inserts, error, shift)
            raise rejected(culprit, error, tell, shift=shift) from error

    async def _planned(self, session: str, program: SqlProgram, tell: LogSink) -> Json | None:
        assert program.planner is not None
        assert program.scratch is not None
        try:
            known = options_of_created(program.before, program.script)
            compiled = await self.compile(session, as_set(program.script.inserts), program.scratch, known)
        except (StatementFailed, NoPlan) as error:
            # What is wrong with the text the text itself will say; what cannot be a plan runs without one.
            return await program.planner(None, error.message)
        return await program.planner(compiled, "")

    async def _run_plan(self, session: str, plan: Json, scratch: str) -> None:
        path = f"{scratch.rstrip('/')}/{uuid.uuid4().hex}.json"
        await state_files.make_folder(scratch)
        await state_files.write(path, json.dumps(plan))
        try:
            await self.execute(
                session,
                f"EXECUTE PLAN '{path}'",
                config={"table.plan.restore.catalog-objects": "IDENTIFIER"},
                plans=True,
            )
        except StatementFailed as error:
            raise Rejected(error.message, stack=error.stack) from error
        finally:
            await state_files.remove(path)

    async def prepare(self, session: str, before: list[str], tell: LogSink) -> None:
        """What Penstock puts in front of a script. Raises `Rejected`."""
        for statement in before:
            try:
                await self._set_up(session, statement, tokens(statement))
            except StatementFailed as error:
                if may_fail(statement):
                    continue
                head = " ".join(statement.split("(", 1)[0].split())[:120]
                for line in (error.stack or "").splitlines():
                    tell("  " + line)
                raise Rejected(f"{head}: {error.message}", stack=error.stack) from error

    async def set_up(self, session: str, script: Script, tell: LogSink) -> None:
        moves = any(statement.first == "USE" for statement in script.setup)
        for statement in script.setup:
            tell(f"statement {statement.number}: {first_line(statement)}")
            try:
                await self._set_up(session, placed(statement), statement.tokens, moves=moves)
            except StatementFailed as error:
                raise rejected(statement, error, tell) from error

    async def _set_up(self, session: str, text: str, parts: Sequence[Token], *, moves: bool = False) -> None:
        """Run a statement that changes the session. Raises as `execute`.

        The driver of a JDBC catalog is in the class loader of its session, where Java's `DriverManager` sees it from
        the second question on, once it has heard of a driver of that name at all: the first question has it loaded
        (decision 26)."""
        for tries in range(4):
            try:
                return await self._change(session, text, parts, moves=moves)
            except StatementFailed as error:
                is_driver = [part.word for part in parts[:2]] == ["CREATE", "CATALOG"] and _NO_DRIVER in (
                    error.stack or ""
                )
                if not is_driver or tries == 3 or (tries == 1 and not await self._load_drivers(session)):
                    raise

    async def _change(self, session: str, text: str, parts: Sequence[Token], *, moves: bool) -> None:
        """One that stays in the memory of the session is carried out in the request itself; others, which may wait for
        somebody, would hold up a thread that the gateway answers by."""
        if parts and not moves and stays_in_session(parts):
            path = f"/v2/sessions/{session}/configure-session"
            try:
                await self.http.call("POST", path, json={"statement": text}, timeout=waits.STATEMENT_SECONDS)
                return
            except Refused:  # it has changed nothing, and is refused again, with its place
                pass
        await self.execute(session, text)

    async def _load_drivers(self, session: str) -> bool:
        """Have the `DriverManager` of the gateway hear of the drivers in the jars of a session. False where that cannot
        be done here."""
        if self._loads_drivers is None:
            return False
        try:
            jars = [str(jar) for (jar,) in await self.rows(session, "SHOW JARS")]
            statements = await self._loads_drivers(jars)
            async with self.session({}) as own:
                for statement in statements:
                    await self.execute(own, statement)
        except EngineError as error:
            log.warning("JDBC drivers cannot be loaded into the SQL gateway", gateway=self._url, why=error.message)
            return False
        return True

    async def culprit(self, session: str, inserts: list[Statement], error: StatementFailed, shift: int) -> Statement:
        """Which INSERT an error is about: by its place, or by asking Flink to explain each alone."""
        if (where := error.where) is not None:
            before = [s for s in inserts if (s.line, s.column) <= (where[0] - shift, where[1])]
            return before[-1] if before else inserts[0]
        for statement in inserts if len(inserts) > 1 else []:
            try:
                await self.execute(
                    session, f"EXPLAIN {statement.without_execute().text}", timeout=waits.EXPLAIN_SECONDS
                )
            except StatementFailed:
                return statement
            except Unreachable:
                break
        return inserts[0]


def _shown(columns: list[Json], rows: list[Json]) -> list[Json]:
    """Rows with each value as its column's type is shown."""
    if not columns or not rows:
        return rows
    types = [of_gateway(column.get("logicalType") or {}) for column in columns]
    return [{**row, "fields": [shown(v, t) for v, t in zip(row["fields"], types, strict=True)]} for row in rows]


async def _read(path: str) -> str:
    try:
        return await state_files.read(path)
    except Unreachable as error:
        raise NoPlan(
            f"The gateway wrote a plan that cannot be read here ({error.message}); state_dir of the cluster has to be "
            "the same for both."
        ) from error


def _failed(error: Refused, *, sent: bool = False) -> EngineError:
    stack = error.stack or error.message
    if is_forgotten(stack):
        return SessionGone(
            "The SQL gateway has forgotten the session: it was restarted, or the session was idle for too long.",
            stack=stack,
            sent=sent,
        )
    if "Could not map response to JSON" in stack:
        return StatementFailed(
            "The SQL gateway cannot give these rows: in JSON the keys of a MAP, and what a MULTISET counts, are "
            "strings, and VARIANT has none. Cast them in the query: CAST(... AS MAP<STRING, ...>), JSON_STRING(...).",
            stack=stack,
        )
    return StatementFailed(error.message, stack=stack, where=place(stack))
