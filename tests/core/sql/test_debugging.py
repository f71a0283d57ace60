"""A script as it is debugged: INSERTs as queries, given rows as tables, and what the changes come to."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.sql.changelog import Materialized, Upserted, differences
from core.sql.changelog_plan import ChangelogPlan, changelog_plan
from core.sql.described import Described, described
from core.sql.given_rows import as_lines, rows_of_csv, stand_in
from core.sql.rewriting import as_query, as_view, taken_apart, takes_updates_probe
from core.sql.script import parse, parse_script
from sql.streams import NotNull, Stream


def column(name: str, kind: str = "BIGINT", **more: object) -> Described:
    return Described(name=name, type=kind, **{"nullable": True, "extras": "", "watermark": "", **more})


def query(text: str, *columns: Described) -> str:
    (statement,) = parse_script(text).inserts
    return as_query(taken_apart(statement), columns)


class TestInserts:
    @pytest.mark.parametrize(
        ("text", "table", "columns", "query"),
        [
            ("INSERT INTO t SELECT 1", ("t",), [], "SELECT 1"),
            ("INSERT INTO `a`.b (x, `y z`) SELECT 1, 2", ("a", "b"), ["x", "y z"], "SELECT 1, 2"),
            (
                "EXECUTE INSERT INTO t WITH q AS (SELECT 1) SELECT * FROM q",
                ("t",),
                [],
                "WITH q AS (SELECT 1) SELECT * FROM q",
            ),
            ("INSERT OVERWRITE t PARTITION (p = 'x)') VALUES (1)", ("t",), [], "VALUES (1)"),
            ("INSERT INTO t (SELECT 1)", ("t",), [], "(SELECT 1)"),
            ("INSERT INTO t ((TABLE s))", ("t",), [], "((TABLE s))"),
            ("INSERT INTO t (`x`) (TABLE s)", ("t",), ["x"], "(TABLE s)"),
            ("INSERT INTO t /*+ OPTIONS('a' = 'b') */ (x) SELECT 1", ("t",), ["x"], "SELECT 1"),
            ("INSERT INTO t SELECT 1 FROM s\n ON CONFLICT DO NOTHING", ("t",), [], "SELECT 1 FROM s"),
        ],
    )
    def test_taken_apart(self, text, table, columns, query):
        (statement,) = parse_script(text).inserts
        sink = taken_apart(statement)
        assert (sink.table, sink.columns, sink.query) == (table, columns, query)

    def test_literals_of_partitions_and_conflicts(self):
        text = "INSERT INTO t PARTITION (p = 'x,y', `q` = DATE '2026-01-01') SELECT 1 ON CONFLICT DO DEDUPLICATE"
        (statement,) = parse_script(text).inserts
        sink = taken_apart(statement)
        assert sink.partition == {"p": "'x,y'", "q": "DATE '2026-01-01'"}
        assert sink.on_conflict == "DEDUPLICATE"

    def test_values_have_the_types_of_the_sink(self):
        assert query("INSERT INTO t SELECT 1, x", column("a`b", "DECIMAL(10, 2)"), column("c", "STRING")) == (
            "SELECT CAST(`a``b` AS DECIMAL(10, 2)) AS `a``b`, CAST(`c` AS STRING) AS `c` FROM (\nSELECT 1, x\n) "
            "AS `sink` (`a``b`, `c`)"
        )

    def test_what_is_not_queried_is_written_too(self):
        columns = [
            column("a"),
            column("b", "STRING"),
            column("p", "STRING"),
            column("c", extras="AS `a` * 2"),
            column("m", extras="METADATA VIRTUAL"),
        ]
        assert query("INSERT INTO t PARTITION (p = 'x') (a) SELECT 1", *columns) == (
            "SELECT CAST(`a` AS BIGINT) AS `a`, CAST(NULL AS STRING) AS `b`, CAST('x' AS STRING) AS `p` FROM (\n"
            "SELECT 1\n) AS `sink` (`a`)"
        )
        assert query("INSERT INTO t PARTITION (p = 'x') SELECT 1, 2", *columns).endswith("AS `sink` (`a`, `b`)")

    def test_a_type_that_cast_does_not_take_is_left_alone(self):
        assert query("INSERT INTO t SELECT v FROM s", column("v", "RAW('x', 'y')")).startswith("SELECT `v` FROM")

    def test_what_json_cannot_say_is_made_text_behind_the_cast(self):
        assert query("INSERT INTO t SELECT v FROM s", column("v", "VARIANT")).startswith(
            "SELECT JSON_STRING(`v`) AS `v`"
        )
        assert query("INSERT INTO t SELECT m FROM s", column("m", "MAP<INT, STRING>")).startswith(
            "SELECT CAST(CAST(`m` AS MAP<INT, STRING>) AS MAP<STRING, STRING>) AS `m` FROM"
        )

    @pytest.mark.parametrize(
        ("text", "is_sorted"),
        [
            ("SELECT a FROM t ORDER BY b", True),
            ("(SELECT a FROM t ORDER BY b)", True),
            ("WITH q AS (SELECT 1) SELECT a FROM q ORDER BY b", True),
            ("SELECT a FROM t ORDER BY b LIMIT 3", False),
            ("SELECT a FROM t ORDER BY b FETCH FIRST 3 ROWS ONLY", False),
            ("SELECT ROW_NUMBER() OVER (ORDER BY b) FROM t", False),
            ("(SELECT a FROM t ORDER BY b) UNION ALL (SELECT a FROM t)", False),
        ],
    )
    def test_the_order_of_all_rows_is_kept_by_a_view(self, text, is_sorted):
        (statement,) = parse_script(f"INSERT INTO t {text}").inserts
        assert taken_apart(statement).is_sorted is is_sorted

    def test_a_view_in_place_of_the_query(self):
        (statement,) = parse_script("INSERT INTO t SELECT 1 ORDER BY 1").inserts
        sink, columns = taken_apart(statement), [column("a")]
        assert as_view(sink, columns, "v") == "CREATE TEMPORARY VIEW `v` (`a`) AS\nSELECT 1 ORDER BY 1"
        assert as_query(sink, columns, "v") == "SELECT CAST(`a` AS BIGINT) AS `a` FROM `v` AS `sink` (`a`)"

    def test_whether_a_sink_takes_updates_is_asked_with_one(self):
        (statement,) = parse_script("INSERT INTO t SELECT 1").inserts
        assert takes_updates_probe(taken_apart(statement), [column("a"), column("c", extras="AS 1")]) == (
            "INSERT INTO `t` SELECT CAST(NULL AS BIGINT) FROM (VALUES (1)) AS `t` (`x`) GROUP BY `x` HAVING COUNT(*) > 1"
        )

    def test_queries_are_told_from_what_a_job_may_have(self):
        script = parse("SET 'a' = 'b'; SELECT 1; INSERT INTO t SELECT 1; DROP TABLE x; END")
        assert [q.number for q in script.queries] == [2]
        assert [m.statement.number for m in script.misplaced] == [2, 4, 5]


PLAN = """== Abstract Syntax Tree ==
LogicalSink(table=[c.d.t], fields=[a])
+- LogicalTableScan(table=[[c, d, s]])

== Optimized Physical Plan ==
Sink(table=[c.d.t], fields=[a], upsertMaterialize=[true], changelogMode=[NONE])
+- LookupJoin(table=[c.d.dim], joinType=[InnerJoin], lookup=[k=k], select=[k], changelogMode=[I,UB,UA])
   +- TableSourceScan(table=[[c, d, s, project=[k], metadata=[]]], fields=[k], hints=[[[x]]], changelogMode=[UA,D])

== Optimized Execution Plan ==
Sink(table=[c.d.t], fields=[a])
"""


class TestPlans:
    def test_which_changes_there_are(self):
        assert changelog_plan(PLAN) == ChangelogPlan(
            sources={"c.d.s": frozenset({"UA", "D"})},
            lookups=frozenset({"c.d.dim"}),
            sent=frozenset({"I", "UB", "UA"}),
            materialized=True,
        )

    @pytest.mark.parametrize("text", ["", "no plan", PLAN.split("== Opt")[0]])
    def test_none(self, text):
        assert changelog_plan(text) == ChangelogPlan()


TABLE = described(
    [
        ["id", "BIGINT", False, "PRI(id, cur)", None, None],
        ["at", "TIMESTAMP(3) *ROWTIME*", True, None, "METADATA FROM 'timestamp'", "`at` - INTERVAL '1' SECOND"],
        ["cur", "STRING", False, "PRI(id, cur)", None, None],
        ["pt", "TIMESTAMP_LTZ(3) *PROCTIME*", False, None, "AS PROCTIME()", None],
    ]
)
KEYED = [column("id", key=True), column("v", "STRING")]
CHANGES = ("I", "UB", "UA", "D")


def changes(*rows: tuple[str, dict[str, object]], kinds=CHANGES, columns=KEYED) -> list[tuple[object, ...]]:
    lines = as_lines([{"$kind": kind, **row} for kind, row in rows], columns, "t", kinds)
    return [(c["op"], c["before"], c["after"]) for c in map(json.loads, lines.splitlines())]


class TestGivenRows:
    def test_a_stand_in_has_columns_key_and_watermark(self):
        statement = stand_in(("db", "t"), TABLE, "file:///x", changes=False)
        assert "`id` BIGINT NOT NULL" in statement
        assert "`at` TIMESTAMP(3),\n" in statement
        assert "`pt` AS PROCTIME()" in statement
        assert "WATERMARK FOR `at` AS `at` - INTERVAL '1' SECOND" in statement
        assert "PRIMARY KEY (`id`, `cur`) NOT ENFORCED" in statement
        assert "'format' = 'json'" in statement
        assert "'format' = 'debezium-json'" in stand_in(("t",), TABLE, "file:///x", changes=True)

    def test_lines(self):
        lines = as_lines([{"id": 1, "cur": "EUR", "at": "2026-01-01 10:00:00", "pt": "x"}], TABLE, "t")
        assert json.loads(lines) == {"id": 1, "cur": "EUR", "at": "2026-01-01T10:00:00"}

    @pytest.mark.parametrize(
        ("rows", "kinds"),
        [
            ([{"no": 1}], ("I",)),
            ([{"id": 1}] * 10_001, ("I",)),
            ([{"$kind": "-D", "id": 1}], ("I",)),
            ([{"$kind": "delete", "id": 1}], CHANGES),
            ([{"$kind": "-U", "id": 1}], CHANGES),
            ([{"$kind": "-U", "id": 1}, {"id": 1}], CHANGES),
            ([{"v": "x", "flag": "yes"}], ("I",)),
        ],
    )
    def test_refused(self, rows, kinds):
        with pytest.raises(InvalidInput) as refusal:
            as_lines(rows, [*KEYED, column("flag", "BOOLEAN")], "t", kinds)
        assert refusal.value.code == "bad_rows"

    @pytest.mark.parametrize(
        ("row", "words"),
        [
            ({"id": 1, "price": "123456.78"}, "t: row 2, price: '123456.78' has 6 digits in front of the point"),
            ({"id": 1, "price": 1.234}, "t: row 2, price: '1.234' has 3 digits behind the point, and the type has 2"),
            ({"price": 1}, "t: row 2, id: it is missing or null, and the column is NOT NULL"),
            ({"id": None}, "t: row 2, id: it is missing or null"),
            ({"id": 1, "at": "2026-02-30 10:00:00"}, "t: row 2, at: '2026-02-30 10:00:00' is a date or a time that"),
        ],
    )
    def test_a_row_that_the_table_cannot_have(self, row, words):
        columns = [column("id", nullable=False), column("price", "DECIMAL(4, 2)"), column("at", "TIMESTAMP(3)")]
        with pytest.raises(InvalidInput) as refusal:
            as_lines([{"id": 1, "price": "1.20", "at": "2026-02-28 10:00:00.123"}, row], columns, "t")
        assert words in refusal.value.message

    def test_a_removal_may_be_told_by_its_key(self):
        columns = [column("id", key=True, nullable=False), column("v", "STRING", nullable=False)]
        assert changes(("-D", {"id": 1}), columns=columns) == [("d", {"id": 1}, None)]
        for row, kind, has in (({"v": "x"}, "-D", columns), ({"id": 1}, "+U", columns), ({}, "-D", columns[1:])):
            with pytest.raises(InvalidInput, match="NOT NULL"):
                changes((kind, row), columns=[c.model_copy(update={"key": c.name == "id"}) for c in has])

    def test_a_kind_may_be_a_column(self):
        assert json.loads(as_lines([{"$kind": "x"}], [column("$kind", "STRING")], "t")) == {"$kind": "x"}

    def test_changes_as_they_are_given(self):
        one, two = {"id": 1, "v": "a"}, {"id": 1, "v": "b"}
        assert changes(("+I", one), ("-U", one), ("+U", two), ("-D", two)) == [
            ("c", None, one),
            ("u", one, two),
            ("d", two, None),
        ]

    def test_the_row_before_is_known_by_the_key(self):
        one, two = {"id": 1, "v": "a"}, {"id": 1, "v": "b"}
        assert changes(("+U", one), ("+U", two), ("-D", {"id": 1}), ("+I", one)) == [
            ("c", None, one),
            ("u", one, two),
            ("d", two, None),
            ("c", None, one),
        ]

    def test_a_table_of_upserts_has_one_row_per_key(self):
        one, two = {"id": 1, "v": "a"}, {"id": 1, "v": "b"}
        assert changes(("+I", one), ("+I", two), kinds=("UA", "D")) == [("c", None, one), ("u", one, two)]
        assert changes(("+I", one), ("+I", two)) == [("c", None, one), ("c", None, two)]

    def test_an_update_without_the_row_before_needs_a_key(self):
        with pytest.raises(InvalidInput):
            changes(("+U", {"id": 1}), columns=[column("id")])

    def test_csv_is_text(self):
        assert rows_of_csv('a,b,c\n1,"x, y",\ntrue,007,1.50\n', "t") == [
            {"a": "1", "b": "x, y", "c": None},
            {"a": "true", "b": "007", "c": "1.50"},
        ]

    def test_a_header_names_each_column_once(self):
        with pytest.raises(InvalidInput, match="has 'a' more than once"):
            rows_of_csv("a,b,a\n1,2,3\n", "t")


class TestUpserted:
    @pytest.mark.parametrize(
        ("keeps_history", "first", "rows"),
        [
            (False, False, [["b", 2]]),  # the removal of one row has removed the other: so does a sink of upserts
            (True, False, [["a", 1], ["b", 2]]),
            (True, True, [["a", 1], ["b", 1]]),
        ],
    )
    def test_a_key_has_one_row(self, keeps_history, first, rows):
        table = Upserted([0], keeps_history=keeps_history, first=first)
        for kind, row in [("+I", ["a", 1]), ("+U", ["a", 3]), ("-D", ["a", 3]), ("+I", ["b", 1]), ("+U", ["b", 2])]:
            table.apply(kind, row)
        assert table.rows() == rows

    def test_updates_in_pairs(self):
        table = Upserted([0], keeps_history=True)
        for kind, row in [("+I", ["a", 1]), ("-U", ["a", 1]), ("+U", ["a", 2]), ("-D", ["never", 1])]:
            table.apply(kind, row)
        assert table.rows() == [["a", 2]]


class TestNotNull:
    CHANGES = [{"kind": "INSERT", "fields": [1, None]}, {"kind": "INSERT", "fields": [None, 2]}]

    def test_the_row_is_dropped_or_the_sink_fails(self):
        dropping = Stream("s", "", NotNull({0: "a"}, drops=True))
        assert dropping.take(self.CHANGES, 10) == ([{"kind": "+I", "fields": [1, None]}], None)
        failing = Stream("s", "", NotNull({0: "a"}))
        assert failing.take(self.CHANGES, 10) == ([{"kind": "+I", "fields": [1, None]}], "a")
        assert failing.table.rows() == [[1, None]]

    def test_not_after_the_limit(self):
        assert Stream("s", "", NotNull({0: "a"})).take(self.CHANGES, 1)[1] is None


class TestChangelog:
    def test_what_changes_come_to(self):
        table = Materialized()
        for kind, row in [
            ("+I", ["a", 1]),
            ("+I", ["b", 1]),
            ("-U", ["a", 1]),
            ("+U", ["a", 2]),
            ("-D", ["b", 1]),
            ("+I", ["a", 2]),
        ]:
            table.apply(kind, row)
        assert table.rows() == [["a", 2], ["a", 2]]
        table.apply("-D", ["never"])
        assert table.unmatched == 1

    def test_differences_whatever_the_order(self):
        assert differences([[1], [2], [2]], [[2], [1], [3]]) == ([[2]], [[3]])

    @given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=1), max_size=12))
    def test_a_table_equals_itself_shuffled(self, rows):
        assert differences(rows, sorted(rows)) == ([], [])
