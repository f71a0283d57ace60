"""What a preview says while it has no rows to show."""

from __future__ import annotations

import pytest

from clusters.protocol import Vertex
from settings import waits
from sql.notes import note_of

LONG, SHORT = waits.COUNTS_SECONDS + 1, waits.COUNTS_SECONDS - 1


def task(name: str, read: int = 0, written: int = 0, state: str = "RUNNING") -> Vertex:
    return Vertex(name=name, state=state, parallelism=1, read=read, written=written)


@pytest.mark.parametrize(
    ("tasks", "rows", "running", "note"),
    [
        ([task("Source: src"), task("Agg")], 0, SHORT, "no rows yet"),
        ([task("Source: src"), task("Agg")], 0, LONG, "given no record yet"),
        ([task("Source: src", written=1), task("Agg")], 0, LONG, "no rows yet"),
        ([task("Source: src -> Calc"), task("Agg", read=1)], 0, LONG, "no rows yet"),
        ([task("Source: src -> Sink")], 0, LONG, "no rows yet"),
        ([task("Source: src"), task("Agg")], 1, LONG, ""),
        ([task("Source: src"), task("Agg", state="CREATED")], 0, 0, "tasks are CREATED, RUNNING"),
        ([task("Source: src", state="FINISHED"), task("Agg")], 0, 0, ""),
        ([], 0, 0, ""),
    ],
)
def test_the_note(tasks: list[Vertex], rows: int, running: float, note: str):
    assert note in note_of(tasks, rows, running)
    assert bool(note) is bool(note_of(tasks, rows, running))
