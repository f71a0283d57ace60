"""`penstock lineage`: which jobs and columns hang together."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.client import Api, err, out
from cli.commands import Job, ref
from cli.output import Json, plain, show_json
from cli.output import table as show_rows

app = typer.Typer(no_args_is_help=True, help="Which jobs and columns hang together.")


@app.command("show")
def show_lineage(job: Job, as_json: Json = False) -> None:
    """What a job reads and writes, by table and by column."""
    lineage = Api().call("GET", f"/jobs/{ref(job)}/lineage")
    if as_json:
        show_json(lineage)
        return
    for verb in ("reads", "writes"):
        for item in lineage[verb]:
            out.print(f"{verb}  {item['table']}  {item['place'] or ''}", markup=False, highlight=False)
    for item in lineage["columns"]:
        sources = ", ".join(".".join(s) for s in item["sources"]) or "no column"
        unsure = "" if item["exact"] else "  (at most)"
        out.print(f"  {item['table']}.{item['column']}  <-  {sources}{unsure}", markup=False, highlight=False)
    if lineage["why"]:
        err.print(lineage["why"], style="yellow", markup=False)


@app.command("graph")
def show_graph(
    job: Annotated[str | None, typer.Option(help="Only what hangs together with this job")] = None,
    place: Annotated[str | None, typer.Option(help="Only what hangs together with this place")] = None,
    direction: Annotated[str, typer.Option(help="upstream, downstream or both")] = "both",
    project: Annotated[str | None, typer.Option(help="Only jobs of this project")] = None,
    as_json: Json = False,
) -> None:
    """Jobs and the places between them."""
    params = {"job": ref(job) if job else None, "place": place, "direction": direction, "project": project}
    graph = Api().call("GET", "/lineage", params={k: v for k, v in params.items() if v})
    if as_json:
        show_json(graph)
        return
    _say_unknown(graph["unknown"])
    for edge in graph["edges"]:
        arrow = "->" if edge["access"] == "write" else "<-"
        out.print(f"{edge['job']} {arrow} {edge['place']}", markup=False, highlight=False)


@app.command("impact")
def show_impact(place: str, column: str, as_json: Json = False) -> None:
    """Every column that values of a column come to, through any number of jobs."""
    impact = Api().call("GET", "/lineage/impact", params={"place": place, "column": column})
    if as_json:
        show_json(impact["items"])
        return
    rows = [[str(r["distance"]), r["job"], plain(r["place"]), r["column"]] for r in impact["items"]]
    _say_unknown(impact["unknown"])
    show_rows(["JOBS BETWEEN", "JOB", "PLACE", "COLUMN"], rows, empty="Nothing that is known.")


def _say_unknown(jobs: list[str]) -> None:
    if jobs:
        text = f"What these read and write is not known: {', '.join(jobs)}"
        err.print(text, style="yellow", markup=False, highlight=False)
