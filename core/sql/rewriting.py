"""An INSERT as a query of the rows that it would write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from core.errors import InvalidInput
from core.sql.described import Described
from core.sql.script import Statement
from core.sql.tokens import Kind, Token, chain_at, is_name, quoted_name, unquoted
from core.sql.values import of_text, with_text_keys

_CASTABLE = frozenset(
    {"BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "DECIMAL", "FLOAT", "DOUBLE", "STRING", "BYTES", "DATE", "TIME"}
    | {"TIMESTAMP", "TIMESTAMP_LTZ", "ROW", "ARRAY", "MAP", "MULTISET"}
)
"""What CAST takes as a type. A sink takes any other type only as it is."""


@dataclass(frozen=True)
class Sink:
    """An INSERT taken apart. `columns` are those that it names, `partition` are the literals of its PARTITION
    clause, `on_conflict` is what it does with several rows of a key: ERROR, NOTHING or DEDUPLICATE; empty when it does
    not say."""

    statement: Statement
    table: tuple[str, ...]
    columns: list[str]
    query: str
    partition: Mapping[str, str] = field(default_factory=dict)
    on_conflict: str = ""


def taken_apart(statement: Statement) -> Sink:
    """An INSERT as its target and its query. Raises `InvalidInput`."""
    insert = statement.without_execute()
    parts = insert.tokens
    table = chain_at(parts, 2)
    at = 2 + max(0, 2 * len(table) - 1)
    if len(parts) > at and parts[at].kind is Kind.HINT:  # options of the sink, which is not opened
        at = next((i for i in range(at, len(parts)) if parts[i].kind is Kind.HINT_END), len(parts)) + 1
    partition: dict[str, str] = {}
    if len(parts) > at and parts[at].word == "PARTITION":
        end = _closing(parts, at + 1)
        partition = dict(_literals(insert, at + 2, end))
        at = end + 1
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
    query, on_conflict = insert.text_from(at), ""
    if [t.word for t in parts[-4:-1]] == ["ON", "CONFLICT", "DO"]:
        on_conflict = parts[-1].word
        query = query[: parts[-4].offset - parts[at].offset].rstrip()
    return Sink(
        statement=statement,
        table=table,
        columns=columns,
        query=query,
        partition=partition,
        on_conflict=on_conflict,
    )


def _closing(parts: Sequence[Token], at: int) -> int:
    depth = 0
    for i in range(at, len(parts)):
        depth += {"(": 1, ")": -1}.get(parts[i].text, 0)
        if depth == 0:
            return i
    return len(parts) - 1


def _literals(insert: Statement, at: int, end: int) -> Iterator[tuple[str, str]]:
    """Column and literal of each `name = literal` between two tokens."""
    parts, start = insert.tokens, insert.tokens[0].offset
    while at + 2 < end:
        comma = next((i for i in range(at, end) if parts[i].text == ","), end)
        yield unquoted(parts[at]), insert.text[parts[at + 2].offset - start : parts[comma - 1].end - start]
        at = comma + 1


def as_query(sink: Sink, columns: Sequence[Described]) -> str:
    """The rows that an INSERT writes, as a query: every column that its sink persists, with its value cast to its type
    as the planner casts it in an INSERT; literals of PARTITION, and NULL for a column that is not named
    (docs/decisions/0024-what-a-sink-is-given.md)."""
    persisted = [c for c in columns if c.persisted]
    queried = sink.columns or [c.name for c in persisted if c.name not in sink.partition]
    written = ", ".join(_written(c, sink.partition.get(c.name), c.name in queried) for c in persisted)
    names = ", ".join(quoted_name(c) for c in queried)
    return f"SELECT {written} FROM (\n{sink.query}\n) AS `sink` ({names})"  # noqa: S608 - the user's own query, for Flink


def _written(column: Described, literal: str | None, queried: bool) -> str:
    name = quoted_name(column.name)
    value = literal if literal is not None else name if queried else "NULL"
    kind = of_text(column.type)
    if kind.name in _CASTABLE:
        value = f"CAST({value} AS {column.type})"
        if (readable := with_text_keys(column.type)) != column.type:  # the gateway cannot give other keys
            value = f"CAST({value} AS {readable})"
    elif kind.name == "VARIANT":  # nor a VARIANT
        value = f"JSON_STRING({value})"
    return f"{value} AS {name}" if value != name else name


def takes_updates_probe(sink: Sink, columns: Sequence[Described]) -> str:
    """An INSERT that updates rows of a sink, to be explained: Flink refuses it if the sink is append-only."""
    nothing = ", ".join(f"CAST(NULL AS {c.type})" for c in columns if c.persisted)
    query = f"SELECT {nothing} FROM (VALUES (1)) AS `t` (`x`) GROUP BY `x` HAVING COUNT(*) > 1"  # noqa: S608 - only types
    return f"INSERT INTO {quoted_name(*sink.table)} {query}"
