"""What the text around a cursor names: its tables and views with their columns, and what may stand at the cursor.

A text that is being written is seldom whole: what cannot be read gives no columns, and no error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.errors import InvalidInput
from core.sql.references import created_by
from core.sql.reserved import RESERVED, SOMETIMES
from core.sql.tokens import (
    SKIPPED,
    Kind,
    Token,
    chain_at,
    closing,
    is_name,
    lexemes,
    literal,
    options_in,
    outside,
    quoted_name,
    unquoted,
)

Columns = Mapping[str, Sequence[str]]
"""The columns of tables, by their names as they are written, without backticks."""

_REGULAR = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SET_OPERATIONS = ("UNION", "INTERSECT", "EXCEPT", "MINUS")
_WINDOW_FUNCTIONS = ("TUMBLE", "HOP", "CUMULATE", "SESSION")
_OF_WINDOWS = ("window_start", "window_end", "window_time")
# What may follow a table and is no alias of it, and which Flink does not reserve in all its versions.
_NO_ALIAS = frozenset({"VIEW", "OPTIONS", "LATERAL"})
MAX_NESTED = 50

BEGINNINGS = (
    *("SELECT", "WITH", "VALUES", "TABLE", "INSERT INTO", "INSERT OVERWRITE", "EXECUTE STATEMENT SET BEGIN"),
    *("CREATE TABLE", "CREATE TEMPORARY TABLE", "CREATE VIEW", "CREATE TEMPORARY VIEW", "CREATE FUNCTION"),
    *("CREATE CATALOG", "CREATE DATABASE", "ALTER TABLE", "DROP TABLE", "DROP VIEW", "DESCRIBE", "EXPLAIN", "SHOW"),
    *("SET", "RESET", "USE", "USE CATALOG", "LOAD MODULE", "UNLOAD MODULE"),
)
"""How statements begin that a script or a session may have. Flink's completer knows what follows, and not these."""


def written(name: str) -> str:
    """A name as it has to be written: in backticks where it would be read as something else."""
    is_plain = _REGULAR.fullmatch(name) and name.upper() not in RESERVED | SOMETIMES
    return name if is_plain else quoted_name(name)


def readable(text: str) -> tuple[list[Token], str]:
    """The tokens of a text up to what is not closed, and that."""
    parts: list[Token] = []
    end = 0
    try:
        for token in lexemes(text):
            end = token.end
            if token.kind not in SKIPPED:
                parts.append(token)
    except InvalidInput:
        return parts, text[end:].lstrip()
    return parts, ""


def split(parts: Sequence[Token]) -> list[list[Token]]:
    """The statements of some tokens; the last one is the one that is being written, and may be empty."""
    found: list[list[Token]] = [[]]
    for token in parts:
        if token.kind is Kind.END:
            found.append([])
        else:
            found[-1].append(token)
    return found


@dataclass
class Scope:
    """What a statement reads and writes: `sources` are its tables by alias, or by name where they have none."""

    tables: Columns
    sources: dict[str, Sequence[str]] = field(default_factory=dict)

    def of(self, chain: Sequence[str]) -> Sequence[str]:
        """The columns of a table; none for one that is not known."""
        full = ".".join(chain)
        return next((cols for name, cols in self.tables.items() if name.lower() == full.lower()), ())

    def source(self, name: str) -> Sequence[str] | None:
        return next((cols for alias, cols in self.sources.items() if alias.lower() == name.lower()), None)


def scope_of(statement: Sequence[Token], tables: Columns) -> Scope:
    """What a statement names."""
    scope = Scope(tables)
    words = [t.word for t in statement[:2]]
    if words[:1] == ["EXECUTE"]:
        statement, words = statement[1:], [t.word for t in statement[1:3]]
    if words in (["INSERT", "INTO"], ["INSERT", "OVERWRITE"]) and (chain := chain_at(statement, 2)):
        scope.sources[chain[-1]] = scope.of(chain)
    start = next((i for i, t in enumerate(statement) if t.word in ("SELECT", "WITH")), None)
    if start is not None:
        _query(statement[start:], scope, 0)
    return scope


def tables_in(statements: Sequence[Sequence[Token]], known: Columns) -> dict[str, Sequence[str]]:
    """The tables and views that statements make, with those that are `known`."""
    found: dict[str, Sequence[str]] = dict(known)
    for parts in statements:
        if not parts or not (chain := created_by(parts)):
            continue
        at = next(i for i, t in enumerate(parts) if is_name(t) and chain_at(parts, i) == chain)
        body = parts[at + 2 * len(chain) - 1 :]
        is_view = any(t.word == "VIEW" for t in parts[:5])
        found[".".join(chain)] = _of_view(body, found) if is_view else _of_table(body)
    return found


def _of_table(body: Sequence[Token]) -> list[str]:
    """The names that begin each part of `(id BIGINT, PRIMARY KEY (id) ...)`."""
    inner = _inside(body, 0)
    items = [item for item in _separated(inner, angles=True) if item]
    return [unquoted(i[0]) for i in items if is_name(i[0]) and i[0].word not in ("WATERMARK", "PRIMARY", "CONSTRAINT")]


def _of_view(body: Sequence[Token], known: Columns) -> list[str]:
    start = next((i for i, t in enumerate(body) if t.word == "AS"), len(body))
    columns = _query(body[start + 1 :], Scope(known), 0)
    named = _of_table(body[:start])
    return named or columns


def _inside(parts: Sequence[Token], at: int) -> Sequence[Token]:
    """What is between the parenthesis at `at` and its closing one, or the end."""
    if at >= len(parts) or parts[at].text != "(":
        return []
    return parts[at + 1 : closing(parts, at)]


def _separated(parts: Sequence[Token], *, angles: bool = False) -> list[list[Token]]:
    """Parts between commas. `angles`: those of a type (`ROW<a INT, b INT>`) hide commas, too."""
    found: list[list[Token]] = [[]]
    depth = 0
    for token in parts:
        depth += {"(": 1, ")": -1, "[": 1, "]": -1, **({"<": 1, ">": -1} if angles else {})}.get(token.text, 0)
        if token.text == "," and depth == 0:
            found.append([])
        else:
            found[-1].append(token)
    return found


def _query(parts: Sequence[Token], scope: Scope, depth: int) -> list[str]:
    """The columns that a query gives, as far as they have names. All that it reads comes into the scope."""
    if depth > MAX_NESTED or not parts:
        return []
    if parts[0].text == "(":
        return _query(_inside(parts, 0), scope, depth + 1)
    if parts[0].word == "WITH":
        return _with(parts, scope, depth)
    if parts[0].word == "TABLE":
        return list(scope.of(chain_at(parts, 1)))
    if parts[0].word != "SELECT":
        return []
    start = _at_top(parts, ("FROM",))
    end = _at_top(parts, _SET_OPERATIONS)
    local = Scope(scope.tables)
    if start < end:
        _from(parts[start + 1 : end], local, depth)
    if end < len(parts):
        rest = next((i for i in range(end + 1, len(parts)) if parts[i].word not in ("ALL", "DISTINCT")), len(parts))
        _query(parts[rest:], local, depth + 1)
    scope.sources.update(local.sources)
    columns: list[str] = []
    for item in _separated(parts[1 : min(start, end)]):
        columns += _selected([t for t in item if t.word not in ("DISTINCT", "ALL")], local)
    return columns


def _at_top(parts: Sequence[Token], words: Sequence[str]) -> int:
    """Where the first of some words stands outside of parentheses; the end when none does."""
    return next((i for i, token in outside(parts) if token.word in words), len(parts))


def _with(parts: Sequence[Token], scope: Scope, depth: int) -> list[str]:
    """WITH name [(columns)] AS (query), ... query."""
    tables = dict(scope.tables)
    at = 2 if len(parts) > 1 and parts[1].word == "RECURSIVE" else 1
    while at < len(parts) and is_name(parts[at]):
        name = unquoted(parts[at])
        named = _of_table(parts[at + 1 : at + 2] and parts[at + 1 :]) if _opens(parts, at + 1) else []
        body = next((i for i in range(at + 1, len(parts)) if parts[i].word == "AS"), len(parts)) + 1
        inner = _inside(parts, body)
        within = Scope(tables)
        columns = _query(inner, within, depth + 1)
        scope.sources.update(within.sources)
        tables[name] = named or columns
        at = body + len(inner) + 2
        if at >= len(parts) or parts[at].text != ",":
            break
        at += 1
    main = Scope(tables, scope.sources)
    return _query(parts[at:], main, depth + 1)


def _opens(parts: Sequence[Token], at: int) -> bool:
    return at < len(parts) and parts[at].text == "("


def _from(parts: Sequence[Token], scope: Scope, depth: int) -> None:
    """The tables of a FROM clause, whose conditions are passed over."""
    wanted = True
    at = 0
    while at < len(parts):
        token = parts[at]
        if token.word == "JOIN" or token.text == ",":
            wanted = True
            at += 1
        elif wanted and token.word != "LATERAL":
            at = _source(parts, at, scope, depth)
            wanted = False
        elif token.text == "(":
            inner = _inside(parts, at)
            for i, inside in enumerate(inner):
                if inside.word in ("SELECT", "WITH"):
                    _query(inner[i:], scope, depth + 1)
                    break
            at += len(inner) + 2
        else:
            at += 1


def _source(parts: Sequence[Token], at: int, scope: Scope, depth: int) -> int:
    """Take the table that begins at a token into the scope; returns where it ends."""
    chain = chain_at(parts, at)
    if parts[at].text == "(":
        inner = _inside(parts, at)
        columns: Sequence[str] = _query(inner, scope, depth + 1)
        end = at + len(inner) + 2
        chain = ()
    elif _opens(parts, at + 1) and chain:  # TABLE(TUMBLE(TABLE orders, ...)), UNNEST(...)
        inner = _inside(parts, at + 1)
        columns = _of_function(inner, scope)
        end = at + len(inner) + 3
        chain = ()
    elif chain:
        columns = scope.of(chain)
        end = at + 2 * len(chain) - 1
    else:
        return at + 1
    if end + 3 < len(parts) and [t.word for t in parts[end : end + 4]] == ["FOR", "SYSTEM_TIME", "AS", "OF"]:
        end += 4 + max(1, 2 * len(chain_at(parts, end + 4)) - 1)
    if end < len(parts) and parts[end].word == "AS":
        end += 1
    alias = ""
    if end < len(parts) and is_name(parts[end]) and not _is_clause(parts[end]):
        alias = unquoted(parts[end])
        end += 1
        if _opens(parts, end):
            inner = _inside(parts, end)
            columns = [unquoted(t) for t in inner if is_name(t)] or columns
            end += len(inner) + 2
    name = alias or (chain[-1] if chain else "")
    scope.sources[name or f"({len(scope.sources)})"] = columns
    return end


def _is_clause(token: Token) -> bool:
    return token.word in RESERVED or token.word in _NO_ALIAS


def _of_function(inner: Sequence[Token], scope: Scope) -> Sequence[str]:
    """The columns of a windowing function: those of its table, and the window's."""
    tables = [chain_at(inner, i + 1) for i, t in enumerate(inner) if t.word == "TABLE" and i + 1 < len(inner)]
    is_window = any(t.word in _WINDOW_FUNCTIONS for t in inner)
    return [*(c for chain in tables for c in scope.of(chain)), *(_OF_WINDOWS if is_window else ())]


def _selected(item: Sequence[Token], scope: Scope) -> Sequence[str]:
    """The names of what one item of a SELECT gives."""
    if not item:
        return []
    if [t.text for t in item] == ["*"]:
        return [c for columns in scope.sources.values() for c in columns]
    if item[-1].text == "*" and len(item) > 2 and item[-2].text == ".":
        return scope.source(unquoted(item[-3])) or []
    last = item[-1]
    if not is_name(last) or last.word in RESERVED:
        return []
    return [unquoted(last)]


# Options --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InOptions:
    """The cursor stands in a string. `given` are the options before it, `of` the key when it is in a value, `typed`
    what there is of it. `of_table`: in WITH (...), else in a SET."""

    given: dict[str, str]
    of: str | None
    typed: str
    of_table: bool


def in_options(statement: Sequence[Token], unclosed: str) -> InOptions | None:
    """Where in the options of a table, or in a SET, the cursor stands; None elsewhere. `unclosed` is what stands
    directly in front of it."""
    if not unclosed.startswith("'") or not statement:
        return None
    typed = unclosed[1:]
    is_value = len(statement) > 1 and statement[-1].text == "=" and statement[-2].kind is Kind.STRING
    of = literal(statement[-2].text) if is_value else None
    if statement[0].word == "SET" and len(statement) == (3 if is_value else 1):
        return InOptions({}, of, typed, of_table=False)
    opening = next((i for i in range(len(statement) - 1, 0, -1) if statement[i].text in ("(", ")")), 0)
    if not opening or statement[opening].text != "(" or statement[opening - 1].word != "WITH":
        return None
    given = {literal(key.text): literal(value.text) for key, value in options_in(statement[opening + 1 :])}
    return InOptions(given, of, typed, of_table=True)
