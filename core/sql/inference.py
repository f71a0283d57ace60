"""A table's columns from what its data looks like: JSON samples, an Avro schema, a JSON schema, types of a database.

Several samples are merged: what differs becomes the type that holds both, what is sometimes missing may be null.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import InvalidInput
from core.sql.resources import ColumnDefinition
from core.sql.tokens import quoted_name

_TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.(\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?$")
_DATE = re.compile(r"^\d{4}-\d\d-\d\d$")
_TIME = re.compile(r"^\d\d:\d\d(:\d\d)?$")
_BIG = 2**63
MAX_DEPTH = 20
MAX_FIELDS = 1000


@dataclass(frozen=True)
class Scalar:
    """A type by its SQL name. `digits` are those of a fraction of a second."""

    name: str
    digits: int = 0


@dataclass(frozen=True)
class Row:
    fields: Mapping[str, Type] = field(default_factory=dict)


@dataclass(frozen=True)
class Array:
    of: Type | None


Type = Scalar | Row | Array


def of_json(samples: Iterable[str]) -> tuple[list[ColumnDefinition], list[str]]:
    """Columns of JSON objects, and notes on what had to be decided. Raises `InvalidInput`."""
    notes: list[str] = []
    merged: Type | None = None
    for number, text in enumerate(samples, 1):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"Sample {number} is not JSON: {error}", code="bad_sample", field="samples") from error
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, dict):
                raise InvalidInput(f"Sample {number} is not a JSON object.", code="bad_sample", field="samples")
            merged = _merge(merged, _type(one, 0), "", notes)
    if not isinstance(merged, Row) or not merged.fields:
        raise InvalidInput("There is no field in the samples.", code="bad_sample", field="samples")
    return _columns(merged, notes), _once(notes)


def _columns(row: Row, notes: list[str]) -> list[ColumnDefinition]:
    return [ColumnDefinition(name=name, type=_sql(kind, name, notes)) for name, kind in row.fields.items()]


def _once(notes: list[str]) -> list[str]:
    return list(dict.fromkeys(notes))


def _type(value: Any, depth: int) -> Type | None:
    """None is what a null says: nothing."""
    if depth > MAX_DEPTH:
        raise InvalidInput(f"A sample is nested more than {MAX_DEPTH} deep.", code="bad_sample", field="samples")
    if value is None:
        return None
    if isinstance(value, bool):
        return Scalar("BOOLEAN")
    if isinstance(value, int):
        return Scalar("BIGINT") if -_BIG <= value < _BIG else Scalar("DECIMAL(38, 0)")
    if isinstance(value, float):
        return Scalar("DOUBLE")
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        of: Type | None = None
        for item in value:
            of = _merge(of, _type(item, depth + 1), "", [])
        return Array(of)
    if len(value) > MAX_FIELDS:
        raise InvalidInput(f"An object has more than {MAX_FIELDS} fields.", code="bad_sample", field="samples")
    return Row({str(k): _type(v, depth + 1) or Scalar("") for k, v in value.items()})


def _text(value: str) -> Scalar:
    if match := _TIMESTAMP.match(value):
        digits = len(match.group(3) or "")
        return Scalar("TIMESTAMP_LTZ" if match.group(4) else "TIMESTAMP", max(3, digits))
    if _DATE.match(value):
        return Scalar("DATE")
    return Scalar("TIME") if _TIME.match(value) else Scalar("STRING")


def _merge(a: Type | None, b: Type | None, where: str, notes: list[str]) -> Type | None:
    """The type that holds both. What does not go together is text, and said."""
    if a is None or (isinstance(a, Scalar) and not a.name):
        return b if b is not None else a
    if b is None or (isinstance(b, Scalar) and not b.name) or a == b:
        return a
    if isinstance(a, Row) and isinstance(b, Row):
        names = {**a.fields, **b.fields}
        inside = f"{where}." if where else ""
        merged = {n: _merge(a.fields.get(n), b.fields.get(n), inside + n, notes) or Scalar("") for n in names}
        return Row(merged)
    if isinstance(a, Array) and isinstance(b, Array):
        return Array(_merge(a.of, b.of, where, notes))
    if isinstance(a, Scalar) and isinstance(b, Scalar):
        return _wider(a, b, where, notes)
    notes.append(f"{where or 'a value'} is of different shapes in the samples: STRING")
    return Scalar("STRING")


_NUMBERS = ["BIGINT", "DECIMAL(38, 0)", "DOUBLE"]


def _wider(a: Scalar, b: Scalar, where: str, notes: list[str]) -> Scalar:
    if a.name in _NUMBERS and b.name in _NUMBERS:
        return Scalar(_NUMBERS[max(_NUMBERS.index(a.name), _NUMBERS.index(b.name))])
    if a.name == b.name:
        return Scalar(a.name, max(a.digits, b.digits))
    if {a.name, b.name} != {"STRING"}:
        notes.append(f"{where or 'a value'} is {a.name} and {b.name} in the samples: STRING")
    return Scalar("STRING")


def _sql(kind: Type | None, where: str, notes: list[str]) -> str:
    if kind is None or (isinstance(kind, Scalar) and not kind.name):
        notes.append(f"{where} is null or empty in every sample: STRING")
        return "STRING"
    if isinstance(kind, Array):
        return f"ARRAY<{_sql(kind.of, f'{where}[]', notes)}>"
    if isinstance(kind, Row):
        if not kind.fields:
            notes.append(f"{where} is an empty object in every sample: MAP<STRING, STRING>")
            return "MAP<STRING, STRING>"
        return (
            "ROW<"
            + ", ".join(f"{quoted_name(n)} {_sql(t, f'{where}.{n}', notes)}" for n, t in kind.fields.items())
            + ">"
        )
    if kind.digits:
        return f"{kind.name}({kind.digits})"
    return kind.name


def json_options(columns: Iterable[ColumnDefinition]) -> dict[str, str]:
    """Options of Flink's JSON format that such columns need: times as ISO 8601 writes them."""
    times = any("TIMESTAMP" in (c.type or "") for c in columns)
    return {"format": "json", **({"json.timestamp-format.standard": "ISO-8601"} if times else {})}


# Avro -----------------------------------------------------------------------------------------

_AVRO = {
    "boolean": "BOOLEAN",
    "int": "INT",
    "long": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "STRING",
    "bytes": "BYTES",
    "null": "STRING",
}
_LOGICAL = {
    "date": "DATE",
    "time-millis": "TIME(3)",
    "time-micros": "TIME(6)",
    "timestamp-millis": "TIMESTAMP(3)",
    "timestamp-micros": "TIMESTAMP(6)",
    "local-timestamp-millis": "TIMESTAMP(3)",
    "local-timestamp-micros": "TIMESTAMP(6)",
    "uuid": "STRING",
}


def of_avro(text: str) -> tuple[list[ColumnDefinition], list[str]]:
    """Columns of an Avro record schema. Raises `InvalidInput`."""
    schema = _object(text, "Avro schema")
    notes: list[str] = []
    is_record = isinstance(schema, dict) and schema.get("type") == "record"
    kind = _avro(schema, {}, "", notes, 0) if is_record else None
    if not isinstance(kind, list):
        raise InvalidInput("The Avro schema is not a record.", code="bad_schema", field="schema")
    return [ColumnDefinition(name=n, type=t) for n, t in kind], _once(notes)


def _avro(schema: Any, known: dict[str, Any], where: str, notes: list[str], depth: int) -> Any:
    """The SQL type as text; the fields as a list for a record at the top."""
    if depth > MAX_DEPTH:
        raise InvalidInput(f"{where} is nested too deep, or in itself.", code="bad_schema", field="schema")
    if isinstance(schema, str):
        if schema in known:
            return _avro(known[schema], known, where, notes, depth + 1)
        if schema not in _AVRO:
            raise InvalidInput(f"{where}: no Avro type {schema[:60]}.", code="bad_schema", field="schema")
        return _AVRO[schema]
    if isinstance(schema, list):
        options = [s for s in schema if s != "null"]
        if len(options) == 1:
            return _avro(options[0], known, where, notes, depth + 1)
        notes.append(f"{where} is one of several types: STRING")
        return "STRING"
    if not isinstance(schema, dict) or "type" not in schema:
        raise InvalidInput(f"{where or 'The schema'} has no type.", code="bad_schema", field="schema")
    kind = schema["type"]
    if name := schema.get("name"):
        known[str(name)] = schema
    if schema.get("logicalType") == "decimal":
        return f"DECIMAL({int(schema.get('precision', 10))}, {int(schema.get('scale', 0))})"
    if schema.get("logicalType") in _LOGICAL:
        return _LOGICAL[schema["logicalType"]]
    if kind == "record":
        fields = [
            (str(f["name"]), _avro(f["type"], known, f"{where}.{f['name']}".lstrip("."), notes, depth + 1))
            for f in schema.get("fields") or []
        ]
        flat = [(n, _row(t)) for n, t in fields]
        return flat if depth == 0 else _row(flat)
    if kind == "array":
        return f"ARRAY<{_row(_avro(schema['items'], known, where, notes, depth + 1))}>"
    if kind == "map":
        return f"MAP<STRING, {_row(_avro(schema['values'], known, where, notes, depth + 1))}>"
    if kind == "enum":
        return "STRING"
    if kind == "fixed":
        return f"BINARY({int(schema.get('size', 1))})"
    return _avro(kind, known, where, notes, depth + 1)


def _row(kind: Any) -> str:
    if isinstance(kind, list):
        return "ROW<" + ", ".join(f"{quoted_name(n)} {t}" for n, t in kind) + ">"
    return str(kind)


# JSON schema ----------------------------------------------------------------------------------

_JSON = {"string": "STRING", "integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN", "null": "STRING"}
_FORMATS = {"date-time": "TIMESTAMP_LTZ(3)", "date": "DATE", "time": "TIME"}


def of_json_schema(text: str) -> tuple[list[ColumnDefinition], list[str]]:
    """Columns of a JSON schema of an object. References inside the schema are followed. Raises `InvalidInput`."""
    schema = _object(text, "JSON schema")
    notes: list[str] = []
    if not isinstance(schema, dict) or not schema.get("properties"):
        raise InvalidInput("The JSON schema has no properties.", code="bad_schema", field="schema")
    properties = schema["properties"].items()
    columns = [ColumnDefinition(name=n, type=_json_schema(s, schema, n, notes, 1)) for n, s in properties]
    return columns, _once(notes)


def _json_schema(schema: Any, root: Any, where: str, notes: list[str], depth: int) -> str:
    if depth > MAX_DEPTH:
        raise InvalidInput(f"{where} is nested too deep, or in itself.", code="bad_schema", field="schema")
    if not isinstance(schema, dict):
        notes.append(f"{where} may be anything: STRING")
        return "STRING"
    if "$ref" in schema:
        return _json_schema(_followed(str(schema["$ref"]), root), root, where, notes, depth + 1)
    kinds = schema.get("type")
    kinds = [k for k in (kinds if isinstance(kinds, list) else [kinds]) if k not in (None, "null")]
    if not kinds:
        options = [s for s in schema.get("anyOf") or schema.get("oneOf") or [] if s != {"type": "null"}]
        if len(options) == 1:
            return _json_schema(options[0], root, where, notes, depth + 1)
        kinds = ["object"] if schema.get("properties") else ["string"] if schema.get("enum") else []
    if len(kinds) != 1 or kinds[0] not in (*_JSON, "object", "array"):
        notes.append(f"{where} may be of several types: STRING")
        return "STRING"
    if kinds[0] == "array":
        return f"ARRAY<{_json_schema(schema.get('items') or {}, root, f'{where}[]', notes, depth + 1)}>"
    if kinds[0] == "object":
        if schema.get("properties"):
            fields = schema["properties"].items()
            return (
                "ROW<"
                + ", ".join(
                    f"{quoted_name(n)} {_json_schema(s, root, f'{where}.{n}', notes, depth + 1)}" for n, s in fields
                )
                + ">"
            )
        return f"MAP<STRING, {_json_schema(schema.get('additionalProperties'), root, where, notes, depth + 1)}>"
    return _FORMATS.get(str(schema.get("format")), _JSON[kinds[0]]) if kinds[0] == "string" else _JSON[kinds[0]]


def _followed(reference: str, root: Any) -> Any:
    if not reference.startswith("#/"):
        raise InvalidInput(
            f"{reference[:100]} leads out of the schema; it is not fetched.", code="bad_schema", field="schema"
        )
    found = root
    for part in reference[2:].split("/"):
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    if found is None:
        raise InvalidInput(f"{reference[:100]} is not in the schema.", code="bad_schema", field="schema")
    return found


def _object(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"The {what} is not JSON: {error}", code="bad_schema", field="schema") from error


# Databases ------------------------------------------------------------------------------------


def of_database(columns: Iterable[tuple[str, str, bool]]) -> tuple[list[ColumnDefinition], list[str]]:
    """Columns of a table in a database, from (name, type as the database writes it, nullable)."""
    notes: list[str] = []
    found = []
    for name, kind, nullable in columns:
        made = _database(kind.strip().upper(), name, notes)
        found.append(ColumnDefinition(name=name, type=made if nullable else f"{made} NOT NULL"))
    return found, _once(notes)


_DATABASE = {
    "SMALLINT": "SMALLINT",
    "SMALLSERIAL": "SMALLINT",
    "INTEGER": "INT",
    "INT": "INT",
    "SERIAL": "INT",
    "BIGINT": "BIGINT",
    "BIGSERIAL": "BIGINT",
    "REAL": "FLOAT",
    "FLOAT": "DOUBLE",
    "DOUBLE PRECISION": "DOUBLE",
    "DOUBLE": "DOUBLE",
    "BOOLEAN": "BOOLEAN",
    "DATE": "DATE",
    "BYTEA": "BYTES",
    "BLOB": "BYTES",
    "TEXT": "STRING",
    "VARCHAR": "STRING",
    "CHAR": "STRING",
    "CHARACTER VARYING": "STRING",
    "CHARACTER": "STRING",
    "UUID": "STRING",
    "JSON": "STRING",
    "JSONB": "STRING",
    "TINYINT": "TINYINT",
}


def _database(kind: str, where: str, notes: list[str]) -> str:
    if kind.endswith("[]"):
        return f"ARRAY<{_database(kind[:-2], where, notes)}>"
    match = re.match(r"^([A-Z_ ]+?)(?:\((\d+)(?:, ?(\d+))?\))?( (?:WITH|WITHOUT) TIME ZONE)?$", kind)
    name, first, second, _ = match.groups() if match else (kind, None, None, None)
    if name in ("NUMERIC", "DECIMAL"):
        if first is None:
            notes.append(f"{where} is a {name} without precision: DECIMAL(38, 18)")
        return f"DECIMAL({min(int(first or 38), 38)}, {second or (0 if first else 18)})"
    if name == "TIMESTAMP":
        # Flink's JDBC connector reads both kinds as TIMESTAMP.
        return f"TIMESTAMP({first or 6})"
    if name == "TIME":
        return "TIME(0)"
    if name in ("VARCHAR", "CHAR", "CHARACTER VARYING", "CHARACTER") and first:
        return f"{'CHAR' if name in ('CHAR', 'CHARACTER') else 'VARCHAR'}({first})"
    if name in _DATABASE:
        return _DATABASE[name]
    notes.append(f"{where} is {kind[:60]}, which has no Flink type of its own: STRING")
    return "STRING"
