"""A table's columns from what describes its data: an Avro schema, a JSON schema, types of a database."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from core.errors import InvalidInput
from core.sql.resources import MAX_TYPE, ColumnDefinition, is_column_name
from core.sql.tokens import quoted_name

MAX_DEPTH = 20


def _columns(pairs: Iterable[tuple[str, str]], field: str = "schema") -> list[ColumnDefinition]:
    """Raises `InvalidInput` for what no column of Flink can be called or have for a type."""
    columns = []
    for name, kind in pairs:
        if len(kind) > MAX_TYPE:
            raise InvalidInput(
                f"The type of {name} is longer than {MAX_TYPE} characters.", code="bad_schema", field=field
            )
        columns.append(ColumnDefinition(name=_checked(name, field), type=kind))
    return columns


def _checked(name: str, field: str = "schema") -> str:
    if not is_column_name(name):
        raise InvalidInput(f"A column or a field cannot be called {name[:60]!a}.", code="bad_schema", field=field)
    return name


def _number(value: Any, what: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidInput(f"{what} has to be from {least} to {most}.", code="bad_schema", field="schema")
    return value


def _once(notes: list[str]) -> list[str]:
    return list(dict.fromkeys(notes))


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
    "timestamp-millis": "TIMESTAMP(3)",
    "local-timestamp-millis": "TIMESTAMP(3)",
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
    return _columns(kind), _once(notes)


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
    logical = str(schema.get("logicalType"))
    if logical == "decimal":
        precision = _number(schema.get("precision", 10), f"The precision of {where}", 1, 38)
        return f"DECIMAL({precision}, {_number(schema.get('scale', 0), f'The scale of {where}', 0, precision)})"
    if logical.endswith("-micros"):  # refused as soon as the table is planned: TIMESTAMP(6) by 2.3.0
        notes.append(f"{where} has microseconds, and Flink's Avro format reads times of milliseconds: BIGINT")
        return "BIGINT"
    if logical in _LOGICAL:
        return _LOGICAL[logical]
    if kind == "record":
        fields = []
        for field in _list(schema.get("fields"), where or "The schema"):
            if not isinstance(field, dict) or "name" not in field or "type" not in field:
                raise InvalidInput(
                    f"A field of {where or 'the schema'} has no name or no type.", code="bad_schema", field="schema"
                )
            name = _checked(str(field["name"]))
            inside = f"{where}.{name}".lstrip(".")
            fields.append((name, _row(_avro(field["type"], known, inside, notes, depth + 1))))
        if not fields:
            raise InvalidInput(f"{where or 'The schema'} has no fields.", code="bad_schema", field="schema")
        return fields if depth == 0 else _row(fields)
    if kind == "array":
        return f"ARRAY<{_row(_avro(schema.get('items'), known, where, notes, depth + 1))}>"
    if kind == "map":
        return f"MAP<STRING, {_row(_avro(schema.get('values'), known, where, notes, depth + 1))}>"
    if kind == "enum":
        return "STRING"
    if kind == "fixed":
        return f"BINARY({_number(schema.get('size', 1), f'The size of {where}', 1, 2**31 - 1)})"
    return _avro(kind, known, where, notes, depth + 1)


def _list(value: Any, where: str) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise InvalidInput(f"{where} has something else where a list should be.", code="bad_schema", field="schema")
    return value or []


def _row(kind: Any) -> str:
    if isinstance(kind, list):
        return "ROW<" + ", ".join(f"{quoted_name(n)} {t}" for n, t in kind) + ">"
    return str(kind)


# JSON schema ----------------------------------------------------------------------------------

_JSON = {"string": "STRING", "integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN", "null": "STRING"}
_FORMATS = {"date-time": "TIMESTAMP_LTZ(3)", "date": "DATE"}


def of_json_schema(text: str) -> tuple[list[ColumnDefinition], list[str]]:
    """Columns of a JSON schema of an object. References inside the schema are followed. Raises `InvalidInput`."""
    schema = _object(text, "JSON schema")
    notes: list[str] = []
    properties = _properties(schema) if isinstance(schema, dict) else {}
    if not properties:
        raise InvalidInput("The JSON schema has no properties.", code="bad_schema", field="schema")
    return _columns((n, _json_schema(s, schema, n, notes, 1)) for n, s in properties.items()), _once(notes)


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    found = schema.get("properties") or {}
    if not isinstance(found, dict):
        raise InvalidInput("The properties of the JSON schema are no object.", code="bad_schema", field="schema")
    return found


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
        choices = _list(schema.get("anyOf") or schema.get("oneOf"), where)
        options = [s for s in choices if s != {"type": "null"}]
        if len(options) == 1:
            return _json_schema(options[0], root, where, notes, depth + 1)
        kinds = ["object"] if schema.get("properties") else ["string"] if schema.get("enum") else []
    if len(kinds) != 1 or kinds[0] not in [*_JSON, "object", "array"]:
        notes.append(f"{where} may be of several types: STRING")
        return "STRING"
    if kinds[0] == "array":
        return f"ARRAY<{_json_schema(schema.get('items') or {}, root, f'{where}[]', notes, depth + 1)}>"
    if kinds[0] == "object":
        if properties := _properties(schema):
            return _row(
                [(_checked(n), _json_schema(s, root, f"{where}.{n}", notes, depth + 1)) for n, s in properties.items()]
            )
        return f"MAP<STRING, {_json_schema(schema.get('additionalProperties'), root, where, notes, depth + 1)}>"
    if kinds[0] != "string":
        return _JSON[kinds[0]]
    if schema.get("format") == "date-time":
        notes.append(f"{where}: of zones Flink's JSON format reads `Z` alone; with others it has to be STRING")
    elif schema.get("format") == "time":
        notes.append(f"{where}: the times of a JSON schema have a zone, which Flink's TIME has not: STRING")
    return _FORMATS.get(str(schema.get("format")), "STRING")


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
        found.append((name, made if nullable else f"{made} NOT NULL"))
    return _columns(found, "table"), _once(notes)


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
