"""`penstock jobs ...`: what was, and what is kept: versions, commands and their logs, attempts, points, timeline."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.client import Api, out, show_json
from cli.jobs import Job, Json, Spec, app, plain, read_spec, ref, styled, table
from core.jobs.states import is_stateless


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
    if key == "commit":
        return str(value or "")[:7]
    return plain(str(value if value is not None else "").split("\n")[0][:120])


_lister(
    "commands",
    "Commands of a job.",
    {
        "NUMBER": "number",
        "KIND": "kind",
        "STATE": "state",
        "BY": "requested_by",
        "CREATED": "created_at",
        "FINISHED": "finished_at",
        "ERROR": "error",
    },
)
_lister(
    "attempts",
    "Attempts of a job.",
    {
        "NUMBER": "number",
        "STATE": "state",
        "FLINK JOB": "flink_job_id",
        "VERSION": "version",
        "COMMIT": "commit",
        "STARTED": "started_at",
        "ENDED": "ended_at",
        "CAUSE": "cause",
        "RESTORED FROM": "restored_from",
    },
)
_lister(
    "restore-points",
    "Savepoints and checkpoints a job can start from.",
    {
        "ID": "id",
        "KIND": "kind",
        "COMPLETED": "completed_at",
        "ATTEMPT": "attempt",
        "VERSION": "version",
        "IN USE": "pinned",
        "KEPT": "kept",
        "PATH": "path",
    },
)
_lister("timeline", "What happened to a job.", {"AT": "at", "KIND": "kind", "WHAT": "message"})
_lister(
    "versions",
    "Versions of a job, with the commit that each ran with last.",
    {"NUMBER": "number", "CREATED": "created_at", "COMMIT": "commit", "NOTE": "note"},
)


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
    restore = "" if is_stateless(made["spec"]["type"]) else "--restore newest "
    out.print(f"Version {made['number']}. Run it with: penstock jobs resubmit {job} {restore}--wait", markup=False)


@app.command()
def diff(job: Job, a: int, b: int) -> None:
    """Compare two versions."""
    out.print(Api().call("GET", f"/jobs/{ref(job)}/versions/{a}/diff/{b}")["diff"], markup=False, highlight=False)
