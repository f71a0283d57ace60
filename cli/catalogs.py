"""`penstock catalogs`."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from cli.client import Api, out
from cli.commands import Yes, sure
from cli.completion import complete_projects
from cli.output import Format, Item, Json, ListColumn, Output, field, first_line, plain, show_json, show_list
from cli.specs import pairs, uses

app = typer.Typer(no_args_is_help=True, help="Flink catalogs of a project (JDBC, Paimon, Iceberg, Hive).")

Project = Annotated[str, typer.Option("--project", "-p", help="Project", autocompletion=complete_projects)]
Cluster = Annotated[str, typer.Option(help="Cluster whose Flink is asked")]
PAGE = 500


@app.command("list")
def list_catalogs(project: Project = "default", output: Output = Format.TABLE, as_json: Json = False) -> None:
    """Catalogs of a project."""
    columns = [
        ListColumn("CATALOG", field("name")),
        ListColumn("TYPE", field("type")),
        ListColumn(
            "LIBRARIES", lambda c: plain(", ".join(f"{u['name']}:{u['version']}" for u in c["libraries"])), rank=2
        ),
        ListColumn("DESCRIPTION", lambda c: first_line(c["description"]), rank=1, folds=True),
    ]
    items = Api().call("GET", f"/projects/{project}/catalogs")["items"]
    show_list(items, columns, output=output, as_json=as_json, name=lambda c: str(c["name"]), empty="No catalogs.")


@app.command("add")
def add_catalog(
    name: str,
    option: Annotated[
        list[str], typer.Option("--option", help="key=value; type=... is wanted; secrets as ${secret:name}")
    ],
    library: Annotated[list[str] | None, typer.Option("--library", "-l", help="name:version; may be repeated")] = None,
    description: Annotated[str, typer.Option()] = "",
    project: Project = "default",
    cluster: Cluster = "local",
) -> None:
    """Register a catalog that Flink can make, or change it as a whole."""
    body = {"options": pairs(option, "--option"), "libraries": uses(library), "description": description}
    path = f"/projects/{project}/catalogs/{name}"
    catalog = Api().call("PUT", path, json=body, params={"cluster": cluster}, timeout=None)
    out.print(f"{project}/{name}, revision {catalog['revision']}.", markup=False)


@app.command("show")
def show_catalog(name: str, project: Project = "default", as_json: Json = False) -> None:
    """One catalog, as the DDL that it stands for."""
    catalog = Api().call("GET", f"/projects/{project}/catalogs/{name}")
    if as_json:
        show_json(catalog)
        return
    out.print(catalog["ddl"], markup=False, highlight=False)
    for use in catalog["libraries"]:
        out.print(f"-- with the library {use['name']} {use['version']}", markup=False, highlight=False)


@app.command("delete")
def delete_catalog(name: str, project: Project = "default", yes: Yes = False) -> None:
    """Forget a catalog. What is in it stays."""
    sure(f"Forget the catalog {project}/{name}? What is in it stays.", yes)
    Api().call("DELETE", f"/projects/{project}/catalogs/{name}")
    out.print("Deleted.")


@app.command("tables")
def tables_of_catalog(
    name: str,
    database: Annotated[str | None, typer.Argument(help="Its tables; without it the databases are listed")] = None,
    table: Annotated[str | None, typer.Argument(help="Its columns and options")] = None,
    project: Project = "default",
    cluster: Cluster = "local",
    output: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """What is in a catalog: its databases, the tables of one, the columns of a table."""
    path = f"/projects/{project}/catalogs/{name}/databases"
    if database is None:
        items = _every(path, cluster)
        titles, empty = [ListColumn("DATABASE", field("name"))], "No databases."
    elif table is None:
        items = _every(f"{path}/{_part(database)}/tables", cluster)
        titles, empty = [ListColumn("TABLE", field("name"))], "No tables."
    else:
        path += f"/{_part(database)}/tables/{_part(table)}"
        answer = Api().call("GET", path, params={"cluster": cluster}, timeout=None)
        if as_json or output is Format.JSON:
            show_json(answer)
            return
        items, empty = answer["columns"], "No columns."
        titles = [
            ListColumn("COLUMN", field("name")),
            ListColumn("TYPE", field("type"), folds=True),
            ListColumn("NULL", lambda c: "yes" if c["nullable"] else "no"),
            ListColumn("KEY", lambda c: "yes" if c["key"] else ""),
            ListColumn(
                "EXTRAS", lambda c: plain(" ".join(filter(None, (c["extras"], c["watermark"])))), rank=1, folds=True
            ),
        ]
    show_list(items, titles, output=output, as_json=as_json, name=lambda i: str(i["name"]), empty=empty)


def _part(name: str) -> str:
    return quote(name, safe="")


def _every(path: str, cluster: str) -> list[Item]:
    items: list[Item] = []
    params: dict[str, Any] = {"cluster": cluster, "limit": PAGE}
    while True:
        page = Api().call("GET", path, params=params, timeout=None)
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        params["cursor"] = page["next_cursor"]
