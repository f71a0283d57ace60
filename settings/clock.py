"""The one place where time is read: what has effects asks here, so that a simulation can give it another clock."""

from __future__ import annotations

import time as _time
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What time is read from."""

    def now(self) -> datetime:
        """The moment on the wall, in UTC. It may be set, forwards and backwards."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards; only differences mean something."""
        ...


class SystemClock(Clock):
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


_began: ContextVar[tuple[datetime, float] | None] = ContextVar("began", default=None)


def begins(at: datetime) -> None:
    """What runs in this context begins now, and that is `at` by the clock of a server that all processes ask."""
    _began.set((at, monotonic()))


def now_ms() -> int:
    """The moment in milliseconds since 1970, to order by what several processes have seen.

    Where a server has said when this began (`begins`), never less than that and the time that has gone by since:
    while the clock of this machine is set back, all that is seen here would be older than what is known. A clock that
    is ahead is seen to by who reads it (`core.jobs.observations.in_order`).
    """
    at = now()
    if (began := _began.get()) is not None:
        at = max(at, began[0] + timedelta(seconds=monotonic() - began[1]))
    return int(at.timestamp() * 1000)
