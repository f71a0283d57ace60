"""What a text that is being written names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.sql.completion import in_options, readable, scope_of, split, tables_in, written
from core.sql.reserved import RESERVED

MADE = """
CREATE TABLE orders (id BIGINT, `order` ROW<a INT, b INT>, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'datagen');
CREATE TEMPORARY VIEW big AS SELECT id, price * 2 AS twice, `order`.a FROM orders o;
CREATE VIEW named (x, y) AS SELECT id, price FROM orders;
"""
TABLES = tables_in(split(readable(MADE)[0]), {"team.users": ["id", "name"]})


def sources(sql: str) -> dict[str, list[str]]:
    parts, _ = readable(sql)
    return {name: list(columns) for name, columns in scope_of(split(parts)[-1], TABLES).sources.items()}


def test_tables_and_views_of_a_text():
    assert TABLES == {
        "team.users": ["id", "name"],
        "orders": ["id", "order", "price", "ts"],
        "big": ["id", "twice", "a"],
        "named": ["x", "y"],
    }


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT o. FROM orders AS o", {"o": TABLES["orders"]}),
        ("SELECT FROM orders, big b WHERE b.", {"orders": TABLES["orders"], "b": TABLES["big"]}),
        ("SELECT FROM big b LEFT JOIN team.users u ON b.id = u.", {"b": TABLES["big"], "u": ["id", "name"]}),
        ("SELECT FROM (SELECT id AS i, price p FROM orders) AS t", {"t": ["i", "p"], "orders": TABLES["orders"]}),
        ("SELECT FROM (SELECT * FROM named UNION ALL SELECT 1, 2) t (a, b)", {"t": ["a", "b"], "named": ["x", "y"]}),
        ("WITH c AS (SELECT id AS x FROM big), d (z) AS (SELECT x FROM c) SELECT FROM d", {"d": ["z"], "c": ["x"]}),
        ("INSERT INTO named (", {"named": ["x", "y"]}),
        ("INSERT INTO named SELECT FROM big", {"named": ["x", "y"], "big": TABLES["big"]}),
        (
            "SELECT FROM orders o JOIN team.users FOR SYSTEM_TIME AS OF o.ts AS u ON TRUE",
            {"o": TABLES["orders"], "u": ["id", "name"]},
        ),
        (
            "SELECT FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) w",
            {"w": [*TABLES["orders"], "window_start", "window_end", "window_time"]},
        ),
        ("SELECT FROM orders CROSS JOIN UNNEST(tags) AS t (tag)", {"orders": TABLES["orders"], "t": ["tag"]}),
        ("SELECT FROM nowhere n", {"n": []}),
    ],
)
def test_the_sources_of_a_statement(sql: str, found: dict[str, list[str]]):
    told = sources(sql)
    assert {name: told[name] for name in found} == {name: list(columns) for name, columns in found.items()}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain", "plain"),
        ("order", "`order`"),
        ("Monday", "`Monday`"),
        ("a b", "`a b`"),
        ("a`b", "`a``b`"),
        ("1a", "`1a`"),
    ],
)
def test_names_as_they_have_to_be_written(name: str, text: str):
    assert written(name) == text


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("CREATE TABLE t (a INT) WITH ('connector'='x', 'k", ({"connector": "x"}, None, "k", True)),
        ("CREATE TABLE t (a INT) WITH ('connector'='x', 'k'='v", ({"connector": "x"}, "k", "v", True)),
        ("SELECT * FROM t /*+ OPTIONS('k", None),
        ("SET 'table.e", ({}, None, "table.e", False)),
        ("SET 'a'='b", ({}, "a", "b", False)),
        ("SELECT 'a", None),
        ("SELECT * FROM t WHERE a IN ('x', 'y", None),
    ],
)
def test_where_in_options_the_cursor_is(text: str, place: tuple | None):
    parts, unclosed = readable(text)
    found = in_options(split(parts)[-1], unclosed)
    assert (found and (found.given, found.of, found.typed, found.of_table)) == place


WORDS = [
    *sorted(RESERVED)[:40],
    "SELECT",
    "FROM",
    "WITH",
    "AS",
    "JOIN",
    "(",
    ")",
    ",",
    ".",
    "*",
    "a",
    "`b`",
    "'c'",
    ";",
]


@given(st.lists(st.sampled_from(WORDS), max_size=30))
def test_no_text_is_too_broken(words: list[str]):
    parts, _ = readable(" ".join(words))
    statements = split(parts)
    scope_of(statements[-1], tables_in(statements, {}))
