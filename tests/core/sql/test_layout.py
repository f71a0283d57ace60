"""A layout changes white space and the case of reserved words, and nothing else; what is laid out stays as it is."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.sql.layout import WIDTH, formatted
from core.sql.reserved import RESERVED
from core.sql.tokens import TokenKind
from core.sql.variables import filled, lexemes_with_variables, variables_in


def kept(text: str) -> list[str]:
    """All that a layout may not change: tokens and comments in order, reserved words in whatever case."""
    return [
        token.word if token.word in RESERVED else token.text
        for token in lexemes_with_variables(text)
        if token.kind is not TokenKind.SPACE
    ]


def laid_out(text: str) -> str:
    made = formatted(text)
    assert kept(made) == kept(text)
    assert formatted(made) == made
    return made


WORDS = """
select from where group by order having limit union all with as values insert into create table view join left outer on
and or not in is distinct begin end interval timestamp type size data key value monday name t a1 $x _ é ſelect lımıt
partition over case when then like hint options
"""
SIGNS = "( ) ( ) , , ; . = <> || * / - + [ ] { } < > : ? @ # $ ! | /*+ */ => --x -- /*c*/"
MORE = [
    "'a'",
    "'it''s;'",
    "'a\nb'",
    "E'\\''",
    "`n`",
    "`or``der`",
    "1",
    "1.5e3",
    "-- c\n",
    "// c\r",
    "--\r\n",
    "/* b\n b */",
]
VARIABLES = [
    "${value}",
    "${from:-5}",
    "t_${select}",
    "'${where:-it's}'",
    "${D:-it's}",
    "${n:--1}",
    "$${group}",
    "`${by:-a b}`",
]
SPACES = ["", "", " ", " ", " ", "\n", "\r\n", "\r", "\n\n", "\t", "\f", "   ", "\n \n"]
PIECES = st.sampled_from(WORDS.split() * 3 + SIGNS.split() + MORE + ["x" * 40])
SOUP = st.lists(st.tuples(PIECES, st.sampled_from(SPACES)), max_size=60).map(lambda p: "".join(a + b for a, b in p))
WITH_VARIABLES = st.lists(
    st.tuples(
        st.sampled_from([*VARIABLES, "select", "from", "a", "1", "'s'", ",", "(", ")", ";"]),
        st.sampled_from([" ", "\n", "\r\n"]),
    ),
    max_size=30,
).map(lambda p: "".join(a + b for a, b in p))
LISTS = st.lists(st.sampled_from(["a", "b" * 30, "f(x, y)", "'s, t'", "(select 1, 2 from t)", "d -- c\n"]), max_size=12)


class TestNothingElse:
    @settings(max_examples=600, deadline=None)
    @given(SOUP)
    @example(";,from")
    @example("selectE'\\''\rE'\\''")
    @example("select 'a\r\nb' /* c\rd */ from t")
    def test_whatever_is_written(self, text):
        try:
            before = kept(text)
        except InvalidInput:
            with pytest.raises(InvalidInput):
                formatted(text)
            return
        made = formatted(text)
        assert kept(made) == before
        assert formatted(made) == made

    @settings(max_examples=300, deadline=None)
    @given(SOUP.flatmap(lambda soup: WITH_VARIABLES.map(lambda more: f"{soup} {more}")))
    def test_variables_stay_as_they_are(self, text):
        try:
            laid_out(text)
        except InvalidInput:
            with pytest.raises(InvalidInput):
                kept(text)

    @settings(max_examples=300, deadline=None)
    @given(WITH_VARIABLES)
    def test_what_runs_is_the_same(self, text):
        made = formatted(text)
        assert variables_in(made) == variables_in(text)
        values = dict.fromkeys(variables_in(text), "x")
        assert kept(filled(made, values)) == kept(filled(text, values))

    @settings(max_examples=200, deadline=None)
    @given(LISTS, LISTS, st.sampled_from([", ", ",", ",\n", "\n, "]))
    def test_lists_of_any_length(self, columns, groups, comma):
        laid_out(f"insert into s select {comma.join(columns)} from t group by {comma.join(groups)}; select 1")

    @given(st.text(max_size=60))
    def test_any_text(self, text):
        with contextlib.suppress(InvalidInput):
            laid_out(text)

    @pytest.mark.parametrize("name", ["type", "size", "data", "key", "state", "monday", "model", "variant", "hints"])
    def test_a_word_that_may_be_a_name_keeps_its_case(self, name):
        assert name not in RESERVED
        assert f"SELECT {name}, t.{name} AS {name}\n" in laid_out(f"select {name}, t.{name} as {name} from t")

    def test_quoted_and_dotted_words_keep_their_case(self):
        assert laid_out("select `value`, t.order, x . table from `table`") == (
            "SELECT `value`, t.order, x . table\nFROM `table`\n"
        )

    def test_variables_keep_their_case(self):
        assert laid_out("select ${value:-5}, ${D:-it's} from ${table}") == (
            "SELECT ${value:-5}, ${D:-it's}\nFROM ${table}\n"
        )

    def test_a_letter_that_only_looks_like_one_makes_no_keyword(self):
        assert laid_out("ſelect lımıt") == "ſelect lımıt\n"


class TestLayout:
    def test_clauses_joins_and_subqueries(self):
        text = (
            "insert into s select a.x,count(*) from a left outer join b on a.id=b.id where a.y is distinct from 1 and "
            "a.x in (select x from c) group by a.x order by left(a.x, 2) limit 3"
        )
        assert laid_out(text).splitlines() == [
            "INSERT INTO s",
            "SELECT a.x, COUNT(*)",
            "FROM a",
            "LEFT OUTER JOIN b ON a.id=b.id",
            "WHERE a.y IS DISTINCT FROM 1 AND a.x IN (",
            "  SELECT x",
            "  FROM c",
            ")",
            "GROUP BY a.x",
            "ORDER BY LEFT(a.x, 2)",
            "LIMIT 3",
        ]

    def test_lines_that_were_broken_stay_broken(self):
        text = "create table t (\n id int, -- the key\n\n ts timestamp(3)\n) with (\n'connector'='x'\n)\n;"
        assert laid_out(text).splitlines() == [
            "CREATE TABLE t (",
            "  id INT, -- the key",
            "  ts TIMESTAMP(3)",
            ") WITH (",
            "  'connector'='x'",
            ");",
        ]

    def test_a_list_that_is_too_long_goes_on_in_the_next_line(self):
        lines = laid_out(f"select {', '.join(f'column_{i}' for i in range(30))} from t").splitlines()
        assert len(lines) == 5
        assert all(len(line) <= WIDTH for line in lines)
        assert all(line.startswith("  column_") for line in lines[1:-1])

    def test_a_hint_stays_with_its_table(self):
        assert laid_out("select * from t /*+ OPTIONS('a'='b') */;").splitlines()[1] == "FROM t /*+ OPTIONS('a'='b') */;"

    def test_comments_stand_where_they_stood(self):
        text = "-- head\n\n-- of it\nselect 1; -- end\n-- next\nselect 2 /* two */ from t\n-- last"
        assert laid_out(text) == (
            "-- head\n\n-- of it\nSELECT 1; -- end\n\n-- next\nSELECT 2 /* two */\nFROM t\n-- last\n"
        )

    def test_statements_are_kept_apart_and_none_is_lost(self):
        assert laid_out("select 1;;select 2") == "SELECT 1;\n\n;\n\nSELECT 2\n"

    def test_what_is_not_closed_is_refused(self):
        with pytest.raises(InvalidInput):
            formatted("SELECT 'a")
