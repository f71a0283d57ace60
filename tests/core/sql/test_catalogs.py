"""Which catalogs a script names, which of their tables, and what is put in front of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from core.errors import InvalidInput
from core.specs import Use
from core.sql.catalogs import (
    BEGINNING,
    CatalogDefinition,
    Position,
    catalogs_created,
    catalogs_named,
    may_fail,
    merged,
    position_after,
    shadows,
    tables_of,
)
from core.sql.plan import NotAPlan, read, with_connectors
from core.sql.script import parse

NAMES = {"pg", "lake"}
JDBC = CatalogDefinition(options={"type": "jdbc", "default-database": "shop"})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("SELECT * FROM pg.shop.orders", {"pg"}),
        ("INSERT INTO `lake`.`shop`.`a b` SELECT * FROM pg.shop.`public.orders`", {"lake", "pg"}),
        ("SELECT pg.id FROM pg", set()),  # a table or an alias
        ("SELECT pg FROM t", set()),
        ("SELECT * FROM pg.orders", set()),  # a database of the default catalog
        ("SELECT * FROM PG.shop.orders", set()),  # names of catalogs have a case
        ("SELECT 'pg.shop.orders' FROM t -- pg.shop.orders", set()),
        ("USE CATALOG pg", {"pg"}),
        ("USE pg.shop", {"pg"}),
        ("USE shop", set()),
        ("SHOW TABLES FROM lake.shop", {"lake"}),
        ("SHOW DATABASES IN lake", {"lake"}),
        ("SHOW CATALOGS", NAMES),
        ("CREATE DATABASE lake.shop", {"lake"}),
        ("CREATE DATABASE IF NOT EXISTS lake.shop", {"lake"}),
        ("CREATE TABLE lake.shop.t (id INT)", {"lake"}),
        ("CREATE TABLE t LIKE pg.shop.orders", {"pg"}),
        ("DESCRIBE CATALOG pg", {"pg"}),
        ("CALL lake.sys.compact('shop.t')", {"lake"}),
        ("SELECT pg.address.city FROM orders AS pg", set()),  # a field of a ROW
        ("SELECT pg.shop.f(id) FROM x", {"pg"}),
        ("ALTER TABLE t ADD (a INT, b INT, pg INT)", set()),
    ],
)
def test_catalogs_that_a_script_names(text: str, named: set[str]):
    assert catalogs_named(parse(text), NAMES) == named


def test_catalogs_that_a_script_makes_itself():
    text = (
        "CREATE CATALOG pg WITH ('type' = 'x'); CREATE CATALOG IF NOT EXISTS `l k` WITH ('type' = 'x'); CREATE TABLE t"
    )
    assert catalogs_created(parse(text)) == {"pg", "l k"}


@pytest.mark.parametrize(
    ("statements", "where"),
    [
        ([], BEGINNING),
        (["USE CATALOG pg"], Position("pg")),
        (["USE CATALOG pg", "USE shop"], Position("pg", "shop")),
        (["USE pg.shop", "SELECT 1"], Position("pg", "shop")),
        (["USE shop"], Position("default_catalog", "shop")),
        (["USE pg.shop; USE CATALOG lake"], Position("lake")),
        (["USE MODULES core"], BEGINNING),
    ],
)
def test_where_a_session_is(statements: list[str], where: Position):
    assert position_after(map(parse, statements)) == where


@pytest.mark.parametrize(
    ("text", "where", "tables"),
    [
        ("SELECT * FROM pg.shop.a JOIN lake.x.b ON 1 = 1, pg.shop.`public.c`", BEGINNING, ["shop.a", "shop.public.c"]),
        ("SELECT pg.shop.a.id FROM pg.shop.a", BEGINNING, ["shop.a"]),
        ("USE CATALOG pg; SELECT x, y FROM a JOIN other.b ON a.x = b.y", BEGINNING, ["shop.a", "other.b"]),
        ("USE pg.other; INSERT INTO a SELECT x FROM b", BEGINNING, ["other.a", "other.b"]),
        ("SELECT x FROM a", Position("pg"), ["shop.a"]),
        ("SELECT x FROM a", BEGINNING, []),
        ("CREATE TEMPORARY TABLE pg.shop.a (id INT); SELECT id FROM pg.shop.a", BEGINNING, []),
        ("USE CATALOG pg; CREATE TEMPORARY VIEW v AS SELECT 1 FROM a; SELECT 1 FROM v", BEGINNING, ["shop.a"]),
        ("USE CATALOG lake; SELECT x FROM a", BEGINNING, []),
    ],
)
def test_tables_of_a_catalog_that_a_script_names(text: str, where: Position, tables: list[str]):
    assert [".".join(chain[1:]) for chain in tables_of(parse(text), "pg", "shop", where)] == tables


def test_only_tables_of_a_jdbc_catalog_are_made_before():
    script = parse("SELECT * FROM pg.shop.`a``b`")
    (statement,) = shadows(JDBC, "pg", script)
    assert statement == ("CREATE TEMPORARY TABLE IF NOT EXISTS `pg`.`shop`.`a``b` LIKE `pg`.`shop`.`a``b`")
    assert may_fail(statement)
    assert not may_fail("CREATE TEMPORARY TABLE IF NOT EXISTS `a` LIKE `b`")
    assert not may_fail("CREATE CATALOG IF NOT EXISTS `pg` WITH ('x' = ' LIKE ')")
    assert shadows(CatalogDefinition(options={"type": "paimon"}), "pg", script) == []


def test_the_ddl_keeps_quotes_inside():
    definition = CatalogDefinition(options={"type": "x", "it's": "a'); DROP CATALOG y; --"})
    assert definition.ddl("c") == (
        "CREATE CATALOG IF NOT EXISTS `c` WITH (\n  'type' = 'x',\n  'it''s' = 'a''); DROP CATALOG y; --'\n)"
    )
    assert len(parse(definition.ddl("c")).statements()) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"options": {}},
        {"options": {"warehouse": "x"}},
        {"options": {"type": ""}},
        {"options": {"type": "x", "a": "\x00"}},
        {"options": {"type": "x", "a": "b" * 8193}},
        {"options": {"type": "x"}, "libraries": [{"name": "l", "version": "1"}, {"name": "l", "version": "2"}]},
    ],
)
def test_a_definition_that_is_wrong(wrong: dict):
    with pytest.raises(ValidationError):
        CatalogDefinition.model_validate(wrong)


@pytest.mark.parametrize("options", [{"password": "x"}, {"base-url": "jdbc:x://u:p@h"}, {"password": "${secret:BAD}"}])
def test_a_secret_in_clear(options: dict[str, str]):
    with pytest.raises(InvalidInput):
        CatalogDefinition(options={"type": "jdbc", **options}).check()


def test_libraries_come_together():
    one, other = Use(name="jdbc", version="1"), Use(name="kafka", version="3")
    assert merged([other], [("pg", [one]), ("pg2", [one])]) == [other, one]
    with pytest.raises(InvalidInput, match="needs the library jdbc 2, and the script runs with 1"):
        merged([one], [("pg", [Use(name="jdbc", version="2")])])
    with pytest.raises(InvalidInput, match="and the catalog pg runs with 1"):
        merged([], [("pg", [one]), ("pg2", [Use(name="jdbc", version="2")])])


@pytest.mark.parametrize(
    ("catalog", "connector", "runs"),
    [("default_catalog", None, True), ("lake", "jdbc", True), ("lake", None, False)],
)
def test_a_table_whose_connector_only_its_catalog_knows_is_in_no_plan(catalog: str, connector: str | None, runs: bool):
    body = json.loads((Path(__file__).parent / "plans" / "count.json").read_text())
    table = body["nodes"][0]["scanTableSource"]["table"]
    table["identifier"] = f"`{catalog}`.`d`.`t`"
    table["resolvedTable"]["options"] = {"path": "x", **({"connector": connector} if connector else {})}
    if runs:
        assert with_connectors(read(body)).sources
    else:
        with pytest.raises(NotAPlan, match=r"lake\.d\.t has its connector from its catalog"):
            with_connectors(read(body))
