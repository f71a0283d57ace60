"""Programs that go on once their job runs: they wait for it (`.wait()`), or print its rows.

Such a client is followed beside the job, by the worker that has submitted it: what it says goes on into the log, how it
ends is told. It ends with its job, some time after one that finished and at once after any other end, so that it sends
nothing again; and with its worker. A job that it starts later is not the attempt's: the client is ended, and the job is
cancelled if it has the attempt's mark. A program can print the words by which Flink names a job, of anybody's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from clusters.flink.output import Output
from clusters.flink.programs import ADVICE
from clusters.flink.python_errors import why
from clusters.protocol import Aftermath, JobSeen, Ref
from core.effects import EngineError, LogSink
from core.jobs.observations import ENDED, EngineState
from processes.child import ProcessFailed
from settings import clock, waits
from settings.polling import poll

MOST = 16
KEPT_CHARACTERS = 1_000_000
log = structlog.get_logger()
Look = Callable[[Ref], Awaitable[JobSeen]]
Cancel = Callable[[Ref], Awaitable[None]]
Owns = Callable[[Ref, str], Awaitable[bool]]
"""Whether a Flink job was started by the program of an attempt."""


class Running:
    """A client that has not ended. `task` follows it to its end, and ends it when it is cancelled; `cpu` gives the
    seconds of a processor that it has taken."""

    def __init__(self, task: asyncio.Task[None], output: Output, cpu: Callable[[], float] = lambda: 0.0):
        self.task, self.output, self.cpu = task, output, cpu

    async def stop(self) -> None:
        """End the client, and return when it has ended. Its Flink job is left alone."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class Attended:
    """Those of a worker. They end with it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(
        self, running: Running, ref: Ref, aftermath: Aftermath, *, look: Look, cancel: Cancel, owns: Owns, prints: bool
    ) -> None:
        """Take over a client whose job the cluster has. `prints`: it is given the rows of its job. One more than can be
        followed is ended, and its job left alone: that is told, for one that prints stands still from then on."""
        if len(self._tasks) >= MOST:
            await running.stop()
            try:
                async with aftermath.log() as tell:
                    await alert(aftermath, ref, tell, _no_room(prints))
            except Exception:  # the job runs all the same
                log.exception("a log could not be written", flink_job=ref.flink_job_id)
            return
        task = asyncio.create_task(_Attendance(running, ref, aftermath, look, cancel, owns, prints).run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End all clients, and return when they have ended. Their Flink jobs run on."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@dataclass(frozen=True)
class _End:
    """How a program ended that did not end well: `words` stay true, and `then` tells of the moment."""

    words: str
    then: str = ""


class _Attendance:
    def __init__(
        self, running: Running, ref: Ref, aftermath: Aftermath, look: Look, cancel: Cancel, owns: Owns, prints: bool
    ):
        self._running, self._ref, self._aftermath = running, ref, aftermath
        self._look, self._cancel, self._owns, self._prints = look, cancel, owns, prints
        self._seen: JobSeen | None = None
        self._missing = 0
        self._strange: set[str] = set()
        """Jobs that it has named and not started."""

    async def run(self) -> None:
        output, before = self._running.output, self._running.output.size
        async with self._aftermath.log() as tell:
            output.sink = _bounded(tell, output, before)
            try:
                tell("the cluster has the job, and its program goes on: it is followed beside it")
                if self._prints:
                    await self._alert(
                        tell,
                        "the rows of this job go to its program, which runs in a worker of Penstock: when that worker "
                        "ends, the job stands still until it is restarted. Have it write into a table.",
                    )
                end = await self._follow(tell)
            except asyncio.CancelledError:
                tell("the worker ends, and the program that it has followed with it; its job is left alone")
                if self._prints and not self._has_ended:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(waits.PROGRAM_ALERT_SECONDS):
                            await self._alert(
                                tell, "its worker has ended, and nobody takes the rows of this job any more: restart it"
                            )
                raise
            except Exception as error:  # nothing may be left behind, whatever it was
                log.exception("a program could not be followed", flink_job=self._ref.flink_job_id)
                end = _End(f"its program was ended: it could not be followed ({error})")
            finally:
                await self._running.stop()
                output.sink = tell
            if end is not None:
                await self._alert(tell, end.words + end.then)
                await _written(self._aftermath.trouble(end.words), self._ref)

    async def _follow(self, tell: LogSink) -> _End | None:
        """To its end; returns what the timeline and the job have to say of that, if anything."""
        over: float | None = None
        task, output, own = self._running.task, self._running.output, self._ref.flink_job_id
        began, looked, times = clock.monotonic(), 0.0, output.times[own]
        first: JobSeen | None = None
        while not task.done():
            await asyncio.wait([task], timeout=waits.PROGRAM_LOOK_SECONDS)
            if others := await self._others():
                return await self._end_others(tell, others)
            now = clock.monotonic()
            quick = now - began < waits.PROGRAM_QUICK_SECONDS or over is not None or output.times[own] > times
            if not quick and now - looked < waits.PROGRAM_SLOW_SECONDS:
                continue
            looked = now
            with contextlib.suppress(EngineError):  # while it cannot be asked the job counts as alive
                self._seen = await self._look(self._ref)
                self._missing = self._missing + 1 if self._seen.state is EngineState.MISSING else 0
            first = first or self._seen
            if output.times[own] > times and self._is_another(first):
                return await self._end_second(tell)
            if not self._has_ended:
                over = None
                continue
            over = over or now
            if not task.done() and (not self._may_go_on or now - over > waits.PROGRAM_AFTER_SECONDS):
                tell("the program was ended after its job")
                return None
        if others := await self._others():
            return await self._end_others(tell, others)
        try:
            task.result()
        except ProcessFailed as error:
            error.lines = list(output.last)
            return self._failed(tell, why(error))
        tell("the program has ended well" + ("" if self._has_ended else "; its job goes on"))
        return None

    @property
    def _state(self) -> EngineState | None:
        return self._seen.state if self._seen is not None else None

    @property
    def _has_ended(self) -> bool:
        """A JobManager that takes over knows none of its jobs for a moment: that is looked at twice."""
        return self._state in ENDED or (self._state is EngineState.MISSING and self._missing > 1)

    @property
    def _may_go_on(self) -> bool:
        """After the end of its job: one that failed or is lost would perhaps be sent again by it, beside the next
        attempt."""
        return self._state is EngineState.FINISHED

    def _is_another(self, first: JobSeen | None) -> bool:
        """Whether the job under our id is not the one that was there at `first`."""
        return first is not None and self._seen is not None and self._seen.started_at != first.started_at

    async def _others(self) -> set[str]:
        """The jobs that the program has started beside its first one, as far as they are known."""
        named = self._running.output.told - {self._ref.flink_job_id} - self._strange
        others = set()
        for name in named:
            try:
                if await self._owns(self._ref, name):
                    others.add(name)
                else:
                    self._strange.add(name)
            except EngineError:
                continue  # asked again
        return others

    def _failed(self, tell: LogSink, words: str) -> _End | None:
        if self._has_ended and self._state is not EngineState.FINISHED:
            tell(f"{words} (its job had ended: {self._state})")
            return None  # the end of its job is why
        rest = "its job had finished" if self._has_ended else "its job was started before that, and goes on"
        if self._prints and not self._has_ended:
            rest += ", but nobody takes its rows any more: restart it"
        return _End(words, f" ({rest})")

    async def _end_others(self, tell: LogSink, others: set[str]) -> _End:
        """The program has started more jobs. It is ended first, so that no more come."""
        await self._running.stop()
        left = [other for other in sorted(others) if not await self._cancelled(tell, Ref(other, other))]
        what = "could not be cancelled" if left else "was cancelled"
        first = "had finished before" if self._has_ended else "goes on"
        return _End(
            f"the program has started more than one Flink job: what came later {what} ({', '.join(sorted(others))}), "
            "and the program was ended",
            f"; its first job {first}. {ADVICE[0].upper()}{ADVICE[1:]}.",
        )

    async def _end_second(self, tell: LogSink) -> _End:
        """It has sent its job once more, after a JobManager had lost it: that began from where the first one began."""
        await self._running.stop()
        was = "was cancelled" if await self._cancelled(tell, self._ref) else "could not be cancelled"
        return _End(
            f"the program has sent its job again under the id of the attempt: it {was}, and the program was ended"
        )

    async def _cancelled(self, tell: LogSink, ref: Ref) -> bool:
        """Whether a job is told to end. One whose tasks are being set up is not, for a moment."""
        polling = poll(waits.CANCEL_PACE, seconds=waits.PROGRAM_AFTER_SECONDS)
        while True:
            try:
                await self._cancel(ref)
                return True
            except EngineError as error:
                if not await polling.again():
                    tell(f"Flink job {ref.flink_job_id} could not be cancelled: {error.message}")
                    return False

    async def _alert(self, tell: LogSink, words: str) -> None:
        await alert(self._aftermath, self._ref, tell, words)


async def alert(aftermath: Aftermath, ref: Ref, tell: LogSink, words: str) -> None:
    """Write `words` into the log and onto the job's timeline. Never raises: where the timeline cannot be written the
    log has them."""
    tell(words)
    await _written(aftermath.alert(words), ref)


async def _written(writing: Awaitable[None], ref: Ref) -> None:
    try:
        await writing
    except Exception:  # the log has it
        log.exception("what became of a program could not be written", flink_job=ref.flink_job_id)


def _no_room(prints: bool) -> str:
    said = f"its program was ended, since this worker follows {MOST} programs beside their jobs already; "
    if prints:
        return (
            f"{said}the rows of this job go to it, so the job stands still until it is restarted by another worker, or "
            "when fewer are followed. Have it write into a table."
        )
    return f"{said}its job goes on"


def _bounded(tell: LogSink, output: Output, before: int) -> LogSink:
    """`tell` for as much as a program may say beside its job: one that prints rows never ends."""
    full = False

    def sink(line: str) -> None:
        nonlocal full
        if full:
            return
        full = output.size - before > KEPT_CHARACTERS
        tell("(the program says more than is kept of it)" if full else line)

    return sink
