"""Stories of the simulation that take most paths of workflows and activities between them.

Chosen of hundreds by what each goes through that the others do not. `make check` measures that; the search for faults is
`test_simulation.py` with ever new stories.
"""

from __future__ import annotations

import pytest

from tests.simulation.story import invent, play, told

_FAST = """7 11 1 91 84 74 82 19 92 83 76 16 8 5 13 88 93 78 3 9 89 94 72 77 20 86 71 439 210 345 101 166"""
_OF_A_KIND = """set_back:92.26 set_back:92.110 set_back:92.60 set_back:92.8 set_back:92.57 set_back:92.35 set_back:92.106
set_back:92.14 set_back_in_a_step:92.4 set_back:92.68 set_back:92.28 set_back:92.34 set_back:92.31 set_back:92.45
ends_unseen:91.4 lost_at_an_end:91.1 clock_between:91.1 clock_of_a_worker:5.22"""
SEEDS = [*(f"fast.{n}" for n in _FAST.split()), *_OF_A_KIND.split(), "more.60", "more.6"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_story(seed: str):
    outcome = play(seed, invent(seed))
    assert not outcome.violations, told(outcome)
