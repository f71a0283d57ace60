"""What may stand at the cursor: Flink's completer for keywords and functions, its factories for connectors, their
options and values, the catalog and the text itself for the rest."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from core.specs import Use
from core.sql import setting_keys
from core.sql.catalogs import BEGINNING, Position
from core.sql.completion import (
    BEGINNINGS,
    InOptions,
    in_options,
    options_of,
    readable,
    split,
    written,
)
from core.sql.resources import TableDefinition
from core.sql.scopes import Columns, Scope, fields_of, scope_of, tables_in
from core.sql.tokens import Token, TokenKind, is_name, tokens, unquoted
from services import Services
from sql.catalog_names import Catalogs, Named
from sql.completer import Completer
from sql.options import COLUMN, known, values
from sql.views import those_without, views_in
from store import catalogs, clusters, jobs, resources
from store.tables import Cluster

MAX_CANDIDATES = 200
_WORD = re.compile(r"[A-Za-z_]\w*\(?")
_DEFAULT = "default_catalog.default_database."


@dataclass(frozen=True)
class Candidate:
    """What may take the place of the word at the cursor."""

    text: str
    kind: Annotated[
        str,
        Field(description="keyword, table, column, function, catalog, database, connector, option, value or name"),
    ]
    detail: str = ""


@dataclass(frozen=True)
class Cursor:
    """Where the cursor stands. `word` is the part of a name in front of it, which begins at `at`, `prefix` the names
    and dots before that. `statement` is the one that is being written, without the word, `before` what of it stands in
    front of that; `unclosed` a string or a quoted name that the cursor stands in. `others` are the statements before
    it, `text` is the statement's and `position` the cursor's in that; `offset` is the cursor's in all."""

    at: int
    word: str
    prefix: tuple[str, ...]
    statement: list[Token]
    before: list[Token]
    unclosed: str
    others: list[list[Token]]
    text: str
    position: int
    offset: int


def cursor_in(text: str, position: int) -> Cursor:
    """Where `position`, in characters, is in a text."""
    parts, unclosed = readable(text[:position])
    before = split(parts)
    current = list(before[-1])
    at, word = position, ""
    if unclosed.startswith("`"):
        at, word = position - len(unclosed), unclosed[1:]
        text = text[:at] + " " * len(unclosed) + text[position:]
    whole = split(readable(text)[0])
    statement = whole[len(before) - 1] if len(whole) >= len(before) else current
    if not unclosed and current and is_name(current[-1]) and current[-1].end == position:
        last = current.pop()
        at, word = last.offset, unquoted(last)
    prefix: list[str] = []
    rest = list(current)
    while len(rest) > 1 and rest[-1].text == "." and is_name(rest[-2]):
        prefix.insert(0, unquoted(rest[-2]))
        rest = rest[:-2]
    ends = [t.end for t in parts if t.kind is TokenKind.END]
    start = ends[-1] if ends else 0
    start += len(text[start:position]) - len(text[start:position].lstrip())
    end = statement[-1].end if statement else position
    body = text[start : max(end, position)]
    statement = [t for t in statement if not (t.offset == at and word)]
    return Cursor(at, word, tuple(prefix), statement, rest, unclosed, before[:-1], body, position - start, position)


async def candidates(
    services: Services,
    project: str,
    cluster_name: str,
    cursor: Cursor,
    completer: Completer,
    words: list[str] | None,
    uses: Sequence[Use],
    where: Position = BEGINNING,
) -> tuple[int, list[Candidate]]:
    """(where the word at the cursor begins, what may take its place). `words` are what a session's completer said;
    without a session `completer` is asked. `uses` are libraries whose connectors count, `where` is the place of the
    session."""
    async with services.database.read() as session:
        await jobs.project(session, project)
        cluster = await clusters.get(session, cluster_name)
        visible = await resources.visible(session, project)
        rows = {row.name: row for row in await catalogs.of_project(session, project)}
    definitions: dict[str, TableDefinition] = {}
    for item in visible:
        row = item.resource
        name = row.name if row.project == project else f"{row.project}.{row.name}"
        if not resources.is_view(row):
            definitions[name] = TableDefinition.model_validate(row.definition)
    registered: Columns = {
        name: {c.name: fields_of(c.type or "") for c in table.columns} for name, table in definitions.items()
    }
    views = views_in(visible, project)
    registered = tables_in([tokens(views[name].ddl(name)) for name in those_without((), views)], registered)
    if (place := in_options(cursor.before, cursor.unclosed)) is not None:
        hinted = ".".join(place.hinted)
        table = options_of(cursor.others, hinted) or (definitions[hinted].options if hinted in definitions else {})
        made = tables_in([cursor.statement], {}).values()
        columns = Scope(tables_in(cursor.others, registered)).of(place.hinted) if hinted else next(iter(made), {})
        matches = await _options(services, project, cluster_name, uses, place, table, columns)
        return cursor.offset - len(place.typed), matches[:MAX_CANDIDATES]
    if cursor.unclosed and not cursor.unclosed.startswith("`"):
        return cursor.at, []  # a string, a comment
    tables = tables_in(cursor.others, registered)
    for statement in cursor.others:
        where = where.after(statement) if statement else where
    inside, said = await asyncio.gather(
        Catalogs(services, project, cluster_name, rows, where).named(cursor.prefix, cursor.statement),
        _words(completer, cluster, cursor, words),
    )
    of_catalogs: Columns = {name: {column: {} for column in columns} for name, columns in inside.columns.items()}
    scope = scope_of(cursor.statement, {**tables, **of_catalogs}, cursor.at)
    matches = list(_named(cursor, scope, tables))
    matches += _of_catalogs(cursor, inside)
    matches += _said(said, {c.text.lower() for c in matches}, cursor)
    rank = {"column": 0, "table": 1}
    ordered = sorted(set(matches), key=lambda c: (rank.get(c.kind, 2), c.text.lower()))
    return cursor.at, ordered[:MAX_CANDIDATES]


def _named(cursor: Cursor, scope: Scope, tables: Columns) -> Iterable[Candidate]:
    """Columns and tables whose names begin like the word at the cursor."""
    lower = cursor.word.lower()
    if cursor.prefix:
        where = ".".join(cursor.prefix)
        for name in scope.inside(cursor.prefix):
            if name.lower().startswith(lower):
                yield Candidate(written(name), "column", where)
        for name in tables:
            rest = name[len(where) + 1 :]
            if name.lower().startswith(f"{where}.{lower}".lower()):
                yield Candidate(_chain(rest), "table")
        return
    if not cursor.before:
        yield from (Candidate(b, "keyword") for b in BEGINNINGS if b.lower().startswith(lower))
        return
    for source, columns in (scope.sources or scope.named).items():
        detail = "" if source.startswith("(") else source
        yield from (Candidate(written(c), "column", detail) for c in columns if c.lower().startswith(lower))
    for source in {**scope.sources, **scope.outer, **scope.named}:
        if not source.startswith("(") and source not in tables and source.lower().startswith(lower):
            yield Candidate(written(source), "table")
    yield from (Candidate(_chain(name), "table") for name in tables if name.lower().startswith(lower))


def _of_catalogs(cursor: Cursor, inside: Named) -> Iterable[Candidate]:
    if not cursor.before and not cursor.prefix:
        return  # the beginning of a statement
    lower, detail = cursor.word.lower(), ".".join(cursor.prefix)
    for name, kind in inside.names:
        if name.lower().startswith(lower):
            yield Candidate(written(name), kind, detail)


def _chain(name: str) -> str:
    return ".".join(written(part) for part in name.split("."))


def _said(words: Iterable[str], known_: set[str], cursor: Cursor) -> list[Candidate]:
    """What Flink's completer said, as candidates."""
    matches: list[Candidate] = []
    if cursor.unclosed:
        return matches
    for said in words:
        name = said.removeprefix(_DEFAULT).replace("`", "")
        if not name.lower().startswith(cursor.word.lower()) or name.lower() in known_:
            continue
        if cursor.prefix:
            if name[:1].isalpha() and "(" not in name:
                matches.append(Candidate(written(name), "column", ".".join(cursor.prefix)))
        elif name != said:
            matches.append(Candidate(_chain(name), "table"))
        elif _WORD.fullmatch(name) or " " in name or "." in name:
            kind = "keyword" if name.isupper() else "function" if "(" in name else "name"
            matches.append(Candidate(name if kind != "name" else _chain(name), kind))
    return matches


async def _words(completer: Completer, cluster: Cluster, cursor: Cursor, said: list[str] | None) -> list[str]:
    """What Flink's completer says, unless a session's has `said` it."""
    if said is not None:
        return said
    return [] if cursor.prefix else await completer.words(cluster, cursor.text[: cursor.position])


async def _options(
    services: Services,
    project: str,
    cluster: str,
    uses: Sequence[Use],
    place: InOptions,
    table: dict[str, str],
    columns: Iterable[str],
) -> list[Candidate]:
    """`table` are the options that the table of a hint has itself, `columns` those of the table that it is all about.
    Some options have the name of a column in them: there is one for each."""
    given = {**table, **place.given}
    connector = given.get("connector", "")
    if not place.of_table:
        names: Iterable[str] = setting_keys.KEYS if place.of is None else setting_keys.values_of(place.of)
        kind = "option" if place.of is None else "value"
    elif place.of == "connector":
        names, kind = await known(services, project, cluster, uses, {}), "connector"
    elif place.of is not None:
        names, kind = await values(services, project, cluster, uses, given, place.of), "value"
    elif connector:
        names, kind = _of_columns(await known(services, project, cluster, uses, given), columns), "option"
    else:
        names, kind = [] if place.hinted else ["connector"], "option"
    matches = [n for n in names if n.lower().startswith(place.typed.lower()) and (place.of or n not in place.given)]
    if place.hinted and place.of is None:
        matches = [n for n in matches if n != "connector"]  # a hint does not change it
    return [Candidate(n, kind, connector) for n in matches]


def _of_columns(names: Sequence[str], columns: Iterable[str]) -> list[str]:
    matches = []
    for name in names:
        matches += [name.replace(COLUMN, column) for column in columns] if COLUMN in name else [name]
    return matches
