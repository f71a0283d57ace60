"""Which statements change what is there without the session."""

from __future__ import annotations

import pytest

from core.sql.outside import changed_outside, own_catalogs
from core.sql.script import parse
from core.sql.tokens import tokens

OWN = {"default_catalog", "memory"}


@pytest.mark.parametrize(
    ("statement", "catalog", "changed"),
    [
        ("CREATE TABLE t (a INT)", "default_catalog", None),
        ("CREATE TABLE t (a INT)", "memory", None),
        ("CREATE TABLE t (a INT)", "lake", ("TABLE", "lake")),
        ("CREATE TABLE IF NOT EXISTS lake.d.t (a INT)", "default_catalog", ("TABLE", "lake")),
        ("CREATE TABLE memory.d.t (a INT)", "lake", None),
        ("CREATE TABLE lake.t (a INT)", "default_catalog", None),  # a database of the session's own catalog
        ("CREATE TEMPORARY TABLE lake.d.t (a INT)", "lake", None),
        ("CREATE OR REPLACE TEMPORARY VIEW v AS SELECT 1", "lake", None),
        ("DROP TEMPORARY VIEW v", "lake", None),
        ("CREATE TEMPORARY SYSTEM FUNCTION f AS 'x'", "lake", None),
        ("CREATE VIEW v AS SELECT 1", "lake", ("VIEW", "lake")),
        ("CREATE FUNCTION lake.d.f AS 'x'", "default_catalog", ("FUNCTION", "lake")),
        ("CREATE DATABASE lake.d", "default_catalog", ("DATABASE", "lake")),
        ("CREATE DATABASE d", "lake", ("DATABASE", "lake")),
        ("DROP TABLE IF EXISTS `lake`.d.t", "default_catalog", ("TABLE", "lake")),
        ("ALTER TABLE t ADD (b INT)", "lake", ("TABLE", "lake")),
        ("CREATE CATALOG lake WITH ('type' = 'paimon')", "lake", None),
        ("DROP CATALOG lake", "memory", None),
        ("USE CATALOG lake", "default_catalog", None),
        ("LOAD MODULE hive", "lake", None),
        ("SELECT 1", "lake", None),
    ],
)
def test_what_a_statement_changes_outside(statement: str, catalog: str, changed: tuple[str, str] | None):
    assert changed_outside(tokens(statement), catalog, OWN) == changed


@pytest.mark.parametrize(
    ("statements", "own"),
    [
        ([], {"kept"}),
        (["CREATE CATALOG m WITH ('type' = 'generic_in_memory')"], {"kept", "m"}),
        (["CREATE CATALOG p WITH ('type' = 'paimon', 'warehouse' = 'generic_in_memory')"], {"kept"}),
        (["CREATE CATALOG kept WITH ('type' = 'paimon')"], set()),
        (
            [
                "CREATE CATALOG m WITH ('type' = 'generic_in_memory')",
                "DROP CATALOG m",
                "CREATE CATALOG m WITH ('type' = 'jdbc')",
            ],
            {"kept"},
        ),
    ],
)
def test_the_catalogs_that_end_with_a_session(statements: list[str], own: set[str]):
    assert own_catalogs(map(parse, statements), {"kept"}) == {"default_catalog"} | own
