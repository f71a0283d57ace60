"""Which jobs and columns hang together."""

from __future__ import annotations

from typing import Any, Literal

from core.errors import NotFound
from core.sql.lineage import (
    ColumnReach,
    GraphView,
    JobLineage,
    Lineage,
    TableUse,
    around,
    graph,
    impact,
    place_of_options,
)
from core.sql.resources import TableDefinition
from services import Services
from sql.compiling import plan_of
from store import jobs, plans, resources
from store.tables import Job

Direction = Literal["upstream", "downstream", "both"]


async def whole(
    services: Services, project: str | None, job: str | None, place: str | None, direction: Direction
) -> GraphView:
    """Jobs and what they read and write: all, or what hangs together with a job or a place. Raises `NotFound`."""
    view = graph(await _known(services, project))
    start = f"{job if ':' in job else 'default:' + job}" if job else place
    if start is None:
        return view
    if start not in view.jobs and start not in view.places:
        raise NotFound(f"{start[:200]} is not in the lineage.", code="lineage_not_found")
    ways = {"upstream": [True], "downstream": [False], "both": [True, False]}[direction]
    parts = [around(view, start, up=up) for up in ways]
    return GraphView(
        jobs=sorted({j for f in parts for j in f.jobs}),
        places=sorted({p for f in parts for p in f.places}),
        edges=[e for e in view.edges if any(e in f.edges for f in parts)],
    )


async def reach(services: Services, project: str | None, place: str, column: str) -> list[ColumnReach]:
    """Every column that values of this one come to, the nearest first."""
    return impact(await _known(services, project), place, column)


async def of_job(services: Services, ref: str, version: int | None) -> Lineage:
    """`version` None: the current one. Raises `NotFound`."""
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
        number = version or job.version
        spec = (await jobs.version(session, job, number)).spec
    compiled, _ = await plan_of(services, job, number)
    rows = [(job, compiled.lineage if compiled else None, spec)]
    lineages = await _of(services, rows)
    return lineages[0].lineage if lineages else Lineage()


async def _known(services: Services, project: str | None) -> list[JobLineage]:
    async with services.database.read() as session:
        rows = list(await plans.lineage(session, project))
    return await _of(services, rows)


async def _of(services: Services, rows: list[tuple[Job, dict[str, Any] | None, dict[str, Any]]]) -> list[JobLineage]:
    lineages = []
    tables: dict[str, dict[str, TableUse]] = {}
    for job, stored, spec in rows:
        declared = spec.get("lineage")
        if stored is not None:
            lineage = Lineage.model_validate(stored)
        elif declared:
            if job.project not in tables:
                tables[job.project] = await _registered(services, job.project)
            use = tables[job.project]
            lineage = Lineage(
                reads=[_declared(name, use) for name in declared.get("reads") or []],
                writes=[_declared(name, use) for name in declared.get("writes") or []],
            )
        else:
            continue
        lineages.append(JobLineage(f"{job.project}:{job.name}", lineage))
    return lineages


async def _registered(services: Services, project: str) -> dict[str, TableUse]:
    async with services.database.read() as session:
        visible = await resources.visible(session, project)
    uses = {}
    for item in visible:
        row = item.resource
        options = TableDefinition.model_validate(row.definition).options
        use = TableUse(table=row.name, place=place_of_options(options), connector=options.get("connector"))
        uses[f"{row.project}.{row.name}"] = use
        if row.project == project:
            uses[row.name] = use
    return uses


def _declared(name: str, tables: dict[str, TableUse]) -> TableUse:
    """A registered table, or a place in its own words."""
    known = tables.get(name)
    return known or TableUse(table=name, place=name if ":" in name else None, connector=None)
