"""The INSERTs of a script as queries of the rows that they write, and given rows as tables.

A query stands behind what its sink does to rows: casts, columns that are left out, NOT NULL, lengths, the primary key
(docs/decisions/0024-what-a-sink-is-given.md). No sink is ever opened.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusters import state_files
from clusters.sql import SqlGateway, StatementFailed
from core.effects import Rejected
from core.errors import InvalidInput
from core.sql.changelog import Materialized, Table, Upserted
from core.sql.changelog_plan import ChangelogPlan, changelog_plan
from core.sql.described import Described, described
from core.sql.given_rows import as_lines, rows_of_csv, stand_in
from core.sql.rewriting import Sink, as_query, as_view, taken_apart, takes_updates_probe
from core.sql.script import Statement, placed
from core.sql.tokens import Chain, chain_at, quoted, quoted_name, tokens
from sql.streams import NotNull, Stream
from sql.validate import Validation

_NOT_NULL_ENFORCER = "table.exec.sink.not-null-enforcer"
_INSERTS = frozenset({"I"})


@dataclass(frozen=True)
class Given:
    """Rows that stand in for a table."""

    rows: list[dict[str, Any]]


def given(name: str, rows: list[dict[str, Any]] | None, text: str | None) -> Given:
    """Rows as they were typed: objects, or CSV with a header."""
    return Given(rows if rows is not None else rows_of_csv(text or "", name))


async def streams_of(
    gateway: SqlGateway,
    session: str,
    inserts: Sequence[Statement],
    validation: Validation,
    sources: dict[str, Given],
    folder: str,
    connector: Callable[[], Awaitable[Path]],
) -> list[Stream]:
    """A stream of each INSERT, with given rows in place of the tables `sources`; `folder` is for those rows, and the
    gateway's cluster reads it. `connector` gives the jar that answers lookups, and raises `Rejected`. Raises
    `InvalidInput`."""
    plans = [await _plan(gateway, session, statement) for statement in inserts]
    files = []
    temporary = []
    has_connector = False
    for number, (name, source) in enumerate(sources.items()):
        chain = chain_at(tokens(name))
        columns = await _described_source(gateway, session, chain)
        full = _source(name, validation)
        looked_up = any(full in plan.lookups for plan in plans)
        if looked_up:
            _check_looked_up_only(name, full, plans)
            if not has_connector:
                temporary.append(f"ADD JAR {quoted(str(await _lookup_connector(name, connector)))}")
                has_connector = True
        changes = frozenset[str]().union(*(plan.sources.get(full, frozenset()) for plan in plans)) or _INSERTS
        path = f"{folder}/{number}"
        temporary.append(f"DROP TEMPORARY TABLE IF EXISTS {quoted_name(*chain)}")
        lines = as_lines(source.rows, columns, name, changes)
        table = stand_in(chain, columns, path, changes=changes != _INSERTS, looked_up=looked_up)
        files.append((path, lines, table))
    sinks = [taken_apart(statement) for statement in inserts]
    tables = [described(await gateway.rows(session, f"DESCRIBE {quoted_name(*sink.table)}")) for sink in sinks]
    drops = await _drops_nulls(gateway, session)
    streams = []
    views = []
    for sink, columns, plan in zip(sinks, tables, plans, strict=True):
        persisted = [c for c in columns if c.persisted]
        view = f"penstock debug {sink.statement.number}" if sink.is_sorted else None
        views += [as_view(sink, columns, view)] if view else []
        streams.append(
            Stream(
                _stream_name(sink, sinks),
                as_query(sink, columns, view),
                not_null=NotNull({at: c.name for at, c in enumerate(persisted) if not c.nullable}, drops=drops),
                table=await _table(gateway, session, sink, persisted, plan),
            )
        )
    for statement in temporary:  # one of the script's own, or in front of a table of a catalog
        await gateway.execute(session, statement)
    for path, lines, statement in files:
        await state_files.make_folder(path)
        await state_files.write(f"{path}/rows.json", lines)
        await gateway.execute(session, statement)
    for statement in views:
        await gateway.execute(session, statement)
    return streams


async def _plan(gateway: SqlGateway, session: str, statement: Statement) -> ChangelogPlan:
    text = placed(statement.without_execute())
    try:
        rows = await gateway.rows(session, f"EXPLAIN CHANGELOG_MODE\n{text}")
    except StatementFailed:
        return ChangelogPlan()
    return changelog_plan(str(rows[0][0]) if rows else "")


def read_as(name: str, validation: Validation) -> str | None:
    """The full name of a table of a script, if the script reads it."""
    dotted = ".".join(chain_at(tokens(name)))
    return next((read for read in validation.reads if f".{read}".endswith(f".{dotted}")), None)


def _source(name: str, validation: Validation) -> str:
    """The full name of a table for which there are rows. Raises `InvalidInput` when the script does not read it."""
    full = read_as(name, validation)
    if full is None:
        raise InvalidInput(
            f"The script does not read {name}.",
            code="source_not_read",
            field=f"sources.{name}",
            remedy=f"It reads: {', '.join(validation.reads)}.",
        )
    return full


async def _lookup_connector(name: str, connector: Callable[[], Awaitable[Path]]) -> Path:
    try:
        return await connector()
    except Rejected as error:
        raise _looked_up(name, f"Rows cannot stand in for it here: {error.sentence}") from error


def _check_looked_up_only(name: str, full: str, plans: Sequence[ChangelogPlan]) -> None:
    if any(full in plan.sources for plan in plans):
        raise _looked_up(name, "It is read as a whole, too, and one table of rows cannot answer both.")


def _looked_up(name: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"{name} is read by a lookup join (FOR SYSTEM_TIME AS OF a processing time): it is asked for each row at the "
        f"moment at which the row comes. {why}",
        code="source_looked_up",
        field=f"sources.{name}",
        remedy="Leave it out of `sources`, and the lookups go to the real table; rows can stand in for all others.",
    )


async def _described_source(gateway: SqlGateway, session: str, chain: Chain) -> list[Described]:
    try:
        return described(await gateway.rows(session, f"DESCRIBE {quoted_name(*chain)}"))
    except StatementFailed as error:
        raise InvalidInput(
            f"There is no table {'.'.join(chain)[:200]} in the script.", code="source_not_found", field="sources"
        ) from error


async def _drops_nulls(gateway: SqlGateway, session: str) -> bool:
    """Whether the session's configuration has Flink drop rows with a null in a column that is NOT NULL."""
    settings = {str(row[0]): str(row[1]) for row in await gateway.rows(session, "SET") if len(row) > 1}
    return settings.get(_NOT_NULL_ENFORCER, "").upper() == "DROP"


async def _table(
    gateway: SqlGateway, session: str, sink: Sink, persisted: Sequence[Described], plan: ChangelogPlan
) -> Table:
    """How the sink keeps its rows: one per primary key, unless it has none or takes inserts only."""
    key = [at for at, column in enumerate(persisted) if column.key]
    if not key or (plan.sent <= _INSERTS and not await _takes_updates(gateway, session, sink, persisted)):
        return Materialized()
    keeps_history = plan.materialized or "UB" in plan.sent
    return Upserted(key, keeps_history=keeps_history, first=sink.on_conflict == "NOTHING")


async def _takes_updates(gateway: SqlGateway, session: str, sink: Sink, persisted: Sequence[Described]) -> bool:
    try:
        await gateway.rows(session, f"EXPLAIN {takes_updates_probe(sink, persisted)}")
    except StatementFailed as error:
        return "doesn't support consuming update" not in (error.stack or error.message)
    return True


def _stream_name(sink: Sink, sinks: list[Sink]) -> str:
    """The sink's table; with the number of the statement when several INSERTs write it."""
    name = ".".join(sink.table)
    alone = sum(1 for s in sinks if s.table == sink.table) == 1
    return name if alone else f"{name}#{sink.statement.number}"
