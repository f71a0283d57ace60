"""When an attempt that runs is in trouble."""

import pytest

from core.jobs.condition import Condition, is_hopeless, kind, warning

AGAIN, LATE, OFTEN = "Flink restarts it again and again", "Its checkpoints do not complete", "Flink restarts it often"


@pytest.mark.parametrize(
    ("seen", "what"),
    [
        (Condition(), None),
        (Condition(restarts=2, failure="boom"), None),
        (Condition(restarts=3, failure="boom"), AGAIN),
        (Condition(restarts=15, failed=90, completed=0, age=420, interval=10), AGAIN),
        (Condition(restarts=3, completed=8), AGAIN),
        (Condition(completed=5, age=20, interval=10), None),
        (Condition(completed=5, age=100, interval=10, failed=1), LATE),
        (Condition(completed=5, age=89, interval=10, failed=9), None),
        (Condition(completed=5, age=500, interval=10), None),  # a large one may take its time
        (Condition(completed=5, age=1000, interval=10), LATE),
        (Condition(age=1000, interval=10), LATE),
        (Condition(age=100_000, interval=None), None),  # it takes none
        (Condition(age=3000, interval=3600), None),
        (Condition(completed=50, in_an_hour=4, age=5, interval=10), None),
        (Condition(completed=50, in_an_hour=5, age=5, interval=10), OFTEN),
    ],
)
def test_what_is_wrong(seen, what):
    assert kind(warning(seen)) == what


def test_it_says_how_often_and_why():
    words = warning(Condition(restarts=15, failed=90, failure="ArithmeticException: / by zero"))
    assert words is not None
    assert "15 times" in words
    assert "no checkpoint has ever completed" in words
    assert "/ by zero" in words


@pytest.mark.parametrize(
    ("restarts", "limit", "hopeless"),
    [(None, 10, False), (9, 10, False), (10, 10, True), (1000, 0, False), (1000, None, False), (0, 0, False)],
)
def test_when_the_platform_takes_it_for_failed(restarts, limit, hopeless):
    assert is_hopeless(restarts, limit) is hopeless
