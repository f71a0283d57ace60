"""Tables that fit a terminal: which columns stay where there is no room, and how wide each one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

GAP = 2
LEAST = 12
"""Characters of a column that is folded to fit: fewer cannot be read."""


@dataclass(frozen=True)
class Shape:
    """What a column needs. The higher its `rank`, the sooner it is left out; 0 is never. One that `folds` may be as
    narrow as `least`, one that does not keeps its width."""

    title: str
    rank: int = 0
    folds: bool = False
    least: int = LEAST


def fitted(shapes: Sequence[Shape], widths: Sequence[int], room: int) -> dict[int, int]:
    """The columns that are shown, with the width of each: all where `room` allows it, else without those of the highest
    ranks, of which empty ones go first. `widths` are those of the contents, without titles."""
    natural = [max(width, len(shape.title)) for shape, width in zip(shapes, widths, strict=True)]
    least = [
        min(width, max(shape.least, len(shape.title))) if shape.folds else width
        for shape, width in zip(shapes, natural, strict=True)
    ]
    kept = list(range(len(shapes)))

    def lacking(given: Sequence[int]) -> int:
        return sum(given[n] for n in kept) + GAP * (len(kept) - 1) - room

    while lacking(least) > 0 and any(shapes[n].rank for n in kept):
        kept.remove(max((n for n in kept if shapes[n].rank), key=lambda n: (not widths[n], shapes[n].rank, n)))
    given = list(least)
    while lacking(given) > 0 and (widest := max(kept, key=lambda n: given[n])) is not None and given[widest] > 1:
        given[widest] -= 1
    # What is left over goes to those that are folded, the ones that need least first.
    for n in sorted((n for n in kept if given[n] < natural[n] and shapes[n].folds), key=lambda n: natural[n]):
        given[n] = min(natural[n], given[n] + max(0, -lacking(given)))
    return {n: given[n] for n in kept}


def show_table(
    console: Console, shapes: Sequence[Shape], rows: Sequence[Sequence[Text]], *, room: int | None
) -> list[str]:
    """Print a table at most `room` characters wide, or as wide as it is for None. Gives the titles of the columns that
    had no room."""
    widths = [max((line.cell_len for row in rows for line in row[n].split()), default=0) for n in range(len(shapes))]
    natural = {n: max(width, len(shapes[n].title)) for n, width in enumerate(widths)}
    shown = natural if room is None else fitted(shapes, widths, room)
    for row in [[Text(shape.title, style="bold") for shape in shapes], *rows]:
        _show_row(console, [(row[n], width) for n, width in shown.items()])
    return [shape.title for n, shape in enumerate(shapes) if n not in shown]


def _show_row(console: Console, cells: Sequence[tuple[Text, int]]) -> None:
    folded = [(text.wrap(console, width, overflow="fold"), width) for text, width in cells]
    for number in range(max(len(lines) for lines, _ in folded)):
        line = Text()
        for lines, width in folded:
            part = lines[number].copy() if number < len(lines) else Text()
            part.rstrip()
            line.append_text(part).append(" " * (width - part.cell_len + GAP))
        line.rstrip()
        console.print(line, highlight=False, soft_wrap=True)
