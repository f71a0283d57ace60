"""Where a table may stand in a statement: a name anywhere else is a column, an alias, a field or a function.

Flink's grammar in short: a table stands behind FROM and JOIN and the commas of that list, behind TABLE, INTO and
OVERWRITE, and in the statements about tables. What WITH defines is no table from its definition on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.sql.script import Script
from core.sql.tokens import Chain, Token, chain_at, is_name

_OPENS = frozenset({"FROM", "JOIN"})
_BEFORE = frozenset({*_OPENS, "TABLE", "VIEW", "INTO", "OVERWRITE", "DESCRIBE", "DESC", "LIKE", "UPDATE"})
_BEHIND_OF = frozenset({"IF", "NOT", "EXISTS"})
_CLOSES = frozenset({"SELECT", "WHERE", "GROUP", "HAVING", "ORDER", "WINDOW", "LIMIT", "OFFSET", "FETCH", "SET"})
_CLOSES |= {"VALUES", "UNION", "INTERSECT", "EXCEPT", "MINUS"}
"""Words at which the list of a FROM ends."""
_NO_TABLE = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "LATERAL", "UNNEST"})
_WITH_FROM = frozenset({"EXTRACT", "TRIM", "SUBSTRING", "POSITION", "OVERLAY", "CEIL", "FLOOR"})
"""Functions whose arguments may have a FROM."""


def table_names(script: Script) -> set[Chain]:
    """Every name of a script that stands where a table may."""
    return {chain for parts in script.statements() for _, chain in tables_at(parts)}


def tables_at(parts: Sequence[Token]) -> Iterator[tuple[int, Chain]]:
    """(number of the token, name) of what stands where a table may in a statement."""
    defined = _defined(parts)
    lists = [False]  # per parenthesis: whether a comma divides tables there
    functions = [False]  # and whether a FROM there is one of a function such as EXTRACT
    at, expected = 0, False
    while at < len(parts):
        token = parts[at]
        is_table = expected and is_name(token) and token.word not in _BEHIND_OF | _NO_TABLE
        if is_table and (chain := chain_at(parts, at)):
            if not (len(chain) == 1 and at > defined.get(chain[0], len(parts))):
                yield at, chain
            at, expected = at + 2 * len(chain) - 1, False
            continue
        word = token.word
        if token.text == "(":
            # Behind TABLE stands a function; behind FROM, JOIN and a comma a list or a query.
            expected = expected and parts[at - 1].word != "TABLE"
            lists.append(expected)
            functions.append(at > 0 and parts[at - 1].word in _WITH_FROM)
        elif token.text == ")":
            lists, functions = lists[:-1] or [False], functions[:-1] or [False]
            expected = False
        elif token.text == ",":
            expected = lists[-1]
        elif word in _BEFORE:
            expected = not (word == "FROM" and functions[-1])
            if word in _OPENS and expected:
                lists[-1] = True
        elif word in _CLOSES:
            lists[-1] = expected = False
        elif word not in _BEHIND_OF:
            expected = False
        at += 1


def _defined(parts: Sequence[Token]) -> dict[str, int]:
    """The names that WITH defines, each with the token at which its definition ends."""
    ends: dict[str, int] = {}
    open_: list[str | None] = []
    for at, token in enumerate(parts):
        if token.text == "(":
            name = None
            if at >= 2 and parts[at - 1].word == "AS":
                before = _head(parts, at - 2)
                if (
                    before is not None
                    and before > 0
                    and (parts[before - 1].word == "WITH" or parts[before - 1].text == ",")
                ):
                    name = chain_at(parts, before)[0]
            open_.append(name)
        elif token.text == ")" and open_:
            closed = open_.pop()
            if closed is not None:
                ends.setdefault(closed, at)
    return ends


def _head(parts: Sequence[Token], at: int) -> int | None:
    """The token of the name in front of AS, behind which a list of columns may stand."""
    if parts[at].text == ")":
        while at > 0 and parts[at].text != "(":
            at -= 1
        at -= 1
    return at if at >= 0 and is_name(parts[at]) else None
