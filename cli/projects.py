"""`penstock projects ...`, and `penstock settings`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.client import Api, out
from cli.commands import Yes, sure
from cli.completion import complete_projects
from cli.output import Format, Item, Json, ListColumn, Output, ago, field, plain, show_item, show_list, show_notes
from cli.specs import pairs, wrong
from core.near import offered

app = typer.Typer(no_args_is_help=True, help="Projects: names, tables, secrets and configuration of their own.")

Name = Annotated[str, typer.Argument(help="Name of the project", autocompletion=complete_projects)]
Config = Annotated[
    list[str] | None, typer.Option(help="Flink configuration of all its jobs, key=value; may be repeated")
]


def _configuration(project: Item) -> str:
    return plain(", ".join(f"{k}={v}" for k, v in sorted(project["config"].items())))


COLUMNS = [
    ListColumn("NAME", field("name")),
    ListColumn("CREATED", lambda p: ago(p["created_at"]), rank=2),
    ListColumn("ARCHIVED", lambda p: ago(p["archived_at"]), rank=1),
    ListColumn("CONFIGURATION", _configuration, rank=3, folds=True),
]


@app.command("list")
def list_(output: Output = Format.TABLE, as_json: Json = False) -> None:
    """List projects."""
    items = Api().call("GET", "/projects")["items"]
    show_list(items, COLUMNS, output=output, as_json=as_json, name=lambda p: str(p["name"]), empty="No projects.")


@app.command()
def show(name: Name, output: Output = Format.TABLE, as_json: Json = False) -> None:
    """One project, with what it has."""
    api = Api()
    project = _project(api, name)

    def lines() -> dict[str, str]:
        jobs = api.all("/jobs", project=name)
        states = {job["state"] for job in jobs}
        counted = ", ".join(f"{sum(j['state'] == state for j in jobs)} {state}" for state in sorted(states))
        return {
            "project": plain(project["name"]),
            "created": ago(project["created_at"]),
            "archived": ago(project["archived_at"]),
            "jobs": f"{len(jobs)}" + (f" ({counted})" if jobs else ""),
            "tables": str(len(api.call("GET", f"/projects/{name}/resources")["items"])),
            "libraries": str(len(api.call("GET", f"/projects/{name}/libraries")["items"])),
            "secrets": str(len(api.call("GET", f"/projects/{name}/secrets")["items"])),
            "configuration": plain("\n".join(f"{k}: {v}" for k, v in sorted(project["config"].items()))),
        }

    show_item(project, output=output, as_json=as_json, name=name, lines=lines)


def _project(api: Api, name: str) -> dict[str, Any]:
    projects = api.call("GET", "/projects")["items"]
    project: dict[str, Any] | None = next((p for p in projects if p["name"] == name), None)
    if project is None:
        raise wrong(f"There is no project {name}. {offered(name, (p['name'] for p in projects), 'projects')}")
    return project


@app.command()
def create(name: Annotated[str, typer.Argument(help="Name of the new project")], config: Config = None) -> None:
    """Create a project."""
    show_notes(Api().call("POST", "/projects", json={"name": name, "config": pairs(config)}))
    out.print(f"Created {name}.", markup=False)


@app.command("set")
def set_(
    name: Name,
    config: Config = None,
    unset: Annotated[list[str] | None, typer.Option("--unset", help="Key to remove; may be repeated")] = None,
) -> None:
    """Change the configuration of a project; what is not named stays as it is. It counts from the next attempt on."""
    if not config and not unset:
        raise wrong("Nothing to change: give --config or --unset.")
    api = Api()
    now = _project(api, name)["config"]
    if missing := [key for key in unset or [] if key not in now]:
        raise wrong(f"{name} has no {missing[0]} in its configuration.")
    # Laid over what is there when it arrives: others may set something at the same time.
    body = {"merge": True, "config": pairs(config), "unset": unset or []}
    show_notes(api.call("PATCH", f"/projects/{name}", json=body))
    out.print("Set.")


@app.command()
def archive(name: Name) -> None:
    """Put a project of which nothing runs away: it takes no new jobs, and none of its jobs starts."""
    Api().call("PATCH", f"/projects/{name}", json={"archived": True})
    out.print(f"Archived. Take it back with: penstock projects unarchive {name}", markup=False, highlight=False)


@app.command()
def unarchive(name: Name) -> None:
    """Take a project back that was archived."""
    Api().call("PATCH", f"/projects/{name}", json={"archived": False})
    out.print("Taken back.")


@app.command()
def delete(name: Name, yes: Yes = False) -> None:
    """Delete a project that is empty."""
    sure(f"Delete the project {name}?", yes)
    Api().call("DELETE", f"/projects/{name}")
    out.print("Deleted.")


def settings(output: Output = Format.TABLE, as_json: Json = False) -> None:
    """Defaults of this installation: policies of jobs, and how long the past is kept."""
    shown = Api().call("GET", "/settings")

    def lines() -> dict[str, str]:
        return {
            f"{group.replace('_', ' ')}: {name}": plain("off" if value is None else value)
            for group in ("restart_policy", "savepoint_policy", "history")
            for name, value in shown[group].items()
        }

    show_item(shown, output=output, as_json=as_json, name="settings", lines=lines)
