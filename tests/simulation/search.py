"""Running many stories, in several processes, and what came of it."""

from __future__ import annotations

import multiprocessing
import os
import queue
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from processes.child import die_with_parent
from tests.simulation.story import Outcome, invent, play, shrink, told


def with_fixed_hashes() -> None:
    """The order of sets of strings is part of a run: begin this process again with one that is always the same."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])


@dataclass
class Report:
    """`stories` are told in words; `broken` counts violations by invariant; `looked` how often each was looked at."""

    runs: int = 0
    seconds: float = 0.0
    virtual: float = 0.0
    looked: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    stories: list[str] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    """Of the stories, shortened."""
    first_after: float | None = None
    first_seed: str | None = None

    @property
    def per_minute(self) -> float:
        return 60 * self.runs / self.seconds if self.seconds else 0.0

    def add(self, other: Report) -> None:
        self.runs += other.runs
        self.seconds = max(self.seconds, other.seconds)
        self.virtual += other.virtual
        self.looked += other.looked
        self.broken += other.broken
        self.stories += other.stories
        self.outcomes += other.outcomes
        if other.first_after is not None and (self.first_after is None or other.first_after < self.first_after):
            self.first_after, self.first_seed = other.first_after, other.first_seed

    def lines(self) -> list[str]:
        made = [
            f"{self.runs} interleavings in {self.seconds:.0f} s: {self.per_minute:.0f} per minute; "
            f"{self.virtual / 3600:.0f} hours of virtual time"
        ]
        made += [f"  {n:8d} times looked at: {k}, {self.broken[k]} violations" for k, n in sorted(self.looked.items())]
        made += [f"  {n} violations: {k}" for k, n in sorted(self.broken.items()) if k not in self.looked]
        return made


def search(
    seconds: float,
    seed: int | str,
    processes: int,
    *,
    stories: int = 1,
    until_broken: bool = False,
    prepare: Callable[[], None] | None = None,
    wanted: str | None = None,
) -> Report:
    """Play invented stories for `seconds`. A violation of each invariant is told `stories` times at most, shortened.

    `until_broken` ends at the first violation (of the invariant `wanted`, if given); `prepare` is called in every
    process before the first.
    """
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[Report] = context.Queue()
    enough = context.Event()
    begun = time.monotonic()
    started = [
        context.Process(
            target=_work, args=(results, enough, n, processes, seed, seconds, stories, until_broken, prepare, wanted)
        )
        for n in range(processes)
    ]
    for process in started:
        process.start()
    whole = Report()
    for _ in started:
        while True:
            try:
                whole.add(results.get(timeout=5))
                break
            except queue.Empty:
                if not any(p.is_alive() for p in started):
                    raise RuntimeError("a process of the simulation died") from None
    for process in started:
        process.join()
    whole.seconds = whole.seconds or time.monotonic() - begun
    return whole


def _work(
    results: multiprocessing.Queue[Report],
    enough: object,
    number: int,
    processes: int,
    seed: int | str,
    seconds: float,
    stories: int,
    until_broken: bool,
    prepare: Callable[[], None] | None,
    wanted: str | None,
) -> None:
    die_with_parent()
    if prepare is not None:
        prepare()
    made = one(number, processes, seed, seconds, stories, until_broken, wanted, enough)
    results.put(made)


def one(
    number: int,
    processes: int,
    seed: int | str,
    seconds: float,
    stories: int = 3,
    until_broken: bool = False,
    wanted: str | None = None,
    enough: object | None = None,
) -> Report:
    report, outcomes = Report(), []
    play("warm", invent("warm"))
    begun = time.monotonic()
    at = number
    while time.monotonic() - begun < seconds and not (enough is not None and enough.is_set()):  # type: ignore[attr-defined]
        name = f"{seed}.{at}"
        at += processes
        outcome = play(name, invent(name))
        report.runs += 1
        report.virtual += outcome.seconds
        report.looked.update(outcome.counts)
        if not outcome.violations:
            continue
        kind = outcome.violations[0].invariant
        if wanted is not None and wanted not in outcome.kinds:
            continue
        report.broken[kind] += 1
        if report.first_after is None:
            report.first_after, report.first_seed = time.monotonic() - begun, name
        if report.broken[kind] <= stories:
            outcomes.append(outcome)
        if until_broken:
            if enough is not None:
                enough.set()  # type: ignore[attr-defined]
            break
    report.seconds = time.monotonic() - begun
    for outcome in outcomes:
        short = shrink(outcome)
        report.outcomes.append(short)
        report.stories.append(f"{told(short)}\n  (found as seed {outcome.seed}: --replay {outcome.seed} [--shrink])")
    return report
