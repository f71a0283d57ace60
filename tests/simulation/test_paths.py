"""Stories of the simulation that take most paths of workflows and activities between them.

Chosen of fifty by what each goes through that the others do not. `make check` measures that; the search for faults is
`test_simulation.py` with ever new stories.
"""

from __future__ import annotations

import pytest

from tests.simulation.story import invent, play, told

_SEEDS = """7 11 1 91 84 74 82 19 92 83 76 16 8 5 13 88 93 78 3 9
89 94 72 77 20 86 71 439 210 345 101 166"""
SEEDS = [int(seed) for seed in _SEEDS.split()]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_story(seed: int):
    outcome = play(f"fast.{seed}", invent(f"fast.{seed}"))
    assert not outcome.violations, told(outcome)
