"""Whether what Penstock's validation says of a SQL text is what Flink says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from core.errors import InvalidInput
from core.sql.script import parse
from tests.real.conftest import Stack
from tests.real.same.bare import Answer, Bare

_PLACE = re.compile(r"([Ll]ine )(\d+)(, column )(\d+)")


@contextmanager
def session(stack: Stack, tables: str) -> Iterator[Bare]:
    """One of the bare gateway, with these tables."""
    bare = Bare(stack.gateway_url)
    try:
        for statement in tables.split(";\n"):
            answer = bare.ask(statement)
            assert answer.error is None, answer.error
        yield bare
    finally:
        bare.close()


def is_one(text: str) -> bool:
    """Whether it is one statement for us."""
    try:
        return len(parse(text).statements()) == 1
    except InvalidInput:
        return False


def explained(bare: Bare, text: str) -> Answer:
    """What Flink says of a query or INSERT that stands in the second line. EXPLAIN does not take the word EXECUTE."""
    return bare.ask("EXPLAIN\n" + re.sub("^EXECUTE(?=\\s+INSERT)", " " * len("EXECUTE"), text, flags=re.IGNORECASE))


NOT_TRIED = "not_tried"
"""The code of what stands in the place of an error where validation has said that it leaves a statement alone."""


def validated(stack: Stack, tables: str, texts: Sequence[str]) -> list[list[dict[str, Any]]]:
    """What validation says against each of some texts, which go in one script after `tables`; each is one statement."""
    before = len(parse(tables).statements()) + 1
    script = ";\n".join([tables, *(f"{text}\n" for text in texts), ""])
    answer = stack.http.post("/sql/validate", json={"sql": script, "queries": True}, timeout=300)
    assert answer.status_code == 200, answer.text
    errors = answer.json()["errors"]
    for warning in answer.json()["warnings"]:
        if "is not tried" in warning["message"]:
            errors.append({"statement": warning["statement"], "code": NOT_TRIED})
    return [[e for e in errors if e["statement"] == before + n] for n in range(len(texts))]


def difference(flink: Answer, errors: list[dict[str, Any]], first_line: int, *, shift: int = 1) -> str | None:
    """How ours differs from Flink's; None when it does not. The text begins in `first_line` of our script, and in the
    line 1 + `shift` of what Flink was sent."""
    if errors and errors[0]["code"] == NOT_TRIED:
        return None
    if (flink.error is None) != (not errors):
        return f"Flink: {flink.causes or 'takes it'}; ours: {errors or 'takes it'}"
    if flink.error is None:
        return None
    error = errors[0]
    if error["code"] == "sql_script":
        return None  # refused before Flink is asked, and Flink refuses it, too
    if flink.place is not None and flink.place[0] > shift:  # line 0 is where Flink knows none
        line, column = flink.place
        if (error["line"], error["column"]) != (first_line + line - 1 - shift, column):
            where = f"{error['line'] - first_line + 1}, {error['column']}"
            return f"Flink: line {line - shift}, column {column}; ours: {where}"
    # Flink's list of all that it expected is cut short.
    words = _PLACE.sub("", error["message"].splitlines()[0].partition(" Expected one of: ")[0].rstrip("…"))
    # A cause that says more is put behind the words that it caused, with the class of Java.
    said = re.split(r": \w+(?:Exception|Error): ", words)
    if not all(part.rstrip(".") in _PLACE.sub("", flink.error) for part in said):
        return f"ours: {error['message']}; Flink: {flink.causes}"
    return None


def newlines(text: str) -> int:
    return len(re.findall(r"\r\n?|\n", text))
