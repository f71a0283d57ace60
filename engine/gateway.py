"""Flink's SQL gateway (REST v2 and later): sessions, statements, results."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from core.sql import STATEMENT_SET_HEAD, Script, Statement, as_one_job, placed
from engine.base import EngineError, Rejected, Tell, Unreachable
from engine.flink_errors import place, root_cause
from engine.http import Http, Refused

FIRST_PAUSE = 0.005
LONGEST_PAUSE = 0.25
STATEMENT_TIMEOUT = 300.0


class StatementFailed(EngineError):
    """Flink says no to a statement; the message is Flink's own."""


class SqlGateway:
    def __init__(self, url: str):
        self.http = Http(url, f"SQL gateway {url}")

    async def answers(self) -> bool:
        try:
            await self.http.call("GET", "/info")
        except EngineError:
            return False
        return True

    @asynccontextmanager
    async def session(self, properties: Mapping[str, str]) -> AsyncIterator[str]:
        """A session that is closed at the end, whatever happens. Raises `Unreachable` or `Refused`."""
        body = await self.http.call("POST", "/v2/sessions", json={"properties": dict(properties)})
        handle = str(body["sessionHandle"])
        try:
            yield handle
        finally:
            await asyncio.shield(self._close(handle))

    async def _close(self, handle: str) -> None:
        try:
            await self.http.call("DELETE", f"/v2/sessions/{handle}")
        except EngineError:
            return  # the gateway is gone, or has forgotten the session: then it is closed

    async def execute(self, session: str, statement: str, *, timeout: float = STATEMENT_TIMEOUT) -> dict[str, Any]:
        """Run one statement and wait for its first result. Raises `StatementFailed` with Flink's words."""
        try:
            body = await self.http.call("POST", f"/v2/sessions/{session}/statements", json={"statement": statement})
            operation = body["operationHandle"]
            deadline = time.monotonic() + timeout
            pause = FIRST_PAUSE
            while True:
                result: dict[str, Any] = await self.http.call(
                    "GET",
                    f"/v2/sessions/{session}/operations/{operation}/result/0",
                    params={"rowFormat": "JSON"},
                )
                if result.get("resultType") != "NOT_READY":
                    return result
                if time.monotonic() > deadline:
                    raise Unreachable(f"The SQL gateway has not finished a statement after {timeout:.0f} s")
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 1.5)
        except Refused as error:
            raise StatementFailed(error.message, stack=error.stack) from error

    async def run_script(self, session: str, script: Script, tell: Tell) -> None:
        """Run a script as one Flink job. Raises `Rejected` with the statement, its line and column, and
        Flink's message; Flink's stack goes to `tell`."""
        for statement in script.setup:
            tell(f"statement {statement.number}: {_first_line(statement)}")
            try:
                await self.execute(session, placed(statement))
            except StatementFailed as error:
                raise _rejected(statement, error, tell) from error
        for statement in script.inserts:
            tell(f"statement {statement.number}: {_first_line(statement)}")
        text = as_one_job(script.inserts)
        try:
            await self.execute(session, text)
        except StatementFailed as error:
            shift = 1 if text.startswith(STATEMENT_SET_HEAD) else 0
            culprit = await self._culprit(session, script.inserts, error, shift)
            raise _rejected(culprit, error, tell, shift=shift) from error

    async def _culprit(self, session: str, inserts: list[Statement], error: StatementFailed, shift: int) -> Statement:
        """Which INSERT an error is about: by its place, or by asking Flink to explain each alone."""
        if (where := place(error.stack or "")) is not None:
            before = [s for s in inserts if (s.line, s.column) <= (where[0] - shift, where[1])]
            return before[-1] if before else inserts[0]
        for statement in inserts if len(inserts) > 1 else []:
            try:
                await self.execute(session, f"EXPLAIN {statement.text}", timeout=30)
            except StatementFailed:
                return statement
            except Unreachable:
                break
        return inserts[0]


def _rejected(statement: Statement, error: StatementFailed, tell: Tell, *, shift: int = 0) -> Rejected:
    stack = error.stack or error.message
    where = place(stack)
    line, column = (where[0] - shift, where[1]) if where else (statement.line, statement.column)
    tell("Flink's answer in full:")
    for text in stack.splitlines():
        tell("  " + text)
    message = root_cause(stack)
    if where and shift:
        message = message.replace(f"line {where[0]}, column {where[1]}", f"line {line}, column {column}")
    return Rejected(f"Statement {statement.number}, line {line}, column {column}: {message}", stack=stack)


def _first_line(statement: Statement) -> str:
    """The head of a statement for the log; option values, which may hold secrets, are left out."""
    head = " ".join(statement.text.split("(", 1)[0].split())
    if statement.kind == "set":
        head = head.split("=", 1)[0]
    return head[:100]
