"""How queries end: by us, before the gateway ends them with their operation or session.

The gateway cancels at once, also while tasks are being set up, and Flink may lose the task manager then
(`clusters/flink/session.py`, `cancel`).
"""

from __future__ import annotations

from collections.abc import Iterable

from clusters.protocol import Engine, Ref
from core.effects import EngineError, NotNow
from settings import waits
from settings.polling import poll


async def cancelled(engine: Engine, flink_job_ids: Iterable[str]) -> None:
    """Ask a cluster to cancel queries until it has taken that; at most `PREVIEW_CANCEL_SECONDS`. A cluster that does
    not answer is not asked again: the gateway asks it, too, and the watch."""
    left = set(flink_job_ids)
    polling = poll(waits.PREVIEW_GONE_PACE, seconds=waits.PREVIEW_CANCEL_SECONDS)
    while left:
        for job in list(left):
            try:
                await engine.cancel(Ref(job, job))
            except NotNow:
                continue
            except EngineError:
                pass
            left.discard(job)
        if left and not await polling.again():
            return
