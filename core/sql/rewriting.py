"""A script as it is debugged: its INSERTs as queries, its sources as tables of given rows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from core.errors import InvalidInput
from core.sql.script import Statement
from core.sql.tokens import Chain, Token, chain_at, is_name, quoted, quoted_name, unquoted

MAX_ROWS = 10_000


@dataclass(frozen=True)
class Sink:
    """An INSERT taken apart. `columns` are those that it names."""

    statement: Statement
    table: tuple[str, ...]
    columns: list[str]
    query: str


def taken_apart(statement: Statement) -> Sink:
    """An INSERT as its target and its query. Raises `InvalidInput`."""
    insert = statement.without_execute()
    parts = insert.tokens
    table = chain_at(parts, 2)
    at = 2 + max(0, 2 * len(table) - 1)
    if len(parts) > at and parts[at].word == "PARTITION":
        at = _closing(parts, at + 1) + 1
    columns: list[str] = []
    if len(parts) > at + 1 and parts[at].text == "(" and parts[at + 1].word not in ("SELECT", "WITH", "VALUES", ""):
        end = _closing(parts, at)
        columns = [unquoted(t) for t in parts[at + 1 : end] if is_name(t)]
        at = end + 1
    if not table or at >= len(parts):
        raise InvalidInput(
            f"Statement {statement.number} (line {statement.line}) is not INSERT INTO <table> <query>.",
            code="sql_script",
            field="sql",
        )
    return Sink(statement=statement, table=table, columns=columns, query=insert.text_from(at))


def _closing(parts: Sequence[Token], at: int) -> int:
    depth = 0
    for i in range(at, len(parts)):
        depth += {"(": 1, ")": -1}.get(parts[i].text, 0)
        if depth == 0:
            return i
    return len(parts) - 1


def as_query(sink: Sink, columns: list[str]) -> str:
    """The rows that an INSERT would write, under the names of the sink's columns."""
    names = ", ".join(quoted_name(c) for c in columns)
    return f"SELECT * FROM (\n{sink.query}\n) AS `sink` ({names})"  # noqa: S608 - the user's own query, for Flink


class Described(BaseModel):
    """A column as DESCRIBE tells it."""

    name: str
    type: str
    nullable: bool
    extras: str
    watermark: str

    @property
    def given(self) -> bool:
        """Whether its values come from outside: it is not computed."""
        return not self.extras.startswith("AS ")

    @property
    def persisted(self) -> bool:
        return self.given and not self.extras.endswith("VIRTUAL")


def described(rows: list[list[Any]]) -> list[Described]:
    """From the rows of DESCRIBE: name, type, null, key, extras, watermark."""
    return [
        Described(
            name=str(r[0]),
            type=str(r[1]).replace(" *ROWTIME*", "").replace(" *PROCTIME*", ""),
            nullable=bool(r[2]),
            extras=str(r[4] or ""),
            watermark=str(r[5] or ""),
        )
        for r in rows
    ]


def stand_in(table: Chain, columns: list[Described], path: str) -> str:
    """A temporary table of the same columns, in front of the real one, that reads rows of a file."""
    lines = []
    for c in columns:
        if c.given:
            lines.append(f"{quoted_name(c.name)} {c.type}" + ("" if c.nullable else " NOT NULL"))
        else:
            lines.append(f"{quoted_name(c.name)} {c.extras}")
    lines += [f"WATERMARK FOR {quoted_name(c.name)} AS {c.watermark}" for c in columns if c.watermark]
    options = {
        "connector": "filesystem",
        "path": path,
        "format": "json",
        "json.timestamp-format.standard": "ISO-8601",
        "json.fail-on-missing-field": "false",
    }
    with_ = ", ".join(f"{quoted(k)} = {quoted(v)}" for k, v in options.items())
    return f"CREATE TEMPORARY TABLE {quoted_name(*table)} (\n  " + ",\n  ".join(lines) + f"\n) WITH ({with_})"


def rows_of_csv(text: str, table: str) -> list[dict[str, Any]]:
    """Rows of a CSV with a header. Empty cells are null; numbers and true/false are read as such."""
    reader = csv.DictReader(io.StringIO(text))
    if not reader.fieldnames:
        raise InvalidInput(f"{table}: the CSV has no header.", code="bad_rows", field="sources")
    found = []
    for number, row in enumerate(reader, 2):
        if None in row or None in row.values():
            raise InvalidInput(
                f"{table}: line {number} of the CSV has not as many cells as the header.",
                code="bad_rows",
                field="sources",
            )
        found.append({str(k): _cell(v) for k, v in row.items()})
    return found


def _cell(text: str) -> Any:
    if text == "":
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float | bool) else text


def as_lines(rows: list[dict[str, Any]], columns: list[Described], table: str) -> str:
    """Rows as the stand-in reads them. Computed columns are computed again, and left out. Raises `InvalidInput` on a
    column that the table has not."""
    if len(rows) > MAX_ROWS:
        raise InvalidInput(f"{table}: more than {MAX_ROWS} rows.", code="bad_rows", field="sources")
    given = {c.name: c for c in columns if c.given}
    lines = []
    for number, row in enumerate(rows, 1):
        if unknown := sorted(set(row) - {c.name for c in columns}):
            raise InvalidInput(
                f"{table}: row {number} has {unknown[0]!r}, which is no column of the table.",
                code="bad_rows",
                field="sources",
                remedy=f"Columns: {', '.join(given)}.",
            )
        lines.append(json.dumps({k: _time(v, given[k].type) for k, v in row.items() if k in given}))
    return "\n".join(lines) + ("\n" if lines else "")


def _time(value: Any, kind: str) -> Any:
    """Times may be written with a space, and without a zone for UTC: ISO 8601 has a T, and a Z."""
    if not isinstance(value, str) or not kind.startswith("TIMESTAMP"):
        return value
    text = value.strip().replace(" ", "T", 1)
    if kind.startswith("TIMESTAMP_LTZ") and not text.endswith("Z"):
        return f"{text}Z"
    return text
