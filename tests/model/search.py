"""An explicit-state search: all states that can be reached, breadth first, and the shortest way to a bad one.

States are hashable and frozen. Nothing here knows what they are about.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

S = TypeVar("S", bound=Hashable)


class Step(NamedTuple):
    """One step out of a state. `fair` is whether it may be relied on to happen: a fault is not. `broken` names
    the invariant that the step itself breaks."""

    words: str
    after: Hashable
    fair: bool = True
    broken: str | None = None


@dataclass
class Result:
    """`seconds` are those of the processor. `story` is the shortest way to a violation, a line per step; empty when there is none."""

    states: int
    steps: int
    depth: int
    seconds: float
    broken: str | None = None
    story: list[str] = field(default_factory=list)
    live: bool | None = None
    """Whether every state has a fair way to a good one; None when that was not looked at."""

    def told(self) -> str:
        lines = [f"{number}. {line}" for number, line in enumerate(self.story, 1)]
        return "\n".join([f"BROKEN: {self.broken}", *lines]) if self.broken else "no violation"


def explore(
    first: S,
    steps: Callable[[S], Iterable[Step]],
    invariant: Callable[[S], str | None],
    good: Callable[[S], bool] | None = None,
    *,
    rest: Callable[[S], bool] | None = None,
    limit: int = 2_000_000,
) -> Result:
    """Visit every state that can be reached from `first`. Ends at the first violation of `invariant` (it names
    what is broken), else, with `good`, looks backward from all good states whether every state has a fair way
    to one; the story of one that has none is told on to a state at `rest`. Raises `OverflowError` beyond `limit` states, so that a bound is never taken for a proof."""
    collecting = gc.isenabled()
    gc.disable()  # all that is made here is kept to the end, and nothing of it is in a cycle: half of the time
    try:
        return _explore(first, steps, invariant, good, rest, limit)
    finally:
        if collecting:
            gc.enable()


def _explore(
    first: S,
    steps: Callable[[S], Iterable[Step]],
    invariant: Callable[[S], str | None],
    good: Callable[[S], bool] | None,
    rest: Callable[[S], bool] | None,
    limit: int,
) -> Result:
    began = time.process_time()
    numbers: dict[Hashable, int] = {first: 0}
    states: list[S] = [first]
    came_from: list[tuple[int, str]] = [(-1, "")]
    before: list[list[int]] = [[]]
    depth = [0]
    walked = 0

    def ended(broken: str | None, last: int, words: str | None = None, live: bool | None = None) -> Result:
        story = [words] if words else []
        at = last
        while broken and at > 0:
            at, line = came_from[at]
            story.insert(0, line)
        seconds = time.process_time() - began
        return Result(len(states), walked, max(depth), seconds, broken, story, live)

    number = 0
    while number < len(states):
        for words, after, fair, broken in steps(states[number]):
            walked += 1
            if broken is not None:
                return ended(broken, number, words)
            known = numbers.get(after)
            if known is None:
                known = numbers[after] = len(states)
                if known >= limit:
                    raise OverflowError(f"more than {limit} states")
                states.append(after)  # type: ignore[arg-type]
                came_from.append((number, words))
                before.append([])
                depth.append(depth[number] + 1)
                if (broken := invariant(states[known])) is not None:
                    return ended(broken, known)
            if fair and good is not None:
                before[known].append(number)
        number += 1
    if good is None:
        return ended(None, 0)
    stuck = _without_a_way(states, before, good)
    if stuck is not None:
        result = ended("what is the case is never known again: no fair step leads to it", stuck, live=False)
        result.story += _onward(states[stuck], steps, rest) if rest else []
        return result
    return ended(None, 0, live=True)


def _without_a_way(states: list[S], before: list[list[int]], good: Callable[[S], bool]) -> int | None:
    """The nearest state that has no fair way to a good one."""
    reached = [good(state) for state in states]
    waiting = [number for number, yes in enumerate(reached) if yes]
    while waiting:
        for earlier in before[waiting.pop()]:
            if not reached[earlier]:
                reached[earlier] = True
                waiting.append(earlier)
    return next((number for number, yes in enumerate(reached) if not yes), None)


def _onward(first: S, steps: Callable[[S], Iterable[Step]], rest: Callable[[S], bool]) -> list[str]:
    """The shortest way by fair steps from `first` to a state at rest."""
    ways: dict[Hashable, list[str]] = {first: []}
    waiting: list[S] = [first]
    for state in waiting:
        if rest(state):
            return ways[state]
        for words, after, fair, _ in steps(state):
            if fair and after not in ways:
                ways[after] = [*ways[state], words]
                waiting.append(after)  # type: ignore[arg-type]
    return []
