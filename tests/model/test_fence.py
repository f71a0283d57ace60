"""The rules that keep a job from running twice, checked over all states of a small model."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.model.cases import CLOSED, HOLDS, HOLES, WITHOUT, Case
from tests.model.fence import FENCE, RUNS, Model, Rules, State, World
from tests.model.search import Step, explore

STORY_LINES = 12


def _late_send(s: State) -> bool:
    first, second = s.attempts[:2]
    return first.job == FENCE and first.inside > 0 and second.job == RUNS


def _name(case: Case) -> str:
    return case.name


class TestTheSearch:
    def test_finds_the_shortest_way_to_a_violation(self) -> None:
        def steps(n: int) -> list[Step]:
            return [Step(f"{n} and 1", n + 1), Step(f"{n} twice", n * 2)] if n < 50 else []

        result = explore(1, steps, lambda n: "it is 10" if n == 10 else None)
        assert result.broken == "it is 10"
        assert result.story == ["1 and 1", "2 twice", "4 and 1", "5 twice"]

    def test_finds_a_state_without_a_fair_way_to_a_good_one(self) -> None:
        ways = {0: [Step("in", 1), Step("away", 2)], 1: [Step("back", 0)], 2: [Step("by luck", 0, fair=False)]}
        result = explore(0, lambda n: ways[n], lambda _: None, lambda n: n == 1)
        assert result.live is False
        assert result.story == ["away"]

    def test_a_bound_is_not_taken_for_a_proof(self) -> None:
        with pytest.raises(OverflowError):
            explore(0, lambda n: [Step("on", n + 1)], lambda _: None, limit=100)


class TestTheModelIsNotEmpty:
    """A model in which nothing happens holds every invariant."""

    @pytest.mark.parametrize(
        ("what", "reached"),
        [
            ("a second attempt runs, and a send of the first comes too late", _late_send),
            ("old task managers run on beside a new leader", lambda s: s.attempts[0].remains),
            ("the third attempt runs", lambda s: s.attempts[2].job == RUNS and s.attempts[2].accepted),
            ("an answer about the end is older than what is known", lambda s: ("E", True) in s.looks),
        ],
    )
    def test_it_reaches(self, what: str, reached: Callable[[State], bool]) -> None:
        model = Model(World(senders=("inside",), strangers=False), Rules())

        def invariant(s: State) -> str | None:
            return what if reached(s) else None

        result = explore(model.first(), model.steps, invariant)
        assert result.broken == what


class TestTheRules:
    @pytest.mark.parametrize("case", [*HOLDS, *CLOSED], ids=_name)
    def test_hold_in_every_state(self, case: Case) -> None:
        result = case.smaller().run()
        print(f"\n{case.name}: {result.states:,} states, {result.steps:,} steps, {result.seconds:.1f} s")
        assert result.broken is None, result.told()
        assert result.live

    @pytest.mark.parametrize("case", [*WITHOUT, *HOLES], ids=_name)
    def test_each_is_needed(self, case: Case) -> None:
        result = case.run()
        print(f"\n{case.name}: {result.states:,} states, {result.seconds:.1f} s\n{result.told()}")
        assert result.broken is not None
        assert 4 <= len(result.story) <= STORY_LINES
