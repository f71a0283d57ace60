"""How answers are printed: tables for people, JSON, YAML and names for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
import yaml
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cli.client import USAGE, Answer, err, out
from cli.tables import LEAST, Shape, show_table
from cli.wording import as_commands

Item = Mapping[str, Any]


class Format(StrEnum):
    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


Output = Annotated[
    Format, typer.Option("--output", "-o", help="table, wide (more columns), json, yaml, or name (one per line)")
]
Json = Annotated[bool, typer.Option("--json", help="The same as -o json")]
Columns = Annotated[str | None, typer.Option("--columns", help="Columns of the table, for example JOB,STATE,REASON")]


@dataclass(frozen=True)
class ListColumn:
    """`cell` gives the text of an item, with rich's markup; a `wide` column is shown with -o wide, or by name.

    On a terminal that has no room for all, columns of the highest `rank` are left out first, those of 0 never; one that
    `folds` is made narrower before that, but not below `least`. There, and without -o wide, `most` cuts the text.
    """

    title: str
    cell: Callable[[Item], str]
    wide: bool = False
    rank: int = 0
    folds: bool = False
    least: int = LEAST
    most: int | None = None


def field(key: str) -> Callable[[Item], str]:
    """A cell with one field of an item as it is."""
    return lambda item: plain(item.get(key))


def show_list(
    items: Sequence[Item],
    columns: Sequence[ListColumn],
    *,
    output: Format = Format.TABLE,
    as_json: bool = False,
    name: Callable[[Item], str],
    chosen: str | None = None,
    empty: str,
) -> None:
    """Print `items` as `output` says. `name` is what another command takes for an item; `chosen` are titles of columns,
    separated by commas. Ends the program when there is no such column."""
    if as_json or output is Format.JSON:
        show_json(items)
    elif output is Format.YAML:
        show_yaml(items)
    elif output is Format.NAME:
        for item in items:
            out.print(name(item), markup=False, highlight=False, soft_wrap=True)
    else:
        _show_table(columns, items, wide=output is Format.WIDE, chosen=chosen, empty=empty)


def _show_table(
    columns: Sequence[ListColumn], items: Sequence[Item], *, wide: bool, chosen: str | None, empty: str
) -> None:
    shown = _columns(columns, chosen) if chosen else [c for c in columns if wide or not c.wide]
    if not items:
        out.print(empty)
        return
    cut = out.is_terminal and not wide
    shapes = [Shape(c.title, 0 if chosen else c.rank, c.folds, c.least) for c in shown]
    rows = [[_cut(c.cell(item), c.most if cut else None) for c in shown] for item in items]
    if left := show_table(out, shapes, rows, room=out.width if cut else None):
        out.print(f"No room for {', '.join(left)}: -o wide shows all.", style="dim", highlight=False)


def _cut(cell: str, most: int | None) -> Text:
    text = Text.from_markup(cell)
    if most is not None:
        text.truncate(most, overflow="ellipsis")
    return text


def _columns(columns: Sequence[ListColumn], chosen: str) -> list[ListColumn]:
    by_title = {c.title.replace(" ", "").casefold(): c for c in columns}
    asked = [word.replace(" ", "").casefold() for word in chosen.split(",") if word.strip()]
    if unknown := [word for word in asked if word not in by_title]:
        names = ", ".join(c.title for c in columns)
        err.print(f"There is no column {unknown[0]}; choose of: {names}.", style="red", markup=False, highlight=False)
        raise typer.Exit(USAGE)
    return [by_title[word] for word in asked]


def show_item(item: Item, *, output: Format, as_json: bool, name: str, lines: Callable[[], Mapping[str, str]]) -> None:
    """Print one item; `lines` are asked for only when a person reads: title -> text with rich's markup."""
    if as_json or output is Format.JSON:
        show_json(item)
    elif output is Format.YAML:
        show_yaml(item)
    elif output is Format.NAME:
        out.print(name, markup=False, highlight=False, soft_wrap=True)
    else:
        grid = Table(box=None, show_header=False, pad_edge=False)
        for title, text in lines().items():
            if text:
                grid.add_row(f"[bold]{title}[/bold]", text)
        out.print(grid)


def show_json(value: Any) -> None:
    """Print as JSON, for programs."""
    out.print_json(json.dumps(value))


def show_notes(answer: Item) -> None:
    """What an answer says beside what it is: on standard error, whatever is printed of it."""
    for note in answer["notes"]:
        err.print(plain(as_commands(note)), style="yellow", highlight=False)


def show_yaml(value: Any) -> None:
    """Print as YAML, such as `penstock apply` takes."""
    out.print(as_yaml(value), markup=False, highlight=False, soft_wrap=True, end="")


def as_yaml(value: Any) -> str:
    """Keys in the order that they have; texts of several lines as blocks."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 20)


class _Dumper(yaml.SafeDumper):
    pass


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Answer, _Dumper.represent_dict)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """A table of texts with rich's markup, all of whose columns stay: on a terminal the last one is folded, and
    the widest of the others where that is not enough."""
    if not rows:
        out.print(empty)
        return
    shapes = [Shape(title, folds=number == len(titles) - 1) for number, title in enumerate(titles)]
    room = out.width if out.is_terminal else None
    show_table(out, shapes, [[Text.from_markup(cell) for cell in row] for row in rows], room=room)


def first_line(text: object) -> str:
    """The first line of a text, safe in rich's markup."""
    return plain(str(text if text is not None else "").split("\n")[0])


def ago(moment: str | None) -> str:
    """How long ago a moment (ISO 8601) was, in its largest unit; empty for none."""
    if not moment:
        return ""
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
    for size, word in ((86400, "d"), (3600, "h"), (60, "m")):
        if abs(seconds) >= size:
            return f"{seconds // size}{word} ago"
    return f"{max(0, seconds)}s ago"


def size(count: int | None) -> str:
    """Bytes in their largest unit; empty for None."""
    if count is None:
        return ""
    for unit, word in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {word}"
    return f"{count} B"


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


def styled(state: str) -> str:
    """The state of a job or command in its colour."""
    style = STYLES.get(state)
    return f"[{style}]{state}[/{style}]" if style else state


def plain(text: object) -> str:
    """Any text, safe in rich's markup; empty for None."""
    return escape(str(text if text is not None else ""))


def told(text: str | None) -> str:
    """What the API says (a reason, a cause), with commands where it names requests; safe in rich's markup."""
    return plain(as_commands(text or ""))
