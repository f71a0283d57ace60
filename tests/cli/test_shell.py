"""The SQL shell: what is one statement, and a whole evening at the prompt, against a whole Penstock."""

from __future__ import annotations

import io
from collections.abc import Iterator

import httpx
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from cli import shell
from core.sql.script import parse
from tests.whole.penstock import Penstock

SRC = "CREATE TABLE src (id BIGINT, name STRING) WITH ('connector' = 'datagen');"
SNK = "CREATE TABLE snk (id BIGINT) WITH ('connector' = 'blackhole');"
TWO = "EXECUTE STATEMENT SET BEGIN\nINSERT INTO snk SELECT id FROM src;\nINSERT INTO snk SELECT 1;\nEND;"


class TestStatements:
    @pytest.mark.parametrize(
        ("text", "whole"),
        [
            ("", True),
            ("\\d", True),
            ("SELECT 1", False),
            ("SELECT 1;", True),
            ("SELECT ';", False),
            ("SELECT 1; -- said", True),
            ("SELECT /* ; ", False),
            (TWO.removesuffix("END;"), False),
            (TWO, True),
        ],
    )
    def test_when_what_was_typed_is_whole(self, text: str, whole: bool):
        assert shell.is_whole(text) is whole

    def test_several_in_one_text(self):
        text = f"SELECT 1; SELECT 2;\n\\d\n{TWO}\nSELECT\n 3;\nSELECT 'open"
        assert list(shell.statements(text)) == [
            "SELECT 1",
            "SELECT 2",
            "\\d\n",
            TWO.removesuffix(";"),
            "SELECT\n 3",
            "SELECT 'open",
        ]

    def test_pieces_of_a_set_without_end(self):
        assert parse("SELECT 1; BEGIN STATEMENT SET; INSERT INTO a SELECT 1;").pieces() == [
            "SELECT 1",
            "BEGIN STATEMENT SET; INSERT INTO a SELECT 1;",
        ]


def typed(penstock: Penstock, text: str, *options: str):
    return penstock.cli("sql", "shell", "--cluster", "a", *options, text=text)


class TestFromAPipe:
    def test_what_was_tried_becomes_a_job(self, penstock: Penstock):
        said = typed(
            penstock,
            f"{SRC}\n{SNK}\nSET 'parallelism.default' = '2';\n\\d\n\\d src\n"
            "INSERT INTO snk SELECT id FROM src;\n\\script\n\\job tried\n\\script\n",
        )
        assert said.code == 0, said
        assert "BIGINT" in said.out
        assert "default:tried is there" in said.out
        spec = penstock.ok("GET", "/jobs/default:tried/versions/1")["spec"]
        assert [s.split()[0] for s in parse(spec["sql"]).pieces()] == ["SET", "CREATE", "CREATE", "INSERT"]
        assert said.out.count("INSERT INTO snk SELECT id FROM src;") == 1  # kept until it was made a job of
        assert penstock.ok("GET", "/sql/sessions")["items"] == []

    def test_a_file_that_ends_in_a_comment(self, penstock: Penstock, tmp_path):
        file = tmp_path / "insert.sql"
        file.write_text("INSERT INTO snk SELECT id FROM src -- all of it; really")
        said = typed(penstock, f"{SRC}\n{SNK}\n\\i {file}\nINSERT INTO snk SELECT 1; -- one more\n\\job noted\n")
        assert said.code == 0, said
        sql = penstock.ok("GET", "/jobs/default:noted/versions/1")["spec"]["sql"]
        assert parse(sql).pieces()[2:] == ["INSERT INTO snk SELECT id FROM src", "INSERT INTO snk SELECT 1"]

    def test_rows_come_until_the_limit(self, penstock: Penstock):
        said = typed(penstock, f"{SRC}\n\\rows 4\nSELECT id FROM src;\n")
        assert said.code == 0, said
        assert said.out.count("+I ") == 4

    @pytest.mark.parametrize(
        ("text", "code", "words"),
        [
            ("SELECT * FROM nowhere;", 2, "nowhere"),
            ("INSERT INTO nowhere SELECT 1;", 1, "nowhere"),
            ("\\job x", 2, "no INSERT yet"),
            ("\\unheard", 2, "no command"),
            ("\\rows many", 2, "takes a number"),
            ("\\i /nowhere.sql", 2, "cannot be read"),
            ("SELECT 'open", 2, "not closed"),
            (f"{SRC} INSERT INTO src SELECT 1, 'x';\n\\job Bad^Name", 2, "name"),
        ],
    )
    def test_the_first_that_fails_ends_it(self, penstock: Penstock, text: str, code: int, words: str):
        said = typed(penstock, f"{text}\nSHOW TABLES;")
        assert (said.code, words in said.err) == (code, True), said
        assert penstock.ok("GET", "/sql/sessions")["items"] == []

    def test_a_session_that_was_given_stays_open(self, penstock: Penstock):
        body = {"project": "default", "cluster": "a", "name": "kept"}
        session = penstock.ok("POST", "/sql/sessions", json=body)["id"]
        assert typed(penstock, SRC, "--session", session).code == 0
        assert "src" in typed(penstock, "\\d\n\\q\nnever read;", "--session", session).out
        penstock.ok("DELETE", f"/sql/sessions/{session}")


class TestAtTheTerminal:
    @pytest.fixture
    def terminal(self, penstock: Penstock, monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setattr("sys.stdin", io.StringIO())
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
            yield keys

    def test_several_lines_a_failure_and_history(self, penstock: Penstock, terminal, tmp_path, monkeypatch):
        taken: list[str] = []
        made = shell.Shell(api=None, session="s", options={"project": "p"})  # type: ignore[arg-type]
        monkeypatch.setattr(made, "take", lambda text: taken.append(text) or (_ for _ in ()).throw(shell.typer.Exit(1)))
        terminal.send_text("SELECT\r1;\r\\d\rCREATE TABLE t (a INT) WITH ('password' = 'x');\r\x04")
        shell.at_terminal(made)
        assert taken == ["SELECT\n1", "\\d", "CREATE TABLE t (a INT) WITH ('password' = 'x')"]
        kept = (tmp_path / "penstock" / "shell-history").read_text()
        assert "SELECT" in kept
        assert "password" not in kept
        assert (tmp_path / "penstock" / "shell-history").stat().st_mode & 0o77 == 0


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502, headers={"content-type": "text/html"}, text="<h1>502 Bad Gateway</h1>"),
        *(httpx.Response(200, text=text) for text in ("<p>hello", "{}", "[]", '{"candidates": [{}]}')),
    ],
)
def test_completion_offers_nothing_where_something_else_answers(answer: httpx.Response):
    """In its thread an error would be a traceback over the prompt."""
    at_prompt = shell.Shell(api=None, session="s", options={"project": "p", "cluster": "c"})  # type: ignore[arg-type]
    completer = shell._Completer(at_prompt, httpx.MockTransport(lambda _: answer))
    assert list(completer.get_completions(Document("SELECT "), None)) == []
