"""Rows of a changing table: what each kind of change means for the table as it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol

KINDS = {"INSERT": "+I", "UPDATE_BEFORE": "-U", "UPDATE_AFTER": "+U", "DELETE": "-D"}
"""The gateway's words and Flink's short ones."""

Row = list[Any]


def as_text(row: Any) -> str:
    """Equal for rows that are equal."""
    return json.dumps(row, sort_keys=True)


class Table(Protocol):
    """A table built from its changes."""

    def apply(self, kind: str, fields: Row) -> None:
        """`kind` is +I, -U, +U or -D."""

    def rows(self) -> list[Row]:
        """In the order in which they were added first."""


class Materialized(Table):
    """A table without a key. Equal rows count as often as they were added; `key` says which are equal."""

    def __init__(self, key: Callable[[Row], str] = as_text) -> None:
        self._key = key
        self._count: dict[str, int] = {}
        self._rows: dict[str, Row] = {}
        self.unmatched = 0  # removals of rows that were never seen: the view began in the middle

    def apply(self, kind: str, fields: Row) -> None:
        key = self._key(fields)
        if kind in ("+I", "+U"):
            self._count[key] = self._count.get(key, 0) + 1
            self._rows[key] = fields
            return
        left = self._count.get(key, 0) - 1
        if left < 0:
            self.unmatched += 1
        elif left == 0:
            del self._count[key], self._rows[key]
        else:
            self._count[key] = left

    def rows(self) -> list[Row]:
        return [self._rows[key] for key, count in self._count.items() for _ in range(count)]


class Upserted(Table):
    """A table with a primary key, at the positions `key` of a row, as a sink keeps it that is sent upserts.

    With `keeps_history` each key remembers the rows that were added and not removed, as the sink upsert materializer
    does, and has the newest of them, or the oldest (`first`). Without it a removal removes the key, whatever its row.
    """

    def __init__(self, key: Sequence[int], *, keeps_history: bool, first: bool = False) -> None:
        self._key, self._keeps_history, self._first = key, keeps_history, first
        self._rows: dict[str, list[Row]] = {}

    def apply(self, kind: str, fields: Row) -> None:
        key = as_text([fields[i] for i in self._key])
        rows = self._rows.setdefault(key, [])
        if kind in ("+I", "+U"):
            rows[:] = [*rows, fields] if self._keeps_history else [fields]
        elif self._keeps_history and fields in rows:
            del rows[len(rows) - 1 - rows[::-1].index(fields)]  # the newest that is equal
        elif not self._keeps_history and kind == "-D":
            rows.clear()
        if not rows:
            del self._rows[key]

    def rows(self) -> list[Row]:
        return [rows[0] if self._first else rows[-1] for rows in self._rows.values()]


def differences(
    expected: list[Row], written: list[Row], key: Callable[[Row], str] = as_text
) -> tuple[list[Row], list[Row]]:
    """(missing, unexpected), whatever the order."""
    left = Materialized(key)
    for row in written:
        left.apply("+I", row)
    missing = []
    for row in expected:
        before = left.unmatched
        left.apply("-D", row)
        if left.unmatched > before:
            missing.append(row)
    return missing, left.rows()
