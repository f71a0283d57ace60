"""A SQL gateway as those see it who work with SQL: sessions, statements, results, compiled plans.

The adapter that speaks to Flink's own gateway is `clusters/flink/gateway.py`.
"""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeAlias
from urllib.parse import quote, quote_plus

from core.effects import EngineError, LogSink, Rejected
from core.sql.operators import Json, TableName
from core.sql.script import Script, Statement
from settings import waits

KnownOptions: TypeAlias = Mapping[TableName, Mapping[str, str]]
NO_OPTIONS: KnownOptions = {}
# A client of Flink's sends a job again and again to whoever leads by then (20 times, 3 s apart), and closing its
# session does not end that (seen on 2.3.0). Ours is the only one that sends again: it asks first.
NO_RETRIES = {"rest.retry.max-attempts": "0"}


class StatementFailed(EngineError):
    """Flink says no to a statement; the message is Flink's own. `where` is the line and column that it speaks of,
    counted from 1; None where it names none."""

    def __init__(self, message: str, *, stack: str | None = None, where: tuple[int, int] | None = None):
        super().__init__(message, stack=stack)
        self.where = where


class NoPlan(EngineError):
    """A plan was compiled, and the file that it was written to cannot be read here."""


class SessionGone(EngineError):
    """The gateway does not know the session: it was restarted, or the session was idle for too long. `sent` tells
    whether it had taken the statement that this is about; of one that it has not, nothing was done."""

    def __init__(self, message: str, *, stack: str | None = None, sent: bool = False):
        super().__init__(message, stack=stack)
        self.sent = sent


@dataclass(frozen=True)
class Result:
    """A page of rows, with values as they are shown (`core.sql.values`). `next` is the token of the next page, None at
    the end; `ready` is whether there may be more now."""

    columns: list[Json]
    rows: list[Json]
    next: int | None
    ready: bool
    job_id: str | None
    kind: str


class SqlGateway(Protocol):
    """One gateway. A session lives on one gateway only. Methods raise `SessionGone` when it has forgotten the session,
    and `Unreachable`."""

    @property
    def url(self) -> str:
        """By which it is found again."""
        ...

    async def close(self, handle: str) -> None:
        """Close a session; fine when it is gone."""
        ...

    async def heartbeat(self, handle: str) -> None:
        """Keep a session from being idle."""
        ...

    async def start(self, session: str, statement: str, config: Mapping[str, str] | None = None) -> str:
        """Send a statement; returns its operation. Raises `StatementFailed`."""
        ...

    async def page(self, session: str, operation: str, token: int) -> Result:
        """A page of an operation's result. Raises `StatementFailed` with Flink's words. Whatever else it raises, the
        statement was sent: `sent` of that says so."""
        ...

    async def cancel(self, session: str, operation: str) -> None:
        """Stop an operation; fine when it is gone."""
        ...

    async def execute(
        self,
        session: str,
        statement: str,
        *,
        timeout: float = waits.STATEMENT_SECONDS,
        config: Mapping[str, str] | None = None,
    ) -> Result:
        """Run one statement and wait for its first result, for `timeout` seconds. Raises `StatementFailed` with Flink's
        words."""
        ...

    async def rows(self, session: str, statement: str, *, timeout: float = waits.STATEMENT_SECONDS) -> list[list[Any]]:
        """All rows of a statement that only asks, and whose result is short (SHOW, DESCRIBE, EXPLAIN). Nothing comes of
        one that fails, wherever it does: `sent` of what it raises is False."""
        ...

    async def options(self, session: str, table: str) -> dict[str, str]:
        """The options of a table (its name quoted), as the session has them; empty for what has none."""
        ...

    async def complete(self, session: str, statement: str, position: int) -> list[str]:
        """What may stand at a position of a statement, as Flink's own completer says."""
        ...

    async def compile(self, session: str, text: str, scratch: str, known: KnownOptions = NO_OPTIONS) -> Json:
        """The compiled plan of INSERTs, with the options of their tables; those that are not `known` are asked for.
        `scratch` is a folder that the gateway and this process both see. Raises `StatementFailed`, `NoPlan`."""
        ...

    async def prepare(self, session: str, before: list[str], tell: LogSink) -> None:
        """Run what Penstock puts in front of a script. Raises `Rejected`."""
        ...

    async def set_up(self, session: str, script: Script, tell: LogSink) -> None:
        """Run all of a script but its INSERTs. Raises `Rejected`."""
        ...


def as_set(inserts: list[Statement]) -> str:
    """All INSERTs as what COMPILE PLAN takes."""
    if len(inserts) == 1:
        return inserts[0].without_execute().text
    return "STATEMENT SET BEGIN\n" + "\n".join(f"{s.text};" for s in inserts) + "\nEND"


def rejected(statement: Statement, error: StatementFailed, tell: LogSink, *, shift: int = 0) -> Rejected:
    """The no to a whole script: with the statement's place in it. Flink's answer in full goes to `tell`."""
    stack = error.stack or error.message
    line, column, message = told(statement, error, shift=shift)
    tell("Flink's answer in full:")
    for text in stack.splitlines():
        tell("  " + text)
    return Rejected(f"Statement {statement.number}, line {line}, column {column}: {message}", stack=stack)


def told(statement: Statement, error: StatementFailed, *, shift: int = 0) -> tuple[int, int, str]:
    """Line, column and message of an error, in places of the script; `shift` lines were put in front of it."""
    where, message = error.where, error.message
    if where and where[0] <= shift:  # Flink says "line 0, column 0" where it knows none
        where = None
    line, column = (where[0] - shift, where[1]) if where else (statement.line, statement.column)
    if where and shift:
        message = message.replace(f"line {where[0]}, column {where[1]}", f"line {line}, column {column}")
    return line, column, message


def first_line(statement: Statement) -> str:
    """The head of a statement for the log; option values, which may hold secrets, are left out."""
    head = " ".join(statement.text.lstrip("( \n").split("(", 1)[0].split())
    if statement.kind == "set":
        head = head.split("=", 1)[0]
    return head[:100]


def scrub(text: str, secrets: Sequence[str]) -> str:
    """`text` without the values of secrets, also as SQL, URLs, JSON and base64 write them; and without the lines of one
    that has several: who tells line by line, or only the first one, never has all of it."""
    for value in _hidden(tuple(secrets)):
        if value in text:
            text = text.replace(value, "******")
    return text


@lru_cache(maxsize=32)
def _hidden(secrets: tuple[str, ...]) -> list[str]:
    """All that is not shown, the longest first: made once, as programs say many lines."""
    parts = {part for secret in secrets for part in (secret, *lines_of(secret)) if part}
    return sorted({value for part in parts for value in _spellings(part)}, key=len, reverse=True)


def _spellings(secret: str) -> set[str]:
    plain = {secret, secret.replace("'", "''")}
    if len(secret) < 4:  # too much is spelled so
        return plain
    spelled = plain | {
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    }
    if len(secret) > 5:  # of a shorter one any text has the base64
        for encode in (b64encode, urlsafe_b64encode):
            spelled |= {whole := encode(secret.encode()).decode(), whole.rstrip("=")}
    return spelled


def lines_of(secret: str) -> list[str]:
    """The lines of a secret that are one by themselves: of several, short ones are words of anything."""
    lines = [line.strip() for line in secret.splitlines()]
    return [line for line in lines if len(line) > 5] if len(lines) > 1 else [secret]


def scrub_error(error: EngineError, secrets: Sequence[str]) -> None:
    """Take the values of secrets out of all that an error says."""
    error.message = scrub(error.message, secrets)
    error.stack = scrub(error.stack, secrets) if error.stack else None
