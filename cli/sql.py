"""`penstock sql ...`: check, look, debug, test; sessions; lineage."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.client import FAILED, Api, complete_clusters, complete_projects, err, out
from cli.commands import Job, newest, ref
from cli.output import Column, Format, Json, Output, ago, field, plain, show_json, show_list
from cli.output import table as show_rows
from cli.specs import Library, pairs, read, uses, wrong

app = typer.Typer(no_args_is_help=True, help="SQL: validate, format, preview, debug, test; interactive sessions.")
sessions = typer.Typer(no_args_is_help=True, help="Interactive sessions, which outlive their gateway.")
sets = typer.Typer(no_args_is_help=True, help="Test sets: rows for tables, kept under a name.")
lineage = typer.Typer(no_args_is_help=True, help="Which jobs and columns hang together.")
app.add_typer(sessions, name="session")
app.add_typer(sets, name="test-set")

File = Annotated[str, typer.Argument(help="A .sql file, or - for standard input")]
Project = Annotated[
    str,
    typer.Option(
        "--project", "-p", help="Project whose tables and libraries it sees", autocompletion=complete_projects
    ),
]
Cluster = Annotated[str, typer.Option(help="Cluster whose Flink is asked", autocompletion=complete_clusters)]
Config = Annotated[list[str] | None, typer.Option(help="Flink configuration, key=value; may be repeated")]
Rows = Annotated[int, typer.Option(help="Most rows")]
Seconds = Annotated[float, typer.Option(help="Longest time")]


def script(
    path: str, project: str, cluster: str, library: list[str] | None, config: list[str] | None
) -> dict[str, Any]:
    return {
        "project": project,
        "cluster": cluster,
        "sql": read(path),
        "libraries": uses(library),
        "config": pairs(config),
    }


@app.command()
def validate(
    file: File,
    project: Project = "default",
    cluster: Cluster = "local",
    library: Library = None,
    config: Config = None,
    queries: Annotated[bool, typer.Option("--queries", help="SELECTs are welcome; no INSERT is needed")] = False,
    as_json: Json = False,
) -> None:
    """Check a whole script by Flink's own parser and planner; nothing runs. Code 1 when it has errors."""
    body = {**script(file, project, cluster, library, config), "queries": queries}
    found = Api().call("POST", "/sql/validate", json=body)
    if as_json:
        show_json(found)
    else:
        name = "standard input" if file == "-" else file
        for item in found["errors"]:
            err.print(
                f"{name}:{item['line']}:{item['column']}: {item['message']}", style="red", markup=False, highlight=False
            )
            if item["caused_by"]:
                err.print(f"    (follows from statement {item['caused_by']})", markup=False)
            if item["remedy"]:
                err.print(f"    {item['remedy']}", markup=False)
        for item in found["warnings"]:
            out.print(f"{name}:{item['line']}: {item['message']}", style="yellow", markup=False, highlight=False)
        for verb in ("reads", "writes"):
            if found[verb]:
                out.print(f"{verb}: {', '.join(found[verb])}", markup=False, highlight=False)
        if found["valid"]:
            out.print(f"[green]valid[/green], {len(found['statements'])} statements")
    if not found["valid"]:
        raise typer.Exit(FAILED)


@app.command("format")
def format_(
    file: File, write: Annotated[bool, typer.Option("--write", "-w", help="Into the file itself")] = False
) -> None:
    """Lay a script out. What it means is never changed."""
    found = Api().call("POST", "/sql/format", json={"sql": read(file)})
    if write and file != "-":
        Path(file).write_text(found["sql"])
        out.print("changed" if found["changed"] else "as it was")
    else:
        sys.stdout.write(found["sql"])


@app.command()
def complete(
    file: File,
    position: Annotated[int | None, typer.Option(help="Characters before the cursor; the end by default")] = None,
    project: Project = "default",
    cluster: Cluster = "local",
) -> None:
    """What may stand at the cursor, one a line."""
    text = read(file)
    at = position if position is not None else len(text.rstrip("\n"))
    body = {"project": project, "cluster": cluster, "sql": text, "position": at}
    for item in Api().call("POST", "/sql/complete", json=body)["candidates"]:
        out.print(f"{item['text']}\t{item['kind']}\t{item['detail']}", markup=False, highlight=False)


def follow(api: Api, made: dict[str, Any], *, as_json: bool, table: bool) -> None:
    """Print the rows of a preview as they come; code 1 unless it came to an end or a limit."""
    several = len(made["streams"]) > 1
    shown: dict[str, Any] = {}
    notes: dict[str, str] = {}
    state = "INTERRUPTED"
    try:
        for event, data in api.events(f"/sql/previews/{made['id']}/events"):
            if as_json:
                print(json.dumps({"event": event, **data}), flush=True)
            name = f"{data.get('stream')}  " if several else ""
            if event == "end":
                state = data["state"]
                if data.get("why"):
                    err.print(data["why"], style="red", markup=False)
            elif as_json:
                continue
            elif event == "columns":
                out.print(name + " | ".join(c["name"] for c in data["columns"]), style="bold", markup=False)
            elif event == "rows" and not table:
                for row in data["rows"]:
                    text = " | ".join("NULL" if f is None else str(f) for f in row["fields"])
                    out.print(f"{name}{row['kind']} {text}", markup=False, highlight=False)
            elif event == "table":
                shown[data["stream"]] = data["rows"]
            elif event == "progress" and data.get("note") and notes.get(data["stream"]) != data["note"]:
                notes[data["stream"]] = data["note"]
                err.print(f"{name}{data['seconds']:.0f} s: {data['note']}", style="dim", markup=False)
            elif event == "ended" and data["state"] not in ("FINISHED",):
                err.print(f"{name}{data['state']}: {data['why']}", style="yellow", markup=False)
    except KeyboardInterrupt:
        api.call("DELETE", f"/sql/previews/{made['id']}")
        err.print("stopped")
        raise
    if table and not as_json:
        for stream, rows in shown.items():
            if several:
                out.print(stream, style="bold", markup=False)
            for row in rows:
                out.print(" | ".join("NULL" if f is None else str(f) for f in row), markup=False, highlight=False)
    if state not in ("FINISHED", "LIMITED", "STOPPED"):
        raise typer.Exit(FAILED)


@app.command()
def preview(
    file: File,
    project: Project = "default",
    cluster: Cluster = "local",
    library: Library = None,
    config: Config = None,
    rows: Rows = 1000,
    seconds: Seconds = 60,
    rate: Annotated[int | None, typer.Option(help="Most rows a second")] = None,
    parallelism: Annotated[int, typer.Option(help="Of the query's Flink job")] = 1,
    table: Annotated[bool, typer.Option("--table", help="The table at the end, not the changes")] = False,
    as_json: Json = False,
) -> None:
    """Look at a query's rows as they come. Ctrl-C stops it; its Flink job is always gone afterwards."""
    limits = {"rows": rows, "seconds": seconds, "rows_per_second": rate, "parallelism": parallelism}
    body = {**script(file, project, cluster, library, config), "limits": limits, "materialize": table}
    api = Api()
    follow(api, api.call("POST", "/sql/previews", json=body), as_json=as_json, table=table)


@app.command()
def resume(
    preview: Annotated[str, typer.Argument(help="Id of a preview that was interrupted")],
    table: Annotated[bool, typer.Option("--table", help="The table at the end, not the changes")] = False,
    as_json: Json = False,
) -> None:
    """Run an interrupted preview again."""
    api = Api()
    follow(api, api.call("POST", f"/sql/previews/{preview}/resume"), as_json=as_json, table=table)


@app.command()
def debug(
    file: File,
    source: Annotated[
        list[str] | None,
        typer.Option(help="table=rows.json, table=rows.csv or table=@test-set; others are read live"),
    ] = None,
    project: Project = "default",
    cluster: Cluster = "local",
    library: Library = None,
    config: Config = None,
    rows: Rows = 1000,
    seconds: Seconds = 60,
    table: Annotated[bool, typer.Option("--table", help="The tables at the end, not the changes")] = False,
    as_json: Json = False,
) -> None:
    """Run a job's script without writing anything: shows what each INSERT would write."""
    body = {
        **script(file, project, cluster, library, config),
        "sources": given(source),
        "limits": {"rows": rows, "seconds": seconds},
    }
    api = Api()
    follow(api, api.call("POST", "/sql/debug", json=body), as_json=as_json, table=table)


def given(items: list[str] | None) -> dict[str, Any]:
    """Rows that are given for tables: `TABLE=FILE` or `TABLE=@SET`, as the API takes them."""
    found: dict[str, Any] = {}
    for item in items or []:
        table, equals, where = item.partition("=")
        if not equals:
            raise wrong(f"--source takes table=file or table=@test-set, not {item!r}")
        if where.startswith("@"):
            found[table] = {"test_set": where[1:]}
        elif where.endswith(".csv"):
            found[table] = {"csv": read(where)}
        else:
            found[table] = {"rows": rows_of(where)}
    return found


def rows_of(path: str) -> list[Any]:
    """A JSON list, or one JSON object a line."""
    text = read(path)
    try:
        if text.lstrip().startswith("["):
            return list(json.loads(text))
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise wrong(f"{path} is not JSON: {error}") from error


@app.command("test")
def run_tests(
    job: Job,
    version: Annotated[int | None, typer.Option("--version", help="The newest by default")] = None,
    seconds: Annotated[float, typer.Option(help="Longest time of one test")] = 60,
    as_json: Json = False,
) -> None:
    """Run the tests of a version. Code 1 when one fails."""
    api = Api()
    number = version or newest(api, job)
    path = f"/jobs/{ref(job)}/versions/{number}/tests/run"
    found = api.call("POST", path, params={"seconds": seconds}, timeout=None)["items"]
    if as_json:
        show_json(found)
    for result in [] if as_json else found:
        word = "[green]passed[/green]" if result["passed"] else "[red]failed[/red]"
        out.print(f"{word} {plain(result['name'])} ({result['seconds']} s) {plain(result['why'])}")
        for sink in result["sinks"]:
            for sign, rows in (("-", sink["missing"]), ("+", sink["unexpected"])):
                for row in rows[:20]:
                    out.print(f"  {sink['sink']} {sign} {json.dumps(row)}", markup=False, highlight=False)
    if not all(r["passed"] for r in found):
        raise typer.Exit(FAILED)


@app.command("add-test")
def add_test(
    job: Job,
    name: str,
    source: Annotated[list[str], typer.Option(help="table=rows.json, table=rows.csv or table=@test-set")],
    expect: Annotated[
        list[str] | None, typer.Option(help="sink=rows.json; without, what the script writes now is kept")
    ] = None,
    version: Annotated[int | None, typer.Option("--version", help="The newest by default")] = None,
) -> None:
    """Keep a test with a version: rows for its sources, and the rows that its sinks have to have."""
    api = Api()
    number = version or newest(api, job)
    body: dict[str, Any] = {"inputs": given(source)}
    if expect:
        body["expected"] = {sink: rows_of(path) for sink, _, path in (item.partition("=") for item in expect)}
    made = api.call("PUT", f"/jobs/{ref(job)}/versions/{number}/tests/{name}", json=body, timeout=None)
    for sink, rows in made["expected"].items():
        out.print(f"{sink}: {len(rows)} rows expected", markup=False)


@sets.command("list")
def list_sets(project: Project = "default", output: Output = Format.TABLE, as_json: Json = False) -> None:
    """Test sets of a project."""
    columns = [
        Column("NAME", field("name")),
        Column("TABLES", lambda s: plain(", ".join(f"{t} ({len(r)})" for t, r in s["tables"].items()))),
        Column("DESCRIPTION", field("description")),
    ]
    items = Api().call("GET", f"/projects/{project}/test-sets")["items"]
    show_list(items, columns, output=output, as_json=as_json, name=lambda s: str(s["name"]), empty="No test sets.")


@sets.command("show")
def show_set(name: str, project: Project = "default") -> None:
    """The rows of a test set, as JSON."""
    show_json(Api().call("GET", f"/projects/{project}/test-sets/{name}")["tables"])


@sets.command("sample")
def sample(
    name: str,
    table: Annotated[list[str], typer.Option(help="A table to read; may be repeated")],
    file: Annotated[str | None, typer.Option("--file", "-f", help="The script that makes the tables")] = None,
    project: Project = "default",
    cluster: Cluster = "local",
    library: Library = None,
    rows: Rows = 20,
    seconds: Seconds = 30,
) -> None:
    """Take rows from live sources and keep them."""
    body = {
        "project": project,
        "cluster": cluster,
        "sql": read(file) if file else "",
        "libraries": uses(library),
        "tables": table,
        "rows": rows,
        "seconds": seconds,
    }
    made = Api().call("POST", f"/projects/{project}/test-sets/{name}/sample", json=body, timeout=None)
    for name_, found in made["tables"].items():
        out.print(f"{name_}: {len(found)} rows", markup=False)


@sessions.command("open")
def open_session(
    project: Project = "default", cluster: Cluster = "local", library: Library = None, config: Config = None
) -> None:
    """Open a session; prints its id."""
    body = {"project": project, "cluster": cluster, "libraries": uses(library), "config": pairs(config)}
    out.print(Api().call("POST", "/sql/sessions", json=body)["id"], markup=False, highlight=False)


@sessions.command("list")
def list_sessions(project: Project = "default", output: Output = Format.TABLE, as_json: Json = False) -> None:
    """Open sessions of a project."""
    columns = [
        Column("SESSION", field("id")),
        Column("CLUSTER", field("cluster")),
        Column("STATEMENTS", lambda s: str(len(s["setup"]))),
        Column("USED", lambda s: ago(s["used_at"])),
        Column("GATEWAY", field("gateway")),
    ]
    items = Api().call("GET", "/sql/sessions", params={"project": project})["items"]
    show_list(items, columns, output=output, as_json=as_json, name=lambda s: str(s["id"]), empty="No sessions.")


@sessions.command("run")
def run_statement(
    session: str,
    statement: Annotated[str, typer.Argument(help="One statement")],
    rows: Rows = 1000,
    seconds: Seconds = 60,
    table: Annotated[bool, typer.Option("--table", help="Of a query: the table at the end")] = False,
    as_json: Json = False,
) -> None:
    """Run one statement of a session."""
    api = Api()
    body = {"statement": statement, "limits": {"rows": rows, "seconds": seconds}, "materialize": table}
    found = api.call("POST", f"/sql/sessions/{session}/statements", json=body)
    if found["rebuilt"]:
        err.print(found["rebuilt"]["message"], style="yellow", markup=False)
        for lost in found["rebuilt"]["lost"]:
            err.print(f"  lost: {lost}", style="yellow", markup=False)
    if found["preview"]:
        follow(api, api.call("GET", f"/sql/previews/{found['preview']}"), as_json=as_json, table=table)
        return
    if as_json:
        show_json(found)
        return
    cells = [[plain("NULL" if f is None else f) for f in row] for row in found["rows"]]
    show_rows([c["name"] for c in found["columns"]] or ["RESULT"], cells, empty="OK")


@sessions.command("close")
def close_session(session: str) -> None:
    """Close a session."""
    Api().call("DELETE", f"/sql/sessions/{session}")
    out.print("Closed.")


@lineage.command("show")
def show_lineage(job: Job, as_json: Json = False) -> None:
    """What a job reads and writes, by table and by column."""
    found = Api().call("GET", f"/jobs/{ref(job)}/lineage")
    if as_json:
        show_json(found)
        return
    for verb in ("reads", "writes"):
        for item in found[verb]:
            out.print(f"{verb}  {item['table']}  {item['place'] or ''}", markup=False, highlight=False)
    for item in found["columns"]:
        sources = ", ".join(".".join(s) for s in item["sources"]) or "no column"
        unsure = "" if item["exact"] else "  (at most)"
        out.print(f"  {item['table']}.{item['column']}  <-  {sources}{unsure}", markup=False, highlight=False)


@lineage.command("graph")
def show_graph(
    job: Annotated[str | None, typer.Option(help="Only what hangs together with this job")] = None,
    place: Annotated[str | None, typer.Option(help="Only what hangs together with this place")] = None,
    direction: Annotated[str, typer.Option(help="upstream, downstream or both")] = "both",
    project: Annotated[str | None, typer.Option(help="Only jobs of this project")] = None,
    as_json: Json = False,
) -> None:
    """Jobs and the places between them."""
    params = {"job": ref(job) if job else None, "place": place, "direction": direction, "project": project}
    found = Api().call("GET", "/lineage", params={k: v for k, v in params.items() if v})
    if as_json:
        show_json(found)
        return
    for edge in found["edges"]:
        arrow = "->" if edge["access"] == "write" else "<-"
        out.print(f"{edge['job']} {arrow} {edge['place']}", markup=False, highlight=False)


@lineage.command("impact")
def show_impact(place: str, column: str, as_json: Json = False) -> None:
    """Every column that values of a column come to, through any number of jobs."""
    found = Api().call("GET", "/lineage/impact", params={"place": place, "column": column})["items"]
    if as_json:
        show_json(found)
        return
    rows = [[str(r["distance"]), r["job"], plain(r["place"]), r["column"]] for r in found]
    show_rows(["JOBS BETWEEN", "JOB", "PLACE", "COLUMN"], rows, empty="Nothing that is known.")
