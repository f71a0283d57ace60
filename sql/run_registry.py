"""The runs of this process: found by id, forgotten some time after their end."""

from __future__ import annotations

import asyncio
import contextlib

from core.errors import Conflict, NotFound
from settings import clock, waits
from sql.runs import Run
from sql.streams import Ended

MAX_RUNS = 50


class Runs:
    """The runs of this process."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}

    def add(self, run: Run) -> None:
        """Raises `Conflict` when there are too many."""
        self._forget()
        if sum(1 for r in self._runs.values() if r.ended_at is None) >= MAX_RUNS:
            raise Conflict(
                f"{MAX_RUNS} previews run in this API already.", code="too_many_previews", remedy="Stop one of them."
            )
        self._runs[run.id] = run

    def drop(self, run: Run) -> None:
        """Forget one that never began, or was refused; fine when it is not there."""
        self._runs.pop(run.id, None)

    def _forget(self) -> None:
        now = clock.monotonic()
        for id_, run in list(self._runs.items()):
            if run.ended_at is not None and now - run.ended_at > waits.PREVIEW_KEPT_SECONDS:
                del self._runs[id_]

    def find(self, id_: str) -> Run | None:
        """None when this process has none of that id, or has forgotten it."""
        return self._runs.get(id_)

    def get(self, id_: str) -> Run:
        """Raises `NotFound`."""
        run = self.find(id_)
        if run is None:
            raise NotFound(f"There is no preview {id_[:80]} in this API process.", code="preview_not_found")
        return run

    async def close(self) -> None:
        """End all of them; with the process nobody would see their rows."""
        for run in self._runs.values():
            run.stop(Ended.INTERRUPTED, "the API is shutting down")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(waits.PREVIEWS_END_SECONDS):
                await asyncio.gather(*(r.done.wait() for r in self._runs.values()))
