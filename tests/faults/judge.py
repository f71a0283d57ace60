"""The independent judge of what the jobs wrote: pure, tested without any server (tests/faults/test_judge.py).

Every program and every SQL job of the harness writes an audit file of its own, one line for all that happens to a
task (tests/faults/audit): a value written, the state of a checkpoint taken, a task begun. Each line names the Flink
job that wrote it, so that attempts are told apart by id and by output; nothing here knows the name of a Flink job.
The order of the lines in the file is the order in which they were written, whatever any clock says.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_LINE = re.compile(r"^([VSR]) (\d+) ([0-9a-f]{32}) (\S+) (-|\d+) (\S+)$")
SHORT_LIVED = 1.5
"""Seconds: a point that was taken away within them counts for nobody (Flink discards what it could not complete)."""


@dataclass(frozen=True)
class Line:
    """One line: V a value was written, S the state of checkpoint `number` was taken after `value`, R a task began,
    restored from checkpoint `number` (None: from nothing). `at` is in seconds since 1970."""

    kind: str
    at: float
    writer: str
    operator: str
    number: int | None
    value: str


@dataclass(frozen=True)
class Point:
    """A completed checkpoint or savepoint as the disk showed it: complete at `done`, taken away at `gone`. `owner` is
    the Flink job that it is of, or how its id begins; `checkpoint` its number in Flink."""

    path: str
    done: float
    owner: str
    checkpoint: int | None = None
    gone: float | None = None


@dataclass(frozen=True)
class Attempt:
    """One attempt of a job: its Flink id, when Flink started it (seconds since 1970), and where Flink says that it
    restored from. `told`: Flink could be asked for that. `asked` is the mode of `restore` that a person sent with its
    command, None when nobody did; `named` the path then, with mode point."""

    writer: str
    number: int
    at: float
    restored: str | None = None
    told: bool = True
    asked: str | None = None
    named: str | None = None


@dataclass
class Verdicts:
    """How often each invariant was looked at, and what broke it."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    broken: list[str] = field(default_factory=list)

    def check(self, invariant: str, good: bool, words: str) -> None:
        self.counts[invariant] += 1
        if not good:
            self.broken.append(f"{invariant}: {words}")


def read_audit(path: Path) -> list[Line]:
    """An audit file; a last line that is not complete yet is left out. Raises `ValueError` for any other."""
    if not path.exists():
        return []
    whole = path.read_text(errors="replace").split("\n")[:-1]
    lines = []
    for text in whole:
        match = _LINE.match(text)
        if match is None:
            raise ValueError(f"{path}: not a line of an audit: {text[:100]!r}")
        kind, at, writer, operator, number, value = match.groups()
        lines.append(Line(kind, int(at) / 1000, writer, operator, None if number == "-" else int(number), value))
    return lines


def normal(path: str) -> str:
    """A path in one spelling, whichever it was given in."""
    return re.sub(r"/+", "/", re.sub(r"^file:(//[^/]*)?(?=/)", "", path)).rstrip("/")


def check_history(
    job: str,
    lines: Sequence[Line],
    points: Sequence[Point],
    attempts: Sequence[Attempt],
    verdicts: Verdicts,
    *,
    units: Mapping[str, int] | None = None,
    deleted_at: float | None = None,
    outlived: Sequence[tuple[float, float]] = (),
) -> None:
    """Hold what a job wrote against what was there.

    `units` says by how much each operator counts (1 by default). `deleted_at` is when DELETE of the job was answered.
    `outlived` are spans (seconds since 1970) in which tasks may write that their JobManager has lost: task managers
    that were made to stand still for longer than heartbeat.timeout.
    """
    _one_writer(job, lines, outlived, verdicts)
    _exactly_once(job, lines, points, attempts, dict(units or {}), verdicts)
    _newest(job, points, attempts, verdicts)
    if deleted_at is not None:
        late = [line for line in lines if line.at > deleted_at + 1]
        words = f"{job} was deleted at {deleted_at:.1f}"
        verdicts.check("what is deleted is gone", not late, f"{words}, and writes at {[x.at for x in late[:1]]}")


def _one_writer(job: str, lines: Sequence[Line], outlived: Sequence[tuple[float, float]], verdicts: Verdicts) -> None:
    """An attempt that another one has followed does nothing any more."""
    followed: dict[str, str] = {}
    current: str | None = None
    for line in lines:
        if line.writer in followed and not any(begin <= line.at <= end for begin, end in outlived):
            words = f"{job} at {line.at:.3f}: {line.writer} ({line.kind} {line.operator} {line.value})"
            verdicts.check("no second writer", False, f"{words} after {followed[line.writer]} had begun")
            continue
        verdicts.check("no second writer", True, "")
        if line.writer in followed:
            continue
        if current is not None and current != line.writer:
            followed[current] = line.writer
        current = line.writer


class _Taken:
    """What was in the state of each checkpoint, by operator."""

    def __init__(self, points: Sequence[Point], attempts: Sequence[Attempt]):
        self._values: dict[tuple[str, int], dict[str, int]] = defaultdict(dict)
        self._owners = {normal(p.path): p.owner for p in points}
        self._restored = {a.writer: a.restored for a in attempts if a.told}

    def add(self, line: Line, value: int) -> None:
        assert line.number is not None
        self._values[line.writer, line.number][line.operator] = value

    def at(self, writer: str, checkpoint: int | None) -> dict[str, int] | None:
        """The values that an attempt has to go on from; None when that cannot be told."""
        if checkpoint is None:
            return {}
        if own := self._values.get((writer, checkpoint)):
            return own
        path = self._restored.get(writer)
        owner = (self._owners.get(normal(path)) or _owner(path)) if path else ""
        found = [v for (w, n), v in self._values.items() if n == checkpoint and w != writer and w.startswith(owner)]
        return found[0] if len(found) == 1 else None


def _owner(path: str) -> str:
    """Of `.../<flink job id>/chk-N` and `.../savepoint-<first six of the id>-...`."""
    parts = normal(path).split("/")
    return parts[-1].split("-")[1] if parts[-1].startswith("savepoint-") else parts[-2]


def _exactly_once(
    job: str,
    lines: Sequence[Line],
    points: Sequence[Point],
    attempts: Sequence[Attempt],
    units: Mapping[str, int],
    verdicts: Verdicts,
) -> None:
    """Each life of a task goes on with the value after the one that its restore point holds, and counts on from there:
    nothing is lost, nothing counted twice, and no operator has another's state."""
    taken = _Taken(points, attempts)
    last: dict[tuple[str, str], int | None] = {}
    bases: dict[tuple[str, str], dict[str, int] | None] = {}
    for line in lines:
        who, unit = (line.writer, line.operator), units.get(line.operator, 1)
        words = f"{job} at {line.at:.3f}: {line.operator} of {line.writer}"
        if line.kind == "R":
            base = taken.at(line.writer, line.number)
            bases[who], last[who] = base, base.get(line.operator, 0) if base is not None else None
            if line.value != "-":
                maker, _, value = line.value.partition(":")
                verdicts.check("state never swapped", maker == line.operator, f"{words} was given {line.value}")
                if base is not None and maker == line.operator:
                    good = int(value) == last[who]
                    verdicts.check("exactly once", good, f"{words} was given {value}, and had {last[who]}")
        elif line.kind == "S":
            known = last.get(who)
            if known is not None:
                taken.add(line, known)
        else:
            value, before, others = int(line.value), last.get(who), bases.get(who) or {}
            last[who] = value
            foreign = [o for o, v in others.items() if o != line.operator and v and value - unit == v != before]
            swapped = value % unit != 0 or bool(foreign)
            verdicts.check("state never swapped", not swapped, f"{words} writes {value} in steps of {unit}: {others}")
            if before is not None and not swapped:
                verdicts.check("exactly once", value == before + unit, f"{words} writes {value} after {before}")


def _newest(job: str, points: Sequence[Point], attempts: Sequence[Attempt], verdicts: Verdicts) -> None:
    """Each attempt was restored from the point that was asked for, else from the newest of its lineage: by attempt
    first, then by Flink's own number, whatever the clocks say."""
    numbers = {a.writer: a.number for a in attempts}
    first, root = 0, None
    for attempt in sorted(attempts, key=lambda a: a.number):
        words = f"{job} attempt {attempt.number} ({attempt.writer}), started at {attempt.at:.1f}"
        restored = normal(attempt.restored) if attempt.restored else None
        if attempt.asked in ("none", "point"):
            first, root = attempt.number, normal(attempt.named) if attempt.named else None
        if not attempt.told:
            continue
        if attempt.asked in ("none", "point"):
            good = restored == root
            verdicts.check("restored as asked", good, f"{words}: restored from {restored}, and {root} was asked for")
            continue
        there = [
            (number, p.checkpoint or 0, normal(p.path))
            for p in points
            if (number := _number(p, numbers)) is not None
            and number < attempt.number
            and (attempt.asked == "newest" or number >= first)
            and p.done <= attempt.at - 0.5
            and not (p.gone is not None and p.gone < attempt.at and p.gone - p.done < SHORT_LIVED)
        ]
        newest = max(there)[2] if there else root
        # A point that was complete in the last half second may have been taken, too.
        younger = {normal(p.path) for p in points if attempt.at - 0.5 < p.done <= attempt.at}
        good = restored == newest or restored in younger
        verdicts.check("restored from the newest point", good, f"{words}: restored from {restored}, not {newest}")


def _number(point: Point, numbers: Mapping[str, int]) -> int | None:
    return next((n for writer, n in numbers.items() if point.owner and writer.startswith(point.owner)), None)
