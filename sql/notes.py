"""What there is to say of a query while it shows no rows."""

from __future__ import annotations

from collections.abc import Sequence

from clusters.protocol import Vertex
from settings import waits


def note_of(tasks: Sequence[Vertex], rows: int, running: float) -> str:
    """What there is to say while there is nothing to see; `running` is for how many seconds all tasks have run. Flink's
    counts are some seconds old, and a source counts what it gives, not what it reads: so zero means little at first,
    and a filter behind the source looks like no data."""
    states = sorted({t.state for t in tasks})
    if states != ["RUNNING"]:
        return f"tasks are {', '.join(states)}" if states and "FINISHED" not in states else ""
    if rows:
        return ""
    given = any(t.written for t in tasks if "Source" in t.name) or any(t.read for t in tasks)
    # A source that is chained to the end counts nothing.
    if given or len(tasks) == 1 or running < waits.COUNTS_SECONDS:
        return "no rows yet"
    return "the sources have given no record yet: there may be no data, or none that passes the filters behind them"
