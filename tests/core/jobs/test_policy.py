from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.jobs.observations import Trouble
from core.jobs.policy import AfterRestore, GiveUp, RestartPolicy, Wait, after_restore, decide

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def live_through(policy: RestartPolicy, failures: int, *, alive: float = 0.0) -> list[Wait]:
    """Fail `failures` times, each time after `alive` seconds of running; the restarts that were made."""
    now, restarts, waits = T0, [], []
    for _ in range(failures):
        began, now = now, now + timedelta(seconds=alive)
        verdict = decide(policy, restarts, now, running_since=began, random=0.5)
        if isinstance(verdict, GiveUp):
            break
        waits.append(verdict)
        now = verdict.at
        restarts.append(now)
    return waits


class TestLimit:
    @given(st.integers(0, 30))
    def test_a_limit_of_n_gives_exactly_n_restarts(self, n):
        policy = RestartPolicy(max_restarts=n, window=1e6, initial_backoff=1, multiplier=1)
        assert len(live_through(policy, n + 10)) == n

    def test_restarts_outside_the_window_do_not_count(self):
        policy = RestartPolicy(max_restarts=2, window=50, initial_backoff=60, multiplier=1, max_backoff=60)
        assert len(live_through(policy, 50)) == 50

    def test_stable_running_forgets_earlier_restarts(self):
        policy = RestartPolicy(max_restarts=2, window=1e6, reset_after=60, initial_backoff=1)
        assert len(live_through(policy, 20, alive=61)) == 20
        assert len(live_through(policy, 20, alive=59)) == 2

    def test_off(self):
        verdict = decide(RestartPolicy(enabled=False), [], T0, running_since=None, random=0)
        assert isinstance(verdict, GiveUp)
        assert "off" in verdict.why


class TestBackoff:
    def test_grows_and_is_capped(self):
        policy = RestartPolicy(max_restarts=6, initial_backoff=10, multiplier=2, max_backoff=60, jitter=0)
        now, restarts, waits = T0, [], []
        for _ in range(6):
            verdict = decide(policy, restarts, now, running_since=None, random=0.9)
            waits.append((verdict.at - now).total_seconds())
            now = verdict.at
            restarts.append(now)
        assert waits == [10, 20, 40, 60, 60, 60]

    @given(st.floats(0, 1, exclude_max=True), st.integers(0, 9))
    def test_jitter_stays_within_its_share(self, random, already):
        policy = RestartPolicy(
            max_restarts=10, window=1e6, initial_backoff=10, multiplier=2, max_backoff=100, jitter=0.2
        )
        verdict = decide(policy, [after(i) for i in range(already)], after(20), running_since=None, random=random)
        plain = min(100, 10 * 2**already)
        assert abs((verdict.at - after(20)).total_seconds() - plain) <= plain * 0.2 + 1e-6

    def test_a_huge_multiplier_is_only_the_cap(self):
        policy = RestartPolicy(max_restarts=10_000, window=1e6, multiplier=100, max_backoff=5, jitter=0)
        verdict = decide(policy, [after(i) for i in range(5000)], after(6000), running_since=None, random=0)
        assert (verdict.at - after(6000)).total_seconds() == 5


@pytest.mark.parametrize("wrong", [{"max_restarts": -1}, {"window": 0}, {"jitter": 2}, {"multiplier": 0.5}, {"x": 1}])
def test_a_wrong_policy_is_refused(wrong):
    with pytest.raises(ValidationError):
        RestartPolicy.model_validate(wrong)


U, M = Trouble.UNREADABLE, Trouble.UNMAPPABLE


@pytest.mark.parametrize(
    ("trouble", "failures", "fall_back", "expected"),
    [
        (None, 9, False, AfterRestore.RETRY),
        (U, 1, False, AfterRestore.RETRY),
        (U, 2, False, AfterRestore.BLOCK),
        (U, 1, True, AfterRestore.RETRY),
        (U, 2, True, AfterRestore.FALL_BACK),
        (U, 3, True, AfterRestore.FALL_BACK),
        (M, 1, False, AfterRestore.BLOCK),
        (M, 1, True, AfterRestore.BLOCK),
    ],
)
def test_a_restore_that_fails(trouble, failures, fall_back, expected):
    policy = RestartPolicy(restore_tries=2, fall_back=fall_back)
    assert after_restore(policy, trouble, failures) is expected
