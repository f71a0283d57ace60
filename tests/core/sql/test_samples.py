"""Columns of JSON samples, and samples that are held to what Flink read of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.sql.resources import MAX_NAME, ColumnDefinition, check_fragment
from core.sql.samples import Inferred, of_json, read_back


def types(found: Inferred) -> dict[str, str | None]:
    return {column.name: column.type for column in found.columns()}


def of(*values: object) -> Inferred:
    return of_json([json.dumps(value) for value in values])


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
        found = of_json(['{"a": 1, "b": {"c": 1}, "n": null, "e": [], "o": {}}', '{"a": "x", "b": 2}'])
        assert types(found) == {
            "a": "STRING",
            "b": "STRING",
            "n": "STRING",
            "e": "ARRAY<STRING>",
            "o": "MAP<STRING, STRING>",
        }
        assert any(note.startswith("a is") for note in found.notes)
        assert any(note.startswith("n is null") for note in found.notes)

    def test_the_order_of_samples_does_not_matter_for_types(self):
        samples = ['{"a": 1}', '{"a": null}', '{"a": 1.5}', '{"a": 99999999999999999999}']
        assert types(of_json(samples)) == types(of_json(samples[::-1])) == {"a": "DOUBLE"}

    @pytest.mark.parametrize("bad", ["", "{", "1", "[]", "{}", '{"a":' * 2000, "[" * 100_000, '["x"]'])
    def test_bad_samples(self, bad):
        with pytest.raises(InvalidInput):
            of_json([bad])

    @given(
        st.dictionaries(
            st.text(max_size=8),
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
            found = of_json([json.dumps(value)])
        except InvalidInput as error:
            assert not value.get("") or "no field" in error.message
            return
        for column in found.columns():
            check_fragment(column.type or "", column.name)

    @pytest.mark.parametrize(
        ("value", "kind", "iso"),
        [
            ("2026-01-01T10:00:00Z", "TIMESTAMP_LTZ(3)", True),
            ("2026-01-01T10:00", "TIMESTAMP(3)", True),
            ("2026-01-01T10:00:00.1234567", "TIMESTAMP(7)", True),
            ("2026-01-01 10:00:00", "TIMESTAMP(3)", False),
            ("2026-01-01 10:00:00.5Z", "TIMESTAMP_LTZ(3)", False),
            ("2026-01-01 10:00", "STRING", False),
            ("2026-01-01T10:00:00+02:00", "STRING", False),
            ("2026-01-01T10:00:00+0200", "STRING", False),
            ("10:00", "STRING", False),
            (10**38 - 1, "DECIMAL(38, 0)", False),
            (10**38, "STRING", False),
            (0.1, "DOUBLE", False),
        ],
    )
    def test_only_what_flink_reads_is_a_time_or_a_number(self, value, kind, iso):
        found = of({"a": value})
        assert types(found) == {"a": kind}
        assert ("json.timestamp-format.standard" in found.options()) is iso
        assert bool(found.notes) is (kind == "STRING")

    @pytest.mark.parametrize(
        ("number", "kind"),
        [
            ("1.10", "DOUBLE"),
            ("-1e300", "DOUBLE"),
            ("12345678901234567.25", "STRING"),
            ("0.10000000000000000001", "STRING"),
            ("1e400", "STRING"),
            ("1e9999999999999999999999", "STRING"),
        ],
    )
    def test_a_number_is_a_double_where_that_has_it(self, number, kind):
        found = of_json([f'{{"a": {number}}}'])
        assert types(found) == {"a": kind}
        assert bool(found.notes) is (kind == "STRING" and "99999" not in number)

    def test_a_table_reads_times_with_a_space_or_with_a_t(self):
        found = of({"a": "2026-01-01T10:00:00", "b": {"c": "2026-01-01 10:00:00"}})
        assert types(found) == {"a": "TIMESTAMP(3)", "b": "ROW<`c` STRING>"}
        assert "b.c has a space" in found.notes[0]
        assert types(of({"a": "2026-01-01T10:00:00"}, {"a": "2026-01-01 10:00:00"})) == {"a": "STRING"}

    @pytest.mark.parametrize("name", ["", "k" * (MAX_NAME + 1), "\ud800"])
    def test_a_field_that_can_be_no_column_is_left_out_and_said(self, name):
        found = of({name: 1, "b": {name: 2, "c": 3}})
        assert types(found) == {"b": "ROW<`c` BIGINT>"}
        assert len(found.notes) == 2
        with pytest.raises(InvalidInput):
            of({name: 1})

    def test_names_may_look_like_comments(self):
        kind = types(of({"a": {"http://x": 1, "--": 2, "/*": 3}}))["a"]
        assert ColumnDefinition(name="a", type=kind)

    def test_a_type_that_would_be_too_long_is_text(self):
        found = of({"a": {f"{'k' * 150}{i}": 1 for i in range(200)}})
        assert types(found) == {"a": "STRING"}
        assert "longer" in found.notes[0]

    def test_a_sample_is_one_line_for_flink(self):
        assert of_json(['{"a":\r\n "x\\ny"}']).lines == ['{"a":   "x\\ny"}']
        assert of_json(['[{"a": 1}, {"a": 2}]']).lines == ['{"a": 1}', '{"a": 2}']
        assert of_json([' [\n{"a":12345678901234567.250 },\n\t{"b": "]"}] ']).lines == [
            '{"a":12345678901234567.250 }',
            '{"b": "]"}',
        ]


class TestReadBack:
    def test_what_is_as_it_was_stays(self):
        found = of({"a": 1, "b": {"c": [1.5, None]}, "d": "2026-01-01", "e": None, "f": True}, {"a": 2})
        rows = [[1, {"c": [1.5, None]}, "2026-01-01", None, True], [2, None, None, None, None]]
        assert read_back(found, rows) is found

    def test_what_is_not_is_text_at_its_place_with_the_reason(self):
        found = of({"a": 1, "b": {"c": [{"d": "2026-02-30"}]}}, {"a": 10**20, "b": {"c": [{"d": "2026-02-20"}]}})
        rows = [[1, {"c": [{"d": None}]}], [None, {"c": [{"d": "2026-02-20"}]}]]
        told = read_back(found, rows)
        assert types(told) == {"a": "STRING", "b": "ROW<`c` ARRAY<ROW<`d` STRING>>>"}
        assert told.notes == [
            'b.c[].d: Flink does not read "2026-02-30" as DATE: STRING',
            "a: Flink does not read 100000000000000000000 as DECIMAL(38, 0): STRING",
        ]

    @pytest.mark.parametrize(
        ("values", "read"),
        [
            ([9007199254740993, 0.5], [9007199254740992.0, 0.5]),
            (["2026-02-30 10:00:00"], ["2026-02-28T10:00:00"]),
            (["2026-01-01T24:00:00"], ["2026-01-02T00:00:00"]),
            (["2026-01-01 10:00:00Z"], ["2026-01-01T11:00:00Z"]),
            (["24:00:00"], ["00:00:00"]),
            (["2026-02-30"], ["2026-02-28"]),
            ([1], [True]),
        ],
    )
    def test_what_is_read_as_another_value_is_text(self, values, read):
        told = read_back(of(*({"a": value} for value in values)), [[value] for value in read])
        assert types(told) == {"a": "STRING"}
        assert len(told.notes) == 1
        assert "as" in told.notes[0]

    @pytest.mark.parametrize(
        ("values", "read"),
        [
            ([1, 0.5, 1e300, -0.0], [1.0, 0.5, 1e300, -0.0]),
            (["2026-01-01T10:00", "2026-01-01T10:00:00.120"], ["2026-01-01T10:00:00", "2026-01-01T10:00:00.12"]),
            (["2026-01-01 10:00:00.5Z"], ["2026-01-01T10:00:00.5Z"]),
            (["10:00:00"], ["10:00:00"]),
            ([10**30], [str(10**30)]),
        ],
    )
    def test_a_value_may_be_written_in_another_way(self, values, read):
        found = of(*({"a": value} for value in values))
        assert read_back(found, [[value] for value in read]) is found

    def test_an_object_that_is_lost_as_a_whole_is_text_in_all_its_fields(self):
        assert types(read_back(of({"a": {"b": 1}}), [[None]])) == {"a": "ROW<`b` STRING>"}
