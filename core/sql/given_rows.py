"""Rows that a person gives in place of a table, and the table that gives them to Flink.

It is a file that Flink's own `filesystem` connector reads, or one of ours where it is looked up. It stands in front of
the real table, with all of its columns, its primary key and its watermark, and gives the same kinds of change: inserts
only, or, where the real one gives more, what the rows say under `$kind`.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from core.errors import InvalidInput
from core.sql.changelog import as_text
from core.sql.described import Described
from core.sql.tokens import Chain, quoted, quoted_name
from core.sql.values import for_flink, of_text

MAX_ROWS = 10_000
KIND = "$kind"
"""Where a row says what change it is: +I (which it is when it does not say), -U, +U or -D."""
LOOKUPS = "penstock-given-rows"
"""The connector of a table that is looked up."""
Row = dict[str, Any]


def rows_of_csv(text: str, table: str) -> list[Row]:
    """Rows of a CSV with a header, each cell as its text: what it means the type of its column says. Empty cells are
    null. Raises `InvalidInput`."""
    reader = csv.DictReader(io.StringIO(text))
    if not reader.fieldnames:
        raise _bad(f"{table}: the CSV has no header.")
    if twice := sorted(name for name, times in Counter(reader.fieldnames).items() if times > 1):
        raise _bad(f"{table}: the header of the CSV has {twice[0][:100]!r} more than once.")
    rows = []
    for number, row in enumerate(reader, 2):
        if None in row or None in row.values():
            raise _bad(f"{table}: line {number} of the CSV has not as many cells as the header.")
        rows.append({str(k): v if v != "" else None for k, v in row.items()})
    return rows


def _bad(message: str, remedy: str | None = None) -> InvalidInput:
    return InvalidInput(message, code="bad_rows", field="sources", remedy=remedy)


def stand_in(table: Chain, columns: Sequence[Described], path: str, *, changes: bool, looked_up: bool = False) -> str:
    """A temporary table in front of the real one that reads the lines of `as_lines` from the folder `path`. Computed
    columns are computed again; metadata comes from the rows. One that is `looked_up` answers lookups, and nothing
    else."""
    lines = []
    for c in columns:
        if c.given:
            lines.append(f"{quoted_name(c.name)} {c.type}" + ("" if c.nullable else " NOT NULL"))
        else:
            lines.append(f"{quoted_name(c.name)} {c.extras}")
    lines += [f"WATERMARK FOR {quoted_name(c.name)} AS {c.watermark}" for c in columns if c.watermark]
    if keys := [quoted_name(c.name) for c in columns if c.key]:
        lines.append(f"PRIMARY KEY ({', '.join(keys)}) NOT ENFORCED")
    format_ = "debezium-json" if changes else "json"
    options = {
        "connector": LOOKUPS if looked_up else "filesystem",
        "path": path,
        "format": format_,
        f"{format_}.timestamp-format.standard": "ISO-8601",
    }
    with_ = ", ".join(f"{quoted(k)} = {quoted(v)}" for k, v in options.items())
    return f"CREATE TEMPORARY TABLE {quoted_name(*table)} (\n  " + ",\n  ".join(lines) + f"\n) WITH ({with_})"


def as_lines(rows: Sequence[Row], columns: Sequence[Described], table: str, changes: Collection[str] = ("I",)) -> str:
    """Rows as the stand-in reads them, one JSON object per line. `changes` are the kinds of change that the real table
    gives, in Flink's words (I, UB, UA, D): with inserts alone a line is a row, else a change as Debezium writes it.
    Raises `InvalidInput` on a row that the table cannot have, and on a change that it cannot give."""
    if len(rows) > MAX_ROWS:
        raise _bad(f"{table}: more than {MAX_ROWS} rows.")
    kinds = [_kind(row, columns) for row in rows]
    values = [
        _values(row, columns, f"{table}: row {number}", is_removed=kind == "-D")
        for number, (row, kind) in enumerate(zip(rows, kinds, strict=True), 1)
    ]
    if set(changes) <= {"I"}:
        if other := sorted(set(kinds) - {"+I"}):
            raise _bad(
                f"{table}: a row has the {KIND} {other[0]}, and this table gives inserts only.",
                f"Leave {KIND} out, or read a table whose connector or format gives changes.",
            )
        lines: list[Any] = values
    else:
        keys = [c.name for c in columns if c.key]
        lines = _debezium(list(zip(kinds, values, strict=True)), keys, table, upserts="UB" not in changes)
    return "".join(json.dumps(line) + "\n" for line in lines)


def _kind(row: Row, columns: Sequence[Described]) -> str:
    return "+I" if any(c.name == KIND for c in columns) else str(row.get(KIND) or "+I")


def _values(row: Row, columns: Sequence[Described], what: str, *, is_removed: bool) -> Row:
    """The columns of a row that are given, as Flink reads them. A row that is removed may be told by its key alone, as
    a table of upserts tells it."""
    known = {c.name: of_text(c.type) for c in columns if c.given}
    if unknown := sorted(set(row) - {c.name for c in columns} - {KIND}):
        raise _bad(
            f"{what} has {unknown[0]!r}, which is no column of the table.", remedy=f"Columns: {', '.join(known)}."
        )
    values = {}
    for name, kind in known.items():
        if name in row:
            try:
                values[name] = for_flink(row[name], kind)
            except ValueError as error:
                raise _bad(f"{what}, {name}: {error}.") from error
    by_key = is_removed and any(c.key for c in columns)
    for column in columns:
        is_wanted = column.given and not column.nullable and (column.key or not by_key)
        if is_wanted and values.get(column.name) is None:
            raise _bad(
                f"{what}, {column.name}: it is missing or null, and the column is NOT NULL.",
                "An empty cell of a CSV is null; an empty text is given as JSON.",
            )
    return values


def _debezium(rows: list[tuple[str, Row]], keys: Sequence[str], table: str, *, upserts: bool) -> list[Row]:
    """Changes as Debezium writes them. Where there is a key, the row before an update is known by it, and so is what a
    removal leaves out; a table of upserts takes an insert of a key that it has for an update."""
    lines: list[Row] = []
    current: dict[str, Row] = {}
    before: Row | None = None
    for number, (kind, row) in enumerate(rows, 1):
        key = as_text([row.get(k) for k in keys])
        known = current.get(key) if keys else None
        if before is not None and kind != "+U":
            break
        match kind:
            case "-U":
                before = row
                current.pop(key, None)
                continue
            case "-D":
                given = {name: value for name, value in row.items() if value is not None}
                lines.append({"op": "d", "before": {**(known or {}), **given}, "after": None})
                current.pop(key, None)
                continue
            case "+U" if before is None and known is None and not keys:
                raise _bad(f"{table}: row {number} is a +U without its -U before it, and the table has no primary key.")
            case "+I" | "+U":
                before = before or (known if kind == "+U" or upserts else None)
                lines.append({"op": "u" if before else "c", "before": before, "after": row})
                current[key], before = row, None
            case _:
                raise _bad(f"{table}: row {number} has the {KIND} {kind[:20]!r}; there are +I, -U, +U and -D.")
    if before is not None:
        raise _bad(f"{table}: a -U is not followed by its +U; a row that is removed for good is a -D.")
    return lines
