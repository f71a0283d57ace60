"""Tables, their DDL, and columns from what data looks like."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.errors import InvalidInput
from core.sql.inference import of_avro, of_database, of_json, of_json_schema
from core.sql.resources import TableDefinition, check_fragment
from core.sql.script import parse


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
