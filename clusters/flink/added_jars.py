"""Jars that a Python program adds by itself (`env.add_jars("file:///...")`), before it is run."""

from __future__ import annotations

import ast
from pathlib import Path
from urllib.parse import unquote, urlsplit

_ADD = ("add_jars", "add_classpaths")


def absent(root: Path, entry_file: str | None) -> list[str]:
    """The file URLs that stand as they are in such calls of the entry file, and lead to nothing here. With such a one
    the client of PyFlink 2.3.0 waited in `executeAsync` until it was stopped, and said nothing. It is no error yet:
    the program may not come there."""
    try:
        tree = ast.parse((root / (entry_file or "")).read_bytes())
    except (OSError, SyntaxError, ValueError):  # Python says what is wrong with it
        return []
    found = []
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in _ADD:
            found += [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return [jar for jar in found if jar.startswith("file://") and not Path(unquote(urlsplit(jar).path)).exists()]
