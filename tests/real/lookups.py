"""Given rows in the place of a table that lookup joins ask by keys of every type, with every hint."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

from clusters.flink import given_rows
from tests.real.conftest import Stack
from tests.real.sse import rows, whole

KEYS: dict[str, tuple[str, Any, Any]] = {
    # By column: its type, a key as the table has it, and the same as it is asked for.
    "c": ("CHAR(4)", "ab", "ab  "),
    "vc": ("VARCHAR(9)", "ab ", "ab "),
    "d": ("DECIMAL(10, 2)", "1.10", "1.1"),
    "bi": ("BIGINT", 9007199254740993, "9007199254740993"),
    "bin": ("BYTES", "AP8=", "AP8="),
    "ts": ("TIMESTAMP(3)", "2026-02-28 10:11:12.5", "2026-02-28T10:11:12.500"),
    "l": ("TIMESTAMP_LTZ(3)", "2026-02-28 10:11:12Z", "2026-02-28T10:11:12Z"),
    "r": ("ROW<x INT, y STRING>", {"x": 1, "y": None}, {"x": 1}),
    "a": ("ARRAY<DECIMAL(5, 1)>", ["1.0", None], [1, None]),
}
HINTS = (
    "",
    "'async' = 'true', 'output-mode' = 'allow_unordered', 'capacity' = '7'",
    "'async' = 'false', 'retry-predicate' = 'lookup_miss', 'retry-strategy' = 'fixed_delay', 'fixed-delay' = '10 ms', "
    "'max-attempts' = '2'",
)
"""Of LOOKUP; a retry finds what the first try has found."""


def script() -> str:
    """A query for each hint, which asks by some of the keys, one after the other."""
    columns = ", ".join(f"{name} {kind}" for name, (kind, _, _) in KEYS.items())
    nowhere = "'path' = 'file:///nowhere', 'format' = 'json'"
    lines = [
        f"CREATE TABLE asks (id INT, {columns}, pt AS PROCTIME()) WITH ('connector' = 'filesystem', {nowhere})",
        f"CREATE TABLE dim (name STRING, {columns}) WITH ('connector' = 'penstock-given-rows', {nowhere})",
    ]
    for number, hint in enumerate(HINTS):
        keys = list(KEYS)[number :: len(HINTS)]
        lines.append(
            f"CREATE TABLE s{number} (id INT, {', '.join(f'n{k} STRING' for k in keys)}) WITH ('connector' = 'print')"
        )
        hints = ", ".join(f"LOOKUP('table' = 'd{k}', {hint})" for k in keys)
        joins = " ".join(f"LEFT JOIN dim FOR SYSTEM_TIME AS OF asks.pt AS d{k} ON asks.{k} = d{k}.{k}" for k in keys)
        names = ", ".join(f"d{k}.name AS n{k}" for k in keys)
        lines.append(
            f"INSERT INTO s{number} SELECT {f'/*+ {hints} */' if hint else ''} asks.id, {names} FROM asks {joins}"
        )
    return ";\n".join(lines)


def found(stack: Stack, version: str, folder: Path, cluster: str = "local") -> list[Any]:
    """What rows in the place of `dim` give to each sink: names, of a row that has all keys and of one that has none.
    What stands in the script is our own connector: it is the only one at hand that can be asked."""
    jar = asyncio.run(given_rows.connector(stack.local.parts.flink(version), folder))
    project = f"p{uuid.uuid4().hex[:10]}"
    assert stack.http.post("/projects", json={"name": project}).status_code == 201
    library = {"name": "lookups", "version": "1", "kind": "jar", "source": {"type": "upload", "file": "lookups.jar"}}
    assert stack.http.post(f"/projects/{project}/libraries", json=library).status_code in (201, 202)
    content = stack.http.put(f"/projects/{project}/libraries/lookups/1/content", content=jar.read_bytes())
    assert content.status_code == 200, content.text
    dim = [{"name": "yes"} | {name: has for name, (_, has, _) in KEYS.items()}, {"name": "null"}]
    asks = [{"id": 1} | {name: asked for name, (_, _, asked) in KEYS.items()}, {"id": 2}]
    body = {
        "project": project,
        "cluster": cluster,
        "sql": script(),
        "libraries": [{"name": "lookups", "version": "1"}],
        "sources": {"asks": {"rows": asks}, "dim": {"rows": dim}},
        "limits": {"seconds": 300},
    }
    made = stack.http.post("/sql/debug", json=body, timeout=300)
    assert made.status_code == 201, made.text
    events = whole(stack.http, made.json()["id"])
    assert events[-1][1]["state"] == "FINISHED", events
    return [sorted(fields for _, fields in rows(events, f"s{number}")) for number in range(len(HINTS))]


EXPECTED = [[[1, *["yes"] * 3], [2, *[None] * 3]]] * len(HINTS)
