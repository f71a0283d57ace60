"""What of the project's catalogs may stand at a cursor: their names, databases, tables and columns, asked of Flink and
remembered for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from core.effects import EngineError
from core.errors import PenstockError
from core.sql.catalogs import Position
from core.sql.references import LONGEST_NAME
from core.sql.tokens import Chain, Token, chains
from services import Services
from settings import clock, waits
from sql import browsing
from store.tables import Catalog

MOST_TABLES = 10
"""Tables of a statement whose columns are asked for."""
MOST_KEPT = 1000
_kept: dict[tuple[object, ...], tuple[float, list[str]]] = {}


@dataclass(frozen=True)
class Named:
    """`names` are what may follow (what, kind), `columns` those of the tables of catalogs that the statement names, by
    their names as they are written."""

    names: list[tuple[str, str]] = field(default_factory=list)
    columns: dict[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Catalogs:
    """The catalogs of a project, as a cluster's Flink sees them. `where` short names are names of."""

    services: Services
    project: str
    cluster: str
    rows: Mapping[str, Catalog]
    where: Position

    async def named(self, prefix: Sequence[str], statement: Sequence[Token]) -> Named:
        """What may follow the names `prefix`, and the columns of what a statement names. What Flink does not tell in
        time is left out."""
        columns: dict[str, Sequence[str]] = {}
        try:
            async with asyncio.timeout(waits.CATALOG_NAMES_SECONDS):
                for written, full in self._tables(statement):
                    columns[".".join(written)] = await self._asked(*full)
                return Named(await self._after(tuple(prefix)), columns)
        except TimeoutError:
            return Named([], columns)

    async def _after(self, prefix: Chain) -> list[tuple[str, str]]:
        names: list[tuple[str, str]] = []
        home = self.where.catalog if self.where.catalog in self.rows else None
        match prefix:
            case ():
                names += [(name, "catalog") for name in self.rows]
                if home:
                    names += [(name, "database") for name in await self._asked(home)]
                    if database := self._database(home):
                        names += [(name, "table") for name in await self._asked(home, database)]
            case (catalog,) if catalog in self.rows:
                names += [(name, "database") for name in await self._asked(catalog)]
            case (database,) if home:
                names += [(name, "table") for name in await self._asked(home, database)]
            case (catalog, database) if catalog in self.rows:
                names += [(name, "table") for name in await self._asked(catalog, database)]
        return names

    def _database(self, catalog: str) -> str | None:
        return self.where.database or self.rows[catalog].options.get("default-database")

    def _tables(self, statement: Sequence[Token]) -> Iterator[tuple[Chain, Chain]]:
        """(as it is written, in full) of what may be tables of catalogs."""
        given: dict[Chain, Chain] = {}
        for _, chain in chains(statement):
            home = self.where.catalog
            if len(chain) >= LONGEST_NAME and chain[0] in self.rows:
                given[chain[:LONGEST_NAME]] = chain[:LONGEST_NAME]
            elif home in self.rows and len(chain) == 2:
                given[chain] = (home, *chain)
            elif home in self.rows and (database := self._database(home)):
                # A word of a statement is a table when the catalog has one of that name.
                given[chain] = (home, database, *chain)
        known = {full: _kept.get(self._key(*full[:2]), (0.0, None))[1] for full in given.values()}
        likely = [(w, f) for w, f in given.items() if len(w) >= LONGEST_NAME or f[2] in (known[f] or ())]
        yield from likely[:MOST_TABLES]

    def _key(self, catalog: str, *inside: str) -> tuple[object, ...]:
        return (
            self.project,
            self.cluster,
            catalog,
            self.rows[catalog].created_at,
            self.rows[catalog].revision,
            *inside,
        )

    async def _asked(self, catalog: str, *inside: str) -> list[str]:
        """Databases of a catalog, tables of one, or the columns of one of those; empty when Flink cannot tell."""
        key = self._key(catalog, *inside)
        at, names = _kept.get(key, (0.0, []))
        if key in _kept and clock.monotonic() - at < waits.CATALOG_NAMES_KEPT_SECONDS:
            return names
        try:
            match inside:
                case (database, table):
                    shape = await browsing.table(self.services, self.project, catalog, database, table, self.cluster)
                    names = [column.name for column in shape.columns]
                case (database,):
                    names = await browsing.tables(self.services, self.project, catalog, database, self.cluster)
                case _:
                    names = await browsing.databases(self.services, self.project, catalog, self.cluster)
        except (EngineError, PenstockError):
            names = []
        except asyncio.CancelledError:  # the time is over: the next one who writes does not wait for it again
            _kept[key] = (clock.monotonic(), [])
            raise
        if len(_kept) >= MOST_KEPT:
            _kept.clear()
        _kept[key] = (clock.monotonic(), names)
        return names
