"""Options of a table that mean the same in two spellings, as Flink reads them (`TimeUtils`, `MemorySize`,
`ConfigurationUtils`).

Only of keys whose type is known: `5 min` and `300 s` are two texts where a text is meant, and so are `TRUE` and `true`.
Names of options have a case, and what is behind `properties.` is for the connector's client to read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_DURATIONS = ("interval", "timeout", "ttl", "delay", "expire-after-access", "expire-after-write", "max-past")
_SIZES = ("file-size", "max-size", "memory-size", "block-size")
_BOOLEANS = (
    "enabled",
    "ignore-parse-errors",
    "fail-on-missing-field",
    "allow-comments",
    "schema-include",
    "auto-commit",
    "auto-compaction",
    "decimal-as-plain-number",
    "caching-missing-key",
    "cache-missing-key",
)
_ENUMS = frozenset({"scan.startup.mode", "scan.bounded.mode", "value.fields-include", "sink.delivery-guarantee"})
_CLIENTS = "properties."

_NANOSECONDS = {
    **dict.fromkeys(("d", "day", "days"), 86_400_000_000_000),
    **dict.fromkeys(("h", "hour", "hours"), 3_600_000_000_000),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60_000_000_000),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1_000_000_000),
    **dict.fromkeys(("", "ms", "milli", "millis", "millisecond", "milliseconds"), 1_000_000),
    **dict.fromkeys(("µs", "micro", "micros", "microsecond", "microseconds"), 1_000),
    **dict.fromkeys(("ns", "nano", "nanos", "nanosecond", "nanoseconds"), 1),
}
_BYTES = {
    **dict.fromkeys(("", "b", "bytes"), 1),
    **dict.fromkeys(("k", "kb", "kibibytes"), 1 << 10),
    **dict.fromkeys(("m", "mb", "mebibytes"), 1 << 20),
    **dict.fromkeys(("g", "gb", "gibibytes"), 1 << 30),
    **dict.fromkeys(("t", "tb", "tebibytes"), 1 << 40),
}
_AMOUNT = re.compile(r"([0-9]+)\s*([a-zµ]*)")


def differing(before: Mapping[str, str], after: Mapping[str, str], *, but: Collection[str] = ()) -> list[str]:
    """The options that do not mean the same in both, without those in `but`."""
    one, other = ({k: meaning_of(k, v) for k, v in options.items()} for options in (before, after))
    return sorted(k for k in {*one, *other} if k not in but and one.get(k) != other.get(k))


def meaning_of(key: str, value: str) -> str:
    """The same for two values of an option that mean the same."""
    last = key.rpartition(".")[2]
    if key.startswith(_CLIENTS):
        return value
    if last.endswith(_BOOLEANS) or key in _ENUMS:
        return value.lower()
    if last.endswith(_DURATIONS):
        return _amount(value, _NANOSECONDS, "ns")
    return _amount(value, _BYTES, "bytes") if last.endswith(_SIZES) else value


def _amount(value: str, units: Mapping[str, int], unit: str) -> str:
    match = _AMOUNT.fullmatch(value.strip().lower())
    return f"{int(match[1]) * units[match[2]]} {unit}" if match and match[2] in units else value
