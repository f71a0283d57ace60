"""`penstock jobs ...`: what was, and what is kept: versions, commands and their logs, attempts, points, timeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from cli.client import Api, out
from cli.commands import Job, ref
from cli.output import Column, Columns, Format, Item, Json, Output, field, plain, short, show_json, show_list, styled

app = typer.Typer()


def _lister(name: str, help_: str, key: str, columns: list[Column]) -> None:
    @app.command(name, help=help_)
    def run(job: Job, output: Output = Format.TABLE, chosen: Columns = None, as_json: Json = False) -> None:
        items = Api().call("GET", f"/jobs/{ref(job)}/{name}")["items"]
        show_list(
            items,
            columns,
            output=output,
            as_json=as_json,
            name=lambda item: str(item[key]),
            chosen=chosen,
            empty="Nothing yet.",
        )


def _when(key: str) -> Callable[[Item], str]:
    return lambda item: str(item[key])[:19].replace("T", " ") if item[key] else ""


def _line(key: str, most: int = 120) -> Callable[[Item], str]:
    return lambda item: plain(short(str(item[key]), most)) if item[key] is not None else ""


def _state(item: Item) -> str:
    return styled(str(item["state"]))


def _commit(item: Item) -> str:
    return str(item.get("commit") or "")[:7]


_lister(
    "commands",
    "Commands of a job.",
    "number",
    [
        Column("NUMBER", field("number")),
        Column("KIND", field("kind")),
        Column("STATE", _state),
        Column("BY", field("requested_by")),
        Column("CREATED", _when("created_at")),
        Column("FINISHED", _when("finished_at")),
        Column("VERSION", field("version"), wide=True),
        Column("ATTEMPT", field("attempt"), wide=True),
        Column("WHY", _line("reason")),
        Column("ERROR", _line("error")),
    ],
)
_lister(
    "attempts",
    "Attempts of a job.",
    "number",
    [
        Column("NUMBER", field("number")),
        Column("STATE", _state),
        Column("FLINK JOB", field("flink_job_id")),
        Column("VERSION", field("version")),
        Column("COMMIT", _commit),
        Column("STARTED", _when("started_at")),
        Column("ENDED", _when("ended_at")),
        Column("CAUSE", _line("cause")),
        Column("RESTORED FROM", field("restored_from")),
    ],
)
_lister(
    "restore-points",
    "Savepoints and checkpoints a job can start from.",
    "id",
    [
        Column("ID", field("id")),
        Column("KIND", field("kind")),
        Column("COMPLETED", _when("completed_at")),
        Column("ATTEMPT", field("attempt")),
        Column("VERSION", field("version")),
        Column("IN USE", field("pinned")),
        Column("KEPT", field("kept")),
        Column("PATH", field("path")),
    ],
)
_lister(
    "timeline",
    "What happened to a job.",
    "id",
    [Column("AT", _when("at")), Column("KIND", field("kind")), Column("WHAT", _line("message"))],
)
_lister(
    "versions",
    "Versions of a job, with the commit that each ran with last.",
    "number",
    [
        Column("NUMBER", field("number")),
        Column("CREATED", _when("created_at")),
        Column("COMMIT", _commit),
        Column("NOTE", _line("note")),
    ],
)


@app.command()
def config(job: Job, output: Output = Format.TABLE, as_json: Json = False) -> None:
    """Effective Flink configuration, and the layer each key came from."""
    shown = Api().call("GET", f"/jobs/{ref(job)}/config")
    columns = [
        Column("KEY", field("key")),
        Column("VALUE", field("value")),
        Column("LAYER", field("layer")),
        Column("OVERRIDES", lambda item: ", ".join(item["overrides"])),
    ]
    if as_json:
        show_json(shown)  # with what is beside the items
        return
    show_list(shown["items"], columns, output=output, name=lambda item: str(item["key"]), empty="Nothing is set.")


@app.command()
def log(
    job: Job,
    command: Annotated[int | None, typer.Argument(help="Number of the command; the last by default")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="As it grows")] = False,
) -> None:
    """The log of a command."""
    api = Api()
    if command is None:
        newest = api.call("GET", f"/jobs/{ref(job)}/commands", params={"limit": 1})["items"]
        if not newest:
            out.print("No commands yet.")
            return
        command = newest[0]["number"]
    path = f"/jobs/{ref(job)}/commands/{command}/log"
    if not follow:
        out.print(api.call("GET", path), markup=False, highlight=False, end="")
        return
    for event, data in api.events(f"{path}/stream"):
        if event == "line":
            out.print(data["text"], markup=False, highlight=False)


@app.command()
def diff(job: Job, a: int, b: int) -> None:
    """Compare two versions."""
    out.print(Api().call("GET", f"/jobs/{ref(job)}/versions/{a}/diff/{b}")["diff"], markup=False, highlight=False)
