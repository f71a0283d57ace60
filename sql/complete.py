"""What may stand at the cursor: Flink's completer for keywords and functions, its factories for connectors and their
options, the catalog for the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.effects import EngineError
from core.errors import InvalidInput
from core.specs import Use
from core.sql.references import chain_at
from core.sql.resources import TableDefinition
from core.sql.script import statements
from services import Services
from sql.options import known
from store import clusters, jobs, resources

MAX_CANDIDATES = 200


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
    match = re.search(r"[\w.`$-]*$", before)
    word = match.group() if match else ""
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
    mentioned = {name: columns for name, columns in tables.items() if re.search(rf"\b{re.escape(name)}\b", text)}
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
    start = max((m.end() for m in re.finditer(";", before)), default=0)
    statement = before[start:].lstrip()
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
        every = list(statements(text))
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
            if fresh and token.kind in ("word", "name") and token.word not in ("WATERMARK", "PRIMARY", "CONSTRAINT"):
                columns.append(token.text.strip("`"))
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
    match = re.search(r"WITH\s*\(((?:[^()']|'[^']*')*)'([^']*)$", before, re.IGNORECASE)
    if match is None:
        return None
    key = re.search(r"'([^']*)'\s*=\s*$", match.group(1))
    given = dict(re.findall(r"'([^']*)'\s*=\s*'([^']*)'", match.group(1)))
    return _Place(given, key.group(1) if key else None, match.group(2))


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
