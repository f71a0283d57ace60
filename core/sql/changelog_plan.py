"""What EXPLAIN CHANGELOG_MODE says of an INSERT: which changes its sources give, and which its sink is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_OPTIMIZED = re.compile(r"== Optimized Physical Plan ==\n(.*?)(?:\n\n|\Z)", re.DOTALL)
_MODE = re.compile(r"changelogMode=\[([A-Z,]*)\]\)?$")
_SCAN = re.compile(r"TableSourceScan\(table=\[\[([^\],]+), ([^\],]+), ([^\],]+)")
_LOOKUP = re.compile(r"LookupJoin\(table=\[([^\]]+)\]")


@dataclass(frozen=True)
class ChangelogPlan:
    """`sources` are the kinds of change that each table gives, by its name in full; `lookups` are the tables that a
    lookup join asks. `sent` are the kinds of change that come to the sink; `materialized` is whether Flink puts them
    into order by the sink's key first."""

    sources: Mapping[str, frozenset[str]] = field(default_factory=dict)
    lookups: frozenset[str] = frozenset()
    sent: frozenset[str] = frozenset()
    materialized: bool = False


def changelog_plan(text: str) -> ChangelogPlan:
    """From the answer of Flink. In batch mode there are no kinds of change: all of it is empty."""
    match = _OPTIMIZED.search(text)
    lines = match.group(1).splitlines() if match else []
    sources: dict[str, frozenset[str]] = {}
    lookups: set[str] = set()
    for line in lines:
        if scan := _SCAN.search(line):
            name = ".".join(scan.groups())
            sources[name] = sources.get(name, frozenset()) | _kinds(line)
        lookups.update(_LOOKUP.findall(line))
    return ChangelogPlan(
        sources=sources,
        lookups=frozenset(lookups),
        sent=_kinds(lines[1]) if len(lines) > 1 else frozenset(),
        materialized=bool(lines) and "upsertMaterialize=[true]" in lines[0],
    )


def _kinds(line: str) -> frozenset[str]:
    mode = _MODE.search(line.rstrip())
    return frozenset(mode.group(1).split(",")) if mode else frozenset()
