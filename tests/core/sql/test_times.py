"""Dates and times as they are written, and those that there are not."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.sql.times import is_impossible, moment

ZONES = st.timedeltas(timedelta(hours=-18), timedelta(hours=18)).map(
    lambda ahead: timezone(timedelta(minutes=ahead // timedelta(minutes=1)))
)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-01-01", "2026-01-01"),
        ("10:00", "10:00:00"),
        ("10:00:00.500", "10:00:00.5"),
        (" 2026-01-01 10:00 ", "2026-01-01T10:00:00"),
        ("2026-01-01T10:00:00.123456789Z", "2026-01-01T10:00:00.123456789Z"),
        ("2024-02-29T23:59:59", "2024-02-29T23:59:59"),
    ],
)
def test_what_a_text_says(text: str, written: str):
    assert str(moment(text)) == written


@pytest.mark.parametrize(
    "text",
    ["2026-02-30", "2026-02-30 10:00:00", "2026-01-01T24:00:00", "24:00:00", "10:60", "2026-13-01", "10:00+24:00"],
)
def test_there_is_no_such_time(text: str):
    assert moment(text) is None
    assert is_impossible(text)


@pytest.mark.parametrize("text", ["", "x", "10", "2026-1-1", "T10:00", "Z", "20260101", "+10000-01-01", "0000-01-01"])
def test_what_is_written_in_another_way_is_not_judged(text: str):
    assert moment(text) is None
    assert not is_impossible(text)


def test_out_of_all_years():
    found = moment("0001-01-01T00:30:00+01:00")
    assert found is not None
    with pytest.raises(ValueError):
        found.at_utc()


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)), ZONES)
def test_a_zone_is_a_way_to_write_it(at: datetime, zone: timezone):
    written = moment(at.replace(tzinfo=zone).isoformat())
    utc = moment(at.replace(tzinfo=zone).astimezone(UTC).replace(tzinfo=None).isoformat())
    assert written is not None
    assert utc is not None
    assert written.at_utc() == utc.at_utc()


@given(st.dates() | st.times() | st.datetimes())
def test_every_date_and_time_comes_through(value: date | time | datetime):
    found = moment(value.isoformat())
    assert moment(str(found)) == found
    assert type(value).fromisoformat(str(found)) == value
