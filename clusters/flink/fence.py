"""Spending the id of an attempt on a Flink job that does nothing (`docs/decisions/0014-the-fence.md`)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from clusters.flink.errors import is_duplicate
from clusters.flink.http import Refused
from clusters.flink.jars import NotCompiled, compiled
from clusters.flink.rest import FlinkRest
from clusters.flink.together import Together
from clusters.flink.uploads import Uploads
from clusters.protocol import JobSeen, Overview, Unclear
from core.effects import no_log
from core.jobs.observations import ENDED
from settings import waits
from settings.polling import poll

SOURCE = Path(__file__).with_name("Fence.java")
ENTRY_CLASS = "dev.penstock.Fence"
_PREFIX = "penstock-fence-"


def name_of(flink_job_id: str) -> str:
    """The name of the job that spends an id. A program that calls its own job so fences nothing but itself."""
    return _PREFIX + flink_job_id


def is_fence(flink_job_id: str, name: str) -> bool:
    """Whether a job that is shown under an id, with this name, is the one that spends it."""
    return name == name_of(flink_job_id)


async def jar(folder: Path) -> Path:
    """The jar with the fence, compiled once below `folder`. Raises `Unclear` when this machine has no Java compiler."""
    try:
        return await compiled(SOURCE, folder)
    except NotCompiled as error:
        raise Unclear(f"the job that would spend its id is not there: {error.message}") from error


def told_apart(found: Mapping[str, JobSeen]) -> Overview:
    """What a Flink shows: its jobs, and the ids that are spent."""
    fenced = frozenset(h for h, seen in found.items() if is_fence(h, seen.name))
    return Overview({h: seen for h, seen in found.items() if h not in fenced}, fenced)


class FlinkFence:
    """Spends ids at one Flink. `built` is a folder for the jar that it takes."""

    def __init__(self, rest: FlinkRest, overviews: Together[dict[str, JobSeen]], uploads: Uploads, built: Path):
        self._rest = rest
        self._overviews = overviews
        self._uploads = uploads
        self._built = built

    async def spends(self, job_id: str) -> bool:
        """Whether an id is spent now; False when a job of somebody else has it. Raises `Unclear`, `Unreachable`."""
        overview = told_apart(await self._overviews.ask())
        if job_id not in overview.fenced:
            if job_id in overview.jobs:
                return False
            await self._check_memory()
            # Refused as a duplicate, and not shown: it is old and forgotten, or the attempt is being taken this moment.
            for _ in range(waits.FORGOTTEN_LOOKS):
                if not await self._send(job_id):
                    break
                overview = told_apart(await self._overviews.ask())
                if job_id in overview.fenced or job_id in overview.jobs:
                    break
                await asyncio.sleep(waits.FORGOTTEN_PAUSE_SECONDS)
        return await self._see_end(job_id)

    async def _check_memory(self) -> None:
        """Before 2.3 a highly available Flink deletes the result of a job as soon as it has ended, with its defaults,
        and takes the id again (seen on 1.20.5). Raises `Unclear`."""
        if not (await self._rest.leader()).forgets:
            return
        version = str((await self._rest.cluster()).get("flink-version"))
        if version.startswith("1.") or version.startswith(("2.0", "2.1", "2.2")):
            raise Unclear(
                f"this Flink ({version}, highly available) forgets jobs that have ended, so that an id cannot be spent "
                "on it; set job-result-store.delete-on-commit to false in its configuration and restart its JobManagers"
            )

    async def _send(self, job_id: str) -> bool:
        """True when the id was refused as a duplicate."""
        made = await jar(self._built)
        name = name_of(job_id)
        body = {
            "jobId": job_id,
            "entryClass": ENTRY_CLASS,
            "programArgsList": [name],
            "parallelism": 1,
            "flinkConfiguration": {"pipeline.name": name},
        }
        try:
            await self._uploads.run(made, made.name, body, no_log, timeout=waits.FENCE_JOB_SECONDS)
        except Refused as error:
            if not is_duplicate(error):
                raise Unclear(f"Flink does not take the job that would spend its id: {error.message}") from error
            return True
        return False

    async def _see_end(self, job_id: str) -> bool:
        """Cancel the job that spends it, and wait until it is at its end: it needs no slot for that."""
        polling = poll(waits.FENCE_JOB_PACE, seconds=waits.FENCE_JOB_SECONDS)
        while True:
            seen = (await self._overviews.ask()).get(job_id)
            if seen is None:  # the id is used up, and what used it is so old that Flink does not list it any more
                return True
            if not is_fence(job_id, seen.name):
                return False
            if seen.state in ENDED:
                return True
            if polling.is_over:
                raise Unclear("the job that spends its id does not end")
            await self._rest.cancel(job_id)
            await polling.again()
