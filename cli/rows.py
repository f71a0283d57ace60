"""Rows on a terminal: of a preview as they come, of a statement of a session."""

from __future__ import annotations

import json
from typing import Any

import typer

from cli.client import FAILED, Api, err, out
from cli.output import plain, show_json
from cli.output import table as show_rows


def follow(api: Api, made: dict[str, Any], *, as_json: bool, table: bool) -> None:
    """Print the rows of a preview as they come; code 1 unless it came to an end or a limit."""
    several = len(made["streams"]) > 1
    shown: dict[str, Any] = {}
    notes: dict[str, str] = {}
    state = "INTERRUPTED"
    try:
        for event, data in api.events(f"/sql/previews/{made['id']}/events"):
            if as_json:
                print(json.dumps({"event": event, **data}), flush=True)
            name = f"{data.get('stream')}  " if several else ""
            if event == "end":
                state = data["state"]
                if data.get("why"):
                    err.print(data["why"], style="red", markup=False)
            elif as_json:
                continue
            elif event == "columns":
                out.print(name + " | ".join(c["name"] for c in data["columns"]), style="bold", markup=False)
            elif event == "rows" and not table:
                for row in data["rows"]:
                    text = " | ".join("NULL" if f is None else str(f) for f in row["fields"])
                    out.print(f"{name}{row['kind']} {text}", markup=False, highlight=False)
            elif event == "table":
                shown[data["stream"]] = data["rows"]
            elif event == "progress" and data.get("note") and notes.get(data["stream"]) != data["note"]:
                notes[data["stream"]] = data["note"]
                err.print(f"{name}{data['seconds']:.0f} s: {data['note']}", style="dim", markup=False)
            elif event == "ended" and data["state"] not in ("FINISHED",):
                err.print(f"{name}{data['state']}: {data['why']}", style="yellow", markup=False)
    except KeyboardInterrupt:
        api.call("DELETE", f"/sql/previews/{made['id']}")
        err.print("stopped")
        raise
    if table and not as_json:
        for stream, rows in shown.items():
            if several:
                out.print(stream, style="bold", markup=False)
            for row in rows:
                out.print(" | ".join("NULL" if f is None else str(f) for f in row), markup=False, highlight=False)
    if state not in ("FINISHED", "LIMITED", "STOPPED"):
        raise typer.Exit(FAILED)


def show_answer(api: Api, answer: dict[str, Any], *, as_json: bool, table: bool) -> None:
    """What a statement of a session gave: its rows, or those of the query that it has started, as they come."""
    if answer["rebuilt"]:
        err.print(answer["rebuilt"]["message"], style="yellow", markup=False)
        for lost in answer["rebuilt"]["lost"]:
            err.print(f"  lost: {lost}", style="yellow", markup=False)
    if answer["preview"]:
        follow(api, api.call("GET", f"/sql/previews/{answer['preview']}"), as_json=as_json, table=table)
        return
    if as_json:
        show_json(answer)
        return
    cells = [[plain("NULL" if f is None else f) for f in row] for row in answer["rows"]]
    show_rows([c["name"] for c in answer["columns"]] or ["RESULT"], cells, empty="OK")
