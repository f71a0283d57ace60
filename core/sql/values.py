"""Values of rows, exactly: from what a person types to Flink, from Flink's answer to a person, and compared.

A float would change many of them: 1.10 becomes 1.1, and a DECIMAL(20, 6) has more digits than it can hold. So a DECIMAL
is text with all digits of its scale wherever rows are shown or kept, a number that a float would change is kept as the
text that it was, and rows are compared by the types of their columns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from core.sql.fitting import FLOATS, INTEGERS, TIMES, finite, misfit, plain
from core.sql.times import moment

Json = dict[str, Any]
_NAMES = {
    "INTEGER": "INT",
    "TIMESTAMP_WITHOUT_TIME_ZONE": "TIMESTAMP",
    "TIMESTAMP_WITH_LOCAL_TIME_ZONE": "TIMESTAMP_LTZ",
    "TIME_WITHOUT_TIME_ZONE": "TIME",
    "VARCHAR": "STRING",
    "CHAR": "STRING",
    "VARBINARY": "BYTES",
    "BINARY": "BYTES",
}
_PARTS = re.compile(r"`(?:[^`]|``)*`|'(?:[^']|'')*'|\w+|[<>(),]")
"""Of a type's text: names, comments, words and numbers, brackets."""
_LONGEST = 40
"""How many digits whole numbers have that are worth a look."""


@dataclass(frozen=True)
class Type:
    """A type, as far as its values differ. `name` is one for all lengths: STRING also for CHAR and VARCHAR, BYTES for
    BINARY. Arrays, maps and multisets have `of`, their elements or values; maps and multisets have `key`. `size` is the
    first number in parentheses, None where it is not told; it and whether a value may be null say what fits, not what
    is equal."""

    name: str
    scale: int = 0
    fields: tuple[tuple[str, Type], ...] = ()
    of: Type | None = None
    key: Type | None = None
    size: int | None = field(default=None, compare=False)
    nullable: bool = field(default=True, compare=False)


def loads(text: str | bytes) -> Any:
    """JSON with the numbers as they were written: one whose text a float would change is a string of that text; so are
    NaN and Infinity. Raises `ValueError`."""
    return json.loads(text, parse_float=_number, parse_constant=str)


def _number(text: str) -> float | str:
    value = float(text)
    return value if repr(value) == text else text


# Types ----------------------------------------------------------------------------------------


def of_gateway(kind: Json) -> Type:
    """A `logicalType` of the SQL gateway."""
    name = str(kind.get("type", ""))
    return Type(
        name=_NAMES.get(name, name),
        scale=int(kind.get("scale") or 0),
        fields=tuple((str(f["name"]), of_gateway(f["fieldType"])) for f in kind.get("fields") or ()),
        of=_part(kind, "elementType" if name == "ARRAY" else "valueType"),
        key=_part(kind, "elementType" if name == "MULTISET" else "keyType"),
    )


def _part(kind: Json, name: str) -> Type | None:
    return of_gateway(kind[name]) if isinstance(kind.get(name), dict) else None


def of_text(text: str) -> Type:
    """A type as DESCRIBE writes it: ``ROW<`a` INT NOT NULL, `b` DECIMAL(20, 6)>``."""
    return _read([part for part in _PARTS.findall(text) if not part.startswith("'")])


def _read(parts: Sequence[str]) -> Type:
    kind = _read_nullable(parts)
    return replace(kind, nullable=False) if [part.upper() for part in parts[-2:]] == ["NOT", "NULL"] else kind


def _read_nullable(parts: Sequence[str]) -> Type:
    word = parts[0].upper() if parts else ""
    match word, _inside(parts, "<"):
        case "ROW" | "STRUCTURED", [_, *_] as fields:
            return Type("ROW", fields=tuple((_unquoted(field[0]), _read(field[1:])) for field in fields if field))
        case "ARRAY", [element]:
            return Type(word, of=_read(element))
        case "MAP", [key, value]:
            return Type(word, key=_read(key), of=_read(value))
        case "MULTISET", [element]:
            return Type(word, key=_read(element))
    numbers = [int(number[0]) for number in _inside(parts, "(") if number and number[0].isdigit()]
    size = numbers[0] if numbers else None
    if word == "DECIMAL":
        return Type(word, scale=numbers[1] if len(numbers) == 2 else 0, size=size)
    if word == "TIMESTAMP" and "LOCAL" in parts:
        return Type("TIMESTAMP_LTZ", size=size)
    return Type(_NAMES.get(word, word), size=size)


def _unquoted(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name


def _inside(parts: Sequence[str], opening: str) -> list[list[str]]:
    """What stands in the first brackets of a kind, split at its commas."""
    if opening not in parts:
        return []
    inner: list[list[str]] = [[]]
    depth = 1
    for part in parts[parts.index(opening) + 1 :]:
        depth += {"<": 1, "(": 1, ">": -1, ")": -1}.get(part, 0)
        if depth == 0:
            break
        if depth == 1 and part == ",":
            inner.append([])
        else:
            inner[-1].append(part)
    return inner


def with_text_keys(text: str) -> str:
    """A type with STRING for the keys of its maps and for what its multisets count: JSON has no other keys."""
    parts = _PARTS.findall(text)
    return _joined(_text_keys(parts)) if {"MAP", "MULTISET"} & set(parts) else text


def _text_keys(parts: Sequence[str]) -> list[str]:
    out: list[str] = []
    at = 0
    while at < len(parts):
        out.append(parts[at])
        at += 1
        if out[-1] in ("MAP", "MULTISET") and parts[at : at + 1] == ["<"]:
            key = _inside(parts[at:], "<")[0]
            out += ["<", "STRING"]
            at += 1 + len(key)
    return out


def _joined(parts: Sequence[str]) -> str:
    text = ""
    for part in parts:
        is_word = part not in ("<", "(", ">", ")", ",")
        text += " " * (is_word and bool(text) and text[-1] not in "<( ") + part + " " * (part == ",")
    return text


def type_name(kind: Json) -> str:
    """A `logicalType` of the gateway as SQL writes it."""
    name = str(kind.get("type", "?"))
    if name == "VARCHAR" and kind.get("length") == 2147483647:
        name = "STRING"
    elif "length" in kind:
        name = f"{name}({kind['length']})"
    elif "precision" in kind:
        name = f"{name}({kind['precision']}" + (f", {kind['scale']})" if "scale" in kind else ")")
    return name if kind.get("nullable", True) else f"{name} NOT NULL"


# Values ---------------------------------------------------------------------------------------


def _within(value: Any, kind: Type, change: Callable[[Any, Type], Any]) -> Any:
    """A row, an array, a map or a multiset with what is in it changed; None where the value is none of them."""
    if isinstance(value, dict) and kind.fields:
        types = dict(kind.fields)
        return {name: change(item, types.get(name, Type(""))) for name, item in value.items()}
    if isinstance(value, dict) and kind.of is not None:
        return {name: change(item, kind.of) for name, item in value.items()}
    if isinstance(value, list) and kind.of is not None:
        return [change(item, kind.of) for item in value]
    return None


def shown(value: Any, kind: Type) -> Any:
    """A value of the gateway's JSON, read with `parse_float=Decimal`, as it is shown: a DECIMAL is text with the digits
    of its scale (the gateway leaves zeros at its end out), all else is JSON's own. NaN and Infinity come as text."""
    if kind.name == "DECIMAL" and isinstance(value, Decimal | int) and not isinstance(value, bool):
        return f"{Decimal(value):.{kind.scale}f}"
    if (inner := _within(value, kind, shown)) is not None:
        return inner
    if isinstance(value, Decimal):
        return float(value) if kind.name in FLOATS else str(value)
    return value


def for_flink(value: Any, kind: Type) -> Any:
    """A value that a person gives, from JSON (`loads`) or a cell of a CSV, as Flink's JSON format reads it without a
    loss. Raises `ValueError` for one that the type does not have: Flink would read some of these as null, as false, or
    rounded."""
    is_made_of_others = bool(kind.fields) or kind.of is not None or kind.key is not None
    if isinstance(value, str) and is_made_of_others:
        value = loads(value)
    if value is None:
        if not kind.nullable:
            raise ValueError("null stands where it is NOT NULL")
        return None
    if is_made_of_others:
        return _inside_for_flink(value, kind)
    if kind.name == "BOOLEAN" and not isinstance(value, bool):
        word = value.strip().lower() if isinstance(value, str) else ""
        if word not in ("true", "false"):
            raise ValueError(f"{str(value)[:40]!r} is neither true nor false")
        return word == "true"
    made = _alone(value, kind)
    if why := misfit(made, kind.name, kind.size, kind.scale):
        raise ValueError(f"{str(value)[:40]!r} {why}")
    return made


def _inside_for_flink(value: Any, kind: Type) -> Any:
    """A row, an array, a map or a multiset with what is in it changed."""
    if not isinstance(value, list if kind.name == "ARRAY" else dict):
        raise ValueError(f"{str(value)[:40]!r} is no {kind.name}")
    names = {name for name, _ in kind.fields}
    if names and (unknown := sorted(set(value) - names)):
        raise ValueError(f"it has no field {unknown[0][:40]!r}")
    for name, inner in kind.fields:
        if name not in value and not inner.nullable:
            raise ValueError(f"its field {name} is missing, and NOT NULL")
    inside = _within(value, kind, for_flink)
    return value if inside is None else inside


def _alone(value: Any, kind: Type) -> Any:
    """A value that has no others in it."""
    if isinstance(value, float) and kind.name not in INTEGERS:
        return repr(value)  # the digits as they were written, for a DECIMAL and for a STRING
    if isinstance(value, float | str) and kind.name in INTEGERS:
        number = finite(value)
        is_whole = number is not None and number.adjusted() < _LONGEST and number == number.to_integral_value()
        return int(number) if number is not None and is_whole else str(value)
    if isinstance(value, dict | list) and kind.name == "STRING":
        return json.dumps(value, ensure_ascii=False)
    if kind.name in TIMES and isinstance(value, str):
        return _time(value, kind)
    return value


def _time(value: str, kind: Type) -> str:
    """Times may be written with a space, with a zone, and without one for UTC: ISO 8601 has a T, and Flink reads the
    zone Z alone."""
    found = moment(value)
    if found is not None and kind.name == "TIMESTAMP_LTZ":
        return str(found.at_utc())
    return value.strip().replace(" ", "T", 1) if found is None or found.offset is not None else str(found)


def comparable(value: Any, kind: Type) -> Any:
    """A value such that two that are equal in SQL are equal: 9, 9.0 and "9.00" of a DECIMAL are; so are 0.0 and -0.0, a
    time with a space and one with a T, one moment in two zones."""
    if (inner := _within(value, kind, comparable)) is not None:
        if kind.fields:  # a field that is left out is null
            return {name: inner.get(name) for name, _ in kind.fields} | inner
        return inner
    if isinstance(value, bool) or value is None:
        return value
    if kind.name == "DECIMAL" or kind.name in INTEGERS:
        number = finite(value)
        return value if number is None else str(plain(number))
    if kind.name in FLOATS:
        try:
            return str(float(value) + 0.0)  # no minus for a zero
        except (TypeError, ValueError, OverflowError):
            return value
    if kind.name in TIMES and isinstance(value, str):
        try:
            return _time(value, kind)
        except ValueError:  # out of all years
            return value
    return value
