"""What is wrong with a field, in words for a person: no patterns, no words of the library that looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OF_A_NAME = "lower case letters, digits, `-`, `_` and `.`, at most 63, first and last a letter or digit"
_OF_A_VERSION = "letters, digits, `_`, `.`, `+` and `-`, at most 80, the first a letter or digit"
_OF_A_LABEL = "letters, digits, `_`, `.`, `/` and `-`, at most 100, the first a letter or digit"
_OF_A_LOG = "as the list of logs has it"
PATTERNS: Mapping[str, str] = {
    r"^[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9])?$": _OF_A_NAME,
    r"^[A-Za-z_][A-Za-z0-9_]{0,62}$": "letters, digits and `_`, at most 63, the first no digit",
    r"^[A-Za-z_][A-Za-z0-9_]{0,79}$": "letters, digits and `_`, at most 80, the first no digit",
    r"^[A-Za-z_]\w{0,99}$": "letters, digits and `_`, at most 100, the first no digit",
    r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,79}$": _OF_A_VERSION,
    r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,99}$": _OF_A_LABEL,
    r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}$": "letters, digits, `_`, `.` and `-`, at most 200",
    r"^[!?]?[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$": "a profile's name, with `!` or `?` in front as Maven takes it",
    r"^[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*)*$": "a Java class with its package, for example com.example.Job",
    r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$": "a Python module, for example package.module",
    r"^[A-Za-z0-9_.-]+:[A-Za-z0-9_.-]+:[A-Za-z0-9][A-Za-z0-9_.-]*(:[A-Za-z0-9_.-]+)?$": "group:artifact:version",
    r"^[^\x00\r\n]*$": "text of one line",
    r"^[^\x00]*$": "text without a NUL character",
    r"^[A-Za-z_][A-Za-z0-9_]{0,127}$": "letters, digits and `_`, at most 128, the first no digit",
    r"^[A-Za-z_][A-Za-z0-9_.-]{0,199}$": "letters, digits, `_`, `.` and `-`, at most 200, the first a letter or `_`",
    r"^:?[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}){0,9}$": "a Gradle task, as app:jar",
    r"^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$": "a version in three numbers, for example 2.3.0",
    r"^[1-9][0-9]{0,6}[mg]$": "a size as Flink takes it, for example 1600m or 2g",
    r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$": "an address such as http://127.0.0.1:8081",
    r"^host://[A-Za-z0-9][A-Za-z0-9._-]{0,252}$": "host:// and the name of a machine",
    r"^[^\s/]{1,253}$": "the name of a machine",
    r"^[a-z][a-z0-9+.-]*://?[A-Za-z0-9._~/@:=+-]+$": "the URI of a folder, for example file:///data/flink or s3://bucket/flink",
    r"^[0-9a-f]{32}$": "the id of a Flink job: 32 digits and letters from a to f",
    r"^rp-[0-9a-f]{16}$": "the id of a restore point, as their list has it: rp-...",
    r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,199}$": _OF_A_LOG,
    r"^[A-Za-z0-9_][A-Za-z0-9._:@-]{0,199}$": _OF_A_LOG,
}
"""Every pattern of the API's description, in words."""

_FIXED = {
    "missing": "is missing",
    "extra_forbidden": "unknown field",
    "json_invalid": "is no JSON",
    "dict_type": "has to be an object with fields",
    "model_attributes_type": "has to be an object with fields",
    "model_type": "has to be an object with fields",
    "list_type": "has to be a list",
    "union_tag_not_found": "has to have a `type`",
}
_KINDS = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "datetime": "a moment",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "has to be {} or more"),
    "greater_than": ("gt", "has to be more than {}"),
    "less_than_equal": ("le", "has to be {} or less"),
    "less_than": ("lt", "has to be less than {}"),
    "string_too_long": ("max_length", "has more than {} characters"),
    "string_too_short": ("min_length", "has to have {} characters or more"),
    "too_long": ("max_length", "has more than {} entries"),
    "too_short": ("min_length", "has to have {} entries or more"),
}


def words(error: Mapping[str, Any]) -> str:
    """Of one error of pydantic. What is not known here keeps its message."""
    type_, context = str(error["type"]), error.get("ctx") or {}
    if type_ in _FIXED:
        return _FIXED[type_]
    if type_ in _BOUNDS:
        name, text = _BOUNDS[type_]
        return text.format(context[name])
    if type_ == "string_pattern_mismatch":
        return f"has to be {PATTERNS.get(context['pattern'], 'written in another way')}"
    if type_ in ("enum", "literal_error"):
        return f"has to be one of {_plain(context['expected'])}"
    if type_ == "union_tag_invalid":
        return f"there is no type {context['tag']}; one of {_plain(context['expected_tags'])}"
    kind = _KINDS.get(type_.partition("_")[0])
    if kind is not None and type_.endswith(("_type", "_parsing", "_from_float")):
        return f"has to be {kind}"
    return str(error["msg"]).removeprefix("Value error, ")


def _plain(listed: object) -> str:
    return str(listed).replace("'", "").replace(" or ", ", ")
