"""The operators of a compiled plan, the tables and columns that they name, and the types that it writes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, order=True)
class TableName:
    """A table in full; of one that is in no catalog its name alone, in `name`."""

    catalog: str
    database: str
    name: str

    def __str__(self) -> str:
        return ".".join(part for part in (self.catalog, self.database, self.name) if part)

    @classmethod
    def parse(cls, identifier: str) -> TableName:
        """From Flink's own writing: `` `catalog`.`database`.`name` ``, a backtick inside doubled."""
        parts = [p.replace("``", "`") for p in re.findall(r"`((?:[^`]|``)*)`", identifier)]
        if len(parts) != 3:
            return cls("", "", identifier)
        return cls(*parts)


@dataclass(frozen=True, order=True)
class ColumnOrigin:
    """A column of a table; `column` goes on with the field where only one of a ROW is used (`addr.city`)."""

    table: TableName
    column: str

    def __str__(self) -> str:
        return f"{self.table}.{self.column}"


@dataclass(frozen=True)
class Column:
    """A column of an operator. `meaning` is the same for two columns that are computed in the same way from the
    same columns of the same tables. Not `exact`: it may come from fewer than its `origins`."""

    name: str
    type: str
    meaning: str
    origins: frozenset[ColumnOrigin] = frozenset()
    exact: bool = True


def table_in(node: Json) -> Json | None:
    """The table of a source, a sink or a lookup, as it stands in the plan; it may be changed there."""
    for key in ("scanTableSource", "dynamicTableSink", "temporalTable"):
        item = node.get(key)
        if isinstance(item, dict):
            table = (item.get("lookupTableSource") or item).get("table")
            return table if isinstance(table, dict) else None
    return None


@dataclass(frozen=True)
class Node:
    """`kind` is the type without its version: `group-aggregate` for `stream-exec-group-aggregate_1`."""

    id: int
    kind: str
    version: int
    body: Json
    inputs: tuple[int, ...]

    @property
    def description(self) -> str:
        return str(self.body.get("description") or self.kind)

    @property
    def table(self) -> TableName | None:
        """Of a source or a sink: the table."""
        table = self._table_json()
        return TableName.parse(str(table["identifier"])) if table and "identifier" in table else None

    @property
    def options(self) -> dict[str, str]:
        """Of a source or a sink: the options of the table that stand in the plan."""
        resolved = (self._table_json() or {}).get("resolvedTable") or {}
        return {str(k): str(v) for k, v in (resolved.get("options") or {}).items()}

    @property
    def schema(self) -> list[Json]:
        """Of a source or a sink: the columns of the table as the plan has them."""
        resolved = (self._table_json() or {}).get("resolvedTable") or {}
        return list((resolved.get("schema") or {}).get("columns") or [])

    @property
    def partition_keys(self) -> list[str]:
        """Of a source or a sink: the columns by which the table is partitioned."""
        resolved = (self._table_json() or {}).get("resolvedTable") or {}
        return [str(key) for key in resolved.get("partitionKeys") or []]

    def _table_json(self) -> Json | None:
        return table_in(self.body)


def type_text(kind: Any) -> str:
    """A type of a compiled plan as one text: Flink writes simple ones as a string, others as an object."""
    return kind if isinstance(kind, str) else json.dumps(kind, sort_keys=True)


def fields_of(row: Any) -> list[tuple[str, str]]:
    """Names and types of a ROW type, in either of the two ways in which plans write it."""
    if isinstance(row, dict):
        return [(str(f["name"]), type_text(f["fieldType"])) for f in row.get("fields") or []]
    if not isinstance(row, str) or not row.startswith("ROW<"):
        return []
    fields, depth, start, quoted = [], 0, 4, False
    body = row[: row.rindex(">")]
    for i in range(4, len(body) + 1):
        char = body[i] if i < len(body) else ","
        if char == "`":
            quoted = not quoted
        if quoted:
            continue
        depth += {"<": 1, "(": 1, ">": -1, ")": -1}.get(char, 0)
        if char == "," and (depth == 0 or i == len(body)):
            match = re.match(r"\s*`((?:[^`]|``)*)`\s+(.*)", body[start:i], re.DOTALL)
            if match:
                fields.append((match.group(1).replace("``", "`"), match.group(2).strip()))
            start = i + 1
    return fields


def is_persisted(column: Json) -> bool:
    """Whether rows that are written have this column."""
    kind = column.get("kind")
    return kind in (None, "PHYSICAL") or (kind == "METADATA" and not column.get("isVirtual"))
