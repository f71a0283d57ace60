"""What may stand at the cursor: Flink's completer for keywords and functions, its factories for connectors and their
options, the catalog for the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.effects import EngineError
from core.errors import InvalidInput
from core.specs import Use
from core.sql.resources import TableDefinition
from core.sql.tokens import (
    SKIPPED,
    Kind,
    Token,
    chain_at,
    is_name,
    lexemes,
    literal,
    options_in,
    statements,
    tokens,
    unquoted,
)
from services import Services
from sql.options import known
from store import clusters, jobs, resources

MAX_CANDIDATES = 200
LONGEST_WORD = 1000
_WORD = re.compile(r"[\w.`$-]*")
_PARTS = re.compile(r"\w+")


@dataclass(frozen=True)
class Candidate:
    text: str
    kind: str
    detail: str = ""


async def candidates(
    services: Services,
    project: str,
    cluster_name: str,
    text: str,
    position: int,
    words: list[str] | None,
    uses: Sequence[Use],
) -> tuple[int, list[Candidate]]:
    """(where the word at the cursor begins, what may take its place). `words` are what a session's completer said;
    without a session a passing one is asked. `uses` are libraries whose connectors count."""
    before = text[: min(position, len(text))]
    match = _WORD.match(before[: -LONGEST_WORD - 1 : -1])
    word = match.group()[::-1] if match else ""
    at = len(before) - len(word)
    async with services.database.read() as session:
        await jobs.project(session, project)
        await clusters.get(session, cluster_name)
        visible = await resources.visible(session, project)
    tables = _tables_of(text)
    for item in visible:
        row = item.resource
        definition = TableDefinition.model_validate(row.definition)
        name = row.name if row.project == project else f"{row.project}.{row.name}"
        tables.setdefault(name, [c.name for c in definition.columns])
    if (place := _in_options(before)) is not None:
        return len(before) - len(place.typed), await _options(services, project, cluster_name, uses, place)
    found: list[Candidate] = []
    lower = word.strip("`").lower()
    words_of_text = set(_PARTS.findall(text))
    mentioned = {name: columns for name, columns in tables.items() if words_of_text.issuperset(_PARTS.findall(name))}
    for name, columns in mentioned.items():
        found += [Candidate(c, "column", name) for c in columns if c.lower().startswith(lower)]
    found += [Candidate(n, "table") for n in tables if n.lower().startswith(lower)]
    if words is None:
        words = await _asked(services, cluster_name, before)
    known = {c.text.lower() for c in found}
    for said in words or []:
        if said.lower() not in known and said.lower().startswith(lower):
            found.append(Candidate(said, "keyword" if said.isupper() else "function" if "(" in said else "name"))
    return at, sorted(set(found), key=lambda c: (c.kind != "column", c.kind != "table", c.text.lower()))[
        :MAX_CANDIDATES
    ]


async def _asked(services: Services, cluster_name: str, before: str) -> list[str]:
    """Flink's completer in a session of its own, which knows keywords and functions."""
    async with services.database.read() as session:
        cluster = await clusters.get(session, cluster_name)
    statement = before[before.rfind(";") + 1 :].lstrip()
    try:
        gateway, handle = await services.engines.compiler(cluster).open_session({})
        try:
            return await gateway.complete(handle, statement, len(statement))
        finally:
            await gateway.close(handle)
    except EngineError:
        return []  # the catalog's part is still worth having


def _tables_of(text: str) -> dict[str, list[str]]:
    """Tables that the text makes itself, with their columns as far as they can be seen."""
    found: dict[str, list[str]] = {}
    try:
        every = list(statements(tokens(text)))
    except InvalidInput:
        return found  # a text that is being written is seldom whole
    for parts in every:
        words = [t.word for t in parts[:6]]
        if words[:1] != ["CREATE"] or "TABLE" not in words:
            continue
        rest = [t for t in parts[words.index("TABLE") + 1 :] if t.word not in ("IF", "NOT", "EXISTS")]
        chain = chain_at(rest)
        if not chain:
            continue
        body = rest[2 * len(chain) - 1 :]
        columns, depth, fresh = [], 0, False
        for token in body:
            depth += {"(": 1, ")": -1, "<": 1, ">": -1}.get(token.text, 0)
            if depth == 0 and token.text == ")":
                break
            if fresh and is_name(token) and token.word not in ("WATERMARK", "PRIMARY", "CONSTRAINT"):
                columns.append(unquoted(token))
            fresh = depth == 1 and token.text in ("(", ",")
        found[".".join(chain)] = columns
    return found


@dataclass(frozen=True)
class _Place:
    """The cursor stands in an option of a table: `given` are those before it, `of` the key when it is in a value."""

    given: dict[str, str]
    of: str | None
    typed: str


def _in_options(before: str) -> _Place | None:
    parts: list[Token] = []
    try:
        for token in lexemes(before):
            parts.append(token)
    except InvalidInput:
        typed = before[parts[-1].end if parts else 0 :]
    else:
        return None
    parts = [t for t in parts if t.kind not in SKIPPED]
    opening = next((i for i in range(len(parts) - 1, -1, -1) if parts[i].text in ("(", ")")), 0)
    if not typed.startswith("'") or not parts or parts[opening].text != "(" or parts[opening - 1].word != "WITH":
        return None
    options = parts[opening + 1 :]
    given = {literal(key.text): literal(value.text) for key, value in options_in(options)}
    of = None
    if len(options) > 1 and options[-1].text == "=" and options[-2].kind is Kind.STRING:
        of = literal(options[-2].text)
    return _Place(given, of, typed[1:])


async def _options(
    services: Services, project: str, cluster: str, uses: Sequence[Use], place: _Place
) -> list[Candidate]:
    connector = place.given.get("connector", "")
    if place.of is not None:
        names = await known(services, project, cluster, uses, {}) if place.of == "connector" else []
        kind = "connector"
    else:
        names = await known(services, project, cluster, uses, place.given) if connector else ["connector"]
        kind = "option"
    found = [n for n in names if n.startswith(place.typed) and n not in place.given]
    return [Candidate(n, kind, connector) for n in found[:MAX_CANDIDATES]]
