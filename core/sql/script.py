"""Splitting a SQL text into statements, with the place of each.

This is a tokenizer, not a parser: whether a statement is valid is for Flink to say. It knows what hides
a semicolon (strings, quoted names, comments) in the lexical rules of Flink SQL (Calcite's Java lexis:
`'text'` with `''` inside, `` `name` ``, `-- line`, `// line`, `/* block */`).
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from core.config import check_key
from core.errors import InvalidInput

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<line>(?:--|//)[^\n]*)
  | (?P<block>/\*.*?\*/)
  | (?P<string>'(?:[^']|'')*')
  | (?P<name>`(?:[^`]|``)*`)
  | (?P<end>;)
  | (?P<word>[^\W\d]\w*)
  | (?P<number>\d\w*)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_UNCLOSED = {"'": "string", "`": "quoted name", "/*": "comment"}


class Token(BaseModel):
    model_config = ConfigDict(frozen=True)
    kind: str
    text: str
    offset: int

    @property
    def word(self) -> str:
        return self.text.upper() if self.kind == "word" else ""


class StatementKind(StrEnum):
    SETUP = "setup"  # DDL, USE, LOAD MODULE, ADD JAR, ...: changes the session
    SET = "set"
    INSERT = "insert"


class Statement(BaseModel):
    """One statement of a script. `number` counts from 1; `line` and `column` are its first character's."""

    model_config = ConfigDict(frozen=True)
    number: int
    kind: StatementKind
    text: str
    line: int
    column: int


class Script(BaseModel):
    """A script as it is run: `setup` in order, then all `inserts` as one Flink job. `settings` are its SETs, `queries`
    statements that give rows to somebody who looks."""

    model_config = ConfigDict(frozen=True)
    setup: list[Statement]
    inserts: list[Statement]
    settings: dict[str, str]
    queries: list[Statement] = []


class _Lines:
    def __init__(self, text: str):
        self._starts = [0, *(m.end() for m in re.finditer("\n", text))]

    def place(self, offset: int) -> tuple[int, int]:
        line = bisect.bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


def place_of(text: str, offset: int) -> tuple[int, int]:
    """Line and column of a character, counted from 1."""
    return _Lines(text).place(offset)


def tokens(text: str) -> Iterator[Token]:
    """Tokens of `text` without spaces and comments. Raises `InvalidInput` on something that is not closed."""
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind in ("space", "line", "block"):
            continue
        at = match.start()
        opener = text[at : at + 2] if text.startswith("/*", at) else match.group()
        if kind == "other" and opener in _UNCLOSED:
            line, column = _Lines(text).place(at)
            raise InvalidInput(
                f"The {_UNCLOSED[opener]} that begins at line {line}, column {column} is not closed.",
                code="sql_unclosed",
                field="spec.sql",
            )
        yield Token(kind=kind, text=match.group(), offset=at)


def statements(text: str) -> Iterator[list[Token]]:
    """The tokens of each statement, split at semicolons; empty statements are left out."""
    current: list[Token] = []
    for token in tokens(text):
        if token.kind != "end":
            current.append(token)
        elif current:
            yield current
            current = []
    if current:
        yield current


_QUERIES = frozenset({"SELECT", "WITH", "VALUES"})
_AFTER_INSERT = frozenset({"CREATE", "SHOW", "DESCRIBE", "DESC"})
_REFUSED = {
    "SELECT": "a SELECT gives rows to someone who looks; write INSERT INTO <table> SELECT ...",
    "WITH": "a query gives rows to someone who looks; write INSERT INTO <table> WITH ...",
    "VALUES": "a query gives rows to someone who looks; write INSERT INTO <table> VALUES ...",
    "EXPLAIN": "it runs nothing",
    "UPDATE": "it is a batch change and has no place in a long-running job",
    "DELETE": "it is a batch change and has no place in a long-running job",
    "TRUNCATE": "it is a batch change and has no place in a long-running job",
    "CALL": "a procedure may start jobs that Penstock does not know",
    "STOP": "jobs are stopped with commands of Penstock",
    "COMPILE": "plans are kept by Penstock",
    "EXECUTE": "plans are kept by Penstock",
    "ANALYZE": "it runs a job of its own",
    "REPLACE": "it runs a job of its own; write CREATE TABLE and INSERT INTO",
    "QUIT": "there is no prompt here",
    "EXIT": "there is no prompt here",
    "CLEAR": "there is no prompt here",
    "SOURCE": "files of the server cannot be read",
}


def parse_script(text: str) -> Script:
    """Sort the statements of a script. Raises `InvalidInput` with statement, line and column."""
    script, errors = sort_script(text)
    if errors:
        raise errors[0].error
    if not script.inserts:
        raise InvalidInput(
            "The script has no INSERT, so there is nothing to run.",
            code="sql_no_insert",
            field="spec.sql",
            remedy="Add INSERT INTO <table> SELECT ....",
        )
    return script


@dataclass(frozen=True)
class Misplaced:
    """A statement that cannot stand where it stands, and why."""

    statement: Statement
    error: InvalidInput


def sort_script(text: str) -> tuple[Script, list[Misplaced]]:
    """The statements that a job may have, and the others, each with the reason. Queries (SELECT, WITH, VALUES) are
    among the others, and in `Script.queries`. Raises `InvalidInput` only for what is not closed."""
    lines = _Lines(text)
    setup: list[Statement] = []
    inserts: list[Statement] = []
    queries: list[Statement] = []
    settings: dict[str, str] = {}
    errors: list[Misplaced] = []
    in_set: Statement | None = None
    number = 0

    def misplaced(statement: Statement, why: str) -> None:
        errors.append(Misplaced(statement, _error(statement, why)))

    for parts in statements(text):
        opening = _opens_set(parts)
        if opening:
            number += 1
            head = _statement(text, parts, number, lines, StatementKind.INSERT)
            if in_set is not None:
                misplaced(head, "a STATEMENT SET inside a STATEMENT SET")
            in_set = head
            parts = parts[opening:]
            if not parts:
                continue
        first = parts[0].word
        if first == "END" and len(parts) == 1:
            if in_set is None:
                number += 1
                misplaced(_statement(text, parts, number, lines, StatementKind.SETUP), "END without a STATEMENT SET")
            in_set = None
            continue
        number += 0 if opening else 1
        statement = _statement(text, parts, number, lines, _kind(first, parts))
        if first in _QUERIES and in_set is None:
            queries.append(statement)
        if (why := _why_not(statement, first, parts, in_set is not None, bool(inserts))) is not None:
            misplaced(statement, why)
        elif statement.kind is StatementKind.INSERT:
            inserts.append(statement)
        elif statement.kind is StatementKind.SET and len(parts) > 1:
            try:
                key, value = _setting(statement, parts)
            except InvalidInput as error:
                errors.append(Misplaced(statement, error))
                continue
            settings[key] = value
            setup.append(statement)
        else:
            setup.append(statement)
    if in_set is not None:
        misplaced(in_set, "the STATEMENT SET has no END;")
    return Script(setup=setup, inserts=inserts, settings=settings, queries=queries), errors


def _statement(text: str, parts: list[Token], number: int, lines: _Lines, kind: StatementKind) -> Statement:
    start, end = parts[0].offset, parts[-1].offset + len(parts[-1].text)
    line, column = lines.place(start)
    return Statement(number=number, kind=kind, text=text[start:end], line=line, column=column)


def _opens_set(parts: list[Token]) -> int:
    """How many tokens open a STATEMENT SET here; 0 when none does."""
    words = [t.word for t in parts[:4]]
    if words == ["EXECUTE", "STATEMENT", "SET", "BEGIN"]:
        return 4
    if words[:3] in (["BEGIN", "STATEMENT", "SET"], ["STATEMENT", "SET", "BEGIN"]):
        return 3
    return 0


def _kind(first: str, parts: list[Token]) -> StatementKind:
    if first == "SET":
        return StatementKind.SET
    is_insert = first == "INSERT" or (first == "EXECUTE" and len(parts) > 1 and parts[1].word == "INSERT")
    return StatementKind.INSERT if is_insert else StatementKind.SETUP


def _why_not(statement: Statement, first: str, parts: list[Token], in_set: bool, after_insert: bool) -> str | None:
    """Why a statement cannot be part of a job; None when it can. A word that no statement begins with is for Flink
    to refuse."""
    if statement.kind is StatementKind.INSERT:
        return None
    if in_set:
        return "only INSERTs may stand inside a STATEMENT SET"
    if first in _REFUSED:
        return f"{first} cannot be part of a job: {_REFUSED[first]}"
    if first in ("CREATE", "ALTER") and "MATERIALIZED" in [t.word for t in parts[1:4]]:
        return "a materialized table runs jobs of its own, which Penstock does not know"
    if first == "CREATE" and creates_as_query(parts):
        return "CREATE TABLE AS runs a job of its own; write CREATE TABLE and INSERT INTO"
    if after_insert and first not in _AFTER_INSERT:
        return (
            f"{first or parts[0].text} after an INSERT has no clear meaning, since all INSERTs run as one job; "
            "put it in front of the first INSERT"
        )
    return None


def creates_as_query(parts: list[Token]) -> bool:
    """CREATE TABLE ... AS SELECT (or AS WITH), but not the AS of a computed column, view or materialized table."""
    words = [t.word for t in parts]
    if "TABLE" not in words[1:4] or "MATERIALIZED" in words[1:4]:
        return False
    depth = 0
    for here, after in itertools.pairwise(parts):
        depth += {"(": 1, ")": -1}.get(here.text, 0)
        if depth == 0 and here.word == "AS" and after.word in ("SELECT", "WITH", "VALUES"):
            return True
    return False


def _setting(statement: Statement, parts: list[Token]) -> tuple[str, str]:
    shape = [t.kind for t in parts[1:]]
    if shape != ["string", "other", "string"] or parts[2].text != "=":
        raise _error(statement, "SET is written SET 'key' = 'value'")
    key, value = (t.text[1:-1].replace("''", "'") for t in (parts[1], parts[3]))
    try:
        check_key(key, "spec.sql")
    except InvalidInput as error:
        raise _error(statement, error.message.removeprefix("spec.sql: ").rstrip(".")) from error
    return key, value


def _error(statement: Statement, why: str) -> InvalidInput:
    return InvalidInput(
        f"Statement {statement.number} (line {statement.line}, column {statement.column}): {why}.",
        code="sql_script",
        field="spec.sql",
    )


def placed(statement: Statement) -> str:
    """The statement with as much white space in front as puts it at its own line and column.

    Flink then reports places of the script, not of the statement.
    """
    return "\n" * (statement.line - 1) + " " * (statement.column - 1) + statement.text


def without_execute(text: str) -> str:
    """`EXECUTE INSERT ...` as `INSERT ...`, which EXPLAIN and COMPILE PLAN take."""
    first = next(tokens(text), None)
    return text[len("EXECUTE") :].lstrip() if first is not None and first.word == "EXECUTE" else text


STATEMENT_SET_HEAD = "EXECUTE STATEMENT SET BEGIN\n"


def as_one_job(inserts: list[Statement]) -> str:
    """All INSERTs as the text of one job, each at its own line and column, one line further down
    when there are several (for `STATEMENT_SET_HEAD`)."""
    if len(inserts) == 1:
        return placed(inserts[0])
    text = STATEMENT_SET_HEAD
    line, column = 1, 1
    for statement in inserts:
        gap = "\n" * (statement.line - line)
        column = 1 if gap else column
        text += gap + " " * (statement.column - column) + statement.text + ";"
        line = statement.line + statement.text.count("\n")
        last = statement.text.rpartition("\n")[2]
        column = (1 if "\n" in statement.text else statement.column) + len(last) + 1
    return text + "\nEND;"
