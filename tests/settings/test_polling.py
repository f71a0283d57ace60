"""Asking again, by a clock that only sleeping moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from settings import clock, waits
from settings.polling import Pace, poll


class Sleeper:
    """A clock that stands still but for sleep, and notes each."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.sleep_in_thread(seconds)

    def sleep_in_thread(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


@pytest.fixture
def sleeper(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sleeper]:
    made = Sleeper()
    before = clock.use(made)
    monkeypatch.setattr(asyncio, "sleep", made.sleep)
    monkeypatch.setattr(time, "sleep", made.sleep_in_thread)
    yield made
    clock.use(before)


async def test_pauses_grow_up_to_the_longest(sleeper: Sleeper):
    polling = poll(Pace(1.0, longest=3.0, growth=2.0))
    for _ in range(4):
        assert await polling.again()
    assert sleeper.slept == [1.0, 2.0, 3.0, 3.0]


async def test_it_is_over_after_so_many_seconds_and_says_so_without_a_pause(sleeper: Sleeper):
    polling = poll(Pace(2.0), seconds=5.0)
    asked = 1
    while await polling.again():
        asked += 1
    assert (asked, sleeper.slept, polling.is_over) == (4, [2.0, 2.0, 2.0], True)


async def test_what_takes_long_itself_uses_the_time_up(sleeper: Sleeper):
    polling = poll(Pace(1.0), seconds=5.0)
    sleeper.seconds += 5.1
    assert not await polling.again()
    assert sleeper.slept == []


@pytest.mark.parametrize(("seconds", "until", "over_at"), [(5.0, 1003.0, 1003.0), (2.0, 1003.0, 1002.0)])
async def test_of_two_limits_the_first_counts(sleeper: Sleeper, seconds: float, until: float, over_at: float):
    assert poll(Pace(1.0), seconds=seconds, until=until).until == over_at


async def test_without_a_limit_it_goes_on(sleeper: Sleeper):
    polling = poll(Pace(1.0))
    sleeper.seconds += 1e9
    assert await polling.again()


def test_the_same_in_a_thread(sleeper: Sleeper):
    polling = poll(Pace(0.5), seconds=1.0)
    asked = 1
    while polling.again_in_thread():
        asked += 1
    assert (asked, sleeper.slept) == (4, [0.5, 0.5, 0.5])


class TestNumbers:
    """What one number says of another one."""

    def test_a_process_that_stood_still_stops_before_its_activity_is_given_to_another(self):
        from workflows.calls import _HEARTBEAT

        assert _HEARTBEAT.total_seconds() > waits.STANDSTILL_SECONDS + waits.HEARTBEAT_SECONDS

    def test_two_looks_at_the_schedule_are_never_under_way(self):
        assert waits.PREPARE_TIMEOUT_SECONDS < 0.8 * waits.PREPARE_EVERY_SECONDS

    def test_the_recovery_delivers_only_what_the_api_has_given_up(self):
        assert 2 * waits.ANSWER_TIMEOUT.total_seconds() < waits.UNDELIVERED_SECONDS

    def test_each_name_says_its_unit(self):
        kinds = (Pace, timedelta)
        numbers = {name: value for name, value in vars(waits).items() if name.isupper()}
        assert numbers
        assert not [
            n
            for n, v in numbers.items()
            if not n.endswith(("_SECONDS", "_TRIES", "_LOOKS")) and not isinstance(v, kinds)
        ]


async def test_a_pause_may_have_to_be_longer(sleeper: Sleeper):
    polling = poll(Pace(1.0, growth=2.0))
    for at_least in (0.5, 5.0, 0.0):
        assert await polling.again(at_least=at_least)
    assert sleeper.slept == [1.0, 5.0, 4.0]
