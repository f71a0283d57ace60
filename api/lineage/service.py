"""Which jobs and columns hang together."""

from __future__ import annotations

import math
from collections.abc import Collection

from api.lineage.schemas import Direction
from core.effects import EngineError
from core.errors import NotFound, PenstockError
from core.jobs.types import traits
from core.sql.lineage import (
    GraphView,
    Impact,
    JobLineage,
    Lineage,
    TableUse,
    around,
    found_in,
    graph,
    impact,
    of,
)
from core.sql.places import place_of_options
from core.sql.plan import read
from core.sql.resources import TableDefinition
from services import Services
from settings import clock, waits
from sql.compiling import plan_of, tables_of
from store import jobs, plans, resources
from store.tables import Job, Version

MOST_KEPT = 1000
_explained: dict[tuple[str, int], tuple[float, Lineage | None]] = {}


async def whole(
    services: Services,
    project: str | None,
    job: str | None,
    place: str | None,
    direction: Direction,
    only: Collection[str] | None = None,
) -> GraphView:
    """Jobs and what they read and write: all, or what hangs together with a job or a place. Raises `NotFound`."""
    found, unknown = await _known(services, project, only)
    view = graph(found)
    view.unknown = unknown
    start = f"{job if ':' in job else 'default:' + job}" if job else place
    if start is None:
        return view
    starts = [start] if start in view.jobs else found_in(view.places, start)
    if not starts:
        raise _not_found(start)
    ways = {"upstream": [True], "downstream": [False], "both": [True, False]}[direction]
    parts = [around(view, one, up=up) for one in starts for up in ways]
    return GraphView(
        jobs=sorted({j for f in parts for j in f.jobs}),
        places=sorted({p for f in parts for p in f.places}),
        edges=[e for e in view.edges if any(e in f.edges for f in parts)],
        unknown=unknown,
    )


def _not_found(what: str) -> NotFound:
    return NotFound(f"{what[:200]} is not in the lineage.", code="lineage_not_found")


async def reach(
    services: Services, project: str | None, place: str, column: str, only: Collection[str] | None = None
) -> Impact:
    """Every column that values of this one come to, the nearest first. Raises `NotFound` for an unknown place."""
    found, unknown = await _known(services, project, only)
    if not found_in(graph(found).places, place):
        raise _not_found(place)
    return Impact(items=impact(found, place, column), unknown=unknown)


async def of_job(services: Services, ref: str, version: int | None) -> Lineage:
    """`version` None: the current one. Raises `NotFound`."""
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
        row = await jobs.version(session, job, version or job.version)
    if not traits(job.type).compiles:
        return await _declared(services, job, row) or Lineage(
            why="The version does not declare what it reads and writes."
        )
    plan, why = await plan_of(services, job, row.number)
    if plan is not None:
        return of(read(plan.body))
    try:
        tables = await tables_of(services, job, row.number)
    except (EngineError, PenstockError) as error:
        return Lineage(why=error.message)
    return tables.model_copy(update={"why": f"Columns are known from a compiled plan only: {why or 'there is none'}"})


async def _known(
    services: Services, project: str | None, only: Collection[str] | None
) -> tuple[list[JobLineage], list[str]]:
    """What is known of all jobs of the projects that may be seen, and those of which nothing is."""
    async with services.database.read() as session:
        rows = list(await plans.lineage(session, project, only))
    lineages, unknown = [], []
    until = clock.monotonic() + waits.LINEAGE_SECONDS
    for job, stored, version in rows:
        if traits(job.type).runs_cluster:
            continue
        name = f"{job.project}:{job.name}"
        lineage = Lineage.model_validate(stored) if stored is not None else await _declared(services, job, version)
        if lineage is None and version.plan_why and clock.monotonic() < until:
            lineage = await _without_plan(services, job, version)
        if lineage is None:
            unknown.append(name)
        else:
            lineages.append(JobLineage(name, lineage))
    return lineages, unknown


async def _without_plan(services: Services, job: Job, version: Version) -> Lineage | None:
    """What a version that ran from its text reads and writes; Flink is asked once for a while."""
    key = (job.id, version.number)
    at, lineage = _explained.get(key, (-math.inf, None))
    if clock.monotonic() - at < waits.OPTIONS_KEPT_SECONDS:
        return lineage
    try:
        lineage = await tables_of(services, job, version.number)
    except (EngineError, PenstockError):
        lineage = None
    if len(_explained) >= MOST_KEPT:
        _explained.clear()
    _explained[key] = (clock.monotonic(), lineage)
    return lineage


async def _declared(services: Services, job: Job, version: Version) -> Lineage | None:
    """What the spec says itself; None where it says nothing."""
    declared = version.spec.get("lineage")
    if not declared:
        return None
    tables = await _registered(services, job.project)
    return Lineage(
        reads=[_use(name, tables) for name in declared.get("reads") or []],
        writes=[_use(name, tables) for name in declared.get("writes") or []],
        why="Columns are known of SQL only.",
    )


async def _registered(services: Services, project: str) -> dict[str, TableUse]:
    async with services.database.read() as session:
        visible = await resources.visible(session, project)
    uses = {}
    for item in visible:
        row = item.resource
        if resources.is_view(row):
            continue
        options = TableDefinition.model_validate(row.definition).options
        use = TableUse(table=row.name, place=place_of_options(options), connector=options.get("connector"))
        uses[f"{row.project}.{row.name}"] = use
        if row.project == project:
            uses[row.name] = use
    return uses


def _use(name: str, tables: dict[str, TableUse]) -> TableUse:
    """A registered table, or a place in its own words."""
    known = tables.get(name)
    return known or TableUse(table=name, place=name if ":" in name else None, connector=None)
