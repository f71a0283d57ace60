"""Tables, their DDL, and columns from what data looks like."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.errors import InvalidInput
from core.sql.inference import of_avro, of_database, of_json_schema
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


DECIMAL = {"type": "bytes", "logicalType": "decimal"}


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
                {"name": "us", "type": {"type": "long", "logicalType": "timestamp-micros"}},
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
            "us": "BIGINT",
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
            {"properties": 5},
            {"properties": {"": {"type": "string"}}},
            {"properties": {"k" * 201: {"type": "string"}}},
            {"properties": {"a": {"anyOf": 5}}},
            {"properties": {"a": {"type": "object", "properties": {"": {}}}}},
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
            {"type": "record", "name": "R", "fields": [{"type": "int"}]},
            {"type": "record", "name": "R", "fields": [{"name": "a"}]},
            {"type": "record", "name": "R", "fields": [{"name": "", "type": "int"}]},
            {"type": "record", "name": "R", "fields": 5},
            {"type": "record", "name": "R", "fields": []},
            {"type": "record", "name": "R", "fields": [{"name": "a", "type": {"type": "array"}}]},
            {"type": "record", "name": "R", "fields": [{"name": "a", "type": {"type": "fixed", "size": "x"}}]},
            {"type": "record", "name": "R", "fields": [{"name": "a", "type": {**DECIMAL, "precision": "x"}}]},
            {"type": "record", "name": "R", "fields": [{"name": "a", "type": {**DECIMAL, "precision": 39}}]},
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
