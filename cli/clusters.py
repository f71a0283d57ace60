"""`penstock clusters ...`: clusters that jobs run on, and those that Penstock runs itself."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from cli import jobs
from cli.client import USAGE, Api, err, out, show_json

app = typer.Typer(no_args_is_help=True, help="Clusters that jobs run on.")

Managed = Annotated[str, typer.Argument(help="Name of a session cluster that Penstock runs; project:name or name")]


@app.command("list")
def list_clusters(as_json: jobs.Json = False) -> None:
    """List clusters with their health."""
    found = Api().call("GET", "/clusters")["items"]
    if as_json:
        show_json(found)
        return
    rows = []
    for item in found:
        details = item["health"]["details"] or {}
        slots = (
            f"{details['slots_available']} of {details['slots_total']}"
            if details.get("slots_total") is not None
            else ""
        )
        rows.append([item["name"], item["kind"], item["flink_version"], _health(item), slots, item["jobmanager_url"]])
    jobs.table(["NAME", "KIND", "FLINK", "HEALTH", "FREE SLOTS", "ADDRESS"], rows, empty="No clusters.")


def _health(item: dict[str, Any]) -> str:
    health, manager = item["health"], item["managed_by"]
    if health["reachable"]:
        return "[green]reachable[/green]"
    if manager is not None and manager["state"] != "RUNNING":
        return f"{manager['job']} is {jobs.styled(manager['state'])}"
    if not health["unreachable_since"]:
        return "not asked yet"
    return f"[red]unreachable since {health['unreachable_since']}[/red]"


@app.command("show")
def show_cluster(name: str) -> None:
    """One cluster, as JSON."""
    show_json(Api().call("GET", f"/clusters/{name}"))


@app.command("add")
def add_cluster(
    name: str,
    jobmanager_url: Annotated[str, typer.Option(help="For example http://127.0.0.1:8081")],
    flink_version: Annotated[str, typer.Option(help="For example 2.3.0")],
    state_dir: Annotated[str, typer.Option(help="URI of the folder for checkpoints and savepoints")],
    gateway_url: Annotated[str | None, typer.Option(help="SQL gateway, for SQL jobs")] = None,
    standby_url: Annotated[
        list[str] | None, typer.Option(help="Another JobManager, with high availability; may be repeated")
    ] = None,
    config: Annotated[list[str] | None, typer.Option(help="Flink configuration, key=value")] = None,
    force: Annotated[bool, typer.Option("--force", help="Although that Flink has another name already")] = False,
) -> None:
    """Register a Flink session cluster."""
    body: dict[str, Any] = {
        "name": name,
        "jobmanager_url": jobmanager_url,
        "flink_version": flink_version,
        "state_dir": state_dir,
        "gateway_url": gateway_url,
        "standby_urls": standby_url or [],
        "config": jobs.pairs(config),
        "force": force,
    }
    Api().call("POST", "/clusters", json=body)
    out.print(f"Registered {name}.")


@app.command("set")
def set_cluster(name: str, changes: Annotated[str, typer.Argument(help="JSON of the fields to change")]) -> None:
    """Change a cluster."""
    try:
        show_json(Api().call("PATCH", f"/clusters/{name}", json=json.loads(changes)))
    except ValueError as error:
        err.print(f"Not JSON: {error}", markup=False)
        raise typer.Exit(USAGE) from error


@app.command("delete")
def delete_cluster(name: str) -> None:
    """Forget a cluster that no job is on."""
    Api().call("DELETE", f"/clusters/{name}")
    out.print("Deleted.")


@app.command()
def start(
    name: Managed,
    on: Annotated[str, typer.Option(help="A new one: the cluster of kind processes to run it on")] = "machine",
    taskmanagers: Annotated[int | None, typer.Option(help="A new one: how many task managers; 1 by default")] = None,
    slots: Annotated[int | None, typer.Option(help="A new one: slots of each; 4 by default")] = None,
    taskmanager_memory: Annotated[str | None, typer.Option(help="A new one: of each, for example 2g")] = None,
    jobmanager_memory: Annotated[str | None, typer.Option(help="A new one: for example 1600m")] = None,
    flink_version: Annotated[str | None, typer.Option(help="A new one: for example 1.20.5")] = None,
    config: Annotated[list[str] | None, typer.Option(help="A new one: Flink configuration, key=value")] = None,
    wait: jobs.Wait = False,
    as_json: jobs.Json = False,
) -> None:
    """Start a session cluster with a SQL gateway; the first time it is made, as a job of type session-cluster."""
    given = {
        "taskmanagers": taskmanagers,
        "slots": slots,
        "taskmanager_memory": taskmanager_memory,
        "jobmanager_memory": jobmanager_memory,
        "flink_version": flink_version,
        "config": jobs.pairs(config) or None,
    }
    spec = {k: v for k, v in given.items() if v is not None}
    project, _, short = jobs.ref(name).partition(":")
    api = Api()
    found = api.call("GET", "/jobs", params={"project": project, "text": short, "type": "session-cluster"})["items"]
    if not any(job["name"] == short for job in found):
        spec["type"] = "session-cluster"
        api.call("POST", "/jobs", json={"project": project, "name": short, "cluster": on, "spec": spec})
    elif spec:
        err.print(
            f"{project}:{short} is there already; what is set with {', '.join(sorted(spec))} counts for a new one. "
            f"Use `penstock clusters scale {short} N`, or `penstock jobs add-version {short} -f FILE` and resubmit.",
            style="red",
            markup=False,
        )
        raise typer.Exit(USAGE)
    jobs.send(api, f"{project}:{short}", {"kind": "start"}, wait=wait, as_json=as_json)


Force = Annotated[bool, typer.Option("--force", help="Although jobs run on it: they are restarted once it is back")]


@app.command()
def stop(name: Managed, force: Force = False, wait: jobs.Wait = False, as_json: jobs.Json = False) -> None:
    """Stop a session cluster that Penstock runs. `start` brings it back at the same address."""
    body: dict[str, Any] = {"kind": "kill"}
    jobs.send(Api(), jobs.ref(name), {**body, "force": True} if force else body, wait=wait, as_json=as_json)


@app.command()
def scale(
    name: Annotated[str, typer.Argument(help="Name of the cluster")],
    taskmanagers: Annotated[int, typer.Argument(min=1, max=100)],
    force: Annotated[bool, typer.Option("--force", help="Although more slots are taken than would be left")] = False,
    wait: jobs.Wait = False,
    as_json: jobs.Json = False,
) -> None:
    """Start or stop task managers of a session cluster that Penstock runs; it goes on running."""
    api = Api()
    managed = api.call("GET", f"/clusters/{name}")["managed_by"]
    body = {"taskmanagers": taskmanagers, "force": force}
    command = api.call("POST", f"/clusters/{name}/scale", json=body)
    jobs.follow(api, managed["job"] if managed else name, command, wait=wait, as_json=as_json)
