"""How queries end: by us, before the gateway ends them with their operation or session.

The gateway cancels at once, also while tasks are being set up, and Flink may lose the task manager then
(`clusters/flink/session.py`, `cancel`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterable

from clusters.protocol import Engine, Unreachable
from core.effects import EngineError, NotNow
from core.jobs.observations import ENDED, EngineState
from settings import waits
from settings.polling import poll


async def cancelled(engine: Engine, flink_job_ids: Iterable[str]) -> None:
    """Ask a cluster to cancel queries until it has taken that; at most `PREVIEW_CANCEL_SECONDS`. One that does not
    answer is asked again, too: when it only stands still it sets the query up later, and what the gateway has sent to
    it meanwhile comes in the middle of that. Where nobody listens nothing can come."""
    left = set(flink_job_ids)
    polling = poll(waits.PREVIEW_GONE_PACE, seconds=waits.PREVIEW_CANCEL_SECONDS)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(waits.PREVIEW_CANCEL_SECONDS):
            while left:
                taken = await asyncio.gather(*(_is_taken(engine, job) for job in left))
                left = {job for job, is_taken in zip(left, taken, strict=True) if not is_taken}
                if left and not await polling.again():
                    return


async def _is_taken(engine: Engine, job: str) -> bool:
    """Whether there is nothing more to ask of a query: the cluster has taken the cancel, or refuses it."""
    try:
        if (ref := await engine.ref_of(job)) is not None:
            await engine.cancel(ref)
    except NotNow:
        return False
    except Unreachable as error:
        return not error.sent
    except EngineError:
        return True
    return True


async def ended(engine: Engine, flink_job_ids: Iterable[str], *, unsure: Collection[str]) -> set[str]:
    """Cancel queries until the cluster says that they have ended or are not there; at most `PREVIEW_GONE_SECONDS`. Of
    those `unsure` it is not known whether they were sent: that they are not there says nothing. Returns what is left,
    for the watch."""
    left = set(flink_job_ids)
    polling = poll(waits.PREVIEW_GONE_PACE, seconds=waits.PREVIEW_GONE_SECONDS)
    while True:
        for job in list(left):
            with contextlib.suppress(EngineError):
                ref = await engine.ref_of(job)
                state = (await engine.look(ref)).state if ref is not None else EngineState.MISSING
                if state in ENDED and (state is not EngineState.MISSING or job not in unsure):
                    left.discard(job)
                elif ref is not None:
                    await engine.cancel(ref)
        if not left or not await polling.again():
            return left
