"""`penstock jobs output`: what a job has printed."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from cli.client import Api, err, out
from cli.commands import Job, ref
from cli.output import Json, show_json

app = typer.Typer()
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What a terminal would do something at: anything may have printed it."""


@app.command("output")
def output_(
    job: Job,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=5000, help="Of each task manager")] = 200,
    identifier: Annotated[
        list[str] | None, typer.Option(help="Only rows of sinks with this print-identifier; may be repeated")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All lines, also where the plan has identifiers to choose by")
    ] = False,
    as_json: Json = False,
) -> None:
    """What it has printed: rows of the connector `print`, and the rest of its task managers' stdout."""
    params: dict[str, Any] = {"lines": lines, "everything": everything, "identifier": identifier or []}
    shown = Api().call("GET", f"/jobs/{ref(job)}/output", params=params)
    if as_json:
        show_json(shown)
        return
    for one in shown["items"]:
        if len(shown["items"]) > 1 or one["why"]:
            _say(f"-- {one['taskmanager']} on {one['host']}" + (f": {one['why']}" if one["why"] else ""))
        if one["left_out"]:
            _say(f"-- {one['left_out']} lines before these")
        for line in one["lines"]:
            out.print(_CONTROL.sub("\ufffd", line), markup=False, highlight=False, soft_wrap=True)
    if shown["identifiers"]:
        _say(f"-- print-identifier: {', '.join(shown['identifiers'])}")
    for note in shown["notes"]:
        _say(f"-- {note}")


def _say(text: str) -> None:
    """Beside the lines, which a pipe takes alone."""
    err.print(_CONTROL.sub("\ufffd", text), markup=False, highlight=False, soft_wrap=True)
