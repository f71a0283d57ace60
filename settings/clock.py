"""The one place where time is read: what has effects asks here, so that a simulation can give it another clock."""

from __future__ import annotations

import time as _time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What time is read from."""

    def now(self) -> datetime:
        """The moment on the wall, in UTC. It may be set, forwards and backwards."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards; only differences mean something."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return _time.monotonic()


@dataclass
class _Current:
    clock: Clock


_current = _Current(SystemClock())


def use(clock: Clock) -> Clock:
    """Take `clock` from now on; returns the one before."""
    before, _current.clock = _current.clock, clock
    return before


def now() -> datetime:
    """The moment on the wall, in UTC; it may be set, forwards and backwards."""
    return _current.clock.now()


def monotonic() -> float:
    """Seconds that never go backwards; only differences mean something."""
    return _current.clock.monotonic()
