"""Which connectors and formats there are, which options they take, and which library has one that is missing: asked of
Flink, with tables it has to refuse.

Flink names what is required when that is missing, and all that is supported when an option is not; both before it
connects to anything (2.3.0 and 1.20.5, `FactoryUtil`).
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from clusters.sql import SqlGateway, StatementFailed
from core.effects import EngineError
from core.errors import InvalidInput, PenstockError
from core.specs import Use
from core.sql.script import EMPTY
from core.sql.tokens import quoted
from services import Services
from settings import clock, waits
from sql.environment import environment, prepared_session
from store import clusters, resources
from store.database import Session
from store.tables import Cluster

UNKNOWN = "penstock.unknown"
COLUMN = "penstock_column"
"""The one column of the tables that Flink is asked with: in an option's name it stands for each column."""
FORMATS = (
    *("json", "csv", "raw", "avro", "avro-confluent", "protobuf", "parquet", "orc", "debezium-json", "canal-json"),
    *("maxwell-json", "ogg-json", "debezium-avro-confluent"),
)
"""Formats that Flink documents. It does not list those that it has, so each is tried."""
ROUNDS = 8
MOST_KEPT = 500
MOST_TRIED = 20
_READ, _WRITE = "EXPLAIN SELECT * FROM penstock_asked", "EXPLAIN INSERT INTO penstock_asked SELECT 1"
_LIST = r"((?:\n[\w.<>#*/-]+(?: \([^\n]*\))?)*)"
_FACTORIES = re.compile(rf"Available factory identifiers are:{_LIST}")
_SUPPORTED = re.compile(rf"\nSupported options:{_LIST}")
_MISSING = re.compile(rf"Missing required options are:{_LIST}")

_kept: dict[tuple[str, ...], tuple[float, list[str]]] = {}


def told(pattern: re.Pattern[str], message: str) -> list[str]:
    """The list that a message of Flink's ends with, one name per line."""
    match = pattern.search(re.sub(r"\n\s*\n", "\n", message))
    return [line.split()[0] for line in match.group(1).splitlines() if line] if match else []


async def known(
    services: Services, project: str, cluster: str, uses: Sequence[Use], given: dict[str, str]
) -> list[str]:
    """Names of options for a table with `given` options, or of connectors when none is given. Empty when Flink cannot
    be asked or cannot tell. Without `uses` the newest version of each library of the project is looked at."""
    async with services.database.read() as session:
        row = await clusters.get(session, cluster)
        libraries = list(uses) or await _newest(services, session, project)
    asked = {k: v for k, v in given.items() if k == "connector" or k == "format" or k.endswith(".format")}
    key = (
        project,
        cluster,
        row.flink_version,
        *(f"{u.name}@{u.version}" for u in libraries),
        *sorted(map(str, asked.items())),
    )
    if (kept := _recent(key)) is not None:
        return kept
    try:
        names = await _asked(services, project, row, libraries, asked)
    except (EngineError, PenstockError):
        return []  # the rest of a completion is still worth having
    if names:
        _keep(key, names)
    return names


def _recent(key: tuple[str, ...]) -> list[str] | None:
    at, names = _kept.get(key, (-math.inf, []))
    return names if clock.monotonic() - at < waits.OPTIONS_KEPT_SECONDS else None


def _keep(key: tuple[str, ...], names: list[str]) -> None:
    if len(_kept) >= MOST_KEPT:
        _kept.clear()
    _kept[key] = (clock.monotonic(), names)


async def _newest(services: Services, session: Session, project: str) -> list[Use]:
    newest: dict[str, Use] = {}
    for row in await resources.libraries(session, project):
        if row.kind == "jar" and row.state == "READY":
            newest[row.name] = Use(name=row.name, version=row.version)
    return list(newest.values())


_CHOICES = re.compile(r"Expected one of: \[+([\w, .-]+)\]|(Unrecognized option for boolean)")


async def values(
    services: Services, project: str, cluster: str, uses: Sequence[Use], given: dict[str, str], key: str
) -> list[str]:
    """Values that an option of a table may have, where Flink tells them; of a format those that it has."""
    async with services.database.read() as session:
        row = await clusters.get(session, cluster)
        libraries = list(uses) or await _newest(services, session, project)
    scope = (project, cluster, row.flink_version, *(f"{u.name}@{u.version}" for u in libraries))
    of_value = (*scope, "value", key, given.get("connector", ""))
    if (kept := _recent(of_value)) is not None:
        return kept
    try:
        names = await _values(services, project, row, libraries, given, key)
    except (EngineError, PenstockError):
        return []
    _keep(of_value, names)
    return names


async def _values(
    services: Services, project: str, cluster: Cluster, libraries: Sequence[Use], given: dict[str, str], key: str
) -> list[str]:
    async with _session(services, project, cluster, libraries) as (gateway, handle):
        if key == "format" or key.endswith(".format"):
            tried = {"connector": "filesystem", "path": "/"}
            asked = [(f, await _refusal(gateway, handle, _READ, {**tried, "format": f})) for f in FORMATS]
            return [name for name, refusal in asked if _NOT_THERE.search(refusal) is None]
        options = {**given, key: UNKNOWN}
        for _ in range(ROUNDS):
            message = await _refusal(gateway, handle, _READ, options)
            if match := _CHOICES.search(message):
                return ["true", "false"] if match.group(2) else [v.strip() for v in match.group(1).split(",")]
            missing = [name for name in told(_MISSING, message) if name not in options]
            if not missing:
                return []
            options |= _made_up(missing)
        return []


_NOT_THERE = re.compile(r"Could not find any (format )?factory for identifier '([^']+)'")


async def remedy(services: Services, project: str, cluster: str, uses: Sequence[Use], message: str) -> str | None:
    """What to do about a connector or a format that Flink's message misses; None when it misses none. The libraries of
    the project that are not in use are tried one by one."""
    if (match := _NOT_THERE.search(message)) is None:
        return None
    what, name = "format" if match.group(1) else "connector", match.group(2)
    given = {"connector": "filesystem", "path": "/", "format": name} if match.group(1) else {"connector": name}
    having = []
    try:
        async with services.database.read() as session:
            row = await clusters.get(session, cluster)
            others = [use for use in await _newest(services, session, project) if use not in uses]
        for use in others[:MOST_TRIED]:
            if await _has(services, project, row, use, given):
                having.append(f"{use.name}:{use.version}")
    except (EngineError, PenstockError):
        return None  # the message itself is still worth having
    if not having:
        return f"No library of the project {project} has the {what} {name}. Register one (`penstock libraries add`)."
    return (
        f"The library {' or '.join(having)} of the project has it: name it under `libraries` (`--library {having[0]}`)."
    )


async def _has(services: Services, project: str, cluster: Cluster, use: Use, given: dict[str, str]) -> bool:
    async with _session(services, project, cluster, [use]) as (gateway, handle):
        return _NOT_THERE.search(await _refusal(gateway, handle, _READ, given)) is None


@asynccontextmanager
async def pointing_to_libraries(
    services: Services, project: str, cluster: str, uses: Sequence[Use]
) -> AsyncIterator[None]:
    """An `InvalidInput` that comes out of it for a connector that is missing says which library has it."""
    try:
        yield
    except InvalidInput as error:
        error.remedy = error.remedy or await remedy(services, project, cluster, uses, error.message)
        raise


async def _asked(
    services: Services, project: str, cluster: Cluster, libraries: Sequence[Use], given: dict[str, str]
) -> list[str]:
    async with _session(services, project, cluster, libraries) as (gateway, handle):
        if "connector" not in given:
            return told(_FACTORIES, await _refusal(gateway, handle, _READ, {"connector": UNKNOWN}))
        names: set[str] = set()
        for kind in (_READ, _WRITE):
            names |= set(await _supported(gateway, handle, kind, {**given, UNKNOWN: "1"}))
        return sorted(names)


@asynccontextmanager
async def _session(
    services: Services, project: str, cluster: Cluster, libraries: Sequence[Use]
) -> AsyncIterator[tuple[SqlGateway, str]]:
    """A session with some libraries of a project."""
    async with services.database.read() as session:
        env = await environment(services, session, project, EMPTY, uses=libraries, open_secrets=False)
    async with prepared_session(services.engines.compiler(cluster), env, {}) as opened:
        yield opened


def _made_up(required: Sequence[str]) -> dict[str, str]:
    """Values for options that have to be there before Flink says more."""
    return {name: "json" if name.endswith("format") else "?" for name in required}


async def _supported(gateway: SqlGateway, handle: str, kind: str, options: dict[str, str]) -> list[str]:
    names: list[str] = []
    for _ in range(ROUNDS):
        message = await _refusal(gateway, handle, kind, options)
        missing = [name for name in told(_MISSING, message) if name not in options]
        names += missing
        if not missing:
            return [*names, *told(_SUPPORTED, message)]
        options = options | _made_up(missing)
    return names


async def _refusal(gateway: SqlGateway, handle: str, kind: str, options: dict[str, str]) -> str:
    """What Flink says against a table with these options; nothing when it takes it."""
    within = ", ".join(f"{quoted(k)} = {quoted(v)}" for k, v in options.items())
    try:
        await gateway.execute(handle, "DROP TEMPORARY TABLE IF EXISTS penstock_asked")
        await gateway.execute(handle, f"CREATE TEMPORARY TABLE penstock_asked ({COLUMN} INT) WITH ({within})")
        await gateway.execute(handle, kind)
    except StatementFailed as error:
        return error.message
    return ""
