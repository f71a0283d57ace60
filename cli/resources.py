"""`penstock resources`, `penstock secrets`, `penstock libraries`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.client import FAILED, Api, err, out
from cli.commands import Yes, sure
from cli.completion import complete_projects
from cli.output import Format, Item, Json, ListColumn, Output, ago, field, first_line, plain, show_json, show_list
from cli.specs import pairs, parse, read, uses, wrong
from settings import waits
from settings.polling import poll

app = typer.Typer(no_args_is_help=True, help="Registered tables of a project, and who may use them.")
secrets = typer.Typer(no_args_is_help=True, help="Secrets of a project; written ${secret:name} where they are used.")
libraries = typer.Typer(no_args_is_help=True, help="Connectors and functions of a project, in versions.")

Project = Annotated[str, typer.Option("--project", "-p", help="Project", autocompletion=complete_projects)]


@app.command("list")
def list_resources(project: Project = "default", output: Output = Format.TABLE, as_json: Json = False) -> None:
    """Tables and views that a project may use."""

    def name(r: Item) -> str:
        return str(r["name"] if r["project"] == project else f"{r['project']}.{r['name']}")

    columns = [
        ListColumn("TABLE", name),
        ListColumn(
            "CONNECTOR",
            lambda r: plain(r["definition"]["options"]["connector"]) if r["definition"] else "(view)",
            rank=1,
        ),
        ListColumn("MAY", lambda r: " ".join(verb for verb in ("read", "write") if r[verb]), rank=2),
        ListColumn("COLUMNS", lambda r: str(len(r["definition"]["columns"])) if r["definition"] else "", rank=4),
        ListColumn("OWNER", field("owner"), rank=5),
        ListColumn("DESCRIPTION", lambda r: first_line(r["description"]), rank=3, folds=True),
    ]
    items = Api().call("GET", f"/projects/{project}/resources")["items"]
    show_list(items, columns, output=output, as_json=as_json, name=name, empty="No tables.")


@app.command("show")
def show_resource(name: str, project: Project = "default", as_json: Json = False) -> None:
    """One table or view, as the DDL that it stands for."""
    resource = Api().call("GET", f"/projects/{project}/resources/{name}")
    if as_json:
        show_json(resource)
        return
    out.print(resource["ddl"], markup=False, highlight=False)
    for grant in resource["grants"] or []:
        rights = " and ".join(verb for verb in ("read", "write") if grant[verb])
        out.print(f"-- {grant['project']} may {rights}", markup=False)


@app.command("put")
def put_resource(
    name: str,
    file: Annotated[
        str,
        typer.Argument(
            help="JSON of the definition, or of the whole resource (a view: kind and query); - for standard input"
        ),
    ],
    project: Project = "default",
    description: Annotated[str | None, typer.Option()] = None,
    owner: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Register a table or a view, or change it."""
    content = parse(read(file), file)
    body = content if "definition" in content or content.get("kind") == "view" else {"definition": content}
    body |= {k: v for k, v in {"description": description, "owner": owner}.items() if v is not None}
    resource = Api().call("PUT", f"/projects/{project}/resources/{name}", json=body)
    out.print(f"{project}/{name}, revision {resource['revision']}.", markup=False)


@app.command("import")
def import_resources(
    file: Annotated[str, typer.Argument(help="A .sql file of CREATE TABLEs and CREATE VIEWs, or - for standard input")],
    project: Project = "default",
    cluster: Annotated[str, typer.Option(help="Cluster whose Flink reads them")] = "local",
    library: Annotated[list[str] | None, typer.Option("--library", "-l", help="name:version; may be repeated")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing")] = False,
) -> None:
    """Register tables and views from their DDL: all of them or none. Flink reads them."""
    body = {"sql": read(file), "cluster": cluster, "libraries": uses(library), "dry_run": dry_run}
    for table in Api().call("POST", f"/projects/{project}/resources/import", json=body, timeout=None)["items"]:
        would = "would be " if dry_run and table["action"] != "unchanged" else ""
        out.print(f"{project}/{table['name']}: {would}{table['action']}", markup=False)


@app.command("export")
def export_resources(
    names: Annotated[list[str] | None, typer.Argument(help="Tables; all of the project when none is named")] = None,
    project: Project = "default",
) -> None:
    """Print the DDL of a project's tables and views, as `import` takes them. Secrets stay references."""
    items = [r for r in Api().call("GET", f"/projects/{project}/resources")["items"] if r["project"] == project]
    if missing := set(names or []) - {r["name"] for r in items}:
        raise wrong(f"{project} has no table {', '.join(sorted(missing))}. `penstock resources list` shows them.")
    for table in items:
        if not names or table["name"] in names:
            sys.stdout.write(f"{table['ddl']};\n\n")


@app.command("delete")
def delete_resource(name: str, project: Project = "default", yes: Yes = False) -> None:
    """Forget a table or a view, and its grants. The data stays."""
    sure(f"Forget {project}/{name} and its grants? The data stays.", yes)
    Api().call("DELETE", f"/projects/{project}/resources/{name}")
    out.print("Deleted.")


@app.command()
def grant(
    name: str,
    grantee: Annotated[str, typer.Argument(help="The project that may use it")],
    project: Project = "default",
    write: Annotated[bool, typer.Option("--write", help="Also write")] = False,
    no_read: Annotated[bool, typer.Option("--no-read", help="Write only")] = False,
) -> None:
    """Let another project use a table; there it is called `<project>.<name>`."""
    rights = {"read": not no_read, "write": write}
    Api().call("PUT", f"/projects/{project}/resources/{name}/grants/{grantee}", json=rights)
    out.print("Granted.")


@app.command()
def revoke(name: str, grantee: str, project: Project = "default") -> None:
    """Take a grant back."""
    Api().call("DELETE", f"/projects/{project}/resources/{name}/grants/{grantee}")
    out.print("Taken back.")


@app.command()
def infer(
    kind: Annotated[str, typer.Argument(help="json, avro, json-schema, database or kafka")],
    file: Annotated[
        list[str] | None, typer.Option("--file", "-f", help="Samples (one object per line), or the schema")
    ] = None,
    url: Annotated[str | None, typer.Option(help="database: jdbc:postgresql://host:port/name")] = None,
    table: Annotated[str | None, typer.Option(help="database: the table")] = None,
    user: Annotated[str | None, typer.Option(help="database")] = None,
    password: Annotated[str | None, typer.Option(help="database: ${secret:name}")] = None,
    option: Annotated[list[str] | None, typer.Option(help="kafka: key=value of the connector")] = None,
    library: Annotated[list[str] | None, typer.Option("--library", "-l", help="kafka: name:version")] = None,
    project: Project = "default",
    cluster: Annotated[str, typer.Option(help="json, kafka: where it is read")] = "local",
) -> None:
    """Columns from what the data looks like. Prints a definition for `resources put`; notes go to standard error."""
    body: dict[str, Any] = {
        "kind": kind,
        "cluster": cluster,
        "options": pairs(option, "--option"),
        "libraries": uses(library),
    }
    body |= {k: v for k, v in {"url": url, "table": table, "user": user, "password": password}.items() if v}
    texts = [read(f) for f in file or []]
    if kind == "json":
        body["samples"] = [line for text in texts for line in _samples(text)]
    elif texts:
        body["document"] = texts[0]
    inferred = Api().call("POST", f"/projects/{project}/resources/infer", json=body, timeout=None)
    for note in inferred["notes"]:
        err.print(note, style="yellow", markup=False)
    definition = {k: inferred[k] for k in ("columns", "primary_key", "options")}
    definition["columns"] = [{k: v for k, v in c.items() if v not in (None, False)} for c in inferred["columns"]]
    show_json(definition)


def _samples(text: str) -> list[str]:
    """One JSON value, or one per line."""
    try:
        json.loads(text)
        return [text]
    except ValueError:
        return [line for line in text.splitlines() if line.strip()]


@secrets.command("list")
def list_secrets(project: Project = "default", output: Output = Format.TABLE, as_json: Json = False) -> None:
    """Names of secrets; never their values."""
    columns = [
        ListColumn("NAME", field("name")),
        ListColumn("REFERENCE", field("reference")),
        ListColumn("SET", lambda s: ago(s["updated_at"]), rank=1),
    ]
    items = Api().call("GET", f"/projects/{project}/secrets")["items"]
    show_list(items, columns, output=output, as_json=as_json, name=lambda s: str(s["name"]), empty="No secrets.")


@secrets.command("set")
def set_secret(name: str, project: Project = "default") -> None:
    """Store a secret: typed unseen, or read from standard input when that is no terminal."""
    value = typer.prompt(name, hide_input=True) if sys.stdin.isatty() else sys.stdin.read().rstrip("\n")
    secret = Api().call("PUT", f"/projects/{project}/secrets/{name}", json={"value": value})
    out.print(f"Set. Write it as {secret['reference']}.", markup=False)


@secrets.command("delete")
def delete_secret(name: str, project: Project = "default", yes: Yes = False) -> None:
    """Forget a secret."""
    sure(f"Forget the secret {project}/{name}? Nothing has its value then but what runs with it.", yes)
    Api().call("DELETE", f"/projects/{project}/secrets/{name}")
    out.print("Deleted.")


@libraries.command("list")
def list_libraries(project: Project = "default", output: Output = Format.TABLE, as_json: Json = False) -> None:
    """Libraries of a project."""
    columns = [
        ListColumn("NAME", field("name")),
        ListColumn("VERSION", field("version")),
        ListColumn("KIND", field("kind"), rank=2),
        ListColumn("STATE", field("state")),
        ListColumn("SIZE", lambda x: f"{sum(f['size'] for f in x['files']) / 1e6:.1f} MB", rank=3),
        ListColumn("FUNCTIONS", lambda x: plain(", ".join(f["name"] for f in x["functions"])), rank=1, folds=True),
    ]
    items = Api().call("GET", f"/projects/{project}/libraries")["items"]

    def name(x: Item) -> str:
        return f"{x['name']}:{x['version']}"

    show_list(items, columns, output=output, as_json=as_json, name=name, empty="No libraries.")


@libraries.command("add")
def add_library(
    name: str,
    version: str,
    maven: Annotated[list[str] | None, typer.Option(help="group:artifact:version; may be repeated")] = None,
    file: Annotated[str | None, typer.Option("--file", "-f", help="A .jar, .py or .zip to upload")] = None,
    git: Annotated[str | None, typer.Option(help="URL of a repository to build")] = None,
    ref: Annotated[str, typer.Option(help="With --git: branch, tag or commit")] = "HEAD",
    subdirectory: Annotated[str | None, typer.Option(help="With --git")] = None,
    python_file: Annotated[str | None, typer.Option(help="With --git: the Python file")] = None,
    build_property: Annotated[
        list[str] | None,
        typer.Option("--property", help="With --git: Maven's -Dkey=value (Gradle's -P); may be repeated"),
    ] = None,
    profile: Annotated[list[str] | None, typer.Option(help="With --git: a Maven profile; may be repeated")] = None,
    function: Annotated[list[str] | None, typer.Option(help="name=class; may be repeated")] = None,
    project: Project = "default",
) -> None:
    """Add a version of a library, and wait until it can be used."""
    if sum(bool(x) for x in (maven, file, git)) != 1:
        raise wrong("Give one of --maven, --file and --git.")
    if not git and (build_property or profile):
        raise wrong("--property and --profile go with --git: nothing else is built.")
    python = bool(python_file) or (file is not None and not file.endswith(".jar"))
    if maven:
        source: dict[str, Any] = {"type": "maven", "coordinates": maven}
    elif file:
        source = {"type": "upload", "file": Path(file).name}
    else:
        where = {"url": git, "ref": ref, **({"subdirectory": subdirectory} if subdirectory else {})}
        build = {"properties": pairs(build_property, "--property"), "profiles": profile or []}
        source = {"type": "git", "git": where, "build": {key: value for key, value in build.items() if value}}
        source |= {"file": python_file} if python_file else {}
    functions = [{"name": n, "class": c} for n, c in pairs(function, "--function").items()]
    body = {
        "name": name,
        "version": version,
        "kind": "python" if python else "jar",
        "source": source,
        "functions": functions,
    }
    api = Api()
    api.call("POST", f"/projects/{project}/libraries", json=body)
    path = f"/projects/{project}/libraries/{name}/{version}"
    if file:
        api.call("PUT", f"{path}/content", content=Path(file).read_bytes(), timeout=None)
    lines, polling = 0, poll(waits.LIBRARY_PACE)
    while (library := api.call("GET", path))["state"] == "FETCHING":
        lines = _tell(api, path, lines)
        polling.again_in_thread()
    _tell(api, path, lines)
    if library["state"] != "READY":
        err.print(str(library["why"]), style="red", markup=False)
        raise typer.Exit(FAILED)
    out.print(
        f"{name} {version} is ready. Use it with `--library {name}:{version}`, or under `libraries` of a spec.",
        markup=False,
    )


def _tell(api: Api, path: str, lines: int) -> int:
    log = api.text(f"{path}/log").splitlines()
    for line in log[lines:]:
        out.print(line.partition("Z ")[2], style="dim", markup=False, highlight=False)
    return len(log)


@libraries.command("delete")
def delete_library(name: str, version: str, project: Project = "default", yes: Yes = False) -> None:
    """Forget a version that no job uses."""
    sure(f"Forget the library {project}/{name} {version}?", yes)
    Api().call("DELETE", f"/projects/{project}/libraries/{name}/{version}")
    out.print("Deleted.")
