"""Waiting for a bounded time, and saying which wait it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from core.errors import TooSlow
from settings import Settings


@asynccontextmanager
async def within(seconds: float, what: str, *, code: str, remedy: str) -> AsyncIterator[None]:
    """Raises `TooSlow` when the code inside has not ended after `seconds`; `what` says in words what was waited for. A
    time-out of something inside that has a limit of its own is left as it is."""
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise TooSlow(f"{what} took longer than {seconds:g} s.", code=code, remedy=remedy) from error


def planning(settings: Settings, what: str) -> AbstractAsyncContextManager[None]:
    """For what Flink's planner does while somebody waits. Raises `TooSlow`."""
    remedy = "It may be too large, or the gateway too busy; PENSTOCK_PLAN_TIMEOUT is how long it may take."
    return within(settings.plan_timeout, what, code="flink_too_slow", remedy=remedy)
