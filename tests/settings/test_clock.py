"""The moment by which observations are ordered."""

from __future__ import annotations

import contextvars
from datetime import timedelta

import pytest

from settings import clock
from tests.observation.conftest import Time


@pytest.mark.parametrize(("wall", "counts"), [(-209, 7), (0, 7), (50, 57)])
def test_a_clock_that_is_set_back_does_not_count(wall: float, counts: float):
    """Between two moments that are 7 s apart the wall clock goes `wall` seconds wrong."""
    time = Time()
    began = time.now()

    def look() -> int:
        clock.begins(began)
        time.go_on(7)
        time._now += timedelta(seconds=wall)
        return clock.now_ms()

    before = clock.use(time)
    try:
        seen = contextvars.Context().run(look)
        assert seen == int((began + timedelta(seconds=counts)).timestamp() * 1000)
        assert clock.now_ms() == int(time.now().timestamp() * 1000), "where nobody has said, by the wall"
    finally:
        clock.use(before)
