"""`penstock sql ...`: check, look, debug, test; sessions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.client import FAILED, Api, err, out
from cli.commands import Job, newest, ref, show_verdict
from cli.completion import complete_clusters, complete_projects
from cli.output import Format, Json, ListColumn, Output, ago, field, plain, show_json, show_list
from cli.rows import follow, show_answer
from cli.specs import Library, Variable, pairs, read, uses, wrong
from core.sql.values import loads

app = typer.Typer(no_args_is_help=True, help="SQL: validate, format, preview, debug, test; interactive sessions.")
sessions = typer.Typer(no_args_is_help=True, help="Interactive sessions, which outlive their gateway.")
sets = typer.Typer(no_args_is_help=True, help="Test sets: rows for tables, kept under a name.")
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
    path: str,
    project: str,
    cluster: str,
    library: list[str] | None,
    config: list[str] | None,
    variable: list[str] | None,
) -> dict[str, Any]:
    """A text with what it is run with, as the API takes it."""
    return {
        "project": project,
        "cluster": cluster,
        "sql": read(path),
        "libraries": uses(library),
        "config": pairs(config),
        "variables": pairs(variable, "--var"),
    }


@app.command()
def validate(
    file: File,
    project: Project = "default",
    cluster: Cluster = "local",
    library: Library = None,
    config: Config = None,
    variable: Variable = None,
    queries: Annotated[bool, typer.Option("--queries", help="SELECTs are welcome; no INSERT is needed")] = False,
    as_json: Json = False,
) -> None:
    """Check a whole script by Flink's own parser and planner; nothing runs. Code 1 when it has errors."""
    body = {**script(file, project, cluster, library, config, variable), "queries": queries}
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


@app.command("templates")
def list_templates(output: Output = Format.TABLE, as_json: Json = False) -> None:
    """Scripts to begin with, each for a purpose."""
    columns = [
        ListColumn("NAME", field("name")),
        ListColumn("FOR", lambda t: plain(f"{t['title']}: {t['purpose']}"), folds=True),
    ]
    items = Api().call("GET", "/sql/templates")["items"]
    show_list(items, columns, output=output, as_json=as_json, name=lambda t: str(t["name"]), empty="No templates.")


@app.command("template")
def show_template(name: str) -> None:
    """The text of a template: `penstock sql template top-n > job.sql`."""
    sys.stdout.write(Api().call("GET", f"/sql/templates/{name}")["sql"])


@app.command()
def complete(
    file: File,
    position: Annotated[int | None, typer.Option(help="Characters before the cursor; the end by default")] = None,
    project: Project = "default",
    cluster: Cluster = "local",
    library: Library = None,
) -> None:
    """What may stand at the cursor, one per line."""
    text = read(file)
    at = position if position is not None else len(text.rstrip("\n"))
    body = {"project": project, "cluster": cluster, "sql": text, "position": at, "libraries": uses(library)}
    for item in Api().call("POST", "/sql/complete", json=body)["candidates"]:
        out.print(f"{item['text']}\t{item['kind']}\t{item['detail']}", markup=False, highlight=False)


@app.command()
def preview(
    file: File,
    project: Project = "default",
    cluster: Cluster = "local",
    library: Library = None,
    config: Config = None,
    variable: Variable = None,
    rows: Rows = 1000,
    seconds: Seconds = 60,
    rate: Annotated[int | None, typer.Option(help="Most rows per second")] = None,
    parallelism: Annotated[int, typer.Option(help="Of the query's Flink job")] = 1,
    table: Annotated[bool, typer.Option("--table", help="The table at the end, not the changes")] = False,
    as_json: Json = False,
) -> None:
    """Look at a query's rows as they come. Ctrl-C stops it; its Flink job is always gone afterwards."""
    limits = {"rows": rows, "seconds": seconds, "rows_per_second": rate, "parallelism": parallelism}
    body = {**script(file, project, cluster, library, config, variable), "limits": limits, "materialize": table}
    api = Api()
    follow(api, api.call("POST", "/sql/previews", json=body), as_json=as_json, table=table)


@app.command("shell")
def open_shell(
    project: Project = "default",
    cluster: Cluster = "local",
    library: Library = None,
    config: Config = None,
    session: Annotated[str | None, typer.Option(help="A session that is open, to go on with; it stays open")] = None,
) -> None:
    """A session at a prompt, with completion and history; what was tried becomes a job. From a pipe or a file the
    statements run one after the other, and the first that fails ends it."""
    from cli import shell  # a terminal's library, which no other command needs

    api = Api()
    options = {"project": project, "cluster": cluster, "libraries": uses(library), "config": pairs(config)}
    if session is None:
        opened = api.call("POST", "/sql/sessions", json={**options, "name": "shell"}, timeout=None)
    else:
        opened = api.call("GET", f"/sql/sessions/{session}")
        options = {k: opened[k] for k in options}
    at_prompt = shell.Shell(api, opened["id"], options)
    with shell.ended_in_order():
        try:
            if sys.stdin.isatty():
                shell.at_terminal(at_prompt)
            else:
                for statement in shell.statements(sys.stdin.read()):
                    at_prompt.take(statement)
        except shell.ShellExit:
            pass
        finally:
            if session is None:
                api.call("DELETE", f"/sql/sessions/{opened['id']}")


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
    variable: Variable = None,
    rows: Rows = 1000,
    seconds: Seconds = 60,
    table: Annotated[bool, typer.Option("--table", help="The tables at the end, not the changes")] = False,
    as_json: Json = False,
) -> None:
    """Run a job's script without writing anything: shows what each INSERT would write."""
    body = {
        **script(file, project, cluster, library, config, variable),
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
    """A JSON list, or one JSON object per line."""
    text = read(path)
    try:
        if text.lstrip().startswith("["):
            return list(loads(text))
        return [loads(line) for line in text.splitlines() if line.strip()]
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


@app.command()
def diff(
    job: Job,
    a: Annotated[int, typer.Argument(help="Version before")],
    b: Annotated[int, typer.Argument(help="Version after")],
    source: Annotated[list[str], typer.Option(help="table=rows.json, table=rows.csv or table=@test-set")],
    seconds: Annotated[float, typer.Option(help="Longest time of each")] = 60,
    as_json: Json = False,
) -> None:
    """Compare what two versions write, given the same rows, and say whether the job's state fits the one after. Nothing
    is written."""
    path = f"/jobs/{ref(job)}/versions/{a}/diff/{b}/rows"
    found = Api().call("POST", path, json={"sources": given(source)}, params={"seconds": seconds}, timeout=None)
    if as_json:
        show_json(found)
        return
    for sink in found["sinks"]:
        out.print(f"{sink['sink']}: {'the same' if sink['same'] else 'differs'}", markup=False)
        for sign, names in (("-", sink["columns_removed"]), ("+", sink["columns_added"])):
            for name in names:
                out.print(f"  {sign} column {name}", markup=False)
        for sign, rows in (("-", sink["removed"]), ("+", sink["added"])):
            for row in rows[:20]:
                out.print(f"  {sign} {json.dumps(row)}", markup=False, highlight=False)
            if len(rows) > 20:
                out.print(f"  {sign} {len(rows) - 20} more", markup=False)
    show_verdict(found["state"])


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
        ListColumn("NAME", field("name")),
        ListColumn("TABLES", lambda s: plain(", ".join(f"{t} ({len(r)})" for t, r in s["tables"].items())), folds=True),
        ListColumn("DESCRIPTION", field("description"), rank=1, folds=True),
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
        ListColumn("SESSION", field("id")),
        ListColumn("CLUSTER", field("cluster")),
        ListColumn("STATEMENTS", lambda s: str(len(s["setup"])), rank=3),
        ListColumn("USED", lambda s: ago(s["used_at"]), rank=1),
        ListColumn("GATEWAY", field("gateway"), rank=2, folds=True),
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
    answer = api.call("POST", f"/sql/sessions/{session}/statements", json=body)
    show_answer(api, answer, as_json=as_json, table=table)


@sessions.command("close")
def close_session(session: str) -> None:
    """Close a session."""
    Api().call("DELETE", f"/sql/sessions/{session}")
    out.print("Closed.")
