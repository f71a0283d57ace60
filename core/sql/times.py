"""Dates and times as they are written, exactly.

Flink's formats are lenient: they read a 30th of February as the 28th, and 24:00 as midnight of the next day. Here such
a time is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

_SHAPE = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)?(?:(?(date)[T ])"
    r"(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?)?"
    r"(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)
_DAY = 24 * 3600


@dataclass(frozen=True)
class Moment:
    """A date, a time of day, or both. `day` counts from the year 1, `second` from midnight. Of what is not written the
    value is None; `offset` is how many seconds its zone is ahead of UTC, None where no zone is written."""

    day: int | None
    second: int | None
    nanosecond: int = 0
    offset: int | None = None

    @property
    def digits(self) -> int:
        """How many digits of a second's fraction it has, without zeros at the end."""
        return len(f"{self.nanosecond:09}".rstrip("0"))

    def at_utc(self) -> Moment:
        """The same moment at UTC; without a zone it is taken for one of UTC. Raises `ValueError` where that is in no
        year from 1 to 9999."""
        if self.day is None or self.second is None:
            return self
        days, second = divmod(self.second - (self.offset or 0), _DAY)
        return Moment(date.fromordinal(self.day + days).toordinal(), second, self.nanosecond, 0)

    def __str__(self) -> str:
        """As ISO 8601 writes it, with seconds; the zone only where it is UTC's."""
        day = "" if self.day is None else date.fromordinal(self.day).isoformat()
        if self.second is None:
            return day
        minutes, second = divmod(self.second, 60)
        fraction = f".{self.nanosecond:09}".rstrip("0").rstrip(".")
        time = f"{minutes // 60:02}:{minutes % 60:02}:{second:02}{fraction}"
        return f"{day}T{time}" * bool(day) + time * (not day) + "Z" * (self.offset == 0)


def moment(text: str) -> Moment | None:
    """What a text says; None for what is no date and no time, and before the year 1."""
    if not (match := _SHAPE.fullmatch(text.strip())) or not (match["date"] or match["hour"]):
        return None
    try:
        day = date.fromisoformat(match["date"]).toordinal() if match["date"] else None
    except ValueError:
        return None
    if match["hour"] is None:
        return None if match["zone"] else Moment(day, None)
    hour, minute, second = (int(match[part] or 0) for part in ("hour", "minute", "second"))
    offset = _offset(match["zone"])
    if hour > 23 or minute > 59 or second > 59 or not -_DAY < (offset or 0) < _DAY:
        return None
    return Moment(day, (hour * 60 + minute) * 60 + second, int((match["fraction"] or "").ljust(9, "0")), offset)


def is_impossible(text: str) -> bool:
    """Whether something is written like a date or a time that there is not: a 30th of February, 24:00."""
    text = text.strip()
    is_written = bool(_SHAPE.fullmatch(text)) and text[:1].isdigit() and not text.startswith("0000-")
    return is_written and moment(text) is None


def _offset(zone: str | None) -> int | None:
    if zone is None or zone == "Z":
        return None if zone is None else 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return -seconds if zone[0] == "-" else seconds
