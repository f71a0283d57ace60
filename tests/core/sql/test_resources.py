"""Tables, their DDL, and columns from what data looks like."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.errors import InvalidInput
from core.sql.changelog import Materialized, differences
from core.sql.inference import of_avro, of_database, of_json, of_json_schema
from core.sql.resources import TableDefinition, check_fragment
from core.sql.rewriting import as_lines, as_query, described, rows_of_csv, stand_in, taken_apart
from core.sql.script import parse, parse_script


def types(found) -> dict[str, str]:
    return {c.name: c.type for c in found[0]}


class TestDdl:
    def test_everything_that_a_table_has(self):
        made = TableDefinition.model_validate(
            {
                "columns": [
                    {"name": "id", "type": "BIGINT NOT NULL"},
                    {"name": "at", "type": "TIMESTAMP_LTZ(3)", "metadata": "timestamp", "virtual": True},
                    {"name": "twice", "expression": "id * 2", "comment": "it's"},
                ],
                "primary_key": ["id"],
                "watermark": {"column": "at", "expression": "at - INTERVAL '5' SECOND"},
                "partitioned_by": ["id"],
                "options": {"connector": "x", "password": "${secret:p}"},
            }
        )
        assert made.ddl("c", "d", "t") == (
            "CREATE TABLE `c`.`d`.`t` (\n  `id` BIGINT NOT NULL,\n"
            "  `at` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,\n  `twice` AS id * 2 COMMENT 'it''s',\n"
            "  WATERMARK FOR `at` AS at - INTERVAL '5' SECOND,\n  PRIMARY KEY (`id`) NOT ENFORCED\n)"
            " PARTITIONED BY (`id`) WITH (\n  'connector' = 'x',\n  'password' = '${secret:p}'\n)"
        )
        assert made.secrets() == {"p"}

    @pytest.mark.parametrize(
        "text",
        ["INT", "ROW<a INT, b ROW<c STRING>>", "DECIMAL(10, 2)", "a < b AND c > d", "COALESCE(a, 'x;y')", "m['k']"],
    )
    def test_one_type_or_expression(self, text):
        assert check_fragment(text, "x") == text

    @pytest.mark.parametrize(
        "text", ["INT) x", "INT, b INT", "ROW<a INT", "a -- b", "a /* b */", "a; b", "'open", "(a", "", "a // b"]
    )
    def test_what_leads_out_of_its_place(self, text):
        with pytest.raises(ValueError):
            check_fragment(text, "x")

    @given(st.text(max_size=60))
    def test_a_fragment_never_ends_the_statement(self, text):
        try:
            check_fragment(text, "x")
        except ValueError:
            return
        assert len(parse(f"CREATE TABLE t (c {text}) WITH ('a'='b')").statements()) == 1

    def test_a_table_without_a_connector(self):
        with pytest.raises(ValidationError):
            TableDefinition.model_validate({"columns": [{"name": "a", "type": "INT"}], "options": {"format": "json"}})


class TestSamples:
    def test_nested_arrays_times_and_nulls(self):
        found = of_json(
            [
                '{"id": 1, "ok": true, "at": "2026-01-01T10:00:00Z", "day": "2026-01-01", "who": {"name": "a", "tags": ["x"]}}',
                '{"id": 2.5, "ok": null, "at": "2026-01-01T10:00:00.123456Z", "who": {"age": 3}, "list": [{"n": 1}, {"m": "x"}]}',
            ]
        )
        assert types(found) == {
            "id": "DOUBLE",
            "ok": "BOOLEAN",
            "at": "TIMESTAMP_LTZ(6)",
            "day": "DATE",
            "who": "ROW<`name` STRING, `tags` ARRAY<STRING>, `age` BIGINT>",
            "list": "ARRAY<ROW<`n` BIGINT, `m` STRING>>",
        }

    def test_what_does_not_go_together_is_text_and_said(self):
        columns, notes = of_json(['{"a": 1, "b": {"c": 1}, "n": null, "e": [], "o": {}}', '{"a": "x", "b": 2}'])
        assert {c.name: c.type for c in columns} == {
            "a": "STRING",
            "b": "STRING",
            "n": "STRING",
            "e": "ARRAY<STRING>",
            "o": "MAP<STRING, STRING>",
        }
        assert any(note.startswith("a is") for note in notes)
        assert any(note.startswith("n is null") for note in notes)

    def test_the_order_of_samples_does_not_matter_for_types(self):
        samples = ['{"a": 1}', '{"a": null}', '{"a": 1.5}', '{"a": 99999999999999999999}']
        assert types(of_json(samples)) == types(of_json(samples[::-1])) == {"a": "DOUBLE"}

    @pytest.mark.parametrize("bad", ["", "{", "1", "[]", "{}", '{"a":' * 2000, "[" * 100_000, '["x"]'])
    def test_bad_samples(self, bad):
        with pytest.raises(InvalidInput):
            of_json([bad])

    @given(
        st.dictionaries(
            st.text(min_size=1, max_size=8),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.floats(allow_nan=False, allow_infinity=False)
                | st.text(max_size=8),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
                max_leaves=8,
            ),
            min_size=1,
            max_size=5,
        )
    )
    def test_any_json_object_gives_columns_that_are_types(self, value):
        try:
            columns, _ = of_json([json.dumps(value)])
        except ValidationError:
            return  # a name that no column may have
        for column in columns:
            check_fragment(column.type or "", column.name)


class TestSchemas:
    def test_avro(self):
        schema = {
            "type": "record",
            "name": "R",
            "fields": [
                {"name": "id", "type": "long"},
                {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
                {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
                {
                    "name": "who",
                    "type": ["null", {"type": "record", "name": "W", "fields": [{"name": "n", "type": "string"}]}],
                },
                {"name": "again", "type": ["null", "W"]},
                {"name": "m", "type": {"type": "map", "values": "int"}},
                {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A"]}},
                {"name": "l", "type": {"type": "array", "items": "W"}},
                {"name": "u", "type": ["int", "string"]},
            ],
        }
        assert types(of_avro(json.dumps(schema))) == {
            "id": "BIGINT",
            "at": "TIMESTAMP(3)",
            "price": "DECIMAL(9, 2)",
            "who": "ROW<`n` STRING>",
            "again": "ROW<`n` STRING>",
            "m": "MAP<STRING, INT>",
            "e": "STRING",
            "l": "ARRAY<ROW<`n` STRING>>",
            "u": "STRING",
        }

    def test_json_schema(self):
        schema = {
            "properties": {
                "id": {"type": "integer"},
                "at": {"type": "string", "format": "date-time"},
                "n": {"type": ["null", "number"]},
                "who": {"$ref": "#/$defs/who"},
                "l": {"type": "array", "items": {"type": "boolean"}},
                "m": {"type": "object", "additionalProperties": {"type": "integer"}},
                "x": {"enum": ["a"]},
                "any": {},
            },
            "$defs": {"who": {"type": "object", "properties": {"name": {"type": "string"}}}},
        }
        assert types(of_json_schema(json.dumps(schema))) == {
            "id": "BIGINT",
            "at": "TIMESTAMP_LTZ(3)",
            "n": "DOUBLE",
            "who": "ROW<`name` STRING>",
            "l": "ARRAY<BOOLEAN>",
            "m": "MAP<STRING, BIGINT>",
            "x": "STRING",
            "any": "STRING",
        }

    @pytest.mark.parametrize(
        "schema",
        [
            {"properties": {"a": {"$ref": "#/properties/a"}}},
            {"properties": {"a": {"$ref": "https://example.com/x"}}},
            {"properties": {"a": {"$ref": "#/nowhere"}}},
            {},
            [],
        ],
    )
    def test_bad_json_schemas(self, schema):
        with pytest.raises(InvalidInput):
            of_json_schema(json.dumps(schema))

    @pytest.mark.parametrize(
        "schema",
        [
            "long",
            {"type": "record", "name": "R", "fields": [{"name": "a", "type": "R"}]},
            {"type": "record", "name": "R", "fields": [{"name": "a", "type": "nothing"}]},
        ],
    )
    def test_bad_avro(self, schema):
        with pytest.raises(InvalidInput):
            of_avro(json.dumps(schema))

    def test_database(self):
        found, notes = of_database(
            [
                ("a", "BIGINT", False),
                ("b", "NUMERIC(10, 2)", True),
                ("c", "TIMESTAMP WITH TIME ZONE", True),
                ("d", "TEXT[]", True),
                ("e", "NUMERIC", True),
                ("f", "MONEY", True),
                ("g", "VARCHAR(20)", True),
                ("h", "TIMESTAMP(3) WITHOUT TIME ZONE", True),
            ]
        )
        assert [c.type for c in found] == [
            "BIGINT NOT NULL",
            "DECIMAL(10, 2)",
            "TIMESTAMP(6)",
            "ARRAY<STRING>",
            "DECIMAL(38, 18)",
            "STRING",
            "VARCHAR(20)",
            "TIMESTAMP(3)",
        ]
        assert len(notes) == 2


class TestRewriting:
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
        ],
    )
    def test_an_insert_taken_apart(self, text, table, columns, query):
        (statement,) = parse_script(text).inserts
        sink = taken_apart(statement)
        assert (sink.table, sink.columns, sink.query) == (table, columns, query)

    def test_as_a_query_under_the_names_of_the_sink(self):
        (statement,) = parse_script("INSERT INTO t SELECT 1").inserts
        assert as_query(taken_apart(statement), ["a`b"]) == "SELECT * FROM (\nSELECT 1\n) AS `sink` (`a``b`)"

    def test_a_stand_in_has_the_same_columns(self):
        columns = described(
            [
                ["id", "BIGINT", False, "PRI(id)", None, None],
                ["at", "TIMESTAMP(3) *ROWTIME*", True, None, "METADATA FROM 'timestamp'", "`at` - INTERVAL '1' SECOND"],
                ["pt", "TIMESTAMP_LTZ(3) *PROCTIME*", False, None, "AS PROCTIME()", None],
            ]
        )
        made = stand_in(("db", "t"), columns, "file:///x")
        assert "`id` BIGINT NOT NULL" in made
        assert "`at` TIMESTAMP(3),\n" in made
        assert "`pt` AS PROCTIME()" in made
        assert "WATERMARK FOR `at` AS `at` - INTERVAL '1' SECOND" in made
        lines = as_lines([{"id": 1, "at": "2026-01-01 10:00:00", "pt": "x"}], columns, "t")
        assert json.loads(lines) == {"id": 1, "at": "2026-01-01T10:00:00"}
        with pytest.raises(InvalidInput):
            as_lines([{"no": 1}], columns, "t")

    def test_csv(self):
        assert rows_of_csv('a,b,c\n1,"x, y",\ntrue,007,1.5\n', "t") == [
            {"a": 1, "b": "x, y", "c": None},
            {"a": True, "b": "007", "c": 1.5},
        ]

    def test_queries_are_told_from_what_a_job_may_have(self):
        script = parse("SET 'a' = 'b'; SELECT 1; INSERT INTO t SELECT 1; DROP TABLE x; END")
        assert [q.number for q in script.queries] == [2]
        assert [m.statement.number for m in script.misplaced] == [2, 4, 5]


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
