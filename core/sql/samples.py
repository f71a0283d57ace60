"""A table's columns from JSON samples, and whether Flink reads the samples back with them.

Several samples are merged: what differs becomes the type that holds both, what is sometimes missing may be null. What
Flink then does not read back as it is in the samples becomes text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from core.errors import InvalidInput
from core.sql.resources import MAX_TYPE, ColumnDefinition, is_column_name
from core.sql.times import moment
from core.sql.tokens import quoted_name

# What Flink's JSON format reads (2.3.0, `TimeFormats`): with a T as ISO 8601 writes it, where seconds may be left out,
# or with a space as SQL does; of zones, `Z` alone. One table reads one of both.
_ISO = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.(\d{1,9}))?)?(Z)?$")
_SPACED = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.(\d{1,9}))?(Z)?$")
_OTHER_TIME = re.compile(r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?$|^\d\d:\d\d$")
_DATE = re.compile(r"^\d{4}-\d\d-\d\d$")
_TIME = re.compile(r"^\d\d:\d\d:\d\d$")
_BIG = 2**63
_DECIMAL = 10**38
MAX_DEPTH = 20
MAX_FIELDS = 1000
_ELEMENT = "[]"

Path = tuple[str, ...]
"""Where a value stands: the names of fields, `[]` for the elements of an array."""


@dataclass(frozen=True)
class Scalar:
    """A type by its SQL name; empty for what is null everywhere. `digits` are those of a fraction of a second; `spaced`
    times have a space where others have a T."""

    name: str
    digits: int = 0
    spaced: bool = False

    @property
    def sql(self) -> str:
        return f"{self.name}({self.digits})" if self.digits else self.name


@dataclass(frozen=True)
class Row:
    fields: Mapping[str, Type] = field(default_factory=dict)


@dataclass(frozen=True)
class Array:
    of: Type | None


Type = Scalar | Row | Array
TEXT = Scalar("STRING")


@dataclass(frozen=True)
class Inferred:
    """`records` are the objects of the samples, `lines` the same as Flink reads them, `notes` what was decided."""

    kind: Row
    records: Sequence[dict[str, Any]]
    lines: Sequence[str]
    notes: Sequence[str]

    def columns(self) -> list[ColumnDefinition]:
        """In the order in which the samples have them first, each with its SQL type."""
        return [ColumnDefinition(name=name, type=_sql(kind)) for name, kind in self.kind.fields.items()]

    def options(self) -> dict[str, str]:
        """Options of Flink's JSON format that such columns need."""
        iso = any(scalar.name.startswith("TIMESTAMP") and not scalar.spaced for _, scalar in _scalars(self.kind))
        return {"format": "json", **({"json.timestamp-format.standard": "ISO-8601"} if iso else {})}


def of_json(samples: Iterable[str]) -> Inferred:
    """What JSON objects, or lists of them, have in common. Raises `InvalidInput`."""
    notes: list[str] = []
    merged: Type = Row()
    records: list[dict[str, Any]] = []
    lines: list[str] = []
    for number, text in enumerate(samples, 1):
        for one, line in _parsed(number, text):
            if not isinstance(one, dict):
                raise InvalidInput(f"Sample {number} is not a JSON object.", code="bad_sample", field="samples")
            merged = _merge(merged, _type(one, (), notes), (), notes) or merged
            records.append(one)
            # A line end can only stand between tokens: in a string JSON has it escaped.
            lines.append(re.sub(r"[\r\n]", " ", line))
    if not isinstance(merged, Row) or not merged.fields:
        raise InvalidInput("There is no field in the samples.", code="bad_sample", field="samples")
    row = _one_standard(_known(merged, (), notes), notes)
    if len(row.fields) > MAX_FIELDS:
        raise InvalidInput(f"The samples have more than {MAX_FIELDS} fields.", code="bad_sample", field="samples")
    return Inferred(_short_enough(row, notes), records, lines, _once(notes))


def _number(text: str) -> Decimal | str:
    """A number with a point or an exponent, exactly; its text where no number has such an exponent."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


_JSON = json.JSONDecoder(parse_float=_number)
_BETWEEN = re.compile(r"[ \t\r\n,]*")


def _parsed(number: int, text: str) -> list[tuple[Any, str]]:
    """A sample, or each element of one that is a list, with its text."""
    try:
        value = _JSON.decode(text)
        if not isinstance(value, list):
            return [(value, text)]
        found = []
        at = text.index("[") + 1
        for _ in value:
            between = _BETWEEN.match(text, at)
            start = between.end() if between else at
            one, at = _JSON.raw_decode(text, start)
            found.append((one, text[start:at]))
        return found
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"Sample {number} is not JSON: {error}", code="bad_sample", field="samples") from error


def _type(value: Any, path: Path, notes: list[str]) -> Type:
    if len(path) > MAX_DEPTH:
        raise InvalidInput(f"A sample is nested more than {MAX_DEPTH} deep.", code="bad_sample", field="samples")
    if value is None:
        return Scalar("")
    if isinstance(value, bool):
        return Scalar("BOOLEAN")
    if isinstance(value, int):
        return _integer(value, path, notes)
    if isinstance(value, Decimal):
        return _fraction(value, path, notes)
    if isinstance(value, float):  # NaN and Infinity
        return Scalar("DOUBLE")
    if isinstance(value, str):
        return _text(value, path, notes)
    if isinstance(value, list):
        of: Type | None = None
        inside = (*path, _ELEMENT)
        for item in value:
            of = _merge(of, _type(item, inside, notes), inside, notes)
        return Array(of)
    if len(value) > MAX_FIELDS:
        raise InvalidInput(f"An object has more than {MAX_FIELDS} fields.", code="bad_sample", field="samples")
    fields = {}
    for name, item in value.items():
        if is_column_name(name):
            fields[name] = _type(item, (*path, name), notes)
        else:
            notes.append(f"the field {name[:40]!a} of {_place(path) or 'a sample'} can be no column: it is left out")
    return Row(fields)


def _integer(value: int, path: Path, notes: list[str]) -> Scalar:
    if -_BIG <= value < _BIG:
        return Scalar("BIGINT")
    if -_DECIMAL < value < _DECIMAL:
        return Scalar("DECIMAL(38, 0)")
    notes.append(f"{_place(path)} has more than 38 digits, which no number of Flink has: STRING")
    return TEXT


def _fraction(value: Decimal, path: Path, notes: list[str]) -> Scalar:
    if Decimal(repr(float(value))) == value:
        return Scalar("DOUBLE")
    notes.append(f"{_place(path)} has {str(value)[:60]}, which a DOUBLE would round: STRING")
    return TEXT


def _text(value: str, path: Path, notes: list[str]) -> Scalar:
    for pattern, spaced in ((_ISO, False), (_SPACED, True)):
        if match := pattern.match(value):
            digits, zone = match.groups()
            return Scalar("TIMESTAMP_LTZ" if zone else "TIMESTAMP", max(3, len(digits or "")), spaced)
    if _DATE.match(value):
        return Scalar("DATE")
    if _TIME.match(value):
        return Scalar("TIME")
    if _OTHER_TIME.match(value):
        notes.append(f"{_place(path)} has a time that Flink's JSON format does not read: STRING")
    return TEXT


def _merge(a: Type | None, b: Type | None, path: Path, notes: list[str]) -> Type | None:
    """The type that holds both. What does not go together is text, and said."""
    if a is None or (isinstance(a, Scalar) and not a.name):
        return b if b is not None else a
    if b is None or (isinstance(b, Scalar) and not b.name) or a == b:
        return a
    if isinstance(a, Row) and isinstance(b, Row):
        fields = dict(a.fields)
        for name, kind in b.fields.items():
            fields[name] = _merge(fields.get(name), kind, (*path, name), notes) or Scalar("")
        return Row(fields)
    if isinstance(a, Array) and isinstance(b, Array):
        return Array(_merge(a.of, b.of, (*path, _ELEMENT), notes))
    if isinstance(a, Scalar) and isinstance(b, Scalar):
        return _wider(a, b, path, notes)
    notes.append(f"{_place(path) or 'a value'} is of different shapes in the samples: STRING")
    return TEXT


_NUMBERS = ["BIGINT", "DECIMAL(38, 0)", "DOUBLE"]


def _wider(a: Scalar, b: Scalar, path: Path, notes: list[str]) -> Scalar:
    if a.name in _NUMBERS and b.name in _NUMBERS:
        return Scalar(_NUMBERS[max(_NUMBERS.index(a.name), _NUMBERS.index(b.name))])
    if a.name == b.name and a.spaced == b.spaced:
        return replace(a, digits=max(a.digits, b.digits))
    if a.name == b.name:
        notes.append(f"{_place(path)} has times with a T and with a space in the samples: STRING")
    else:
        notes.append(f"{_place(path) or 'a value'} is {a.name} and {b.name} in the samples: STRING")
    return TEXT


def _known(kind: Type | None, path: Path, notes: list[str]) -> Any:
    """The type without anything that is null everywhere."""
    if kind is None or (isinstance(kind, Scalar) and not kind.name):
        notes.append(f"{_place(path)} is null or empty in every sample: STRING")
        return TEXT
    if isinstance(kind, Array):
        return Array(_known(kind.of, (*path, _ELEMENT), notes))
    if isinstance(kind, Row):
        if not kind.fields:
            notes.append(f"{_place(path)} is an empty object in every sample: MAP<STRING, STRING>")
        return Row({n: _known(t, (*path, n), notes) for n, t in kind.fields.items()})
    return kind


def _scalars(kind: Type, path: Path = ()) -> Iterator[tuple[Path, Scalar]]:
    match kind:
        case Scalar():
            yield path, kind
        case Array():
            if kind.of is not None:
                yield from _scalars(kind.of, (*path, _ELEMENT))
        case Row():
            for name, inner in kind.fields.items():
                yield from _scalars(inner, (*path, name))


def _one_standard(row: Row, notes: list[str]) -> Row:
    """Times with a T go first where a table has both kinds."""
    times = [(path, scalar.spaced) for path, scalar in _scalars(row) if scalar.name.startswith("TIMESTAMP")]
    if {spaced for _, spaced in times} != {True, False}:
        return row
    spaced = [path for path, is_spaced in times if is_spaced]
    notes += [
        f"{_place(path)} has a space in its times, others have a T, and a table reads one: STRING" for path in spaced
    ]
    return _with_text(row, spaced)


def _short_enough(row: Row, notes: list[str]) -> Row:
    long = [name for name, kind in row.fields.items() if len(_sql(kind)) > MAX_TYPE]
    notes += [f"the type of {name} would be longer than {MAX_TYPE} characters: STRING" for name in long]
    return _with_text(row, [(name,) for name in long])


def _with_text(row: Row, paths: Iterable[Path]) -> Row:
    """The type with STRING at some places."""
    wanted = set(paths)
    return Row({name: _as_text(kind, wanted, (name,)) for name, kind in row.fields.items()})


def _as_text(kind: Any, wanted: set[Path], at: Path) -> Any:
    if at in wanted:
        return TEXT
    if isinstance(kind, Array):
        return Array(_as_text(kind.of, wanted, (*at, _ELEMENT)))
    if isinstance(kind, Row):
        return Row({name: _as_text(inner, wanted, (*at, name)) for name, inner in kind.fields.items()})
    return kind


def _sql(kind: Type | None) -> str:
    if isinstance(kind, Array):
        return f"ARRAY<{_sql(kind.of)}>"
    if isinstance(kind, Row):
        if not kind.fields:
            return "MAP<STRING, STRING>"
        return "ROW<" + ", ".join(f"{quoted_name(n)} {_sql(t)}" for n, t in kind.fields.items()) + ">"
    return (kind or TEXT).sql


def _place(path: Path) -> str:
    return ".".join(path).replace(f".{_ELEMENT}", _ELEMENT)


def _once(notes: list[str]) -> list[str]:
    return list(dict.fromkeys(notes))


# Read back ------------------------------------------------------------------------------------


def read_back(inferred: Inferred, rows: Sequence[Sequence[Any]]) -> Inferred:
    """What Flink read of the samples (each field as the gateway writes it as JSON, null for what it could not read),
    held to them: the same, or with STRING and a note for what is not what it was. There is a row for each record."""
    names = list(inferred.kind.fields)
    unread: dict[Path, str] = {}
    for record, row in zip(inferred.records, rows, strict=True):
        for path, scalar, value, other in _lost(inferred.kind, record, dict(zip(names, row, strict=True)), ()):
            shown = str(value) if isinstance(value, Decimal) else json.dumps(value)
            words = f"Flink does not read {shown[:60]} as {scalar.sql}"
            if other is not None:
                words = f"as {scalar.sql} Flink reads {shown[:60]} as {json.dumps(other)[:60]}"
            unread.setdefault(path, f"{_place(path)}: {words}: STRING")
    if not unread:
        return inferred
    kind = _with_text(inferred.kind, unread)
    return replace(inferred, kind=kind, notes=_once([*inferred.notes, *unread.values()]))


def _lost(kind: Type | None, value: Any, found: Any, path: Path) -> Iterator[tuple[Path, Scalar, Any, Any]]:
    """The places where a value is not what it was: with its type, the value, and what was read."""
    match kind:
        case Row():
            for name, inner in kind.fields.items():
                if isinstance(value, dict) and name in value:
                    yield from _lost(
                        inner, value[name], found.get(name) if isinstance(found, dict) else None, (*path, name)
                    )
        case Array():
            items = value if isinstance(value, list) else []
            others = found if isinstance(found, list) and len(found) == len(items) else [None] * len(items)
            for item, other in zip(items, others, strict=True):
                yield from _lost(kind.of, item, other, (*path, _ELEMENT))
        case Scalar():
            if value is not None and not _is_same(kind, value, found):
                yield path, kind, value, found


def _is_same(kind: Scalar, value: Any, found: Any) -> bool:
    if kind.name == "STRING":
        return True
    if kind.name == "BOOLEAN" or isinstance(found, bool) or found is None:
        return found is value
    if kind.name == "DOUBLE":
        return _exact(found) == _exact(value)
    if kind.name in ("BIGINT", "DECIMAL(38, 0)"):  # a DECIMAL comes as text
        return str(found) == str(value)
    as_read, as_given = moment(str(found)), moment(str(value))
    if as_read is None or as_given is None or kind.name != "TIMESTAMP_LTZ":
        return as_read is not None and as_read == as_given
    return as_read.at_utc() == as_given.at_utc()


def _exact(number: Any) -> Decimal | str:
    """A number exactly, however it is written; NaN and Infinity are no numbers."""
    made = _number(str(number))
    return made if isinstance(made, Decimal) and made.is_finite() else str(made)
