"""What has waited for too long, by clocks that may have been set."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, or_


def overdue(moment: Any, now: datetime, age: timedelta) -> ColumnElement[bool]:
    """Whether a `moment` of a row was `age` ago. Also when it is as long after `now`: the clock that `now` was read
    from has been set back, and would wait for it."""
    return or_(moment < now - age, moment > now + age)
