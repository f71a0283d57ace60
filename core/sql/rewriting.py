"""An INSERT as a query of the rows that it would write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from core.errors import InvalidInput
from core.sql.described import Described
from core.sql.script import Statement, is_query
from core.sql.tokens import Token, TokenKind, chain_at, closing, is_name, outside, quoted_name, unquoted
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
    not say. `is_sorted` is whether its query ends with an ORDER BY of all its rows."""

    statement: Statement
    table: tuple[str, ...]
    columns: list[str]
    query: str
    partition: Mapping[str, str] = field(default_factory=dict)
    on_conflict: str = ""
    is_sorted: bool = False


def taken_apart(statement: Statement) -> Sink:
    """An INSERT as its target and its query. Raises `InvalidInput`."""
    insert = statement.without_execute()
    parts = insert.tokens
    table = chain_at(parts, 2)
    at = 2 + max(0, 2 * len(table) - 1)
    if len(parts) > at and parts[at].kind is TokenKind.HINT:  # options of the sink, which is not opened
        at = next((i for i in range(at, len(parts)) if parts[i].kind is TokenKind.HINT_END), len(parts)) + 1
    partition: dict[str, str] = {}
    if len(parts) > at and parts[at].word == "PARTITION":
        end = closing(parts, at + 1)
        partition = dict(_literals(insert, at + 2, end))
        at = end + 1
    columns: list[str] = []
    if len(parts) > at + 1 and parts[at].text == "(" and not is_query(parts[at:]):
        end = closing(parts, at)
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
        is_sorted=_sorts(parts[at:]),
    )


def _sorts(query: Sequence[Token]) -> bool:
    """Whether a query ends with an ORDER BY of all its rows, not of the first of them."""
    while query[0].text == "(" and closing(query, 0) == len(query) - 1:
        query = query[1:-1]
    words = [token.word for _, token in outside(query)]
    return ("ORDER", "BY") in pairwise(words) and not {"LIMIT", "FETCH"} & set(words)


def _literals(insert: Statement, at: int, end: int) -> Iterator[tuple[str, str]]:
    """Column and literal of each `name = literal` between two tokens."""
    parts, start = insert.tokens, insert.tokens[0].offset
    while at + 2 < end:
        comma = next((i for i in range(at, end) if parts[i].text == ","), end)
        yield unquoted(parts[at]), insert.text[parts[at + 2].offset - start : parts[comma - 1].end - start]
        at = comma + 1


def as_query(sink: Sink, columns: Sequence[Described], view: str | None = None) -> str:
    """The rows that an INSERT writes, as a query: every column that its sink persists, with its value cast to its type
    as the planner casts it in an INSERT; literals of PARTITION, and NULL for a column that is not named
    (docs/decisions/0024-what-a-sink-is-given.md). `view` is the name of one that stands for its query."""
    queried = _queried(sink, columns)
    written = ", ".join(_written(c, sink.partition.get(c.name), c.name in queried) for c in columns if c.persisted)
    rows = f"(\n{sink.query}\n)" if view is None else quoted_name(view)
    return f"SELECT {written} FROM {rows} AS `sink` ({_names(queried)})"  # noqa: S608 - the user's own query, for Flink


def as_view(sink: Sink, columns: Sequence[Described], view: str) -> str:
    """The query of an INSERT as a temporary view: Flink drops the ORDER BY of a subquery, and keeps that of a view."""
    names = _names(_queried(sink, columns))
    return f"CREATE TEMPORARY VIEW {quoted_name(view)} ({names}) AS\n{sink.query}"


def _queried(sink: Sink, columns: Sequence[Described]) -> list[str]:
    """The columns of its sink that the query of an INSERT has, in its order."""
    return sink.columns or [c.name for c in columns if c.persisted and c.name not in sink.partition]


def _names(columns: Sequence[str]) -> str:
    return ", ".join(quoted_name(c) for c in columns)


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
