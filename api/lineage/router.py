"""/lineage and /jobs/{id}/lineage: which jobs and columns hang together."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from api.deps import JobRef, Page, Parts
from api.problems import responses
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

router = APIRouter(tags=["lineage"])
Project = Annotated[str | None, Query(max_length=80, description="Only jobs of this project")]
Place = Annotated[str, Query(max_length=2000, description="A place, as the graph names it")]


@router.get("/lineage", responses=responses(404, 422, 503), summary="Jobs and what they read and write")
async def get_graph(
    parts: Parts,
    project: Project = None,
    job: Annotated[str | None, Query(max_length=200, description="Only what hangs together with this job")] = None,
    place: Annotated[str | None, Query(max_length=2000, description="Only what hangs together with this place")] = None,
    direction: Literal["upstream", "downstream", "both"] = "both",
) -> GraphView:
    """Of the current version of each job. Jobs meet where they read and write the same place, whatever each of them
    calls it."""
    view = graph(await known(parts, project))
    start = f"{job if ':' in job else 'default:' + job}" if job else place
    if start is None:
        return view
    if start not in view.jobs and start not in view.places:
        raise NotFound(f"{start[:200]} is not in the lineage.", code="lineage_not_found")
    ways = {"upstream": [True], "downstream": [False], "both": [True, False]}[direction]
    found = [around(view, start, up=up) for up in ways]
    return GraphView(
        jobs=sorted({j for f in found for j in f.jobs}),
        places=sorted({p for f in found for p in f.places}),
        edges=[e for e in view.edges if any(e in f.edges for f in found)],
    )


@router.get("/lineage/impact", responses=responses(422, 503), summary="What a changed column would touch")
async def get_impact(
    parts: Parts,
    place: Place,
    column: Annotated[str, Query(max_length=500, description="A column, `addr.city` for a field of a ROW")],
    project: Project = None,
) -> Page[ColumnReach]:
    """Every column that values of this column come to, through any number of jobs; the nearest first."""
    return Page(items=impact(await known(parts, project), place, column))


@router.get("/jobs/{id}/lineage", responses=responses(404, 422, 503), summary="What a job reads and writes")
async def get_lineage(
    ref: JobRef,
    parts: Parts,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="The current one by default")] = None,
) -> Lineage:
    """Tables, and for SQL the columns that each written column comes from. A version that has not run is compiled for
    it; empty for what cannot be compiled."""
    async with parts.database.read() as session:
        job = await jobs.get(session, ref)
        number = version or job.version
        spec = (await jobs.version(session, job, number)).spec
    found, _ = await plan_of(parts, job, number)
    rows = [(job, found.lineage if found else None, spec)]
    made = await _of(parts, rows)
    return made[0].lineage if made else Lineage()


async def known(services: Services, project: str | None) -> list[JobLineage]:
    async with services.database.read() as session:
        rows = list(await plans.lineage(session, project))
    return await _of(services, rows)


async def _of(services: Services, rows: list[tuple[Job, dict[str, Any] | None, dict[str, Any]]]) -> list[JobLineage]:
    found = []
    tables: dict[str, dict[str, TableUse]] = {}
    for job, stored, spec in rows:
        declared = spec.get("lineage")
        if stored is not None:
            made = Lineage.model_validate(stored)
        elif declared:
            if job.project not in tables:
                tables[job.project] = await _registered(services, job.project)
            use = tables[job.project]
            made = Lineage(
                reads=[_declared(name, use) for name in declared.get("reads") or []],
                writes=[_declared(name, use) for name in declared.get("writes") or []],
            )
        else:
            continue
        found.append(JobLineage(f"{job.project}:{job.name}", made))
    return found


async def _registered(services: Services, project: str) -> dict[str, TableUse]:
    async with services.database.read() as session:
        visible = await resources.visible(session, project)
    found = {}
    for item in visible:
        row = item.resource
        options = TableDefinition.model_validate(row.definition).options
        use = TableUse(table=row.name, place=place_of_options(options), connector=options.get("connector"))
        found[f"{row.project}.{row.name}"] = use
        if row.project == project:
            found[row.name] = use
    return found


def _declared(name: str, tables: dict[str, TableUse]) -> TableUse:
    """A registered table, or a place in its own words."""
    known = tables.get(name)
    return known or TableUse(table=name, place=name if ":" in name else None, connector=None)
