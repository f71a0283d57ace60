"""Flink's lexical rules, and that no text costs more than its length."""

from __future__ import annotations

import contextlib
import gc
import time
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.sql.layout import formatted
from core.sql.references import (
    check_script,
    created,
    definition_overrides,
    in_clear,
    named,
    resolved,
    resolved_script,
    secrets_in,
    written,
)
from core.sql.script import as_one_job, parse, parse_script, placed
from core.sql.tokens import lexemes, tokens

HINT = "SELECT * FROM src /*+ OPTIONS('rows-per-second'='1000') */"


class TestHints:
    """`/*+` begins tokens, not a comment."""

    @pytest.mark.parametrize("end", [";", " ;", "", "\n-- done\n;"])
    def test_one_at_the_end_of_a_statement_stays(self, end):
        (query,) = parse(HINT + end).queries
        assert query.text == HINT
        (insert,) = parse_script(f"INSERT INTO a {HINT}{end}").inserts
        assert placed(insert).endswith(HINT)
        assert HINT in as_one_job([insert, insert])

    def test_a_string_in_one_hides_its_end(self):
        text = "SELECT * FROM p.b /*+ OPTIONS('a'='*/', 'path'='/x') */ WHERE 1 = 1"
        assert [t.text for t in tokens(text)][-4:] == ["WHERE", "1", "=", "1"]
        assert [chain for _, chain, _ in definition_overrides(parse(text))] == [("p", "b")]

    @pytest.mark.parametrize("text", ["SELECT 1 /*+ OPTIONS('a'='b')", "SELECT 1 /*+ ; SELECT 2 */", "/*+"])
    def test_one_that_is_not_closed_says_where(self, text):
        with pytest.raises(InvalidInput, match=r"The hint that begins at line 1, column \d+ is not closed"):
            parse(text)

    def test_a_secret_in_one_would_be_sent_and_is_refused(self):
        with pytest.raises(InvalidInput, match="a secret stands in an option"):
            resolved_script(parse("SELECT * FROM t /*+ OPTIONS('password'='${secret:a}') */"), {"a": "x"})


class TestAsFlinkDoes:
    @pytest.mark.parametrize("newline", ["\n", "\r", "\r\n"])
    @pytest.mark.parametrize("comment", ["--", "// c", "-- c; '"])
    def test_a_comment_ends_with_its_line(self, newline, comment):
        """Calcite's Parser.jj: ("//"|"--")(~["\\n","\\r"])* ("\\n"|"\\r"|"\\r\\n")?"""
        script = parse_script(f"INSERT INTO a SELECT 1 {comment}{newline}FROM b;{newline}INSERT INTO c SELECT 2")
        assert [s.tokens[-1].text for s in script.inserts] == ["b", "2"]
        assert [(s.line, s.column) for s in script.inserts] == [(1, 1), (3, 1)]

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("a /**/ b", ["a", "b"]),
            ("a /***/ b */ c", ["a", "c"]),  # after `/**` one more character is not looked at
            ("a /****/ b", ["a", "b"]),
            (r"E'it\'s; ' b", [r"E'it\'s; '", "b"]),
            (r"'\' b", [r"'\'", "b"]),
            ("e'a''b'", ["e'a''b'"]),
            ("a$b.$c", ["a$b", ".", "$c"]),
            ("a\u1680b c", ["a\u1680b", "c"]),
            ("a\fb", ["a", "b"]),
        ],
    )
    def test_tokens(self, text, found):
        assert [t.text for t in tokens(text)] == found

    @given(st.text(alphabet=st.sampled_from("'`/*+-;\n\r E\\a$.\u1680"), max_size=40))
    def test_nothing_of_a_text_is_lost(self, text):
        try:
            every = list(lexemes(text))
        except InvalidInput:
            return
        assert "".join(t.text for t in every) == text
        assert [text[t.offset : t.end] for t in every] == [t.text for t in every]

    def test_keywords_are_ascii(self):
        assert [t.word for t in tokens("select ſelect `select` 1")] == ["SELECT", "", "", ""]


def _everything(text: str) -> None:
    """What requests do with a text that somebody sends."""
    try:
        script = parse(text)
    except InvalidInput:
        return
    for take in (named, created, written, definition_overrides, check_script):
        with contextlib.suppress(InvalidInput):
            take(script)
    with contextlib.suppress(InvalidInput, KeyError):
        resolved_script(script, {})
    for statement in [*script.setup, *script.inserts, *script.queries][:100]:
        statement.without_execute()
    formatted(text)


def _secrets(text: str) -> None:
    with contextlib.suppress(InvalidInput, KeyError):
        secrets_in(text)
        resolved(text, {})
    in_clear("a", text)
    in_clear("x.jaas.config", text)


NASTY = [
    "a.",
    "SELECT a.",
    "/*+ ",
    "'/*+ ",
    "/*+ */ ",
    "/*+ OPTIONS",
    "t /*+ OPTIONS */ ",
    "/*+ OPTIONS OPTIONS ",
    "/* ",
    "/*",
    "'",
    "''",
    "`",
    "``",
    "E'\\'",
    "E''\\",
    "e'a ",
    "\\'",
    "(",
    ")",
    "( SELECT ",
    "(SELECT a, ",
    ", ",
    "a, ",
    ";",
    "a;",
    "END;",
    "SET 'a' = 'b';",
    "LIKE ",
    "CREATE TABLE LIKE a.LIKE ",
    "INSERT INTO ",
    "INSERT INTO a.",
    "IF NOT EXISTS ",
    "CREATE TABLE IF ",
    "-- \n",
    "\r",
    "\n",
    " ",
    "${secret:",
    "'${secret:",
    "'${secret:a}'",
    "'a'=",
    "'password'='x' ",
    "://a:",
    "password ",
    "password=",
    "* /",
    "-/",
    "a$",
    "\u1680",
    "1.",
]


class TestCost:
    @pytest.mark.parametrize("do", [_everything, _secrets])
    @pytest.mark.parametrize("part", NASTY, ids=repr)
    def test_four_times_the_text_is_four_times_the_time(self, do, part):
        """By processor time, and with room: what is not linear takes sixteen times as long, each time it is tried."""
        tries = ([_seconds(do, part, length) for length in (2_000, 8_000)] for _ in range(4))
        assert any(large < 8 * small + 0.025 for small, large in tries)

    @pytest.mark.parametrize("part", ["a.", "( SELECT ", "t /*+ OPTIONS */ ", "a;", "a, ", "'${secret:"], ids=repr)
    def test_four_times_the_text_is_four_times_the_memory(self, part):
        small, large = (_peak(part, length) for length in (1_000, 4_000))
        assert large < 6 * small + 50_000


def _seconds(do: Callable[[str], None], part: str, length: int) -> float:
    text = part * (length // len(part))
    gc.disable()  # it looks at what other tests have left, too
    try:
        began = time.process_time()
        do(text)
        return time.process_time() - began
    finally:
        gc.enable()


def _peak(part: str, length: int) -> int:
    text = part * (length // len(part))
    tracemalloc.start()
    try:
        _everything(text)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
