"""`penstock clusters ...`: clusters that jobs run on, and those that Penstock runs itself."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.client import Api, out
from cli.commands import Wait, Yes, follow, named, ref, send, sure
from cli.completion import complete_clusters
from cli.output import (
    Columns,
    Format,
    Item,
    Json,
    ListColumn,
    Output,
    field,
    plain,
    show_item,
    show_json,
    show_list,
    styled,
)
from cli.specs import pairs, parse, values, wrong

app = typer.Typer(no_args_is_help=True, help="Clusters that jobs run on.")

Managed = Annotated[
    str,
    typer.Argument(
        help="Name of a session cluster that Penstock runs; project:name or name", autocompletion=complete_clusters
    ),
]


Name = Annotated[str, typer.Argument(help="Name of the cluster", autocompletion=complete_clusters)]
Config = Annotated[
    list[str] | None, typer.Option(help="Flink configuration of all its jobs, key=value; may be repeated")
]


def _slots(item: Item) -> str:
    details = item["health"]["details"] or {}
    if details.get("slots_total") is None:
        return ""
    return f"{details['slots_available']} of {details['slots_total']}"


def _address(item: Item) -> str:
    """A kind without a URL has its address in the shape of its own."""
    fields = ", ".join(f"{name}={value}" for name, value in item["address"].items() if value)
    return plain(item["jobmanager_url"] or fields)


COLUMNS = [
    ListColumn("NAME", field("name")),
    ListColumn("KIND", field("kind"), rank=3),
    ListColumn("FLINK", field("flink_version"), rank=2),
    ListColumn("HEALTH", lambda item: _health(item), folds=True, least=20),
    ListColumn("FREE SLOTS", _slots, rank=1),
    ListColumn("GATEWAY", field("gateway_url"), wide=True),
    ListColumn("STATE FOLDER", field("state_dir"), wide=True),
    ListColumn("ADDRESS", _address, rank=4, folds=True, least=24),
]


@app.command("list")
def list_clusters(output: Output = Format.TABLE, columns: Columns = None, as_json: Json = False) -> None:
    """List clusters with their health."""
    items = Api().call("GET", "/clusters")["items"]
    show_list(
        items,
        COLUMNS,
        output=output,
        as_json=as_json,
        name=lambda item: str(item["name"]),
        chosen=columns,
        empty="No clusters.",
    )


def _health(item: Item) -> str:
    health, manager = item["health"], item["managed_by"]
    if health["reachable"]:
        has_none = (health["details"] or {}).get("slots_total") == 0
        return "[yellow]no task manager[/yellow]" if has_none else "[green]reachable[/green]"
    if manager is not None and manager["state"] != "RUNNING":
        return f"{manager['job']} is {styled(manager['state'])}"
    if not health["unreachable_since"]:
        return "not asked yet"
    return f"[red]unreachable since {health['unreachable_since']}[/red]"


@app.command("show")
def show_cluster(name: Name, output: Output = Format.TABLE, as_json: Json = False) -> None:
    """One cluster with its health, fresh."""
    item = Api().call("GET", f"/clusters/{name}")

    def lines() -> dict[str, str]:
        details, managed = item["health"]["details"] or {}, item["managed_by"]
        return {
            "cluster": plain(item["name"]),
            "kind": item["kind"],
            "health": _health(item) + (f"  {plain(item['health']['why'])}" if item["health"]["why"] else ""),
            "Flink": item["flink_version"],
            "task managers": str(details.get("taskmanagers") if details.get("taskmanagers") is not None else ""),
            "free slots": _slots(item),
            "address": _address(item),
            "standby": plain(", ".join(item["standby_urls"] or [])),
            "gateway": plain(item["gateway_url"]),
            "state folder": plain(item["state_dir"]),
            "configuration": plain("\n".join(f"{k}: {v}" for k, v in sorted(item["config"].items()))),
            "run by": f"{managed['job']}, {styled(managed['state'])}" if managed else "",
            "notes": plain("\n".join(details.get("notes") or [])),
        }

    show_item(item, output=output, as_json=as_json, name=str(item["name"]), lines=lines)


def _fields(kind: Item) -> str:
    """Of its address; in brackets those that may be left out."""
    required = kind["address"].get("required", [])
    return plain(" ".join(f if f in required else f"[{f}]" for f in kind["address"]["properties"]))


KIND_COLUMNS = [
    ListColumn("KIND", field("name")),
    ListColumn("WHAT", field("summary"), rank=3, folds=True, least=20),
    ListColumn("ADDRESS", _fields, rank=1, folds=True, least=24),
    ListColumn("JOBS", lambda kind: ", ".join(kind["job_types"]), rank=2, folds=True, least=16),
    ListColumn("CAN", lambda kind: ", ".join(kind["capabilities"]), rank=4, folds=True, least=24),
]


@app.command("kinds")
def list_kinds(output: Output = Format.TABLE, columns: Columns = None, as_json: Json = False) -> None:
    """List kinds of cluster: the fields of their addresses, and what they can do."""
    kinds = Api().call("GET", "/cluster-kinds")["items"]
    show_list(
        kinds,
        KIND_COLUMNS,
        output=output,
        as_json=as_json,
        name=lambda kind: str(kind["name"]),
        chosen=columns,
        empty="No kinds.",
    )


@app.command("add")
def add_cluster(
    name: str,
    flink_version: Annotated[str, typer.Option(help="For example 2.3.0")],
    state_dir: Annotated[str, typer.Option(help="URI of the folder for checkpoints and savepoints")],
    kind: Annotated[
        str | None, typer.Option(help="See `penstock clusters kinds`; a Flink session cluster by default")
    ] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(help="field=value of its address, see `penstock clusters kinds`; may be repeated"),
    ] = None,
    jobmanager_url: Annotated[
        str | None, typer.Option(help="Of a session cluster, for example http://127.0.0.1:8081")
    ] = None,
    gateway_url: Annotated[str | None, typer.Option(help="SQL gateway, for SQL jobs")] = None,
    standby_url: Annotated[
        list[str] | None, typer.Option(help="Another JobManager, with high availability; may be repeated")
    ] = None,
    config: Config = None,
    force: Annotated[bool, typer.Option("--force", help="Although that Flink has another name already")] = False,
) -> None:
    """Register a cluster."""
    body: dict[str, Any] = {
        "name": name,
        "jobmanager_url": jobmanager_url,
        "flink_version": flink_version,
        "state_dir": state_dir,
        "gateway_url": gateway_url,
        "standby_urls": standby_url or [],
        "config": pairs(config),
        "force": force,
    }
    body |= {"kind": kind} if kind else {}
    body |= {"address": values(address, "--address")} if address else {}
    Api().call("POST", "/clusters", json=body)
    out.print(f"Registered {name}.")


@app.command("set")
def set_cluster(
    name: Name,
    changes: Annotated[
        str | None, typer.Argument(help='Fields to change, as YAML or JSON, for example "flink_version: 2.3.0"')
    ] = None,
    config: Config = None,
    unset: Annotated[list[str] | None, typer.Option("--unset", help="Key to remove; may be repeated")] = None,
) -> None:
    """Change a cluster; what is not named stays as it is, also of its configuration."""
    if changes is None and not config and not unset:
        raise wrong("Nothing to change: give fields and values, --config or --unset.")
    body = parse(changes, "What was given") if changes is not None else {}
    if not isinstance(body, dict):
        raise wrong(f"{changes} is no fields and values, as YAML or JSON have them.")
    api = Api()
    if unset:
        now = api.call("GET", f"/clusters/{name}")["config"]
        if missing := [key for key in unset if key not in now]:
            raise wrong(f"{name} has no {missing[0]} in its configuration.")
    # Laid over what is there when it arrives: others may set something at the same time.
    body = {"merge": True, **body}
    if config:
        body["config"] = {**(body.get("config") or {}), **pairs(config)}
    if unset:
        body["unset"] = unset
    show_json(api.call("PATCH", f"/clusters/{name}", json=body))


@app.command("delete")
def delete_cluster(name: Name, yes: Yes = False) -> None:
    """Forget a cluster that no job is on."""
    sure(f"Forget the cluster {name}? It is not stopped.", yes)
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
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Start a session cluster with a SQL gateway; the first time it is made, as a job of type session-cluster."""
    given = {
        "taskmanagers": taskmanagers,
        "slots": slots,
        "taskmanager_memory": taskmanager_memory,
        "jobmanager_memory": jobmanager_memory,
        "flink_version": flink_version,
        "config": pairs(config) or None,
    }
    spec = {k: v for k, v in given.items() if v is not None}
    project, short = named(name)
    api = Api()
    clusters = api.call("GET", "/jobs", params={"project": project, "text": short, "type": "session-cluster"})["items"]
    if not any(job["name"] == short for job in clusters):
        spec["type"] = "session-cluster"
        api.call("POST", "/jobs", json={"project": project, "name": short, "cluster": on, "spec": spec})
    elif spec:
        raise wrong(
            f"{project}:{short} is there already; what is set with {', '.join(sorted(spec))} counts for a new one. "
            f"Use `penstock clusters scale {short} N`, or `penstock jobs add-version {short} -f FILE` and resubmit."
        )
    send(api, f"{project}:{short}", {"kind": "start"}, wait=wait, as_json=as_json)


Force = Annotated[bool, typer.Option("--force", help="Although jobs run on it: they are restarted once it is back")]


@app.command()
def stop(name: Managed, force: Force = False, yes: Yes = False, wait: Wait = False, as_json: Json = False) -> None:
    """Stop a session cluster that Penstock runs. `start` brings it back at the same address."""
    sure(f"Stop the session cluster {ref(name)}?", yes)
    body: dict[str, Any] = {"kind": "kill"}
    send(Api(), ref(name), {**body, "force": True} if force else body, wait=wait, as_json=as_json)


@app.command()
def scale(
    name: Name,
    taskmanagers: Annotated[int, typer.Argument(min=1, max=100)],
    force: Annotated[bool, typer.Option("--force", help="Although more slots are taken than would be left")] = False,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Start or stop task managers of a session cluster that Penstock runs; it goes on running."""
    api = Api()
    managed = api.call("GET", f"/clusters/{name}")["managed_by"]
    body = {"taskmanagers": taskmanagers, "force": force}
    command = api.call("POST", f"/clusters/{name}/scale", json=body)
    follow(api, managed["job"] if managed else name, command, wait=wait, as_json=as_json)
