"""What is told to somebody who gave a name that is not there."""

from __future__ import annotations

import pytest

from core.near import offered


@pytest.mark.parametrize(
    ("name", "known", "words"),
    [
        ("clocks", ["views", "clicks", "orders"], "There are: clicks, orders, views."),
        ("nothing-like-it", ["b", "a"], "There are: a, b."),
        ("x", [], "There are no jobs."),
        ("x", [f"job-{n:02}" for n in range(12)], f"There are: {', '.join(f'job-{n:02}' for n in range(10))}, ..."),
        ("shop:clocks", ["shop:views", "shop:clicks"], "There are: shop:clicks, shop:views."),
    ],
)
def test_the_likest_come_first(name: str, known: list[str], words: str):
    assert offered(name, known, "jobs") == words
