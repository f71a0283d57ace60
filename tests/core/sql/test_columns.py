"""What each kind of operator makes of its columns, on the parts of plans that its rule reads. Whole plans of a real Flink
are in `test_plans.py`; these kinds are in none of them."""

from __future__ import annotations

from typing import Any

import pytest

from core.sql.columns import columns_of
from core.sql.expressions import meaning
from core.sql.operators import Column, ColumnOrigin, Node, TableName

T = TableName("c", "d", "t")
ROW = "ROW<`id` BIGINT, `name` STRING, `at` TIMESTAMP(3)>"


def source(id_: int = 1, output: str = ROW, *, table: TableName = T, columns: Any = None, **ability: Any) -> Node:
    schema = columns or [
        {"name": "id", "dataType": "BIGINT"},
        {"name": "name", "dataType": "STRING"},
        {"name": "at", "dataType": "TIMESTAMP(3)"},
    ]
    resolved = {"identifier": f"`{table.catalog}`.`{table.database}`.`{table.name}`"}
    scan = {
        "table": {**resolved, "resolvedTable": {"schema": {"columns": schema}}},
        "abilities": [ability] if ability else [],
    }
    return Node(id_, "table-source-scan", 1, {"scanTableSource": scan, "outputType": output}, ())


def after(kind: str, names: str, *inputs: Node, more: tuple[Node, ...] = (), **body: Any) -> dict[str, Column]:
    """The columns of an operator of this kind over one or more sources, by name."""
    given = inputs or (source(),)
    output = f"ROW<{', '.join(f'`{name}` BIGINT' for name in names.split())}>"
    node = Node(99, kind, 1, {"outputType": output, **body}, tuple(n.id for n in (*more[-1:],) or given))
    return {c.name: c for c in columns_of({n.id: n for n in (*given, *more, node)})[99]}


def origins(columns: dict[str, Column]) -> dict[str, set[str]]:
    return {name: {str(o).removeprefix("c.d.") for o in c.origins} for name, c in columns.items()}


def ref(index: int) -> dict[str, Any]:
    return {"kind": "INPUT_REF", "inputIndex": index, "type": "BIGINT"}


COUNT = {"name": "n", "internalName": "$COUNT$1", "argList": [1]}
SUM = {"name": "s", "internalName": "$SUM$1", "argList": [0]}


class TestSources:
    ADDRESS = (
        {"name": "id", "dataType": "BIGINT"},
        {"name": "addr", "dataType": "ROW<`city` STRING, `geo` ROW<`lat` DOUBLE>>"},
    )

    def test_fields_that_are_pushed_into_it_are_named_in_full(self):
        pushed = source(
            output="ROW<`addr_city` STRING, `addr_geo_lat` DOUBLE, `id` BIGINT>",
            columns=self.ADDRESS,
            type="ProjectPushDown",
            projectedFields=[[1, 0], [1, 1, 0], [0]],
        )
        found = {c.name: c for c in columns_of({1: pushed})[1]}
        assert origins(found) == {"addr_city": {"t.addr.city"}, "addr_geo_lat": {"t.addr.geo.lat"}, "id": {"t.id"}}

    def test_what_is_pushed_and_not_in_the_schema_keeps_its_name(self):
        odd = source(
            output="ROW<`x` STRING, `y` STRING>",
            columns=self.ADDRESS,
            type="ProjectPushDown",
            projectedFields=[[7], [1, 5]],
        )
        assert origins({c.name: c for c in columns_of({1: odd})[1]}) == {"x": {"t.x"}, "y": {"t.addr"}}


class TestPartitions:
    """A filter of partitions goes into the source as a whole: behind it stands a constant, and no condition."""

    SCHEMA = (
        {"name": "id", "dataType": "BIGINT"},
        {"name": "dt", "dataType": "STRING"},
        {"name": "hour", "dataType": "STRING"},
    )

    def constant(self, *partitions: dict[str, str]) -> Column:
        scan = source(
            output="ROW<`id` BIGINT>", columns=self.SCHEMA, type="PartitionPushDown", partitions=list(partitions)
        )
        scan.body["scanTableSource"]["table"]["resolvedTable"]["partitionKeys"] = ["dt", "hour"]
        literal = {"kind": "LITERAL", "value": "2026-01-01", "type": "STRING"}
        made = after("calc", "id day", scan, projection=[ref(0), literal])
        assert (origins(made)["id"], made["id"].exact) == ({"t.id"}, True)
        return made["day"]

    @pytest.mark.parametrize(
        ("partitions", "keys"),
        [
            ([{"dt": "2026-01-01", "hour": "1"}], {"dt", "hour"}),
            ([{"dt": "2026-01-01", "hour": "1"}, {"dt": "2026-01-01", "hour": "2"}], {"dt"}),
            ([], {"dt", "hour"}),  # there is no such partition
        ],
    )
    def test_a_constant_behind_them_may_be_what_they_have_in_common(self, partitions: Any, keys: set[str]):
        found = self.constant(*partitions)
        assert ({o.column for o in found.origins}, found.exact) == (keys, False)

    def test_what_they_do_not_have_in_common_is_no_constant(self):
        found = self.constant({"dt": "2026-01-01", "hour": "1"}, {"dt": "2026-01-02", "hour": "2"})
        assert (found.origins, found.exact) == (frozenset(), True)


class TestAggregates:
    def test_in_two_phases_it_is_the_aggregate_of_what_the_first_was_given(self):
        local = Node(
            2,
            "local-group-aggregate",
            1,
            {"outputType": "ROW<`name` STRING, `sum$0` BIGINT>", "grouping": [1], "aggCalls": [SUM]},
            (1,),
        )
        two = after("global-group-aggregate", "name s", more=(local,), grouping=[0], aggCalls=[SUM])
        one = after("group-aggregate", "name s", grouping=[1], aggCalls=[SUM])
        assert {n: (c.meaning, c.origins) for n, c in two.items()} == {
            n: (c.meaning, c.origins) for n, c in one.items()
        }
        assert origins(two) == {"name": {"t.name"}, "s": {"t.id"}}

    def test_in_three_phases_too(self):
        """Of COUNT(DISTINCT id) by name, divided by the value that is distinct."""
        distinct = {**COUNT, "argList": [0], "distinct": True}
        local = Node(
            2,
            "local-group-aggregate",
            1,
            {"outputType": "ROW<`name` STRING, `b` INT, `acc` BIGINT>", "grouping": [1, 0], "aggCalls": [distinct]},
            (1,),
        )
        between = Node(
            3,
            "incremental-group-aggregate",
            1,
            {
                "outputType": "ROW<`name` STRING, `acc` BIGINT>",
                "partialAggGrouping": [0, 1],
                "finalAggGrouping": [0],
                "partialOriginalAggCalls": [distinct],
            },
            (2,),
        )
        whole = {"name": "s", "internalName": "$SUM0$1", "argList": [2]}
        found = after("global-group-aggregate", "name s", more=(local, between), grouping=[0], aggCalls=[whole])
        assert origins(found) == {"name": {"t.name"}, "s": {"t.id"}}
        assert "DISTINCT" in found["s"].meaning

    def test_a_second_phase_whose_first_is_not_found_is_not_exact(self):
        odd = Node(2, "dream", 1, {"outputType": "ROW<`name` STRING, `acc` BIGINT>"}, (1,))
        found = after("global-group-aggregate", "name s", more=(odd,), grouping=[0], aggCalls=[SUM])
        assert not any(c.exact for c in found.values())

    def test_slices_of_a_window(self):
        window = {"timeAttributeIndex": 2, "window": {"type": "TumblingWindow", "size": 60}}
        local = Node(
            2,
            "local-window-aggregate",
            1,
            {
                "outputType": "ROW<`name` STRING, `acc` BIGINT, `$slice_end` BIGINT>",
                "grouping": [1],
                "aggCalls": [SUM],
                "windowing": window,
            },
            (1,),
        )
        property_ = {"name": "w", "property": {"kind": "WindowEnd"}}
        found = after(
            "global-window-aggregate",
            "name s w",
            more=(local,),
            grouping=[0],
            aggCalls=[SUM],
            windowing={"window": window["window"], "sliceEnd": 2},
            namedWindowProperties=[property_],
        )
        assert origins(found) == {"name": {"t.name"}, "s": {"t.id"}, "w": {"t.at"}}
        assert found["w"].meaning.startswith("WindowEnd(")

    @pytest.mark.parametrize("index", [None, 9])
    def test_a_window_whose_time_is_not_found_is_not_exact(self, index: int | None):
        field = {} if index is None else {"fieldIndex": index}
        property_ = {"name": "w", "property": {"kind": "WindowStart"}}
        found = after(
            "group-window-aggregate",
            "s w",
            aggCalls=[SUM],
            window={"kind": "TUMBLE", "timeField": field},
            namedWindowProperties=[property_],
        )
        assert (found["s"].exact, found["w"].exact) == (True, False)

    def test_a_filter_is_part_of_what_it_means(self):
        one, other = (after("group-aggregate", "s", aggCalls=[{**SUM, "filterArg": n}])["s"] for n in (1, 2))
        assert "FILTER c.d.t.name" in one.meaning
        assert one.meaning != other.meaning


class TestOthers:
    def test_over(self):
        group = {
            "isRows": True,
            "lowerBound": {"kind": "PRECEDING", "offset": ref(3)},
            "upperBound": {"kind": "CURRENT_ROW"},
            "aggCalls": [SUM],
        }

        def of(constant: int) -> Column:
            literal = {"kind": "LITERAL", "value": constant, "type": "INT"}
            spec = {"partition": {"fields": [1]}, "groups": [group], "constants": [literal]}
            return after("over-aggregate", "id name at s", overSpec=spec)["s"]

        assert {str(o) for o in of(5).origins} == {"c.d.t.id"}
        assert "OVER (c.d.t.name;" in of(5).meaning
        assert of(5).meaning != of(6).meaning, "the constant is how many rows it looks back at"

    def test_a_rank_that_gives_its_number(self):
        found = after("rank", "id name at n", partitionSpec={"fields": [1]}, rankType="ROW_NUMBER")
        assert found["n"].meaning == "ROW_NUMBER(c.d.t.name)"
        assert list(after("rank", "id name at")) == ["id", "name", "at"]

    def test_a_pattern(self):
        def of(pattern: str) -> dict[str, Column]:
            measure = {"kind": "PATTERN_INPUT_REF", "inputIndex": 0, "alpha": "A"}
            spec = {"partition": {"fields": [1]}, "measures": {"m": measure}, "pattern": pattern}
            return after("match", "name m", matchSpec=spec)

        assert origins(of("A B")) == {"name": {"t.name"}, "m": {"t.id"}}
        assert of("A B")["m"].meaning.startswith("A.c.d.t.id MATCH ")
        assert of("A B")["m"].meaning != of("A C")["m"].meaning
        spec = {"partition": {}, "measures": {}, "pattern": ""}
        assert not after("match", "odd", matchSpec=spec)["odd"].exact

    def test_a_table_function(self):
        call = {"kind": "CALL", "internalName": "$SPLIT$1", "operands": [ref(1)]}
        found = after("correlate", "id name at word", functionCall=call)
        assert origins(found)["word"] == {"t.name"}
        assert found["word"].meaning == "SPLIT(c.d.t.name).0"

    def test_a_union_is_of_both(self):
        u = TableName("c", "d", "u")
        found = after("union", "id name at", source(), source(2, table=u))
        assert origins(found)["id"] == {"t.id", "u.id"}
        assert found["id"].meaning == "any(c.d.t.id;c.d.u.id)"
        assert after("union", "id name at", source(), source(2))["id"].meaning == "c.d.t.id"

    def test_grouping_sets(self):
        nothing = {"kind": "LITERAL", "value": None, "type": "BIGINT"}
        found = after("expand", "id", projects=[[ref(0)], [nothing]])
        assert origins(found) == {"id": {"t.id"}}
        assert found["id"].meaning == "any(c.d.t.id;null:BIGINT)"

    def test_rows_that_stand_in_the_statement(self):
        one, other = (after("values", "a", tuples=[[n]])["a"] for n in (1, 2))
        assert (one.origins, one.meaning == other.meaning) == (frozenset(), False)

    def test_the_window_of_a_table_function(self):
        window = {"timeAttributeIndex": 2, "window": {"type": "TumblingWindow", "size": 60}}
        found = after("window-table-function", "id name at window_start", windowing=window)
        assert origins(found)["window_start"] == {"t.at"}
        places = {**window, "timeAttributeIndex": 2, "windowStart": 7}
        same = after("window-table-function", "id name at window_start", windowing=places)
        assert found["window_start"].meaning == same["window_start"].meaning

    def test_a_semi_join_gives_the_left_side_only(self):
        both = (source(), source(2, table=TableName("c", "d", "u")))
        found = after("join", "id name at", *both, joinSpec={"joinType": "SEMI"})
        assert origins(found) == {"id": {"t.id"}, "name": {"t.name"}, "at": {"t.at"}}
        looked_up = after("lookup-join", "id name at", joinType="ANTI")
        assert origins(looked_up) == origins(found)

    def test_an_operator_that_gives_another_number_of_columns_is_not_exact(self):
        assert not any(c.exact for c in after("exchange", "id name").values())


class TestExpressions:
    ROWS = (
        Column("a", "BIGINT", str(ColumnOrigin(T, "a")), frozenset([ColumnOrigin(T, "a")])),
        Column("b", "INT", "f(x)"),
    )

    @pytest.mark.parametrize(
        ("expression", "words"),
        [
            (5, "5"),
            (ref(9), "constant 9"),
            ({"kind": "LITERAL", "sarg": {"ranges": [1]}, "type": "INT"}, '{"ranges": [1]}:INT'),
            ({"kind": "CALL", "internalName": "$CAST$1", "type": "INT", "operands": [ref(0)]}, "CAST(c.d.t.a):INT"),
            ({"kind": "CALL", "operands": [ref(0)]}, "?(c.d.t.a)"),
            ({"kind": "FIELD_ACCESS", "name": "x", "expr": ref(0)}, "c.d.t.a.x"),
            ({"kind": "FIELD_ACCESS", "name": "x", "expr": ref(1)}, "f(x).x"),
            ({"kind": "FIELD_ACCESS", "name": "a", "expr": {"kind": "CORREL_VARIABLE"}}, "c.d.t.a"),
            ({"kind": "FIELD_ACCESS", "name": "z", "expr": {"kind": "CORREL_VARIABLE"}}, "z"),
            ({"kind": "CORREL_VARIABLE"}, "any(c.d.t.a;f(x))"),
        ],
    )
    def test_words(self, expression: Any, words: str):
        assert meaning(expression, self.ROWS) == words

    def test_a_long_one_is_told_apart_by_its_hash(self):
        def deep(last: int) -> str:
            text = {"kind": "LITERAL", "value": "x" * 300 + str(last), "type": "STRING"}
            return meaning({"kind": "CALL", "internalName": "f", "operands": [text]}, self.ROWS)

        assert len(deep(1)) < 80
        assert deep(1) != deep(2)
