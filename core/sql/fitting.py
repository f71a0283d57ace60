"""Whether a column can hold a value: what Flink would make null, round or take for another one.

Lengths of texts and bytes are not held to: no format of Flink's looks at them, so a VARCHAR(3) of a real source has
longer texts, too, and what a job makes of them is worth seeing. What Flink itself refuses aloud is left to it.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from core.sql.times import is_impossible, moment

INTEGERS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64}
"""How many bits each has."""
FLOATS = {"FLOAT": 2**128 - 2**103, "DOUBLE": 2**1024 - 2**970}
"""From where on each is infinite."""
TIMES = frozenset({"TIMESTAMP", "TIMESTAMP_LTZ", "TIME"})
_TIME_DIGITS = 3  # Flink's JSON format drops those behind, of a TIME


def misfit(value: Any, name: str, size: int | None, scale: int) -> str:
    """Why a column of a type cannot hold a value that is not null, as words behind the value; empty where it can.
    `name` is the type's, without what stands in parentheses behind it: `size` and `scale`."""
    if name in INTEGERS:
        limit = 2 ** (INTEGERS[name] - 1)
        if not isinstance(value, int) or isinstance(value, bool):
            return "is no whole number"
        return "" if -limit <= value < limit else f"is none of {name}"
    if name == "DECIMAL":
        return _of_decimal(value, size, scale)
    if name in FLOATS:
        return _of_float(value, name)
    if name == "BYTES":
        return "" if isinstance(value, str) else "is no text in Base64"
    if name == "DATE" or name in TIMES:
        return _of_time(str(value), name, size)
    return ""


def finite(value: Any) -> Decimal | None:
    """A finite number, exactly as it was written; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = Decimal(repr(value) if isinstance(value, float) else str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def plain(number: Decimal) -> tuple[int, str, int]:
    """A finite number as (sign, digits, exponent), without zeros at either end: the same for numbers that are equal.
    No context rounds it, and a large exponent costs nothing."""
    sign, digits, exponent = number.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    kept = text.rstrip("0")
    return (sign, kept, int(exponent) + len(text) - len(kept)) if kept else (0, "", 0)


def _of_decimal(value: Any, size: int | None, scale: int) -> str:
    number = finite(value)
    if number is None:
        return "is no number"
    _, digits, exponent = plain(number)
    if digits and -exponent > scale:
        return f"has {-exponent} digits behind the point, and the type has {scale}"
    if digits and size is not None and len(digits) + exponent > size - scale:
        return f"has {len(digits) + exponent} digits in front of the point, and the type has {size - scale}"
    return ""


def _of_float(value: Any, name: str) -> str:
    number = finite(value)
    return f"is larger than any {name}" if number is not None and number.copy_abs() >= FLOATS[name] else ""


def _of_time(value: str, name: str, size: int | None) -> str:
    if is_impossible(value):
        return "is a date or a time that there is not"
    found = moment(value)
    digits = size if name != "TIME" else min(_TIME_DIGITS, size or 0)
    if name == "DATE" or found is None or digits is None or found.digits <= digits:
        return ""
    return f"has {found.digits} digits behind the second, and {digits} are read"
