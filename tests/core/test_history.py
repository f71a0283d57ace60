"""Which rows of the past may go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from core.history import PastAttempt, attempts_to_forget, cutoff, links, numbers_of

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def past(number: int, *, days: float | None = 10, like: int | None = None, knows: bool = True) -> PastAttempt:
    ended = T0 - timedelta(days=days) if days is not None else None
    return PastAttempt(number, f"{number:032x}", ended, like, knows)


def test_zero_days_are_for_ever():
    assert cutoff(0, T0) is None
    assert cutoff(1.5, T0) == T0 - timedelta(hours=36)


def test_what_lives_is_young_or_kept_stays():
    old = [past(1), past(2, days=None), past(3, days=1), past(4)]
    going = attempts_to_forget(old, before=T0 - timedelta(days=5), kept={4: past(4)})
    assert [a.number for a in going] == [1]


def test_what_one_runs_like_is_needed_until_one_knows():
    kept = {9: past(9, like=5, knows=False), 8: past(8, like=3), 7: past(7, knows=False)}
    assert links(kept) == {5}
    kept[5] = past(5, like=2, knows=False)
    assert links(kept) == {2}
    kept[2] = past(2, like=1)
    assert links(kept) == set()


def test_whose_savepoints_are_there():
    assert numbers_of(["12-abc", "7-", "x-1", "-3", "\u0663-a", "4"]) == {12, 7, 4}


@given(
    st.lists(st.tuples(st.integers(1, 9), st.one_of(st.none(), st.floats(0, 20))), max_size=9),
    st.sets(st.integers(1, 9)),
)
def test_never_one_that_lives_or_is_kept(rows, kept):
    old = [past(n, days=days) for n, days in rows]
    for gone in attempts_to_forget(old, before=T0 - timedelta(days=5), kept={n: past(n) for n in kept}):
        assert gone.number not in kept
        assert gone.ended_at is not None
        assert gone.ended_at < T0 - timedelta(days=5)
