"""An event loop in virtual time, processes on it that can be frozen and killed, and their clocks.

Nothing here waits: when no callback is ready, time jumps to the next timer. There are no threads and no sockets, so a
run depends on nothing but its seed.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Container
from datetime import UTC, datetime
from typing import Any

EPOCH = 1_700_000_000.0
"""The moment at which every run begins, in seconds since 1970."""


class Process:
    """What is killed, frozen and given a clock as one: a worker, the API, a workflow.

    Whatever runs on behalf of a process carries it in its context. What a frozen process would do waits in
    `parked`; what a killed one would have done stays there for good.
    """

    def __init__(self, name: str):
        self.name = name
        self.alive = True
        self.frozen = False
        self.offset = 0.0
        """Seconds that its wall clock is ahead of the right one."""
        self.parked: list[asyncio.Handle] = []
        self.tasks: list[asyncio.Task[Any]] = []

    @property
    def runs(self) -> bool:
        return self.alive and not self.frozen

    def __repr__(self) -> str:
        return self.name


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("simulated_process", default=None)
NEUTRAL = contextvars.Context()
"""The context of what nothing can freeze or kill: servers, timers of the world."""


class StuckError(Exception):
    """Nothing is ready, no timer is set, and somebody still waits."""


class _NoSelector:
    def select(self, timeout: float | None = None) -> list[Any]:
        return []

    def close(self) -> None:
        pass


class SimLoop(asyncio.BaseEventLoop):
    """`disk_delay` gives the seconds that a function in a thread takes; `on_turn` is called after every turn with the
    processes that have done something in it."""

    def __init__(self, disk_delay: Callable[[], float]):
        super().__init__()
        self._selector = _NoSelector()
        self._now = 0.0
        self._disk_delay = disk_delay
        self.steps = 0
        self.on_step: Callable[[asyncio.Handle], None] | None = None
        self.on_turn: Callable[[Container[Process]], None] | None = None
        self.limit = 4_000_000
        self.set_exception_handler(self._trouble)
        self.troubles: list[str] = []

    def _trouble(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if "never retrieved" in str(context.get("message")):
            return
        self.troubles.append(f"{context.get('message')}: {type(error).__name__}: {error}")

    def time(self) -> float:
        return self._now

    def _process_events(self, event_list: Any) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """The function runs on this loop, after a while: nobody sees that it was no thread."""
        future = self.create_future()

        def work() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:
                future.set_exception(error)

        self.call_later(self._disk_delay(), work)
        return future

    def thaw(self, process: Process) -> None:
        process.frozen = False
        self._ready.extend(process.parked)
        process.parked = []

    def _run_once(self) -> None:
        ready: deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined]
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        if not ready:
            while timers and timers[0]._cancelled:
                heapq.heappop(timers)._scheduled = False
            if not timers:
                if self._stopping:  # type: ignore[attr-defined]
                    return
                raise StuckError("nothing is ready and no timer is set")
            self._now = max(self._now, timers[0]._when)
        while timers and timers[0]._when <= self._now:
            handle = heapq.heappop(timers)
            handle._scheduled = False
            if not handle._cancelled:
                ready.append(handle)
        on_step = self.on_step
        moved: dict[Process, None] = {}
        for _ in range(len(ready)):
            handle = ready.popleft()  # type: ignore[assignment]
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)
            if process is not None and (process.frozen or not process.alive):
                # Kept also of a dead one: to drop it now would close its coroutines in the middle of the run.
                process.parked.append(handle)
                continue
            if process is not None:
                moved[process] = None
            self.steps += 1
            if on_step is not None:
                on_step(handle)
            handle._run()
        if moved and self.on_turn is not None:
            self.on_turn(moved)
        if self.steps > self.limit:
            raise StuckError(f"more than {self.limit} steps: something turns without waiting")

    def leave(self) -> None:
        """Close it with all that is under way: nothing of that goes on, and nobody has to know."""
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._ready.clear()  # type: ignore[attr-defined]
        self._scheduled.clear()  # type: ignore[attr-defined]
        self.close()

    def spawn(self, work: Any, process: Process | None) -> asyncio.Task[Any]:
        """Start `work` as something that `process` does."""
        context = NEUTRAL.copy()
        context.run(PROCESS.set, process)
        task = self.create_task(work, context=context)
        if process is not None:
            process.tasks.append(task)
        return task


class SimClock:
    """Each process has a wall clock of its own, which may be wrong and may be set; the monotonic one is right."""

    def __init__(self, loop: SimLoop):
        self._loop = loop
        self.offset = 0.0

    def now(self) -> datetime:
        process = PROCESS.get()
        ahead = self.offset if process is None else process.offset
        return datetime.fromtimestamp(EPOCH + self._loop._now + ahead, UTC)

    def monotonic(self) -> float:
        return self._loop._now
