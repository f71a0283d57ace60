"""`penstock jobs ...`: everything about jobs."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.client import FAILED, USAGE, Api, complete_jobs, err, out, show_json

app = typer.Typer(no_args_is_help=True, help="Jobs: create, look at, send commands to.")

Job = Annotated[
    str, typer.Argument(help="project:name or id; `default:` may be left out", autocompletion=complete_jobs)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
Wait = Annotated[bool, typer.Option("--wait", help="Follow the command until it has ended")]
STYLES = {
    "RUNNING": "green", "SUCCEEDED": "green", "FINISHED": "green", "FAILED": "red", "DEPLOY_FAILED": "red",
    "BLOCKED": "bold red", "RESTARTING": "yellow", "DEPLOYING": "cyan", "DEPLOYED": "cyan", "PAUSED": "blue",
}  # fmt: skip


def ref(job: str) -> str:
    """`name` alone means the project `default`, unless it is an id."""
    return job if ":" in job or (len(job) == 36 and job.count("-") == 4) else f"default:{job}"


def styled(state: str) -> str:
    style = STYLES.get(state)
    return f"[{style}]{state}[/{style}]" if style else state


def ago(moment: str | None) -> str:
    if not moment:
        return ""
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
    for size, word in ((86400, "d"), (3600, "h"), (60, "m")):
        if abs(seconds) >= size:
            return f"{seconds // size}{word} ago"
    return f"{max(0, seconds)}s ago"


def plain(text: object) -> str:
    return str(text if text is not None else "").replace("[", r"\[")


def table(columns: list[str], rows: list[list[str]], *, empty: str) -> None:
    if not rows:
        out.print(empty)
        return
    made = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        made.add_column(column, overflow="fold", no_wrap=number < len(columns) - 1)
    for row in rows:
        made.add_row(*row)
    out.print(made)


def show_jobs(items: list[dict[str, Any]]) -> None:
    rows = [
        [
            plain(f"{j['project']}:{j['name']}"),
            styled(j["state"]),
            j["type"],
            j["cluster"],
            str(j["version"]),
            ago(j["last_observed_at"]),
            plain((j["reason"] or "").split("\n")[0][:80]),
        ]
        for j in items
    ]
    table(["JOB", "STATE", "TYPE", "CLUSTER", "VERSION", "SEEN", "REASON"], rows, empty="No jobs.")


@app.command("list")
def list_(
    project: Annotated[str | None, typer.Option(help="Only of this project")] = None,
    state: Annotated[str | None, typer.Option(help="Only in this state, for example RUNNING")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="sql, jar or pyflink")] = None,
    cluster: Annotated[str | None, typer.Option(help="Only on this cluster")] = None,
    text: Annotated[str | None, typer.Option(help="In the name or the reason")] = None,
    sort: Annotated[str, typer.Option(help="name, state, created_at, updated_at; with - descending")] = "name",
    as_json: Json = False,
) -> None:
    """List jobs."""
    params = {"project": project, "state": state, "type": type_, "cluster": cluster, "text": text, "sort": sort}
    items: list[dict[str, Any]] = []
    cursor: str | None = None
    api = Api()
    while True:
        wanted = {k: v for k, v in {**params, "cursor": cursor, "limit": 200}.items() if v is not None}
        page = api.call("GET", "/jobs", params=wanted)
        items += page["items"]
        cursor = page["next_cursor"]
        if not cursor:
            break
    show_json(items) if as_json else show_jobs(items)


@app.command()
def show(job: Job, as_json: Json = False) -> None:
    """One job, fresh from its cluster."""
    found = Api().call("GET", f"/jobs/{ref(job)}")
    if as_json:
        show_json(found)
        return
    attempt = found["current_attempt"]
    lines = {
        "job": f"{found['project']}:{found['name']}  ({found['id']})",
        "state": styled(found["state"]) + (f"  {plain(found['reason'])}" if found["reason"] else ""),
        "type": found["type"],
        "version": f"{found['version']} of {found['latest_version']}",
        "cluster": found["cluster"]
        + (f"  [red]unreachable since {found['unreachable_since']}[/red]" if found["unreachable_since"] else ""),
        "attempt": f"{attempt['number']}, Flink job {attempt['flink_job_id']}, {plain(attempt['detail'])}"
        if attempt
        else "none",
        "restored from": plain(attempt["restored_from"] or "nothing (started empty)") if attempt else "",
        "seen": ago(found["last_observed_at"]),
        "next restart": found["restart_at"] or "",
        "busy with": found["busy"] or "",
        "allowed": ", ".join(found["allowed_commands"]),
        "next safe": plain(json.dumps(found["next_actions"])) if found["next_actions"] else "",
    }
    made = Table(box=None, show_header=False, pad_edge=False)
    for key, value in lines.items():
        if value:
            made.add_row(f"[bold]{key}[/bold]", value)
    out.print(made)


def read_spec(path: str) -> Any:
    """A JSON file, `-` for standard input, or a .sql file."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text()
    except OSError as error:
        err.print(f"{path} cannot be read: {error.strerror}", style="red", markup=False)
        raise typer.Exit(USAGE) from error
    if path.endswith(".sql"):
        return {"type": "sql", "sql": text}
    try:
        return json.loads(text)
    except ValueError as error:
        err.print(f"{path} is not JSON: {error}", style="red", markup=False)
        raise typer.Exit(USAGE) from error


Spec = Annotated[str, typer.Option("--spec", "-f", help="Spec as a JSON file, a .sql file, or - for standard input")]


@app.command()
def create(
    job: Annotated[str, typer.Argument(help="project:name, or name in the project `default`")],
    spec: Spec,
    cluster: Annotated[str, typer.Option(help="Cluster to run on")] = "local",
    config: Annotated[list[str] | None, typer.Option(help="Flink configuration, key=value; may be repeated")] = None,
    start: Annotated[bool, typer.Option("--start", help="Start it at once")] = False,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Create a job."""
    project, _, name = ref(job).partition(":")
    body = {"project": project, "name": name, "cluster": cluster, "spec": read_spec(spec), "config": pairs(config)}
    api = Api()
    made = api.call("POST", "/jobs", json=body)
    if start:
        send(api, made["id"], {"kind": "start"}, wait=wait, as_json=as_json)
    elif as_json:
        show_json(made)
    else:
        out.print(f"Created {project}:{name}. Start it with: penstock jobs start {project}:{name} --wait", markup=False)


def pairs(items: list[str] | None) -> dict[str, str]:
    for item in items or []:
        if "=" not in item:
            err.print(f"--config takes key=value, not {item!r}", style="red", markup=False)
            raise typer.Exit(USAGE)
    return dict(item.split("=", 1) for item in items or [])


def send(api: Api, job: str, body: dict[str, Any], *, wait: bool, as_json: bool, key: str | None = None) -> None:
    """Send a command; with `wait` show its log as it grows, and end with code 1 when it fails."""
    headers = {"Idempotency-Key": key} if key else {}
    command = api.call("POST", f"/jobs/{job}/commands", json=body, headers=headers)
    path = f"/jobs/{job}/commands/{command['number']}"
    if wait:
        for event, data in api.events(f"{path}/log/stream"):
            if event == "line" and not as_json and not data["text"].startswith("  "):
                out.print(data["text"], style="dim", markup=False, highlight=False)
        command = api.call("GET", path)
    if as_json:
        show_json(command)
    else:
        out.print(f"command {command['number']} {command['kind']}: {styled(command['state'])}")
        if command["error"]:
            err.print(command["error"], style="red", markup=False, highlight=False)
    if wait and command["state"] != "SUCCEEDED":
        raise typer.Exit(FAILED)


def restore_of(restore: str | None, allow: bool) -> dict[str, Any] | None:
    if restore is None:
        return None
    found: dict[str, Any] = {"mode": restore} if restore in ("newest", "none") else {"mode": "point", "point": restore}
    return {**found, "allow_non_restored_state": True} if allow else found


Restore = Annotated[
    str | None, typer.Option(help="newest, none, or the id or path of a restore point", metavar="newest|none|POINT")
]
Allow = Annotated[bool, typer.Option("--allow-non-restored-state", help="Accept state that has no operator any more")]
Why = Annotated[str | None, typer.Option("--reason", help="Why, for the timeline")]
Key = Annotated[str | None, typer.Option("--idempotency-key", help="The same key gives the same command")]
VersionOption = Annotated[int | None, typer.Option("--version", help="Version to run")]


def _starter(kind: str, help_: str) -> None:
    @app.command(kind, help=help_)
    def run(
        job: Job,
        restore: Restore = None,
        version: VersionOption = None,
        allow: Allow = False,
        reason: Why = None,
        key: Key = None,
        wait: Wait = False,
        as_json: Json = False,
    ) -> None:
        body = {"kind": kind, "restore": restore_of(restore, allow), "version": version, "reason": reason}
        send(Api(), ref(job), {k: v for k, v in body.items() if v is not None}, wait=wait, as_json=as_json, key=key)


def _plain(kind: str, help_: str) -> None:
    @app.command(kind, help=help_)
    def run(job: Job, reason: Why = None, key: Key = None, wait: Wait = False, as_json: Json = False) -> None:
        body = {"kind": kind, "reason": reason} if reason else {"kind": kind}
        send(Api(), ref(job), body, wait=wait, as_json=as_json, key=key)


_starter("start", "Start a job; a paused or failed one from its newest restore point.")
_starter("restart", "Stop it if it runs, and start it again from its newest restore point.")
_starter("resubmit", "Start another version of it; you decide with --restore which state it gets.")
_plain("pause", "Stop with savepoint; start goes on from there.")
_plain("kill", "Stop at once and give the state up.")
_plain("savepoint", "Take a savepoint; the job runs on.")


@app.command()
def delete(job: Job) -> None:
    """Delete a job of which nothing runs. Savepoints stay."""
    Api().call("DELETE", f"/jobs/{ref(job)}")
    out.print("Deleted.")


@app.command("set-policy")
def set_policy(job: Job, policy: Annotated[str, typer.Argument(help='JSON, for example {"max_restarts": 3}')]) -> None:
    """Set the restart policy."""
    api = Api()
    now = api.call("GET", f"/jobs/{ref(job)}")["restart_policy"]
    try:
        api.call("PATCH", f"/jobs/{ref(job)}", json={"restart_policy": {**now, **json.loads(policy)}})
    except ValueError as error:
        err.print(f"Not JSON: {error}", style="red", markup=False)
        raise typer.Exit(USAGE) from error
    out.print("Set.")


def _lister(name: str, help_: str, columns: dict[str, str]) -> None:
    @app.command(name, help=help_)
    def run(job: Job, as_json: Json = False) -> None:
        found = Api().call("GET", f"/jobs/{ref(job)}/{name}")["items"]
        if as_json:
            show_json(found)
            return
        rows = [[_cell(key, item.get(key)) for key in columns.values()] for item in found]
        table(list(columns), rows, empty="Nothing yet.")


def _cell(key: str, value: Any) -> str:
    if key == "state":
        return styled(str(value))
    if key.endswith("_at") or key == "at":
        return str(value)[:19].replace("T", " ") if value else ""
    return plain(str(value if value is not None else "").split("\n")[0][:120])


_lister(
    "commands",
    "Commands of a job.",
    {
        "NUMBER": "number",
        "KIND": "kind",
        "STATE": "state",
        "CREATED": "created_at",
        "FINISHED": "finished_at",
        "ERROR": "error",
    },
)
_lister(
    "attempts",
    "Attempts of a job.",
    {
        "NUMBER": "number", "STATE": "state", "FLINK JOB": "flink_job_id", "VERSION": "version",
        "STARTED": "started_at", "ENDED": "ended_at", "CAUSE": "cause", "RESTORED FROM": "restored_from",
    },
)  # fmt: skip
_lister(
    "restore-points",
    "Savepoints and checkpoints a job can start from.",
    {
        "ID": "id",
        "KIND": "kind",
        "COMPLETED": "completed_at",
        "ATTEMPT": "attempt",
        "VERSION": "version",
        "PATH": "path",
    },
)
_lister("timeline", "What happened to a job.", {"AT": "at", "KIND": "kind", "WHAT": "message"})
_lister("versions", "Versions of a job.", {"NUMBER": "number", "CREATED": "created_at", "NOTE": "note"})


@app.command()
def config(job: Job, as_json: Json = False) -> None:
    """Effective Flink configuration, and the layer each key came from."""
    found = Api().call("GET", f"/jobs/{ref(job)}/config")
    if as_json:
        show_json(found)
        return
    rows = [[plain(i["key"]), plain(i["value"]), i["layer"], ", ".join(i["overrides"])] for i in found["items"]]
    table(["KEY", "VALUE", "LAYER", "OVERRIDES"], rows, empty="Nothing is set.")


@app.command()
def log(
    job: Job,
    command: Annotated[int | None, typer.Argument(help="Number of the command; the last by default")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="As it grows")] = False,
) -> None:
    """The log of a command."""
    api = Api()
    if command is None:
        found = api.call("GET", f"/jobs/{ref(job)}/commands", params={"limit": 1})["items"]
        if not found:
            out.print("No commands yet.")
            return
        command = found[0]["number"]
    path = f"/jobs/{ref(job)}/commands/{command}/log"
    if not follow:
        out.print(api.call("GET", path), markup=False, highlight=False, end="")
        return
    for event, data in api.events(f"{path}/stream"):
        if event == "line":
            out.print(data["text"], markup=False, highlight=False)


@app.command("add-version")
def add_version(
    job: Job, spec: Spec, note: Annotated[str, typer.Option(help="What changed")] = "", as_json: Json = False
) -> None:
    """Add a version; run it with resubmit."""
    made = Api().call("POST", f"/jobs/{ref(job)}/versions", json={"spec": read_spec(spec), "note": note})
    if as_json:
        show_json(made)
        return
    out.print(
        f"Version {made['number']}. Run it with: penstock jobs resubmit {job} --restore newest --wait", markup=False
    )


@app.command()
def diff(job: Job, a: int, b: int) -> None:
    """Compare two versions."""
    out.print(Api().call("GET", f"/jobs/{ref(job)}/versions/{a}/diff/{b}")["diff"], markup=False, highlight=False)
