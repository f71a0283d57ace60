"""What a job reads and writes, by table and by column, and how jobs hang together by that.

Two jobs meet in a place (a Kafka topic, a database table, a folder), not in a name: each gives it a name of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, Field

from core.sql.operators import Node
from core.sql.places import Known, Place, place_of_options, places_in
from core.sql.plan import Plan


class TableUse(BaseModel):
    """`place` is the same for everybody who reads or writes the same thing; null when nobody else can."""

    table: str = Field(description="Name in the job, in full", examples=["default_catalog.default_database.orders"])
    place: Place | None = Field(examples=["kafka:properties.bootstrap.servers=broker:9092;topic=orders"])
    connector: str | None


class ColumnUse(BaseModel):
    """A column of a sink and the columns that its values come from. Not `exact`: it may come from fewer. An operator on
    the way is not known, or Flink has put a constant in the place of a column that a filter holds to one value, or of a
    comparison that a filter has decided (`a > 1` behind `a > 3`)."""

    table: str
    column: str
    sources: list[tuple[str, str]] = Field(description="[table, column]; `addr.city` for a field of a ROW")
    exact: bool


class Lineage(BaseModel):
    reads: list[TableUse] = []
    writes: list[TableUse] = []
    columns: list[ColumnUse] = []
    why: str | None = Field(default=None, description="Why it is not known in full; null where it is")


def of(plan: Plan) -> Lineage:
    """Tables by name, columns sink by sink in their order. `why` is left empty: who reads the plan may know more."""
    columns = []
    for sink in plan.sinks:
        for column in plan.written(sink):
            sources = sorted({(str(o.table), o.column) for o in column.origins})
            columns.append(ColumnUse(table=str(sink.table), column=column.name, sources=sources, exact=column.exact))
    return Lineage(reads=_uses(plan.sources), writes=_uses(plan.sinks), columns=columns)


def _uses(nodes: Iterable[Node]) -> list[TableUse]:
    found = {str(n.table): n for n in nodes if n.table}
    return [
        TableUse(table=name, place=place_of_options(node.options), connector=node.options.get("connector"))
        for name, node in sorted(found.items())
    ]


# Across jobs ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class JobLineage:
    job: str
    lineage: Lineage


class GraphEdge(BaseModel):
    """A job that reads or writes a place."""

    job: str
    place: str
    access: str = Field(examples=["read"])
    table: str


class GraphView(BaseModel):
    """Jobs and the places between them. Tables without a place of their own are `<job>/<table>`."""

    jobs: list[str]
    places: list[str]
    edges: list[GraphEdge]
    unknown: list[str] = Field(default=[], description="Jobs of which it is not known what they read and write")


class ColumnReach(BaseModel):
    job: str
    place: str
    table: str
    column: str = Field(description="`*` where it is not known which")
    distance: int = Field(description="How many jobs are between")
    exact: bool


class Impact(BaseModel):
    items: list[ColumnReach]
    unknown: list[str] = Field(description="Jobs that may be touched, too: it is not known what they read and write")


def _keys(job: str, use: TableUse) -> list[str]:
    return places_in(use.place) if use.place else [f"{job}/{use.table}"]


def _known(jobs: Iterable[JobLineage]) -> Known:
    return Known(key for one in jobs for _, use in _uses_of(one) for key in _keys(one.job, use))


def _uses_of(one: JobLineage) -> list[tuple[str, TableUse]]:
    return [*(("read", use) for use in one.lineage.reads), *(("write", use) for use in one.lineage.writes)]


def _places(job: str, access: str, use: TableUse, known: Known) -> list[str]:
    """The places that a table lies in; of one that is read by a pattern also those of its topics."""
    keys = [name for key in _keys(job, use) for name in known.names(key)]
    return keys if access == "write" else sorted({*keys, *(place for key in keys for place in known.meeting(key))})


def graph(jobs: Sequence[JobLineage]) -> GraphView:
    """All jobs with the places that they read and write. A table that no other job can meet has a place of its own,
    `JOB/TABLE`."""
    known = _known(jobs)
    edges = [
        GraphEdge(job=one.job, place=place, access=access, table=use.table)
        for one in jobs
        for access, use in _uses_of(one)
        for place in _places(one.job, access, use, known)
    ]
    return GraphView(jobs=sorted({one.job for one in jobs}), places=sorted({e.place for e in edges}), edges=edges)


def found_in(places: Iterable[str], where: str) -> list[str]:
    """Those of some places that are meant by one, however it is written."""
    return Known(places).meant_by(where)


def around(view: GraphView, start: str, *, up: bool) -> GraphView:
    """What is upstream (`up`) or downstream of a job or a place."""
    nexts: dict[str, set[str]] = defaultdict(set)
    for edge in view.edges:
        into, out = (edge.place, edge.job) if edge.access == "read" else (edge.job, edge.place)
        if up:
            nexts[out].add(into)
        else:
            nexts[into].add(out)
    seen, waiting = {start}, [start]
    while waiting:
        for following in nexts[waiting.pop()]:
            if following not in seen:
                seen.add(following)
                waiting.append(following)
    return GraphView(
        jobs=[j for j in view.jobs if j in seen],
        places=[p for p in view.places if p in seen],
        edges=[e for e in view.edges if e.job in seen and e.place in seen],
    )


def impact(jobs: Sequence[JobLineage], where: str, column: str) -> list[ColumnReach]:
    """Every column that values of `column` of the place `where` come to, through any number of jobs. A job whose
    columns are not known may bring it to each column of what it writes."""
    known = _known(jobs)
    places = {
        (one.job, use.table, access): _places(one.job, access, use, known)
        for one in jobs
        for access, use in _uses_of(one)
    }
    found: list[ColumnReach] = []
    seen: set[tuple[str, str, str]] = set()
    waiting = [(place, column, 0, True) for place in known.meant_by(where)]
    while waiting:
        at, name, distance, exact = waiting.pop(0)
        for one in jobs:
            tables = {u.table for u in one.lineage.reads if at in places[one.job, u.table, "read"]}
            for use in one.lineage.columns or _any_column(one.lineage, tables):
                if not any(t in tables and _touches(c, name) for t, c in use.sources):
                    continue
                for to in places.get((one.job, use.table, "write"), [use.table]):
                    if (one.job, to, use.column) in seen:
                        continue
                    seen.add((one.job, to, use.column))
                    found.append(
                        ColumnReach(
                            job=one.job,
                            place=to,
                            table=use.table,
                            column=use.column,
                            distance=distance,
                            exact=exact and use.exact,
                        )
                    )
                    waiting.append((to, use.column, distance + 1, exact and use.exact))
    return found


_ANY = "*"


def _any_column(lineage: Lineage, tables: Iterable[str]) -> list[ColumnUse]:
    sources = [(table, _ANY) for table in tables]
    return [ColumnUse(table=use.table, column=_ANY, sources=sources, exact=False) for use in lineage.writes]


def _touches(origin: str, changed: str) -> bool:
    """Whether a change of `changed` changes `origin`: the same column, or one inside the other."""
    if _ANY in (origin, changed):
        return True
    return origin == changed or origin.startswith(f"{changed}.") or changed.startswith(f"{origin}.")
