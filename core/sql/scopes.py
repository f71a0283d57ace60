"""What the query at a cursor reads: its tables and views by their names there, with their columns.

A text that is being written is seldom whole: what cannot be read gives no columns, and no error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from core.sql.references import created_by
from core.sql.reserved import RESERVED
from core.sql.tokens import Chain, Token, TokenKind, chain_at, closing, is_name, outside, unquoted
from core.sql.values import Type, of_text

Fields = dict[str, "Fields"]
"""Columns, or the fields of a ROW, each with the fields that it has itself."""
Columns = Mapping[str, Fields]
"""The columns of tables, by their names as they are written, without backticks."""

_SET_OPERATIONS = ("UNION", "INTERSECT", "EXCEPT", "MINUS")
_AFTER_FROM = ("WHERE", "GROUP", "HAVING", "WINDOW", "QUALIFY", "ORDER", "LIMIT", "OFFSET", "FETCH")
_WINDOW_FUNCTIONS = ("TUMBLE", "HOP", "CUMULATE", "SESSION")
_OF_WINDOWS = ("window_start", "window_end", "window_time")
# What may follow a table and is no alias of it, and which Flink does not reserve in all its versions.
_NO_ALIAS = frozenset({"VIEW", "OPTIONS", "LATERAL"})
MAX_NESTED = 50


@dataclass
class Scope:
    """What may be named at the cursor: `sources` are the tables that its query reads by alias, or by name where they
    have none, `outer` those of the queries around it. `named` are the tables that it may mean where it has no FROM
    yet."""

    tables: Columns
    sources: dict[str, Fields] = field(default_factory=dict)
    outer: Columns = field(default_factory=dict)
    named: Columns = field(default_factory=dict)

    def of(self, chain: Sequence[str]) -> Fields:
        """The columns of a table; none for one that is not known."""
        full = ".".join(chain)
        return next((columns for name, columns in self.tables.items() if name.lower() == full.lower()), {})

    def source(self, name: str) -> Fields | None:
        """The columns of a table that the query reads under this name, whatever its case, or one around it; None when
        none does."""
        every = [*self.sources.items(), *self.outer.items()]
        return next((columns for alias, columns in every if alias.lower() == name.lower()), None)

    def inside(self, chain: Sequence[str]) -> Fields:
        """What may follow a name and a dot: columns of a table, fields of a ROW."""
        if len(chain) == 1 and (columns := self.source(chain[0])) is not None:
            return columns
        return self.of(chain) or self.fields(chain)

    def fields(self, chain: Sequence[str]) -> Fields:
        """The fields of a column that is a ROW, or of one that is a field itself."""
        if len(chain) > 1 and (columns := self.source(chain[0])) is not None:
            return _field(columns, chain[1:])
        return next((found for columns in self.sources.values() if (found := _field(columns, chain))), {})


def _field(fields: Fields, path: Sequence[str]) -> Fields:
    for name in path:
        fields = next((inner for of, inner in fields.items() if of.lower() == name.lower()), {})
    return fields


def scope_of(statement: Sequence[Token], tables: Columns, at: int | None = None) -> Scope:
    """What a statement means where a cursor is; `at` is its place in the text, None the end of it."""
    at = statement[-1].end + 1 if at is None and statement else at or 0
    start = next((i for i in range(len(statement)) if _begins_query(statement, i)), len(statement))
    while 0 < start < len(statement) and statement[start - 1].text == "(":
        start -= 1
    if start < len(statement) and statement[start].offset < at:
        return _innermost(statement[start:], Scope(tables), at, 0)
    scope = Scope(tables, named=_named_in(statement, tables))
    for i, token in enumerate(statement[:start]):
        if token.word in ("INTO", "OVERWRITE") and (chain := chain_at(statement, i + 1)):
            scope.sources[chain[-1]] = scope.of(chain)
            break
    return scope


def _begins_query(parts: Sequence[Token], at: int) -> bool:
    if at >= len(parts):
        return False
    is_with = parts[at].word == "WITH" and at + 1 < len(parts) and is_name(parts[at + 1])
    return is_with or parts[at].word == "SELECT"


def _innermost(parts: Sequence[Token], scope: Scope, at: int, depth: int) -> Scope:
    """The scope of the innermost query that the cursor stands in."""
    if depth > MAX_NESTED or not parts:
        return scope
    if parts[0].word == "WITH":
        tables = dict(scope.tables)
        left: Sequence[Token] = []
        for name, named, body, end in _common_tables(parts):
            if _stands_in(parts, body, at):
                return _innermost(_inside(parts, body), Scope(tables, outer=scope.outer), at, depth + 1)
            tables[name] = _renamed(named, _query(_inside(parts, body), tables, depth + 1))
            left = parts[end:]
        more = {name: columns for name, columns in tables.items() if name not in scope.tables}
        return _innermost(left, Scope(tables, outer=scope.outer, named=more), at, depth + 1)
    queries = _united(parts)
    query = next(query for query in reversed(queries) if query is queries[0] or query[0].offset < at)
    if query[0].text == "(" and _stands_in(query, 0, at):
        return _innermost(_inside(query, 0), scope, at, depth + 1)
    sort = _at_top(query, ("ORDER",))
    if len(queries) > 1 and sort < len(query) and query[sort].offset < at:
        return Scope(scope.tables, {"(0)": _query(queries[0], scope.tables, depth)}, scope.outer)
    opening = _subquery(query, at)
    if opening is None:
        meant = {**scope.named, **_named_in(query, scope.tables)}
        return Scope(scope.tables, _sources(query, scope.tables, depth), scope.outer, meant)
    outer = scope.outer
    is_read = _at_top(query, ("FROM",)) < opening < _at_top(query, _AFTER_FROM)
    if not is_read or (query[opening - 1].word not in ("FROM", "JOIN") and query[opening - 1].text != ","):
        sources = _sources(query, scope.tables, depth)
        outer = {**outer, **{name: columns for name, columns in sources.items() if not name.startswith("(")}}
    return _innermost(_inside(query, opening), Scope(scope.tables, outer=outer), at, depth + 1)


def _stands_in(parts: Sequence[Token], opening: int, at: int) -> bool:
    """Whether the cursor is in the parentheses that are opened at a token."""
    if not _opens(parts, opening) or at <= parts[opening].offset:
        return False
    end = closing(parts, opening)
    return end >= len(parts) or at <= parts[end].offset


def _subquery(parts: Sequence[Token], at: int) -> int | None:
    """Where the outermost query in parentheses is opened that the cursor stands in."""
    begun: list[int] = []
    for i, token in enumerate(parts):
        if token.offset >= at:
            break
        if token.text == "(":
            begun.append(i)
        elif token.text == ")" and begun:
            begun.pop()
    inner = [len(parts)]  # for each token, from the last one on, the next one that opens no parenthesis
    for i in range(len(parts) - 1, -1, -1):
        inner.append(inner[-1] if parts[i].text == "(" else i)
    return next((i for i in begun if _begins_query(parts, inner[len(parts) - i])), None)


def _named_in(parts: Sequence[Token], tables: Columns) -> Columns:
    """The tables whose names stand somewhere in some tokens."""
    words = {part for token in parts if is_name(token) for part in unquoted(token).split(".")}
    return {name: columns for name, columns in tables.items() if words.issuperset(name.split("."))}


def tables_in(statements: Sequence[Sequence[Token]], known: Columns) -> dict[str, Fields]:
    """The tables and views that statements make, with those that are `known`."""
    found: dict[str, Fields] = dict(known)
    for parts in statements:
        if not parts or not (chain := created_by(parts)):
            continue
        body = _behind(parts, chain)
        is_view = any(t.word == "VIEW" for t in parts[:5])
        found[".".join(chain)] = _of_view(body, found) if is_view else _of_table(body)
    return found


def _behind(parts: Sequence[Token], chain: Chain) -> Sequence[Token]:
    """What follows the name of what is made."""
    at = next(i for i, t in enumerate(parts) if is_name(t) and chain_at(parts, i) == chain)
    return parts[at + 2 * len(chain) - 1 :]


def fields_of(kind: str) -> Fields:
    """The fields of a type, where it is a ROW."""
    return _fields(of_text(kind))


def _fields(kind: Type) -> Fields:
    return {name: _fields(inner) for name, inner in kind.fields}


def _of_table(body: Sequence[Token]) -> Fields:
    """The names that begin each part of `(id BIGINT, PRIMARY KEY (id) ...)`."""
    items = [item for item in _separated(_inside(body, 0), angles=True) if item]
    return {
        unquoted(item[0]): fields_of(" ".join(token.text for token in item[1:]))
        for item in items
        if is_name(item[0]) and item[0].word not in ("WATERMARK", "PRIMARY", "CONSTRAINT")
    }


def _of_view(body: Sequence[Token], known: Columns) -> Fields:
    start = next((i for i, t in enumerate(body) if t.word == "AS"), len(body))
    return _renamed(_of_table(body[:start]), _query(body[start + 1 :], known, 0))


def _renamed(names: Iterable[str], columns: Fields) -> Fields:
    """Columns under other names, where there are any."""
    inner = iter(columns.values())
    return {name: next(inner, {}) for name in names} or columns


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


def _query(parts: Sequence[Token], tables: Columns, depth: int) -> Fields:
    """The columns that a query gives, as far as they have names."""
    if depth > MAX_NESTED or not parts:
        return {}
    if parts[0].text == "(":
        return _query(_inside(parts, 0), tables, depth + 1)
    if parts[0].word == "WITH":
        inner, end = dict(tables), len(parts)
        for name, named, body, end in _common_tables(parts):  # noqa: B007
            inner[name] = _renamed(named, _query(_inside(parts, body), inner, depth + 1))
        return _query(parts[end:], inner, depth + 1)
    if parts[0].word == "TABLE":
        return Scope(tables).of(chain_at(parts, 1))
    if parts[0].word != "SELECT":
        return {}
    first = _united(parts)[0]
    local = Scope(tables, _sources(first, tables, depth))
    columns: Fields = {}
    for item in _separated(first[1 : _at_top(first, ("FROM",))]):
        columns |= _selected([t for t in item if t.word not in ("DISTINCT", "ALL")], local)
    return columns


def _at_top(parts: Sequence[Token], words: Sequence[str]) -> int:
    """Where the first of some words stands outside of parentheses; the end when none does."""
    return next((i for i, token in outside(parts) if token.word in words), len(parts))


def _united(parts: Sequence[Token]) -> list[Sequence[Token]]:
    """The queries that UNION and the like put together; a last one that has not begun yet is left out."""
    found: list[Sequence[Token]] = []
    begin = 0
    for end in [*(i for i, token in outside(parts) if token.word in _SET_OPERATIONS), len(parts)]:
        found.append(parts[begin:end])
        begin = end + 1
        while begin < len(parts) and parts[begin].word in ("ALL", "DISTINCT"):
            begin += 1
    return [query for query in found if query] or [parts]


def _common_tables(parts: Sequence[Token]) -> Iterator[tuple[str, list[str], int, int]]:
    """WITH name [(columns)] AS (query), ... query: of each its name, its columns, where its query is opened, and where
    what follows it begins."""
    at = 2 if len(parts) > 1 and parts[1].word == "RECURSIVE" else 1
    while at < len(parts) and is_name(parts[at]):
        name = unquoted(parts[at])
        named = list(_of_table(parts[at + 1 :])) if _opens(parts, at + 1) else []
        body = next((i for i in range(at + 1, len(parts)) if parts[i].word == "AS"), len(parts)) + 1
        at = (closing(parts, body) if _opens(parts, body) else body) + 1
        yield name, named, body, at
        if at >= len(parts) or parts[at].text != ",":
            break
        at += 1


def _opens(parts: Sequence[Token], at: int) -> bool:
    return at < len(parts) and parts[at].text == "("


def _sources(query: Sequence[Token], tables: Columns, depth: int) -> dict[str, Fields]:
    """The tables of the FROM clause of a SELECT, whose conditions are passed over."""
    scope = Scope(tables)
    parts = query[_at_top(query, ("FROM",)) + 1 :]
    parts = parts[: _at_top(parts, _AFTER_FROM)]
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
            at = closing(parts, at) + 1
        else:
            at += 1
    return scope.sources


def _source(parts: Sequence[Token], at: int, scope: Scope, depth: int) -> int:
    """Take the table that begins at a token into the scope; returns where it ends."""
    chain = chain_at(parts, at)
    if parts[at].text == "(":
        columns = _query(_inside(parts, at), scope.tables, depth + 1)
        end = closing(parts, at) + 1
        chain = ()
    elif _opens(parts, at + 1) and chain:  # TABLE(TUMBLE(TABLE orders, ...)), UNNEST(...)
        columns = _of_function(_inside(parts, at + 1), scope)
        end = closing(parts, at + 1) + 1
        chain = ()
    elif chain:
        columns = scope.of(chain)
        end = at + 2 * len(chain) - 1
    else:
        return at + 1
    if end < len(parts) and parts[end].kind is TokenKind.HINT:
        end = next((i for i in range(end, len(parts)) if parts[i].kind is TokenKind.HINT_END), len(parts)) + 1
    if end + 3 < len(parts) and [t.word for t in parts[end : end + 4]] == ["FOR", "SYSTEM_TIME", "AS", "OF"]:
        end += 4 + max(1, 2 * len(chain_at(parts, end + 4)) - 1)
    if end < len(parts) and parts[end].word == "AS":
        end += 1
    alias = ""
    if end < len(parts) and is_name(parts[end]) and not _is_clause(parts[end]):
        alias = unquoted(parts[end])
        end += 1
        if _opens(parts, end):
            columns = _renamed([unquoted(t) for t in _inside(parts, end) if is_name(t)], columns)
            end = closing(parts, end) + 1
    name = alias or (chain[-1] if chain else "")
    scope.sources[name or f"({len(scope.sources)})"] = columns
    return end


def _is_clause(token: Token) -> bool:
    return token.word in RESERVED or token.word in _NO_ALIAS


def _of_function(inner: Sequence[Token], scope: Scope) -> Fields:
    """The columns of a windowing function: those of its table, and the window's."""
    columns: Fields = {}
    for i, token in enumerate(inner):
        if token.word == "TABLE" and i + 1 < len(inner):
            columns |= scope.of(chain_at(inner, i + 1))
    is_window = any(t.word in _WINDOW_FUNCTIONS for t in inner)
    return columns | ({name: {} for name in _OF_WINDOWS} if is_window else {})


def _selected(item: Sequence[Token], scope: Scope) -> Fields:
    """What one item of a SELECT gives, by its name."""
    if not item:
        return {}
    if [t.text for t in item] == ["*"]:
        return {name: inner for columns in scope.sources.values() for name, inner in columns.items()}
    if item[-1].text == "*" and len(item) > 2 and item[-2].text == ".":
        return scope.source(unquoted(item[-3])) or {}
    last = item[-1]
    if not is_name(last) or last.word in RESERVED:
        return {}
    chain = chain_at(item)
    behind = [t.word for t in item[2 * len(chain) - 1 :]]
    is_column = chain and (not behind or behind[0] == "AS" or len(behind) == 1)
    return {unquoted(last): scope.fields(chain) if is_column else {}}
