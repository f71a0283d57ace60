"""What the API says becomes something to type."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.wording import REQUEST, as_commands
from observation import points
from tests.whole.penstock import Penstock

ROOT = Path(__file__).parents[2]
ROOMS = [
    *("activities", "api", "builds", "clusters", "core", "observation", "processes", "services", "settings", "sql"),
    *("store", "temporal", "workflows"),
]


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        ("GET /jobs/{id}/restore-points lists them.", "penstock jobs restore-points JOB lists them."),
        (
            "Look at GET /jobs/{id}/versions/{number}/verdict. With `force` it is dropped.",
            "Look at penstock jobs verdict JOB --version VERSION. With --force it is dropped.",
        ),
        ("Start it first: POST /jobs/team:studio/commands.", "Start it first: penstock jobs start team:studio."),
        ("Use b, or change it: PATCH /clusters/b.x. With", "Use b, or change it: penstock clusters set b.x. With"),
        ("GET /jobs/default:a/commands/12 tells", "penstock jobs log default:a 12 tells"),
        ("Use a cluster (GET /clusters).", "Use a cluster (penstock clusters list)."),
        (
            'Send a start with restore {"mode": "point", "point": PATH, "accept_unknown_state": true}.',
            "Send a start with --restore POINT --accept-unknown-state.",
        ),
        ("nothing to say of /jobs here", "nothing to say of /jobs here"),
    ],
)
def test_requests_become_commands(said: str, typed: str):
    assert as_commands(said) == typed


def texts(node: ast.AST) -> Iterator[str]:
    """String constants below `node` that can reach a user: none of docstrings and of descriptions of the API. What is
    put into a text when it is made is `x` here."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(v.value) if isinstance(v, ast.Constant) else "x" for v in node.values)
        for inner in node.values:
            if isinstance(inner, ast.FormattedValue):
                yield from texts(inner.value)
    else:
        for child in ast.iter_child_nodes(node):
            docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            described = isinstance(child, ast.keyword) and child.arg in ("description", "summary")
            named = isinstance(child, ast.Assign) and ast.unparse(child.targets[0]) == "DESCRIPTION"
            if not (docstring or described or named):
                yield from texts(child)


def test_every_request_and_body_that_a_text_names_has_a_command():
    """Whatever a text is for: what is no refusal today may become a part of one."""
    named = {
        text: path
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if path != ROOT / "api" / "rules.py"  # a table of requests, and no words
        for text in texts(ast.parse(path.read_text()))
        if REQUEST.search(text)
    }
    assert len(named) >= 25
    left = {text: str(path) for text, path in named.items() if REQUEST.search(as_commands(text))}
    assert not left


class TestARefusal:
    def test_a_resubmit_without_a_decision(self, penstock: Penstock):
        penstock.running("undecided")
        said = penstock.cli("jobs", "resubmit", "undecided")
        assert said.code == 2, said
        assert said.err.splitlines()[-1] == "Give --restore newest, --restore none or --restore POINT."

    def test_a_jar_in_the_configuration(self, penstock: Penstock):
        penstock.create("no-jars")
        said = penstock.cli("jobs", "set", "no-jars", "--config", "pipeline.jars=a.jar")
        assert said.code == 2, said
        assert "(penstock libraries add), and name it with --library NAME:VERSION" in said.err

    def test_why_a_job_does_not_start(self, penstock: Penstock, monkeypatch: pytest.MonkeyPatch):
        """Reasons name bodies, too: they are on the list, on the job and on its timeline."""
        monkeypatch.setattr(points, "WITH_FOLDERS", (*points.WITH_FOLDERS, "sim"))
        penstock.running("moved")
        penstock.done("moved", "pause")
        for path in [p for p in penstock.world.disk.files if penstock.job("moved")["id"] in p]:
            penstock.world.disk.remove(path)
        penstock.do("moved", "start")
        said = [penstock.cli("jobs", *words).out for words in (["list"], ["show", "moved"], ["timeline", "moved"])]
        assert '{"mode"' in penstock.job("moved")["reason"]
        for text in said:
            assert ('{"mode"' in text, "--restore " in text) == (False, True), text
