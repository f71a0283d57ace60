"""What a text that is being written names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.sql.completion import in_options, options_of, readable, split, written
from core.sql.reserved import RESERVED
from core.sql.scopes import Scope, scope_of, tables_in

MADE = """
CREATE TABLE orders (id BIGINT, `order` ROW<a INT, b INT>, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'datagen');
CREATE TABLE deep (a ROW<b STRING NOT NULL, c ROW<d INT> NOT NULL> NOT NULL);
CREATE TEMPORARY VIEW big AS SELECT id, price * 2 AS twice, `order`.a FROM orders o;
CREATE VIEW named (x, y) AS SELECT id, price FROM orders;
"""
TABLES = tables_in(split(readable(MADE)[0]), {"team.users": {"id": {}, "name": {}}})
ORDERS, BIG, USERS = (list(TABLES[name]) for name in ("orders", "big", "team.users"))


def scope(sql: str) -> Scope:
    """Where `|` stands in a text."""
    parts, _ = readable(sql.replace("|", ""))
    return scope_of(split(parts)[-1], TABLES, sql.index("|"))


def columns(found: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    return {name: list(inner) for name, inner in found.items()}


def test_tables_and_views_of_a_text():
    assert columns(TABLES) == {
        "team.users": ["id", "name"],
        "orders": ["id", "order", "price", "ts"],
        "deep": ["a"],
        "big": ["id", "twice", "a"],
        "named": ["x", "y"],
    }


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT o.| FROM orders AS o", {"o": ORDERS}),
        ("SELECT | FROM orders, big b WHERE b.id", {"orders": ORDERS, "b": BIG}),
        ("SELECT id FROM big b LEFT JOIN team.users u ON b.id = u.|", {"b": BIG, "u": USERS}),
        ("SELECT | FROM orders GROUP BY id, price", {"orders": ORDERS}),
        ("SELECT id FROM orders /*+ OPTIONS('a' = 'b') */ o WHERE o.|", {"o": ORDERS}),
        (
            "SELECT | FROM orders o JOIN team.users FOR SYSTEM_TIME AS OF o.ts AS u ON TRUE",
            {"o": ORDERS, "u": USERS},
        ),
        (
            "SELECT | FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) w",
            {"w": [*ORDERS, "window_start", "window_end", "window_time"]},
        ),
        ("SELECT | FROM orders CROSS JOIN UNNEST(tags) AS t (tag)", {"orders": ORDERS, "t": ["tag"]}),
        ("SELECT | FROM nowhere n", {"n": []}),
        # A table that is derived is what its query gives; in that stands what it reads.
        ("SELECT | FROM (SELECT id AS i, price p FROM orders) AS t", {"t": ["i", "p"]}),
        ("SELECT i FROM (SELECT | FROM orders) AS t", {"orders": ORDERS}),
        ("SELECT i FROM big JOIN (SELECT | FROM orders", {"orders": ORDERS}),
        ("SELECT | FROM (SELECT * FROM named UNION ALL SELECT 1, 2) t (a, b)", {"t": ["a", "b"]}),
        # Of queries that are put together each has its own tables.
        ("SELECT o.| FROM orders o UNION ALL SELECT o.name FROM team.users o", {"o": ORDERS}),
        ("SELECT o.id FROM orders o UNION ALL SELECT o.| FROM team.users o", {"o": USERS}),
        ("(SELECT id FROM orders) EXCEPT (SELECT | FROM big)", {"big": BIG}),
        ("SELECT id AS a FROM orders UNION SELECT id FROM big ORDER BY |", {"(0)": ["a"]}),
        # An alias in a subquery is its own.
        ("SELECT id FROM orders o WHERE o.id IN (SELECT o.| FROM team.users o)", {"o": USERS}),
        ("SELECT id FROM orders o WHERE o.id IN (SELECT o.id FROM team.users o) AND o.|", {"o": ORDERS}),
        ("SELECT (SELECT MAX(|) FROM big b), o.id FROM orders o", {"b": BIG}),
        ("SELECT ABS((SELECT MAX(|) FROM big b)) FROM orders o", {"b": BIG}),
        # WITH.
        ("WITH c AS (SELECT id AS x FROM big), d (z) AS (SELECT x FROM c) SELECT | FROM d", {"d": ["z"]}),
        ("WITH c AS (SELECT id AS x FROM big), d (z) AS (SELECT | FROM c) SELECT z FROM d", {"c": ["x"]}),
        ("WITH c AS (SELECT | FROM big) SELECT x FROM c", {"big": BIG}),
        ("INSERT INTO named WITH c AS (SELECT id AS x FROM big) SELECT | FROM c", {"c": ["x"]}),
        # The sink is named in front of the query, and not in it.
        ("INSERT INTO named (|", {"named": ["x", "y"]}),
        ("INSERT INTO named (x, |) SELECT id FROM big", {"named": ["x", "y"]}),
        ("EXECUTE STATEMENT SET BEGIN INSERT INTO named (|", {"named": ["x", "y"]}),
        ("INSERT INTO named SELECT | FROM big", {"big": BIG}),
        ("INSERT INTO named SELECT |", {}),
        ("EXECUTE STATEMENT SET BEGIN INSERT INTO named SELECT | FROM big", {"big": BIG}),
        ("CREATE TABLE t WITH ('a' = 'b') AS SELECT | FROM big", {"big": BIG}),
    ],
)
def test_what_is_read_where_the_cursor_is(sql: str, found: dict[str, list[str]]):
    assert columns(scope(sql).sources) == found


@pytest.mark.parametrize(
    ("sql", "outer"),
    [
        ("SELECT id FROM orders o WHERE EXISTS (SELECT | FROM big WHERE", ["o"]),
        ("SELECT id, (SELECT | FROM big) FROM orders o", ["o"]),
        ("SELECT id FROM orders o, LATERAL (SELECT | FROM big)", ["o"]),
        ("SELECT id FROM orders o, (SELECT | FROM big)", []),
        ("SELECT id FROM orders o JOIN (SELECT | FROM big) ON TRUE", []),
    ],
)
def test_a_subquery_sees_what_is_around_it(sql: str, outer: list[str]):
    assert list(scope(sql).outer) == outer


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("SELECT |, orders", ["orders"]),
        ("INSERT INTO named SELECT |", []),
        ("WITH c AS (SELECT id AS z FROM orders) SELECT |", ["c"]),
        ("DESCRIBE orders |", ["orders"]),
    ],
)
def test_what_may_be_meant_where_there_is_no_from(sql: str, named: list[str]):
    assert list(scope(sql).named) == named


@pytest.mark.parametrize(
    ("sql", "chain", "fields"),
    [
        ("SELECT o.`order`.| FROM orders o", ["o", "order"], ["a", "b"]),
        ("SELECT `order`.| FROM orders", ["order"], ["a", "b"]),
        ("SELECT p.| FROM (SELECT o.`order` AS p FROM orders o) t", ["p"], ["a", "b"]),
        ("WITH c AS (SELECT `order` p FROM orders) SELECT c.p.| FROM c", ["c", "p"], ["a", "b"]),
        ("SELECT o.price.| FROM orders o", ["o", "price"], []),
        ("SELECT d.a.c.| FROM deep d", ["d", "a", "c"], ["d"]),
        ("SELECT d.a.| FROM deep d", ["d", "a"], ["b", "c"]),
        ("SELECT team.users.| FROM team.users", ["team", "users"], USERS),
    ],
)
def test_fields_of_rows(sql: str, chain: list[str], fields: list[str]):
    assert list(scope(sql).inside(chain)) == fields


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
        ("SELECT * FROM t /*+ OPTIONS('k", ({}, None, "k", True)),
        ("INSERT INTO a.b /*+ OPTIONS('x'='y', 'k'='", ({"x": "y"}, "k", "", True)),
        ("SELECT /*+ LOOKUP('k", None),
        ("SELECT * FROM t WHERE OPTIONS('k", None),
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


def test_the_table_of_a_hint():
    parts, unclosed = readable("SELECT * FROM orders, a.`b c` /*+ OPTIONS('k")
    found = in_options(split(parts)[-1], unclosed)
    assert found is not None
    assert found.hinted == ("a", "b c")
    made = split(readable(MADE + "CREATE TABLE orders (a INT) WITH ('connector' = 'kafka');")[0])
    assert options_of(made, "Orders") == {"connector": "kafka"}
    assert options_of(made, "nowhere") == {}


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
    for token in statements[-1]:
        scope_of(statements[-1], tables_in(statements, {}), token.offset)
    scope_of(statements[-1], tables_in(statements, {}))
