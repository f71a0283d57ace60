"""`penstock jobs ...`: what was, and what is kept: versions, commands and their logs, attempts, points, timeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from urllib.parse import quote

import typer

from cli.client import Api, err, out
from cli.commands import Job, ref
from cli.output import (
    Columns,
    Format,
    Item,
    Json,
    ListColumn,
    Output,
    field,
    first_line,
    plain,
    show_json,
    show_list,
    show_notes,
    size,
    styled,
)
from cli.specs import wrong
from cli.wording import as_commands

app = typer.Typer()


def _lister(name: str, help_: str, key: str, columns: list[ListColumn]) -> None:
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


def _line(key: str) -> Callable[[Item], str]:
    return lambda item: first_line(item[key])


def _told(key: str) -> Callable[[Item], str]:
    """The first line of what Penstock itself says."""
    return lambda item: first_line(as_commands(item[key] or ""))


def _state(item: Item) -> str:
    return styled(str(item["state"]))


def _commit(item: Item) -> str:
    return str(item.get("commit") or "")[:7]


_lister(
    "commands",
    "Commands of a job.",
    "number",
    [
        ListColumn("NUMBER", field("number")),
        ListColumn("KIND", field("kind")),
        ListColumn("STATE", _state),
        ListColumn("BY", field("requested_by"), rank=5),
        ListColumn("CREATED", _when("created_at"), rank=2),
        ListColumn("FINISHED", _when("finished_at"), rank=4),
        ListColumn("VERSION", field("version"), wide=True),
        ListColumn("ATTEMPT", field("attempt"), wide=True),
        ListColumn("WHY", _line("reason"), rank=3, folds=True, most=120),
        ListColumn("ERROR", _told("error"), rank=1, folds=True, most=120),
    ],
)
_lister(
    "attempts",
    "Attempts of a job.",
    "number",
    [
        ListColumn("NUMBER", field("number")),
        ListColumn("STATE", _state),
        ListColumn("FLINK JOB", field("flink_job_id"), rank=4, most=9),
        ListColumn("VERSION", field("version"), rank=3),
        ListColumn("COMMIT", _commit, rank=6),
        ListColumn("STARTED", _when("started_at"), rank=2),
        ListColumn("ENDED", _when("ended_at"), rank=5),
        ListColumn("CAUSE", _told("cause"), rank=1, folds=True, most=120),
        ListColumn("RESTORED FROM", field("restored_from"), rank=7, folds=True, least=30),
    ],
)
_lister(
    "restore-points",
    "Savepoints and checkpoints a job can start from.",
    "id",
    [
        ListColumn("ID", field("id")),
        ListColumn("KIND", field("kind")),
        ListColumn("COMPLETED", _when("completed_at"), rank=1),
        ListColumn("ATTEMPT", field("attempt"), rank=2),
        ListColumn("VERSION", field("version"), rank=3),
        ListColumn("IN USE", field("pinned"), rank=5),
        ListColumn("KEPT", field("kept"), rank=4),
        ListColumn("PATH", field("path"), folds=True, least=24),
    ],
)
_lister(
    "timeline",
    "What happened to a job.",
    "id",
    [
        ListColumn("AT", _when("at")),
        ListColumn("KIND", field("kind"), rank=1),
        ListColumn("WHAT", _told("message"), folds=True, most=120),
    ],
)


@app.command()
def versions(
    job: Job,
    branches: Annotated[bool, typer.Option("--branches", help="Look where the branches are by now")] = False,
    output: Output = Format.TABLE,
    chosen: Columns = None,
    as_json: Json = False,
) -> None:
    """Versions of a job, with the commit that each ran with last."""
    items = Api().call("GET", f"/jobs/{ref(job)}/versions", params={"branches": "true"} if branches else None)["items"]
    columns = [
        ListColumn("NUMBER", field("number")),
        ListColumn("CREATED", _when("created_at"), rank=1),
        ListColumn("COMMIT", _commit),
        *([ListColumn("BRANCH", _branch, folds=True)] if branches else []),
        ListColumn("NOTE", _line("note"), folds=True, most=120),
    ]
    name = field("number")
    show_list(items, columns, output=output, as_json=as_json, name=name, chosen=chosen, empty="Nothing yet.")


def _branch(item: Item) -> str:
    """Where the branch of a version is, seen from the commit that ran."""
    if item["ref_commit"] is None:
        return plain(str(item["ref_error"] or ""))
    return "the same" if item["ref_commit"] == item["commit"] else f"moved to {item['ref_commit'][:7]}"


@app.command()
def config(job: Job, output: Output = Format.TABLE, as_json: Json = False) -> None:
    """Effective Flink configuration, and the layer each key came from."""
    shown = Api().call("GET", f"/jobs/{ref(job)}/config")
    columns = [
        ListColumn("KEY", field("key")),
        ListColumn("VALUE", field("value"), folds=True),
        ListColumn("LAYER", field("layer"), rank=1),
        ListColumn("OVERRIDES", lambda item: ", ".join(item["overrides"]), rank=2, folds=True),
    ]
    show_notes(shown)
    if as_json:
        show_json(shown)  # with what is beside the items
        return
    show_list(shown["items"], columns, output=output, name=lambda item: str(item["key"]), empty="Nothing is set.")


Attempt = Annotated[int | None, typer.Option("--attempt", min=1, help="Number of an attempt; the last by default")]
EXCEPTIONS = [
    ListColumn("AT", _when("at")),
    ListColumn("TASK", field("task"), rank=1, folds=True),
    ListColumn("WHERE", field("place"), rank=2, folds=True),
    ListColumn("TASK MANAGER", field("taskmanager"), wide=True),
    ListColumn("MESSAGE", _line("message"), folds=True, least=30, most=400),
]
LOGS = [
    ListColumn("PART", field("part")),
    ListColumn("FILE", field("file")),
    ListColumn("SIZE", lambda item: size(item["size"]), rank=3),
    ListColumn("CHANGED", _when("changed_at"), rank=1),
    ListColumn("WHAT", field("what"), rank=2, folds=True),
]


def _note(answer: Item) -> None:
    if answer["note"]:
        err.print(as_commands(answer["note"]), style="yellow", markup=False, highlight=False)


@app.command()
def exceptions(
    job: Job,
    attempt: Attempt = None,
    stack: Annotated[bool, typer.Option("--stack", help="Whole stacks, one after the other")] = False,
    output: Output = Format.TABLE,
    chosen: Columns = None,
    as_json: Json = False,
) -> None:
    """What failed, when and in which task, as Flink tells it; the newest first."""
    answer = Api().call("GET", f"/jobs/{ref(job)}/exceptions", params={"attempt": attempt} if attempt else {})
    if not as_json:
        _note(answer)
    if stack and not as_json:
        for item in answer["items"]:
            out.print(f"{_when('at')(item)}  {item['task'] or 'the whole job'}", style="bold", markup=False)
            out.print(item["stack"], markup=False, highlight=False, soft_wrap=True)
        return
    show_list(
        answer["items"],
        EXCEPTIONS,
        output=output,
        as_json=as_json,
        name=lambda item: str(item["at"]),
        chosen=chosen,
        empty="No exceptions.",
    )


@app.command()
def logs(
    job: Job,
    part: Annotated[str | None, typer.Argument(help="As the list has it, for example jobmanager")] = None,
    file: Annotated[str | None, typer.Argument(help="The one that was written to last, by default")] = None,
    attempt: Attempt = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=10_000, help="How many, from the end")] = 500,
    output: Output = Format.TABLE,
    chosen: Columns = None,
    as_json: Json = False,
) -> None:
    """List the logs of a job's commands and of its cluster; with PART print the end of one."""
    api, params = Api(), {"attempt": attempt} if attempt else {}
    path = f"/jobs/{ref(job)}/logs"
    if part is None or file is None:
        answer = api.call("GET", path, params=params)
        if part is None:
            if not as_json:
                _note(answer)
            show_list(
                answer["items"],
                LOGS,
                output=output,
                as_json=as_json,
                name=lambda item: f"{item['part']} {item['file']}",
                chosen=chosen,
                empty="No logs yet.",
            )
            return
        of_part = [item for item in answer["items"] if item["part"] == part]
        if not of_part:
            _note(answer)
            parts = ", ".join(sorted({item["part"] for item in answer["items"]}))
            raise wrong(f"There is no log of {part}; there are {f'those of {parts}' if parts else 'none yet'}.")
        file = max(of_part, key=lambda item: item["changed_at"] or "")["file"]
    text = api.text(f"{path}/{quote(part)}/{quote(file)}", params={**params, "lines": lines})
    if as_json:
        show_json({"part": part, "file": file, "text": text})
    else:
        out.print(text, markup=False, highlight=False, soft_wrap=True, end="")


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
        out.print(api.text(path), markup=False, highlight=False, end="")
        return
    for event, data in api.events(f"{path}/stream"):
        if event == "line":
            out.print(data["text"], markup=False, highlight=False)


@app.command()
def diff(job: Job, a: int, b: int) -> None:
    """Compare two versions."""
    out.print(Api().call("GET", f"/jobs/{ref(job)}/versions/{a}/diff/{b}")["diff"], markup=False, highlight=False)
