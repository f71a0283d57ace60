"""Rows of a changing table: what each kind of change means for the table as it is."""

from __future__ import annotations

import json
from typing import Any

KINDS = {"INSERT": "+I", "UPDATE_BEFORE": "-U", "UPDATE_AFTER": "+U", "DELETE": "-D"}
"""The gateway's words and Flink's short ones."""

Row = list[Any]


class Materialized:
    """A table built from its changes. Equal rows count as often as they were added."""

    def __init__(self) -> None:
        self._count: dict[str, int] = {}
        self._rows: dict[str, Row] = {}
        self.unmatched = 0  # removals of rows that were never seen: the view began in the middle

    def apply(self, kind: str, fields: Row) -> None:
        """`kind` is +I, -U, +U or -D."""
        key = json.dumps(fields, sort_keys=True)
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
        """In the order in which they were added first."""
        return [self._rows[key] for key, count in self._count.items() for _ in range(count)]


def differences(expected: list[Row], actual: list[Row]) -> tuple[list[Row], list[Row]]:
    """(missing, unexpected), whatever the order."""
    left = Materialized()
    for row in actual:
        left.apply("+I", row)
    missing = []
    for row in expected:
        before = left.unmatched
        left.apply("-D", row)
        if left.unmatched > before:
            missing.append(row)
    return missing, left.rows()
