"""A table's definition from the CREATE TABLE that Flink shows for it.

What a CREATE TABLE means is Flink's to say: it resolves LIKE, types and names, and SHOW CREATE TABLE writes all of it
out in one form, which is taken apart here. Nothing is left out: what a definition has no place for is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from core.errors import InvalidInput
from core.sql.resources import TABLE_NAME, ColumnDefinition, TableDefinition, Watermark
from core.sql.script import Statement
from core.sql.tokens import (
    Token,
    TokenKind,
    chain_at,
    closing,
    is_name,
    literal,
    name_at,
    options_in,
    outside,
    tokens,
    unquoted,
)

_LONGEST = "2147483647"
_NAME = re.compile(TABLE_NAME)
_UNBOUNDED = {"VARCHAR": "STRING", "VARBINARY": "BYTES"}


def table_of(statement: Statement) -> str:
    """The table that a statement of an imported text creates. Raises `InvalidInput` for a statement that does anything
    else, and for a name that a registered table cannot have."""
    parts = statement.tokens
    at = next((i for i, t in enumerate(parts[:4]) if t.word == "TABLE"), None)
    if parts[0].word != "CREATE" or at is None or "OR" in [t.word for t in parts[:at]]:
        raise refused(statement, "only CREATE TABLE and CREATE VIEW can be imported")
    if any(t.word in ("AS", "SELECT") for _, t in outside(parts)):
        raise refused(statement, "CREATE TABLE ... AS runs a job; write the columns, and an INSERT in a job")
    chain = name_at(parts, at + 1)
    if len(chain) != 1:
        raise refused(statement, f"write the table's name without catalog and database, not {'.'.join(chain)}")
    if not _NAME.match(chain[0]):
        raise refused(statement, f"{chain[0]!r} cannot be the name of a registered table: letters, digits and _")
    return chain[0]


def definition_of(ddl: str) -> TableDefinition:
    """The definition that a CREATE TABLE of Flink's own form stands for. Raises `InvalidInput` for what it has and a
    definition has no place for, `ValueError` for what a definition may not have (a name that is too long, say)."""
    parts = tokens(ddl)
    opened = next((i for i, t in enumerate(parts) if t.text == "("), None)
    if opened is None:
        raise InvalidInput("The table has no columns.", code="ddl_not_supported", field="sql")
    closed = closing(parts, opened)
    columns: list[ColumnDefinition] = []
    primary_key: list[str] = []
    watermark: Watermark | None = None
    for piece in _split(parts[opened + 1 : closed]):
        words = [t.word for t in piece]
        if words[:2] == ["WATERMARK", "FOR"]:
            chain = chain_at(piece, 2)
            watermark = Watermark(column=".".join(chain), expression=_text(ddl, piece[words.index("AS") + 1 :]))
        elif words[0] == "CONSTRAINT" or words[:2] == ["PRIMARY", "KEY"]:
            primary_key = [unquoted(t) for t in piece[_where(piece, "(") :] if is_name(t) and t.word not in _ENFORCED]
            if "NOT" not in words or words[-1] != "ENFORCED":
                raise InvalidInput("A primary key is NOT ENFORCED in Flink.", code="ddl_not_supported", field="sql")
        else:
            columns.append(_column(ddl, piece))
    comment, partitioned_by, options = _behind(parts[closed + 1 :])
    if "connector" not in options:
        raise InvalidInput("A registered table has a connector, and this has none.", code="no_connector", field="sql")
    return TableDefinition(
        columns=columns,
        primary_key=primary_key,
        watermark=watermark,
        partitioned_by=partitioned_by,
        options=options,
        comment=comment,
    )


_ENFORCED = ("NOT", "ENFORCED")


def _column(ddl: str, piece: Sequence[Token]) -> ColumnDefinition:
    """`name` TYPE [METADATA [FROM 'key'] [VIRTUAL]] [COMMENT 'text'], or `name` AS expression [COMMENT 'text']."""
    name, rest = unquoted(piece[0]), list(piece[1:])
    comment = None
    if len(rest) >= 2 and rest[-2].word == "COMMENT" and rest[-1].kind is TokenKind.STRING:
        comment, rest = literal(rest[-1].text), rest[:-2]
    if rest and rest[0].word == "AS":
        return ColumnDefinition(name=name, expression=_text(ddl, rest[1:]), comment=comment)
    metadata, virtual = None, False
    at = next((i for i, t in enumerate(rest) if t.word == "METADATA"), None)
    if at is not None:
        virtual = rest[-1].word == "VIRTUAL"
        key = next((t for t in rest[at:] if t.kind is TokenKind.STRING), None)
        metadata, rest = literal(key.text) if key else name, rest[:at]
    return ColumnDefinition(name=name, type=_type(ddl, rest), metadata=metadata, virtual=virtual, comment=comment)


def _type(ddl: str, parts: Sequence[Token]) -> str:
    """A type as people write it: STRING for the longest VARCHAR."""
    text, done = "", parts[0].offset
    for i, token in enumerate(parts):
        length = [t.text for t in parts[i + 1 : i + 4]]
        if token.word in _UNBOUNDED and length == ["(", _LONGEST, ")"]:
            text += ddl[done : token.offset] + _UNBOUNDED[token.word]
            done = parts[i + 3].end
    return text + ddl[done : parts[-1].end]


def _behind(parts: Sequence[Token]) -> tuple[str | None, list[str], dict[str, str]]:
    """Comment, partition columns and options: what stands behind the columns."""
    comment: str | None = None
    partitioned_by: list[str] = []
    options: dict[str, str] = {}
    at = 0
    while at < len(parts):
        words = [t.word for t in parts[at : at + 2]]
        if words[0] == "COMMENT" and parts[at + 1].kind is TokenKind.STRING:
            comment, at = literal(parts[at + 1].text), at + 2
            continue
        start = next((i for i in range(at, len(parts)) if parts[i].text == "("), len(parts))
        end = closing(parts, start) if start < len(parts) else len(parts)
        inside = parts[start + 1 : end]
        if words == ["PARTITIONED", "BY"]:
            partitioned_by = [unquoted(t) for t in inside if is_name(t)]
        elif words[0] == "WITH":
            options = {literal(key.text): literal(value.text) for key, value in options_in(inside)}
        else:
            raise InvalidInput(
                f"{' '.join(w for w in words if w) or parts[at].text} of a table cannot be registered.",
                code="ddl_not_supported",
                field="sql",
                remedy="Keep this CREATE TABLE in the script.",
            )
        at = end + 1
    return comment, partitioned_by, options


def _split(parts: Sequence[Token]) -> Iterator[list[Token]]:
    """What stands between commas that are in no brackets. `<` and `>` are brackets of a type, which has no others."""
    piece: list[Token] = []
    depth = angle = 0
    for i, token in enumerate(parts):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.text, 0)
        if token.text == "<" and i and parts[i - 1].word in ("ROW", "ARRAY", "MAP", "MULTISET", "STRUCTURED"):
            angle += 1
        elif token.text == ">" and angle:
            angle -= 1
        if token.text == "," and depth == 0 and angle == 0:
            yield piece
            piece = []
        else:
            piece.append(token)
    if piece:
        yield piece


def _where(parts: Sequence[Token], text: str) -> int:
    return next((i for i, t in enumerate(parts) if t.text == text), len(parts))


def _text(ddl: str, parts: Sequence[Token]) -> str:
    return ddl[parts[0].offset : parts[-1].end] if parts else ""


def refused(statement: Statement, why: str) -> InvalidInput:
    """Why a statement of an imported text is not taken, with its place."""
    return InvalidInput(
        f"Statement {statement.number}, line {statement.line}, column {statement.column}: {why}.",
        code="not_a_table",
        field="sql",
    )
