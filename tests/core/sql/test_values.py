"""Values of rows, from a person to Flink and back, without a loss."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.sql.values import Type, comparable, for_flink, loads, of_gateway, of_text, shown, type_name, with_text_keys

MONEY = Type("DECIMAL", scale=2)
NESTED = "ROW<`a` INT NOT NULL, `d e` DECIMAL(20, 6), `m` MAP<STRING NOT NULL, ARRAY<TIMESTAMP(3)>>> NOT NULL"


class TestNumbersOfJson:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1.5", 1.5),
            ("1.10", "1.10"),
            ("1234567890123.123456", "1234567890123.123456"),
            ("1e5", "1e5"),
            ("9223372036854775807", 9223372036854775807),
            ("NaN", "NaN"),
            ("-Infinity", "-Infinity"),
            ('{"a": [0.10, true, null, "x"]}', {"a": ["0.10", True, None, "x"]}),
        ],
    )
    def test_what_a_float_would_change_stays_its_text(self, text, value):
        assert loads(text) == value

    @given(st.decimals(allow_nan=False, allow_infinity=False, places=6))
    def test_every_decimal_comes_through(self, number):
        assert for_flink(loads(f"{number:f}"), Type("DECIMAL", scale=6)) in (f"{number:f}", str(float(number)))
        assert Decimal(for_flink(loads(f"{number:f}"), Type("DECIMAL", scale=6))) == number


class TestTypes:
    def test_as_describe_writes_them(self):
        assert of_text(NESTED) == Type(
            "ROW",
            fields=(
                ("a", Type("INT")),
                ("d e", Type("DECIMAL", scale=6)),
                ("m", Type("MAP", key=Type("STRING"), of=Type("ARRAY", of=Type("TIMESTAMP")))),
            ),
        )
        assert of_text("DECIMAL(38, 18) NOT NULL") == Type("DECIMAL", scale=18)
        assert of_text("VARCHAR(3)") == of_text("CHAR(3)") == Type("STRING")
        assert of_text("TIMESTAMP_LTZ(3)") == of_text("TIMESTAMP(3) WITH LOCAL TIME ZONE") == Type("TIMESTAMP_LTZ")
        assert of_text("MULTISET<STRING>") == Type("MULTISET", key=Type("STRING"))

    def test_as_the_gateway_gives_them(self):
        decimal = {"type": "DECIMAL", "nullable": True, "precision": 20, "scale": 6}
        row = {"type": "ROW", "nullable": True, "fields": [{"name": "a", "fieldType": decimal}]}
        assert of_gateway(row) == of_text("ROW<`a` DECIMAL(20, 6)>")
        assert of_gateway({"type": "ARRAY", "elementType": decimal}) == of_text("ARRAY<DECIMAL(20, 6)>")
        assert of_gateway({"type": "MAP", "keyType": {"type": "INTEGER"}, "valueType": decimal}) == of_text(
            "MAP<INT, DECIMAL(20, 6)>"
        )
        assert of_gateway({"type": "VARCHAR", "length": 3}) == Type("STRING")
        assert type_name({"type": "VARCHAR", "length": 2147483647, "nullable": False}) == "STRING NOT NULL"
        assert type_name(decimal) == "DECIMAL(20, 6)"
        assert type_name({"type": "TIME_WITHOUT_TIME_ZONE", "precision": 0}) == "TIME_WITHOUT_TIME_ZONE(0)"

    @pytest.mark.parametrize(
        ("text", "readable"),
        [
            ("MAP<INT, DECIMAL(10, 2)>", "MAP<STRING, DECIMAL(10, 2)>"),
            ("MULTISET<ROW<`a` INT, `b` INT>> NOT NULL", "MULTISET<STRING> NOT NULL"),
            (
                "ROW<`a b` MAP<INT NOT NULL, MAP<INT, INT> NOT NULL>, `c` TIMESTAMP(3) NOT NULL>",
                "ROW<`a b` MAP<STRING, MAP<STRING, INT> NOT NULL>, `c` TIMESTAMP(3) NOT NULL>",
            ),
            ("ARRAY<INT>", "ARRAY<INT>"),
        ],
    )
    def test_with_keys_that_json_has(self, text, readable):
        assert with_text_keys(text) == readable


class TestShown:
    @pytest.mark.parametrize(
        ("text", "kind", "value"),
        [
            ("1.1", MONEY, "1.10"),
            ("1.2E+3", Type("DECIMAL"), "1200"),
            ("1E-9", Type("DECIMAL", scale=12), "0.000000001000"),
            ("12345678901234567890123456789012345678", Type("DECIMAL"), "12345678901234567890123456789012345678"),
            ("1.0E10", Type("DOUBLE"), 1e10),
            ('"NaN"', Type("DOUBLE"), "NaN"),
            ("null", MONEY, None),
            ('{"a": 1, "d": 1.1}', of_text("ROW<`a` INT, `d` DECIMAL(10, 2)>"), {"a": 1, "d": "1.10"}),
            ("[1.1, null]", of_text("ARRAY<DECIMAL(10, 2)>"), ["1.10", None]),
            ('{"k": 1.1}', of_text("MAP<STRING, DECIMAL(10, 2)>"), {"k": "1.10"}),
            ('{"k": 2}', of_text("MULTISET<STRING>"), {"k": 2}),
        ],
    )
    def test_a_decimal_is_text_in_its_scale(self, text, kind, value):
        assert shown(json.loads(text, parse_float=Decimal), kind) == value


class TestForFlink:
    @pytest.mark.parametrize(
        ("value", "kind", "sent"),
        [
            (1.5, MONEY, "1.5"),
            ("1.10", MONEY, "1.10"),
            (1.5, Type("STRING"), "1.5"),
            ("1.10", Type("STRING"), "1.10"),
            ("007", Type("STRING"), "007"),
            ("true", Type("STRING"), "true"),
            (1.0, Type("INT"), 1),
            ("42", Type("BIGINT"), 42),
            ("1.500", of_text("DECIMAL(4, 2)"), "1.500"),
            ("99.99", of_text("DECIMAL(4, 2)"), "99.99"),
            ("0e999999999", of_text("DECIMAL(4, 2)"), "0e999999999"),
            (-128, Type("TINYINT"), -128),
            ("1.7976931348623157e308", Type("DOUBLE"), "1.7976931348623157e308"),
            ("Infinity", Type("FLOAT"), "Infinity"),
            ("NaN", Type("DOUBLE"), "NaN"),
            (" True", Type("BOOLEAN"), True),
            (False, Type("BOOLEAN"), False),
            (None, Type("BOOLEAN"), None),
            ("2026-01-01 10:00:00", Type("TIMESTAMP"), "2026-01-01T10:00:00"),
            ("2026-01-01 10:00:00", Type("TIMESTAMP_LTZ"), "2026-01-01T10:00:00Z"),
            ("2026-01-01T00:30:00+01:00", Type("TIMESTAMP_LTZ"), "2025-12-31T23:30:00Z"),
            ("2026-01-01 10:00:00.120000", of_text("TIMESTAMP(3)"), "2026-01-01T10:00:00.12"),
            ("10:00", of_text("TIME(0)"), "10:00:00"),
            # Longer than it should be: as in a real source, no format looks at lengths.
            ("abcdef", of_text("VARCHAR(3)"), "abcdef"),
            ("a", of_text("CHAR(3)"), "a"),
            ('{"a": 1.10}', of_text("ROW<`a` DECIMAL(10, 2)>"), {"a": "1.10"}),
            (["2026-01-01 10:00:00"], of_text("ARRAY<TIMESTAMP(3)>"), ["2026-01-01T10:00:00"]),
            ({"a": 1}, Type("STRING"), '{"a": 1}'),
            (None, MONEY, None),
        ],
    )
    def test_nothing_is_lost(self, value, kind, sent):
        assert for_flink(value, kind) == sent

    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            ("yes", "BOOLEAN"),
            ("1", "BOOLEAN"),
            (1, "BOOLEAN"),
            (0, "BOOLEAN"),
            (1.0, "BOOLEAN"),
            ({}, "BOOLEAN"),
            ([1], "ARRAY<BOOLEAN>"),
            ("123456.78", "DECIMAL(4, 2)"),
            (100, "DECIMAL(4, 2)"),
            ("1.234", "DECIMAL(4, 2)"),
            ("1e999999999", "DECIMAL(38, 0)"),
            ("x", "DECIMAL(4, 2)"),
            ("4.2", "BIGINT"),
            (True, "INT"),
            (128, "TINYINT"),
            (2**63, "BIGINT"),
            ("1e400", "DOUBLE"),
            (1e39, "FLOAT"),
            (5, "BYTES"),
            ("2026-02-30", "DATE"),
            ("2026-02-30 10:00:00", "TIMESTAMP(3)"),
            ("2026-01-01 24:00:00", "TIMESTAMP(3)"),
            ("2026-01-01 10:00:00.1234", "TIMESTAMP(3)"),
            ("10:00:00.5", "TIME(0)"),
            ("24:00:00", "TIME(0)"),
            (None, "INT NOT NULL"),
            ([1, None], "ARRAY<INT NOT NULL>"),
            ({}, "ROW<`a` INT NOT NULL>"),
            ({"b": 1}, "ROW<`a` INT>"),
            ({"k": None}, "MAP<STRING, INT NOT NULL>"),
            (5, "ROW<`a` INT>"),
            ({"a": 1}, "ARRAY<INT>"),
            ("null", "ARRAY<INT> NOT NULL"),
            ("{", "ROW<`a` INT>"),
        ],
    )
    def test_what_flink_would_misread_is_refused(self, value, kind):
        with pytest.raises(ValueError):
            for_flink(value, of_text(kind))


class TestComparable:
    @pytest.mark.parametrize(
        ("one", "other", "kind"),
        [
            (9, "9.00", MONEY),
            (0, "0.00", MONEY),
            ("1e2", "100.00", MONEY),
            (1, 1.0, Type("BIGINT")),
            ("1", 1, Type("BIGINT")),
            ("1.10", 1.1, Type("DOUBLE")),
            ("NaN", "NaN", Type("DOUBLE")),
            ("2026-01-01 10:00:00.120", "2026-01-01T10:00:00.12", Type("TIMESTAMP")),
            ("2026-01-01 10:00:00.000", "2026-01-01T10:00:00Z", Type("TIMESTAMP_LTZ")),
            ("2026-01-01 00:30:00+01:00", "2025-12-31T23:30:00Z", Type("TIMESTAMP_LTZ")),
            ("2026-01-01T10:00:00+00:00", "2026-01-01 10:00:00", Type("TIMESTAMP_LTZ")),
            ("2026-01-01 10:00", "2026-01-01T10:00:00", Type("TIMESTAMP")),
            ("10:00", "10:00:00", Type("TIME")),
            ("10:00:00.50", "10:00:00.5", Type("TIME")),
            (0.0, -0.0, Type("DOUBLE")),
            ("-0.0", 0, Type("FLOAT")),
            ([-0.0], [0], of_text("ARRAY<DOUBLE>")),
            ("-0", "0.00", MONEY),
            ({"d": 1}, {"a": None, "d": "1.00"}, of_text("ROW<`a` INT, `d` DECIMAL(10, 2)>")),
            ([1], ["1.00"], of_text("ARRAY<DECIMAL(10, 2)>")),
        ],
    )
    def test_equal(self, one, other, kind):
        assert comparable(one, kind) == comparable(other, kind)

    @pytest.mark.parametrize(
        ("one", "other", "kind"),
        [
            ("9.001", "9.00", MONEY),
            ("12345678901234567.891", "12345678901234567.890", Type("DECIMAL", scale=3)),
            (
                "1234567890123456789012345678.0123456788",
                "1234567890123456789012345678.0123456789",
                of_text("DECIMAL(38, 10)"),
            ),
            (9007199254740993, 9007199254740992, Type("BIGINT")),
            ("0001-01-01 00:30:00+01:00", "0001-01-01 00:30:00Z", Type("TIMESTAMP_LTZ")),
            ("2026-01-01 10:00:00+01:00", "2026-01-01 10:00:00Z", Type("TIMESTAMP_LTZ")),
            ("2026-02-30 10:00:00", "2026-02-28 10:00:00", Type("TIMESTAMP")),
            ("1e999999999", "1", MONEY),
            (-1.0, 1.0, Type("DOUBLE")),
            ("1.10", "1.1", Type("STRING")),
            (1, "1", Type("STRING")),
            (None, 0, MONEY),
            ("x", 1, MONEY),
        ],
    )
    def test_not_equal(self, one, other, kind):
        assert comparable(one, kind) != comparable(other, kind)
