"""Variables of a text, and where they may stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.sql.tokens import TokenKind, literal, tokens
from core.sql.variables import filled, variables_in


class TestFilled:
    @pytest.mark.parametrize(
        ("text", "values", "becomes"),
        [
            ("SELECT 1", {}, "SELECT 1"),
            ("SELECT ${n}", {"n": "2"}, "SELECT 2"),
            ("SELECT ${n:-3} + ${n}", {}, "SELECT 3 + 3"),
            ("SELECT ${n} + ${n:-3}", {}, "SELECT 3 + 3"),
            ("SELECT ${n:-3}", {"n": "2"}, "SELECT 2"),
            ("SELECT '${n}'", {"n": "it's"}, "SELECT 'it''s'"),
            ("SELECT E'${n}'", {"n": "it's \\"}, "SELECT E'it\\'s \\\\'"),
            ("SELECT `${n}`", {"n": "a`b"}, "SELECT `a``b`"),
            ("SELECT t_${n}.${m} FROM t_${n}", {"n": "7", "m": "id"}, "SELECT t_7.id FROM t_7"),
            ("SELECT /* ${no} */ 1 -- ${no}", {}, "SELECT /* ${no} */ 1 -- ${no}"),
            ("SELECT /*+ OPTIONS('k'='${n}') */ 1", {"n": "v"}, "SELECT /*+ OPTIONS('k'='v') */ 1"),
            ("SELECT '$${n}', $${n}", {}, "SELECT '${n}', ${n}"),
            ("'password' = '${secret:pw}'", {}, "'password' = '${secret:pw}'"),
            ("'topic' = '${env:-dev}-${secret:pw}'", {}, "'topic' = 'dev-${secret:pw}'"),
            ("SELECT ${n:--1}, '${m:-it's}', ${n}", {}, "SELECT -1, 'it''s', -1"),
            ("SELECT '${n:-}'", {}, "SELECT ''"),
            ("SELECT '${n}'", {"n": "${m}"}, "SELECT '${m}'"),  # once: a value is no text of its own
        ],
    )
    def test_a_value_stands_where_the_name_stood(self, text: str, values: dict[str, str], becomes: str):
        assert filled(text, values) == becomes

    def test_a_variable_without_a_value_is_told_with_its_place(self):
        with pytest.raises(InvalidInput, match="Line 2, column 8: the variable n has no value") as error:
            filled("SELECT 1;\nSELECT ${n}", {})
        assert error.value.code == "variable_missing"

    def test_a_value_without_a_variable_is_a_slip(self):
        with pytest.raises(InvalidInput, match="no variable tsp") as error:
            filled("SELECT ${tps}", {"tps": "1", "tsp": "2"})
        assert error.value.remedy == "It has: tps."

    @pytest.mark.parametrize("text", ["${a:-${b}}", "'${a:-x${b:-1}}'", "'${a:-${secret:pw}}'"])
    def test_a_default_has_no_variable_in_it(self, text: str):
        with pytest.raises(InvalidInput, match=r"Line 2, column [89]: the default of the variable a") as error:
            filled(f"SELECT 1;\nSELECT {text}", {})
        assert error.value.code == "variable_nested"
        assert filled("SELECT '$${a:-${b}}' -- ${a:-${b}}", {}) == "SELECT '${a:-${b}}' -- ${a:-${b}}"

    @given(st.text(st.characters(blacklist_characters="\r\n\x00", blacklist_categories=("Cs",))))
    def test_no_value_leads_out_of_a_string(self, value: str):
        (select, string) = tokens(filled("SELECT '${x}'", {"x": value}))
        assert (select.text, string.kind, literal(string.text)) == ("SELECT", TokenKind.STRING, value)


def test_what_a_text_has():
    assert variables_in("SELECT ${a}, ${b:-1}, ${a:-2}, $${c} -- ${d}") == {"a": "2", "b": "1"}
