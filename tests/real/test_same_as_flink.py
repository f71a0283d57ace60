"""What Penstock says of a SQL text is what Flink says: thousands of texts, to a bare gateway and through ours.

`PENSTOCK_SAME_TEXTS=3000` asks that many; each test run asks the same few hundred, `PENSTOCK_SAME_SEED` gives others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from core.errors import InvalidInput
from core.sql.script import parse
from tests.real.conftest import Stack
from tests.real.same.bare import Answer, Bare
from tests.real.same.texts import TABLES, Maker

MANY = int(os.environ.get("PENSTOCK_SAME_TEXTS", "200"))
SEED = os.environ.get("PENSTOCK_SAME_SEED", "1")
BATCH = 25
_PLACE = re.compile(r"([Ll]ine )(\d+)(, column )(\d+)")

KNOWN: list[tuple[str, str]] = []
"""Differences that are meant: a pattern of the text, and why."""


@pytest.fixture
def bare(stack: Stack) -> Iterator[Bare]:
    made = Bare(stack.gateway_url)
    for statement in TABLES.split(";"):
        answer = made.ask(statement)
        assert answer.error is None, answer.error
    yield made
    made.close()


def explained(bare: Bare, text: str) -> Answer:
    """What Flink says of a text that stands in the second line. EXPLAIN does not take the word EXECUTE."""
    return bare.ask("EXPLAIN\n" + re.sub("^EXECUTE", " " * len("EXECUTE"), text))


def ours(stack: Stack, texts: list[str]) -> list[list[dict]]:
    """What validation says against each of some texts, which go in one script."""
    script = TABLES + ";\n"
    lines = []
    for text in texts:
        lines.append(len(parse(script).statements()) + 1)
        script += text + "\n;\n"
    answer = stack.http.post("/sql/validate", json={"sql": script, "queries": True}, timeout=300)
    assert answer.status_code == 200, answer.text
    errors = answer.json()["errors"]
    return [[e for e in errors if e["statement"] == number] for number in lines]


def difference(text: str, flink: Answer, errors: list[dict], first_line: int) -> str | None:
    """How ours differs from Flink's; None when it does not."""
    if (flink.error is None) != (not errors):
        return f"Flink: {flink.causes or 'takes it'}; ours: {errors or 'takes it'}"
    if flink.error is None:
        return None
    error = errors[0]
    if error["code"] == "sql_script":
        return None  # refused before Flink is asked, and Flink refuses it, too
    if flink.place is not None:
        line, column = flink.place
        if (error["line"], error["column"]) != (first_line + line - 2, column):
            return f"Flink: line {line - 1}, column {column}; ours: {error['line'] - first_line + 1}, {error['column']}"
    # Flink's list of all that it expected is cut short.
    words = _PLACE.sub("", error["message"].splitlines()[0].partition(" Expected one of: ")[0])
    if words not in _PLACE.sub("", flink.error):
        return f"ours: {error['message']}; Flink: {flink.causes}"
    return None


def test_validation_says_what_flink_says(stack: Stack, bare: Bare):
    made = Maker(f"validate {SEED}")
    differences = []
    asked = 0
    while asked < MANY:
        texts = []
        while len(texts) < BATCH:
            text = made.text()
            try:
                if len(parse(text).statements()) == 1:
                    texts.append(text)
            except InvalidInput:
                continue  # not closed: the whole script would not be
        place = TABLES.count("\n") + 2
        for text, errors in zip(texts, ours(stack, texts), strict=True):
            how = difference(text, explained(bare, text), errors, place)
            if how is not None and not any(re.search(pattern, text) for pattern, _ in KNOWN):
                differences.append(f"{text!r}\n    {how}")
            place += len(re.findall(r"\r\n?|\n", text)) + 2
        asked += BATCH
    assert not differences, f"{len(differences)} of {asked} (seed {SEED}):\n" + "\n".join(differences[:20])
