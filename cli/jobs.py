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
from core.jobs.types import traits

app = typer.Typer(no_args_is_help=True, help="Jobs: create, look at, send commands to.")

Job = Annotated[
    str, typer.Argument(help="project:name or id; `default:` may be left out", autocompletion=complete_jobs)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
Wait = Annotated[bool, typer.Option("--wait", help="Follow the command until it has ended")]
STYLES = {
    "RUNNING": "green",
    "SUCCEEDED": "green",
    "FINISHED": "green",
    "FAILED": "red",
    "DEPLOY_FAILED": "red",
    "BLOCKED": "bold red",
    "RESTARTING": "yellow",
    "DEPLOYING": "cyan",
    "DEPLOYED": "cyan",
    "PAUSED": "blue",
}


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


def program(version: int, attempt: dict[str, Any] | None) -> str:
    """A version, with the commit that it runs: its `ref` may be a branch."""
    commit = attempt.get("commit") if attempt and attempt["version"] == version else None
    return f"{version} (commit {commit[:7]})" if commit else str(version)


def show_jobs(items: list[dict[str, Any]]) -> None:
    rows = [
        [
            plain(f"{j['project']}:{j['name']}"),
            styled(j["state"]),
            j["type"],
            j["cluster"],
            program(j["version"], j["current_attempt"]),
            ago(j["last_observed_at"]),
            plain((j["reason"] or j["warning"] or "").split("\n")[0][:80]),
        ]
        for j in items
    ]
    table(["JOB", "STATE", "TYPE", "CLUSTER", "VERSION", "SEEN", "REASON"], rows, empty="No jobs.")


@app.command("list")
def list_(
    project: Annotated[str | None, typer.Option(help="Only of this project")] = None,
    state: Annotated[str | None, typer.Option(help="Only in this state, for example RUNNING")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="sql, jar, pyflink or session-cluster")] = None,
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
    attempt, flink_job = found["current_attempt"], not traits(found["type"]).runs_cluster
    what = "Flink job" if flink_job else "processes in folder"
    lines = {
        "job": f"{found['project']}:{found['name']}  ({found['id']})",
        "state": styled(found["state"]) + (f"  {plain(found['reason'])}" if found["reason"] else ""),
        "warning": f"[yellow]{plain(found['warning'])}[/yellow]" if found["warning"] else "",
        "type": found["type"],
        "version": f"{program(found['version'], attempt)} of {found['latest_version']}",
        "cluster": found["cluster"]
        + (f"  [red]unreachable since {found['unreachable_since']}[/red]" if found["unreachable_since"] else ""),
        "attempt": f"{attempt['number']}, {what} {attempt['flink_job_id']}, {plain(attempt['detail'])}"
        if attempt
        else "none",
        "restored from": plain(attempt["restored_from"] or "nothing (started empty)") if attempt and flink_job else "",
        "seen": ago(found["last_observed_at"]),
        "next restart": found["restart_at"] or "",
        "busy with": found["busy"] or "",
        "allowed": ", ".join(found["allowed_commands"]),
        "seen then": plain("\n".join(found["blocked"]["evidence"])) if found["blocked"] else "",
        "next safe": plain("\n".join(as_command(job, action) for action in found["next_actions"])),
    }
    made = Table(box=None, show_header=False, pad_edge=False)
    for key, value in lines.items():
        if value:
            made.add_row(f"[bold]{key}[/bold]", value)
    out.print(made)


def as_command(job: str, action: dict[str, Any]) -> str:
    """An action of a BLOCKED job as something to type."""
    words = ["penstock jobs", action["kind"], job]
    restore = action.get("restore") or {}
    if restore:
        words += ["--restore", restore.get("point") or restore["mode"]]
    if restore.get("accept_changed_state"):
        words.append("--force")
    elif restore.get("allow_non_restored_state"):
        words.append("--allow-non-restored-state")
    if restore.get("accept_unknown_state"):
        words.append("--accept-unknown-state")
    if action.get("version"):
        words += ["--version", str(action["version"])]
    if action.get("flink_job_id"):
        words.append(action["flink_job_id"])
    return " ".join(words)


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
    follow(api, job, api.call("POST", f"/jobs/{job}/commands", json=body, headers=headers), wait=wait, as_json=as_json)


def follow(api: Api, job: str, command: dict[str, Any], *, wait: bool, as_json: bool) -> None:
    """Show a command that was sent; with `wait` until it has ended."""
    if command.get("state_verdict") and not as_json:
        show_verdict(command["state_verdict"])
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


VERDICTS = {"COMPATIBLE": "green", "COMPATIBLE_WITH_LOSS": "yellow", "INCOMPATIBLE": "red", "UNKNOWN": "yellow"}


def show_verdict(found: dict[str, Any]) -> None:
    """A verdict on state, with the operators that decide it."""
    word = found["verdict"]
    out.print(f"state: [{VERDICTS[word]}]{word}[/{VERDICTS[word]}]  {plain(found['summary'])}")
    for line in [*found["diff"].splitlines(), *(f"note: {n}" for n in found["notes"])]:
        out.print(f"  {line}", markup=False, highlight=False)


@app.command()
def verdict(
    job: Job,
    version: Annotated[int | None, typer.Option("--version", help="The newest version by default")] = None,
    point: Annotated[str | None, typer.Option(help="Restore point; the newest by default")] = None,
    as_json: Json = False,
) -> None:
    """Would the state of a SQL job fit another version of it? Changes nothing; code 1 when it would not."""
    api = Api()
    number = version or api.call("GET", f"/jobs/{ref(job)}")["latest_version"]
    params = {"point": point} if point else {}
    found = api.call("GET", f"/jobs/{ref(job)}/versions/{number}/verdict", params=params)
    show_json(found) if as_json else show_verdict(found)
    if found["verdict"] == "INCOMPATIBLE":
        raise typer.Exit(FAILED)


def restore_of(restore: str | None, **accepted: bool) -> dict[str, Any] | None:
    if restore is None:
        return None
    found: dict[str, Any] = {"mode": restore} if restore in ("newest", "none") else {"mode": "point", "point": restore}
    return {**found, **{name: True for name, given in accepted.items() if given}}


Restore = Annotated[
    str | None, typer.Option(help="newest, none, or the id or path of a restore point", metavar="newest|none|POINT")
]
Allow = Annotated[bool, typer.Option("--allow-non-restored-state", help="Accept state that has no operator any more")]
Unknown = Annotated[
    bool,
    typer.Option("--accept-unknown-state", help="SQL: accept state of which nobody knows what made it, or if it fits"),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Of another version: drop the state of operators that changed (see `jobs verdict`)"),
]
Why = Annotated[str | None, typer.Option("--reason", help="Why, for the timeline")]
Key = Annotated[str | None, typer.Option("--idempotency-key", help="The same key gives the same command")]
Rollback = Annotated[
    float | None,
    typer.Option(help="With resubmit: go back by itself unless it is healthy within so many seconds"),
]
VersionOption = Annotated[int | None, typer.Option("--version", help="Version to run")]


def _starter(kind: str, help_: str) -> None:
    @app.command(kind, help=help_)
    def run(
        job: Job,
        restore: Restore = None,
        version: VersionOption = None,
        allow: Allow = False,
        unknown: Unknown = False,
        force: Force = False,
        rollback_within: Rollback = None,
        reason: Why = None,
        key: Key = None,
        wait: Wait = False,
        as_json: Json = False,
    ) -> None:
        body = {
            "kind": kind,
            "version": version,
            "reason": reason,
            "restore": restore_of(restore, allow_non_restored_state=allow, accept_unknown_state=unknown),
            "rollback_within": rollback_within,
            "force": force or None,
        }
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


@app.command()
def adopt(
    job: Job,
    flink_job_id: Annotated[str, typer.Argument(help="A Flink job that is alive and that nobody owns")],
    version: VersionOption = None,
    reason: Why = None,
    key: Key = None,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Take over a Flink job that runs already (penstock orphans list)."""
    body = {"kind": "adopt", "flink_job_id": flink_job_id, "version": version, "reason": reason}
    send(Api(), ref(job), {k: v for k, v in body.items() if v is not None}, wait=wait, as_json=as_json, key=key)


@app.command()
def pin(job: Job, point: Annotated[str, typer.Argument(help="Id of a restore point")]) -> None:
    """Keep a restore point, whatever the savepoint policy says."""
    Api().call("PUT", f"/jobs/{ref(job)}/restore-points/{point}/pin")
    out.print("Kept.")


@app.command()
def unpin(job: Job, point: Annotated[str, typer.Argument(help="Id of a restore point")]) -> None:
    """Leave a restore point to the savepoint policy again."""
    Api().call("DELETE", f"/jobs/{ref(job)}/restore-points/{point}/pin")
    out.print("Kept no longer.")


def _set(job: str, field: str, changes: str) -> None:
    api = Api()
    now = api.call("GET", f"/jobs/{ref(job)}")[field]
    try:
        api.call("PATCH", f"/jobs/{ref(job)}", json={field: {**now, **json.loads(changes)}})
    except (ValueError, TypeError) as error:
        err.print(f"Not a JSON object: {error}", style="red", markup=False)
        raise typer.Exit(USAGE) from error
    out.print("Set.")


@app.command("set-savepoints")
def set_savepoints(
    job: Job,
    policy: Annotated[str, typer.Argument(help='JSON, for example {"interval": 86400, "keep_last": 7}')],
) -> None:
    """Set how often savepoints are taken, and how long they are kept."""
    _set(job, "savepoint_policy", policy)


@app.command("set-policy")
def set_policy(job: Job, policy: Annotated[str, typer.Argument(help='JSON, for example {"max_restarts": 3}')]) -> None:
    """Set the restart policy."""
    _set(job, "restart_policy", policy)
