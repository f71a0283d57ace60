"""What a registered view may be, what it is taken from, and the order in which views are made."""

from __future__ import annotations

import pytest

from core.errors import InvalidInput
from core.sql.positions import table_names
from core.sql.resources import TableDefinition
from core.sql.script import parse
from core.sql.views import ViewDefinition, check_size, definition_in, needed, view_of

VIEWS = {
    "a": ViewDefinition(query="SELECT * FROM t"),
    "b": ViewDefinition(query="SELECT a.id FROM a JOIN c ON a.id = c.id"),
    "c": ViewDefinition(query="WITH x AS (SELECT id FROM a) SELECT id FROM x"),
    "alone": ViewDefinition(query="VALUES 1"),
}


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("SELECT * FROM t", []),
        ("SELECT * FROM a", ["a"]),
        ("INSERT INTO o SELECT * FROM b, alone", ["alone", "a", "c", "b"]),
        ("SELECT * FROM other.a", []),
        ("SELECT a, t.alone FROM t", []),  # columns
        ("WITH a AS (SELECT * FROM a) SELECT * FROM a", ["a"]),
        ("WITH a AS (SELECT 1) SELECT * FROM a", []),
    ],
)
def test_views_are_made_after_those_that_they_name(text: str, order: list[str]):
    assert needed(table_names(parse(text)), VIEWS) == order


def test_a_view_may_have_columns_of_its_own_name_and_of_other_views():
    views = {
        "revenue": ViewDefinition(query="SELECT SUM(x) AS revenue, profit FROM orders"),
        "profit": ViewDefinition(query="SELECT revenue AS profit FROM orders"),
    }
    assert needed({("revenue",), ("profit",)}, views) == ["profit", "revenue"]


def test_a_long_chain_of_views():
    views = {f"v{n:04}": ViewDefinition(query=f"SELECT * FROM v{n - 1:04}") for n in range(1, 3000)}
    assert needed({("v2999",)}, views) == sorted(views)


def test_how_many_views_a_project_may_have():
    check_size({str(n): ViewDefinition(query="SELECT 1") for n in range(500)})
    with pytest.raises(InvalidInput, match="500 views"):
        check_size({str(n): ViewDefinition(query="SELECT 1") for n in range(501)})
    with pytest.raises(InvalidInput, match="500000 characters"):
        check_size({str(n): ViewDefinition(query="x" * 50_000) for n in range(11)})


@pytest.mark.parametrize("query", ["SELECT * FROM b", "SELECT * FROM a"])
def test_views_in_a_circle(query: str):
    views = {**VIEWS, "a": ViewDefinition(query=query)}
    with pytest.raises(InvalidInput, match="circle: a > "):
        needed({("a",)}, views)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1; SELECT 2",
        "INSERT INTO t SELECT 1",
        "CREATE TABLE t (id INT)",
        "SELECT '${secret:x}'",
        "SELECT * FROM t /*+ OPTIONS('password' = 'hunter2') */",
        "SELECT 'x",
        "-- nothing",
    ],
)
def test_what_is_no_query(query: str):
    with pytest.raises(InvalidInput):
        ViewDefinition(query=query).check()


def test_the_ddl():
    view = ViewDefinition(query=" SELECT 1 AS x;\n")
    view.check()
    assert view.ddl("d", "v", if_not_exists=True) == "CREATE VIEW IF NOT EXISTS `d`.`v` AS\nSELECT 1 AS x"


def test_what_is_stored_says_what_it_is():
    table = {"columns": [{"name": "id", "type": "INT"}], "options": {"connector": "datagen"}}
    assert isinstance(definition_in(table), TableDefinition)
    assert definition_in(VIEWS["a"].model_dump(mode="json")) == VIEWS["a"]


@pytest.mark.parametrize(
    ("text", "name", "query"),
    [
        ("CREATE VIEW v AS SELECT 1 AS x", "v", "SELECT 1 AS x"),
        ("CREATE TEMPORARY VIEW IF NOT EXISTS `v` AS WITH a AS (SELECT 1 AS x) SELECT x FROM a", "v", None),
        ("CREATE TABLE t (id INT) WITH ('connector' = 'x')", None, None),
    ],
)
def test_views_of_a_text(text: str, name: str | None, query: str | None):
    found = view_of(parse(text).setup[0])
    assert (found and found[0]) == name
    assert query is None or (found and found[1].query == query)


@pytest.mark.parametrize(
    "text",
    [
        "CREATE VIEW d.v AS SELECT 1",
        "CREATE VIEW `a b` AS SELECT 1",
        "CREATE VIEW v (x) AS SELECT 1",
        "CREATE VIEW v COMMENT 'x' AS SELECT 1",
    ],
)
def test_what_a_registered_view_has_no_place_for(text: str):
    with pytest.raises(InvalidInput) as refused:
        view_of(parse(text).setup[0])
    assert refused.value.code == "not_a_table"


def test_what_follows_a_query_is_no_part_of_its_ddl():
    assert ViewDefinition(query="SELECT 1 AS x; -- the one").ddl("v").endswith("SELECT 1 AS x")
    assert ViewDefinition(query="SELECT 1 AS x -- the one").ddl("v").endswith("SELECT 1 AS x")


def test_half_a_create_view():
    for text in ("CREATE VIEW", "CREATE VIEW IF NOT EXISTS"):
        script = parse(text)
        every = [*script.setup, *(m.statement for m in script.misplaced)]
        with pytest.raises(InvalidInput):
            view_of(every[0])
