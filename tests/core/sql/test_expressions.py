"""Where the values of a column come from when a filter has made a constant of it. What Flink really compiles such
queries to is in tests/real/lineage_queries.py."""

from __future__ import annotations

from typing import Any

import pytest

from core.sql.expressions import bounded, held, of_call
from core.sql.operators import Column, ColumnOrigin, TableName
from core.sql.plan import read

TABLE = TableName("c", "d", "t")
ROWS = [Column(name, "STRING", name, frozenset([ColumnOrigin(TABLE, name)])) for name in ("a", "b", "c")]


def ref(index: int) -> dict[str, Any]:
    return {"kind": "INPUT_REF", "inputIndex": index, "type": "VARCHAR(10)"}


def call(name: str, *operands: Any) -> dict[str, Any]:
    return {"kind": "CALL", "internalName": f"${name}$1", "operands": list(operands), "type": "BOOLEAN"}


X = {"kind": "LITERAL", "value": "x", "type": "VARCHAR(10)"}


@pytest.mark.parametrize(
    ("condition", "columns"),
    [
        (None, ""),
        (call("=", ref(0), X), "a"),
        (call("=", X, ref(1)), "b"),
        (call("AND", call("=", ref(0), X), call("IS NULL", ref(2))), "a c"),
        (call("OR", call("=", ref(0), X), call("=", ref(1), X)), ""),
        (call("=", ref(0), ref(1)), ""),
        (call(">", ref(0), X), ""),
        (ref(0), "a"),
    ],
)
def test_the_columns_that_a_condition_holds_to_one_value(condition: Any, columns: str):
    assert {origin.column for origin in held(condition, ROWS)} == set(columns.split())


SEVERAL = {"kind": "LITERAL", "sarg": {"ranges": []}, "type": "VARCHAR(10) NOT NULL"}


@pytest.mark.parametrize(
    ("condition", "columns"),
    [
        (None, ""),
        (call(">", ref(0), X), "a"),
        (call("<=", X, ref(1)), "b"),
        (call("AND", call(">=", ref(0), X), call("<", ref(1), X), call("<>", ref(2), X)), "a b c"),
        (call("SEARCH", ref(0), SEVERAL), "a"),
        (call("IS NOT NULL", ref(0)), "a"),
        (call(">", call("CONCAT", ref(0), ref(1)), X), "a b"),
        (call(">", ref(0), ref(1)), ""),
        (call("OR", call(">", ref(0), X), call(">", ref(1), X)), ""),
        (call("LIKE", ref(0), X), ""),
        (call("=", ref(0), X), ""),  # it is held
    ],
)
def test_the_columns_that_a_condition_holds_within_bounds(condition: Any, columns: str):
    assert {origin.column for origin in bounded(condition, ROWS)} == set(columns.split())


def test_a_count_of_some_rows_comes_from_what_chooses_them():
    made = of_call({"internalName": "$COUNT$1", "argList": [], "filterArg": 1}, ROWS)
    assert {origin.column for origin in made.origins} == {"b"}


TRUE = {"kind": "LITERAL", "value": True, "type": "BOOLEAN NOT NULL"}


@pytest.mark.parametrize(
    ("condition", "constant", "origins"),
    [
        (call("=", ref(1), X), X, {"b"}),
        (call("=", ref(1), X), TRUE, {"b"}),
        (call(">", ref(1), X), TRUE, {"b"}),  # `b > 'a'` was, which holds for all that is let through
        (call(">", ref(1), X), X, set()),
        (None, X, set()),
        (None, TRUE, set()),
    ],
)
def test_a_constant_behind_such_a_filter_may_be_the_column(condition: Any, constant: Any, origins: set[str]):
    scan = {
        "id": 1,
        "type": "stream-exec-table-source-scan_1",
        "scanTableSource": {"table": {"identifier": "`c`.`d`.`t`"}},
        "outputType": "ROW<`a` VARCHAR(10), `b` VARCHAR(10)> NOT NULL",
    }
    calc = {
        "id": 2,
        "type": "stream-exec-calc_1",
        "projection": [ref(0), constant],
        "condition": condition,
        "outputType": "ROW<`a` VARCHAR(10), `k` VARCHAR(10)> NOT NULL",
    }
    plan = read({"flinkVersion": "2.3", "nodes": [scan, calc], "edges": [{"source": 1, "target": 2}]})
    a, k = plan.columns[2]
    assert ({o.column for o in a.origins}, a.exact) == ({"a"}, True)
    assert ({o.column for o in k.origins}, k.exact) == (origins, not origins)
