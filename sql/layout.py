"""Laying out SQL text. Only white space and the case of keywords change; what it means does not."""

from __future__ import annotations

import sqlparse

from core.sql.script import statements, tokens


def formatted(text: str) -> str:
    """The text laid out. Raises `InvalidInput` on what is not closed."""
    before = _meaning(text)
    made = []
    for statement in sqlparse.split(text):
        laid = sqlparse.format(statement, reindent=True, keyword_case="upper", indent_width=2, wrap_after=100)
        made.append(str(laid).strip())
    joined = "\n\n".join(m for m in made if m) + "\n"
    # A layout that changes anything else is no layout: then the text stays as it is.
    try:
        same = _meaning(joined) == before and sum(1 for _ in statements(joined)) == sum(1 for _ in statements(text))
    except ValueError:
        same = False
    return joined if same else text


def _meaning(text: str) -> list[str]:
    return [t.text.upper() if t.kind == "word" else t.text for t in tokens(text)]
