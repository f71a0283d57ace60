"""Asking again and again, until there is an answer or the time is over."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass

from settings import clock


@dataclass(frozen=True)
class Pace:
    """Seconds between two questions: `first`, then each time `growth` times as many, at most `longest`."""

    first: float
    longest: float = math.inf
    growth: float = 1.0

    def after(self, pause: float) -> float:
        """The pause that follows one of `pause` seconds."""
        return min(self.longest, pause * self.growth)


class Polling:
    """How often has been asked, and until when. The one who polls does what is to be done, and says what it means that
    the time is over:

        polling = poll(PACE, seconds=60)
        while True:
            if (answer := await ask()) is not None:
                return answer
            if not await polling.again():
                return "there is no answer"

    The question is asked once more when the time has run out in a pause, and at least once.
    """

    def __init__(self, pace: Pace, until: float):
        self._pace = pace
        self._pause = pace.first
        self.until = until
        """By the monotonic clock."""

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return clock.monotonic() > self.until

    async def again(self, *, at_least: float = 0.0) -> bool:
        """False when the time is over; else waits for the next pause, or for so many seconds, and is True."""
        if self.is_over:
            return False
        await asyncio.sleep(max(self._next(), at_least))
        return True

    def again_in_thread(self) -> bool:
        """The same where nothing else runs in the thread."""
        if self.is_over:
            return False
        time.sleep(self._next())
        return True

    def _next(self) -> float:
        pause, self._pause = self._pause, self._pace.after(self._pause)
        return pause


def poll(pace: Pace, *, seconds: float = math.inf, until: float = math.inf) -> Polling:
    """From now on, for so many seconds, or until a moment by the monotonic clock, whichever is first; without both for
    as long as somebody asks."""
    return Polling(pace, min(until, clock.monotonic() + seconds))
