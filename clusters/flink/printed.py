"""What the task managers of a job have printed, by Flink's REST API.

Flink gives a stdout whole: it knows no ranges, and copies the file to the JobManager first (and gives that copy for
half a minute). So one is read to its end, of which the last lines are kept, and one that is larger than `MOST` not at
all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import quote

from clusters.flink.http import AnswerTooLarge, Refused
from clusters.flink.rest import FlinkRest
from clusters.protocol import TaskManagerOutput, Unreachable
from core.jobs.output import LastLines

MOST = 64 * 1024 * 1024
TASK_MANAGERS = 20
"""Of a job on more only so many are read."""
AT_ONCE = 4
NO_FILE = (
    "it writes its stdout to no file, so Flink cannot give it (in a container it is in the container's log); with "
    "env.stdout-err.redirect-to-file: true in its configuration it does"
)


NOT_REACHED = "its JobManager cannot reach it; if it has gone, its stdout has gone with it"


async def outputs(rest: FlinkRest, job_id: str, collector: Callable[[], LastLines]) -> list[TaskManagerOutput] | None:
    """Of each task manager on which tasks of a job run, or ran last; None when the job is not known. Raises
    `Unreachable`."""
    places = await rest.task_managers_of(job_id)
    if places is None:
        return None
    known = set(await rest.task_managers())
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, id_: str, host: str) -> TaskManagerOutput:
        if id_ not in known:
            return TaskManagerOutput(id_, host, why="it has gone, and its stdout cannot be read by Flink any more")
        if number >= TASK_MANAGERS:
            return TaskManagerOutput(id_, host, why=f"not read: the job runs on more than {TASK_MANAGERS}")
        async with limit:
            return await _read(rest, id_, host, collector())

    return list(await asyncio.gather(*(one(n, id_, host) for n, (id_, host) in enumerate(sorted(places.items())))))


async def _read(rest: FlinkRest, id_: str, host: str, last: LastLines) -> TaskManagerOutput:
    try:
        size = await rest.http.read(f"/taskmanagers/{quote(id_, safe=':')}/stdout", last.feed, most=MOST)
    except AnswerTooLarge as error:
        return TaskManagerOutput(id_, host, size=error.size, why=error.message)
    except Refused as error:
        return TaskManagerOutput(id_, host, why=_why(error))
    except Unreachable as error:  # the others may answer
        return TaskManagerOutput(id_, host, why=error.message)
    lines = last.lines()
    return TaskManagerOutput(id_, host, lines=lines, left_out=last.seen - len(lines), size=size)


def _why(error: Refused) -> str:
    if error.status == 404 and "does not exist" in (error.stack or ""):
        return NO_FILE
    # What the JobManager says of one that died, until it misses its heartbeats and forgets it.
    return NOT_REACHED if "RecipientUnreachableException" in error.message else error.message
