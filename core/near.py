"""What somebody may have meant who wrote a name that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], *, most: int = 10, separator: str = "/") -> list[str]:
    """Of the known names those that are like `name`, the likest first, then those whose last part is, then others; at
    most so many."""
    names = sorted(known)
    by_last: dict[str, list[str]] = {}
    for one in names:
        by_last.setdefault(one.rpartition(separator)[2], []).append(one)
    close = difflib.get_close_matches(name, names, n=5, cutoff=0.6)
    ends = difflib.get_close_matches(name.rpartition(separator)[2], list(by_last), n=5, cutoff=0.6)
    return list(dict.fromkeys([*close, *(one for end in ends for one in by_last[end]), *names]))[:most]


def offered(name: str, known: Iterable[str], what: str) -> str:
    """For somebody who gave a name that is not there: the known names, the likest first; `what` they are, where there
    is none."""
    names = list(known)
    if not names:
        return f"There are no {what}."
    shown = nearest(name, names)
    return f"There are: {', '.join(shown)}{'.' if len(shown) == len(names) else ', ...'}"
