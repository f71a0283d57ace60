"""The independent judge: reads Flink itself, the disk, and what the jobs write; our tables only to compare.

`Sampler` watches the cluster and the checkpoint folders all the time; `series` reads what a job has
written; `check_series` is pure, and tested without any server.
"""

from __future__ import annotations

import re
import threading
import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx

FINAL = ("FINISHED", "CANCELED", "FAILED")
_PRINTED = re.compile(r"^(?:\d+> )?\+[IU]\[(\d+), ([0-9-]+[T ][0-9:.]+)\]$")


@dataclass(frozen=True)
class Line:
    """One count as a job wrote it: at (seconds since 1970), the count, and the Flink job where it tells."""

    at: float
    n: int
    writer: str | None = None


@dataclass(frozen=True)
class Point:
    """A completed checkpoint or savepoint as the disk showed it: begun not before `begun`, complete at `done`.
    `owner` is the Flink job it is of, or how its id begins."""

    path: str
    begun: float
    done: float
    savepoint: bool
    owner: str = ""


@dataclass(frozen=True)
class Start:
    """A Flink job of a Penstock job: when it started, and whether it was asked to start empty."""

    writer: str
    at: float
    empty: bool = False


@dataclass
class Verdicts:
    """How often each invariant was looked at, and what broke it."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    broken: list[str] = field(default_factory=list)

    def check(self, invariant: str, good: bool, words: str) -> None:
        self.counts[invariant] += 1
        if not good:
            self.broken.append(f"{invariant}: {words}")


class Sampler:
    """Asks Flink for its jobs and the disk for completed points, several times a second."""

    def __init__(self, flink_url: str, state: Path, verdicts: Verdicts, pause: float = 0.25):
        self._flink = httpx.Client(base_url=flink_url, timeout=2, trust_env=False)
        self._state, self._pause = state, pause
        self.verdicts = verdicts
        self.starts: dict[str, dict[str, float]] = defaultdict(dict)
        self.points: dict[str, dict[str, Point]] = defaultdict(dict)
        self._begun: dict[str, float] = {}
        self._last = time.time()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)
        self._flink.close()

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            now = time.time()
            self._disk()
            self._last = now
            try:
                jobs = self._flink.get("/jobs/overview").json()["jobs"]
            except (httpx.HTTPError, ValueError, KeyError):
                continue
            alive: dict[str, list[str]] = defaultdict(list)
            for job in jobs:
                self.starts[job["name"]].setdefault(job["jid"], job["start-time"] / 1000)
                if job["state"] not in FINAL:
                    alive[job["name"]].append(job["jid"])
            for name, ids in alive.items():
                self.verdicts.check("one attempt alive", len(ids) <= 1, f"{name} at {now:.1f}: {ids}")

    def _disk(self) -> None:
        for pattern, savepoint in (("*/checkpoints/*/chk-*", False), ("*/savepoints/*/savepoint-*", True)):
            for folder in self._state.glob(pattern):
                path = str(folder)
                if path not in self._begun:
                    self._begun[path] = self._last  # it was not there when we last looked
                job = path.removeprefix(str(self._state) + "/").partition("/")[0]
                if path in self.points[job]:
                    continue
                try:
                    done = (folder / "_metadata").stat().st_mtime
                except FileNotFoundError:
                    continue
                # .../checkpoints/<job id>/chk-N, .../savepoints/<attempt>-<trigger>/savepoint-<six of the job id>-...
                owner = folder.name.split("-")[1] if savepoint else folder.parent.name
                self.points[job][path] = Point(path, self._begun[path], done, savepoint, owner)


def read_file(path: Path) -> list[Line]:
    """The jar's output: `milliseconds flink-job-id count`; a last line that is cut off is left out."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        words = text.split()
        if len(words) == 3:
            lines.append(Line(int(words[0]) / 1000, int(words[2]), words[1]))
    return lines


def read_prints(log: Path, names: Sequence[str]) -> dict[str, list[Line]]:
    """The print connector's lines in the TaskManager's standard output, by job."""
    found: dict[str, list[Line]] = {name: [] for name in names}
    for text in log.read_text(errors="replace").splitlines():
        name, _, rest = text.partition(":") if ":" in text.partition(">")[0] else text.partition("> ")
        if name not in found:
            continue
        match = _PRINTED.match(rest.strip())
        if match:
            at = datetime.fromisoformat(match.group(2)).timestamp()
            found[name].append(Line(at, int(match.group(1))))
    return found


def check_series(
    job: str, lines: Sequence[Line], points: Sequence[Point], starts: Sequence[Start], verdicts: Verdicts
) -> None:
    """What a job wrote, held against the restore points that were there.

    A count is one more than the one before, or begins again after a restore. Then it is never ahead of
    what was written (that would be lost output), never further back than the newest point that was complete
    when the attempt started (or, within one attempt, than the newest checkpoint), and a writer that has been
    followed by another never writes again.
    """
    starts = sorted(starts, key=lambda s: s.at)
    times = [line.at for line in lines]
    begins = 0  # where the current life of the count began: after a start from nothing, 1
    followed: set[str] = set()
    last: Line | None = None
    for number, line in enumerate(lines):
        if line.writer is not None:
            good = line.writer not in followed
            verdicts.check("no second writer", good, f"{job} at {line.at:.3f}: {line.writer} writes {line.n} again")
            if last is not None and last.writer != line.writer and last.writer is not None:
                followed.add(last.writer)
        if last is None or line.n == last.n + 1:
            if last is not None and line.writer != last.writer:
                verdicts.check("restored from the newest point", True, "")  # from a savepoint of its last count
            last = line
            continue
        start = _start_of(line, starts)
        if start is not None and start.empty and line.n == 1:
            begins, last = number, line
            continue
        words = f"{job} at {line.at:.3f}: {line.n} after {last.n} (at {last.at:.3f})"
        verdicts.check("no output lost, no second writer", line.n <= last.n, words)
        # Without a writer's name (SQL) it is a new attempt when one started after the last count.
        later = start is not None and start.at > last.at - 0.2
        new = start is not None and (start.writer != last.writer if line.writer else later)
        # Flink's own restart chose before it wrote; what was complete at the last count was complete then.
        moment = start.at if new and start is not None else last.at
        there = [p for p in points if p.done <= moment and (new or not p.savepoint)]
        if there and line.n <= last.n:
            newest = max(there, key=lambda p: p.done)
            floor = _floor(lines, times, newest, starts, begins, number)
            verdicts.check(
                "restored from the newest point",
                line.n > floor,
                f"{words}: {floor} had been written before {newest.path} was begun, {moment - newest.done:.1f} s before",
            )
        last = line


def _floor(
    lines: Sequence[Line], times: Sequence[float], point: Point, starts: Sequence[Start], begins: int, number: int
) -> int:
    """The count that `point` has at the least: what its own attempt had written when it was begun. Counts of
    an attempt that was rolled back are gone; one that had written nothing yet stood where it was restored."""
    owner = next((s for s in starts if point.owner and s.writer.startswith(point.owner)), None)
    first = max(begins, bisect_left(times, owner.at, begins, number)) if owner else begins
    index = bisect_right(times, point.begun, begins, number)
    if index > first:
        return lines[index - 1].n
    return lines[first].n - 1 if owner and first < number else 0


def _start_of(line: Line, starts: Sequence[Start]) -> Start | None:
    if line.writer is not None:
        return next((s for s in starts if s.writer == line.writer), None)
    before = [s for s in starts if s.at <= line.at]
    return before[-1] if before else None
