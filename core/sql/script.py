"""A script as it is run: its statements, what each is, and the place of each.

A text is parsed once in a request, where it comes in (`parse`); everything else takes the `Script`, which has the text
and its tokens. Statements are told apart by their first words: whether one is valid is for Flink to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from core.config import check_key
from core.errors import InvalidInput
from core.sql.tokens import NEWLINE, Lines, Token, TokenKind, literal, outside, statements, tokens


class StatementKind(StrEnum):
    SETUP = "setup"  # DDL, USE, LOAD MODULE, ADD JAR, ...: changes the session
    SET = "set"
    INSERT = "insert"
    QUERY = "query"  # gives rows to somebody who looks


@dataclass(frozen=True)
class Statement:
    """One statement of a script. `number` counts from 1; `line` and `column` are its first character's. The offsets of
    its tokens are those in the script."""

    number: int
    kind: StatementKind
    text: str
    line: int
    column: int
    tokens: Sequence[Token] = field(repr=False, compare=False)

    @property
    def first(self) -> str:
        """The keyword that it begins with; empty when it begins with none."""
        return self.tokens[0].word

    def text_from(self, at: int) -> str:
        """Its text from the token number `at`."""
        return self.text[self.tokens[at].offset - self.tokens[0].offset :]

    def without_execute(self) -> Statement:
        """`EXECUTE INSERT ...` as `INSERT ...`, which EXPLAIN and COMPILE PLAN take; at the place that it has."""
        if self.first != "EXECUTE":
            return self
        head = NEWLINE.split(self.text[: self.tokens[1].offset - self.tokens[0].offset])
        column = len(head[-1]) + (self.column if len(head) == 1 else 1)
        line = self.line + len(head) - 1
        return replace(self, text=self.text_from(1), tokens=self.tokens[1:], line=line, column=column)


@dataclass(frozen=True)
class Misplaced:
    """A statement that cannot stand where it stands, and why."""

    statement: Statement
    error: InvalidInput


@dataclass(frozen=True)
class Script:
    """A text with its tokens and statements.

    It runs as `setup` in order, then all `inserts` as one Flink job. `settings` are its SETs, `queries` statements that
    give rows to somebody who looks, `misplaced` what a job may not have: the queries, too.
    """

    text: str
    tokens: Sequence[Token] = field(repr=False)
    setup: list[Statement]
    inserts: list[Statement]
    settings: dict[str, str]
    queries: list[Statement]
    misplaced: list[Misplaced]
    unfinished: bool = False
    """Whether a STATEMENT SET has no END."""

    def place(self, token: Token) -> tuple[int, int]:
        """Line and column of a token, counted from 1."""
        return Lines(self.text).place(token.offset)

    def statements(self) -> list[list[Token]]:
        """The tokens of each statement as it is written, whatever it is."""
        return list(statements(self.tokens))

    def pieces(self) -> list[str]:
        """The text of each statement as one types it, without its semicolon; a STATEMENT SET is one."""
        texts: list[str] = []
        begun: int | None = None
        for parts in self.statements():
            begun = parts[0].offset if begun is None and _opens_set(parts) else begun
            if begun is None or (len(parts) == 1 and parts[0].word == "END"):
                texts.append(self.text[parts[0].offset if begun is None else begun : parts[-1].end])
                begun = None
        return texts if begun is None else [*texts, self.text[begun:]]

    def only_statement(self) -> Statement | None:
        """The one statement of the script, whatever it is; None when there are none or several."""
        parts = self.statements()
        if len(parts) != 1:
            return None
        return _statement(self.text, parts[0], 1, Lines(self.text), kind_of(parts[0]))


_QUERIES = frozenset({"SELECT", "WITH", "VALUES", "VALUE", "TABLE"})
_AFTER_INSERT = frozenset({"CREATE", "SHOW", "DESCRIBE", "DESC"})
_REFUSED = {
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
    """A script that a job can run. Raises `InvalidInput` with statement, line and column."""
    return runnable(parse(text))


def runnable(script: Script) -> Script:
    """The script, when a job can run it. Raises `InvalidInput` with statement, line and column."""
    if script.misplaced:
        raise script.misplaced[0].error
    if not script.inserts:
        raise InvalidInput(
            "The script has no INSERT, so there is nothing to run.",
            code="sql_no_insert",
            field="spec.sql",
            remedy="Add INSERT INTO <table> SELECT ....",
        )
    return script


def parse(text: str) -> Script:
    """Tokenize a text and sort its statements: those that a job may have, and the others, each with the reason. Raises
    `InvalidInput` only for what is not closed."""
    every = tokens(text)
    lines = Lines(text)
    setup: list[Statement] = []
    inserts: list[Statement] = []
    queries: list[Statement] = []
    settings: dict[str, str] = {}
    errors: list[Misplaced] = []
    in_set: Statement | None = None
    number = 0

    def misplaced(statement: Statement, why: str) -> None:
        errors.append(Misplaced(statement, _error(statement, why)))

    for parts in statements(every):
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
        statement = _statement(text, parts, number, lines, kind_of(parts))
        if statement.kind is StatementKind.QUERY and in_set is None:
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
    return Script(
        text=text,
        tokens=every,
        setup=setup,
        inserts=inserts,
        settings=settings,
        queries=queries,
        misplaced=errors,
        unfinished=in_set is not None,
    )


EMPTY = parse("")


def _statement(text: str, parts: list[Token], number: int, lines: Lines, kind: StatementKind) -> Statement:
    start = parts[0].offset
    line, column = lines.place(start)
    return Statement(number, kind, text[start : parts[-1].end], line, column, parts)


def _opens_set(parts: list[Token]) -> int:
    """How many tokens open a STATEMENT SET here; 0 when none does."""
    words = [t.word for t in parts[:4]]
    if words == ["EXECUTE", "STATEMENT", "SET", "BEGIN"]:
        return 4
    if words[:3] in (["BEGIN", "STATEMENT", "SET"], ["STATEMENT", "SET", "BEGIN"]):
        return 3
    return 0


def is_query(parts: Sequence[Token]) -> bool:
    """Whether tokens are a query, as Flink's parser begins one (2.3.0; a parenthesis may stand in front of any of
    them). No other statement begins with one of these words."""
    opening = next((token for token in parts if token.text != "("), None)
    return opening is not None and opening.word in _QUERIES


def kind_of(parts: Sequence[Token]) -> StatementKind:
    """What a statement is, by its tokens."""
    if parts[0].word == "SET":
        return StatementKind.SET
    body = parts[1:] if parts[0].word == "EXECUTE" else parts
    if body and body[0].word == "INSERT":
        return StatementKind.INSERT
    return StatementKind.QUERY if is_query(body) else StatementKind.SETUP


def _why_not(statement: Statement, first: str, parts: list[Token], in_set: bool, after_insert: bool) -> str | None:
    """Why a statement cannot be part of a job; None when it can. A word that no statement begins with is for Flink
    to refuse."""
    if statement.kind is StatementKind.INSERT:
        return None
    if in_set:
        return "only INSERTs may stand inside a STATEMENT SET"
    if statement.kind is StatementKind.QUERY:
        return (
            "a query cannot be part of a job: it gives rows to someone who looks; write INSERT INTO <table> SELECT ..."
        )
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


def creates_as_query(parts: Sequence[Token]) -> bool:
    """CREATE TABLE ... AS <query>, but not the AS of a computed column, view or materialized table."""
    words = [t.word for t in parts]
    if "TABLE" not in words[1:4] or "MATERIALIZED" in words[1:4]:
        return False
    return any(token.word == "AS" for _, token in outside(parts))  # Flink reserves the word, so it is no name


def _setting(statement: Statement, parts: list[Token]) -> tuple[str, str]:
    shape = [t.kind for t in parts[1:]]
    if shape != [TokenKind.STRING, TokenKind.OTHER, TokenKind.STRING] or parts[2].text != "=":
        raise _error(statement, "SET is written SET 'key' = 'value'")
    key, value = literal(parts[1].text), literal(parts[3].text)
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
        rows = NEWLINE.split(statement.text)
        line = statement.line + len(rows) - 1
        column = (1 if len(rows) > 1 else statement.column) + len(rows[-1]) + 1
    return text + "\nEND;"
