"""Keeps the Flink of the local stack: `python -m stack.keeper`, started by `penstock up` and ended by `penstock down`.

It starts JobManager, task manager and SQL gateway again when they die, and says in `kept.json` what died and when it
is started again. One that somebody has stopped stays stopped, and while an `up` or a `down` is at work it does nothing.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from processes.kept import DEATHS, Due, Kept, PartDied, StackReport
from processes.supervised import Spec
from settings import ApiSettings, StackSettings, settings, waits
from stack.local import LocalStack, alone
from stack.parts import StackParts


class StackKeeper:
    """`specs` are the processes that it keeps."""

    def __init__(self, local: LocalStack, specs: Iterable[Spec]):
        self._local = local
        self._kept = {spec.name: Kept(spec) for spec in specs}
        self._died: list[PartDied] = []
        self._said: StackReport | None = None
        self._moments: dict[str, tuple[float, datetime]] = {}

    def look(self) -> None:
        """Once at each of them."""
        processes = self._local.processes
        for name, kept in self._kept.items():
            if processes.find(name) is not None:
                kept.began = kept.began or time.monotonic()
            elif processes.died(name):
                self._see_to(name, kept)
            else:
                kept.began = 0.0
        self._say()

    def _see_to(self, name: str, kept: Kept) -> None:
        with alone(self._local.settings.home, wait=False) as mine:
            # Whoever had the lock until now may have stopped it meanwhile.
            if mine and self._local.processes.died(name) and (death := kept.see_to(self._local.processes)) is not None:
                self._died = [*self._died, death][-DEATHS:]

    def _say(self) -> None:
        """A disk that is full ends nothing: it is said when it can be."""
        due = {name: self._due(name) for name in self._kept if self._local.processes.died(name)}
        report = StackReport(jobmanager_url=self._local.flink().url, died=self._died, due=due)
        if report != self._said:
            with contextlib.suppress(OSError):
                report.write(StackReport.path(self._local.settings.home))
                self._said = report

    def _due(self, name: str) -> Due:
        """The moment is worked out once: two clocks are never quite as far apart as they were."""
        kept = self._kept[name]
        if name not in self._moments or self._moments[name][0] != kept.next:
            at = datetime.now(UTC) + timedelta(seconds=max(0.0, kept.next - time.monotonic()))
            self._moments[name] = kept.next, at
        return Due(at=self._moments[name][1], deaths=kept.deaths, why=kept.trouble)


def main() -> int:
    """Until it is ended."""
    local = LocalStack(settings(), StackSettings(), ApiSettings(), StackParts(settings().cache))
    keeper = StackKeeper(local, local.kept())
    while True:
        with contextlib.suppress(OSError):
            keeper.look()
        time.sleep(waits.KEEPER_TICK_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
