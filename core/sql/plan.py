"""Flink's compiled plan of a SQL job (`COMPILE PLAN`, JSON): its operators, and the tables it reads and writes.

The plan is what Flink's own planner made of the SQL, so nothing here judges SQL.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from core.sql.columns import columns_of
from core.sql.operators import Column, Json, Node, TableName, is_persisted

_OWN = "default_catalog"
_TYPE = re.compile(r"^(?:stream|batch)-exec-(.*)_(\d+)$")


@dataclass(frozen=True)
class Plan:
    """Nodes by id, every node after its inputs."""

    flink_version: str
    nodes: Mapping[int, Node]
    body: Json = field(repr=False, compare=False)

    @property
    def sources(self) -> list[Node]:
        return [n for n in self.nodes.values() if "scanTableSource" in n.body or n.kind == "lookup-join"]

    @property
    def sinks(self) -> list[Node]:
        return [n for n in self.nodes.values() if "dynamicTableSink" in n.body]

    @property
    def reads(self) -> list[TableName]:
        return sorted({n.table for n in self.sources if n.table})

    @property
    def writes(self) -> list[TableName]:
        return sorted({n.table for n in self.sinks if n.table})

    @cached_property
    def columns(self) -> dict[int, list[Column]]:
        """The columns that each operator gives."""
        return columns_of(self.nodes)

    def written(self, sink: Node) -> list[Column]:
        """The columns of a sink's table, each with what is written into it."""
        given = self.columns[sink.inputs[0]] if sink.inputs else []
        names = [str(c["name"]) for c in sink.schema if is_persisted(c)]
        if len(names) != len(given):  # a catalog that keeps no schema in the plan
            return given
        return [Column(n, c.type, c.meaning, c.origins, c.exact) for n, c in zip(names, given, strict=True)]

    def digest(self) -> str:
        """SHA-256 of the plan's JSON in hex, whatever the order of its keys."""
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()


def print_sinks(plan: Plan) -> list[str]:
    """The `print-identifier` of each of its tables of the connector `print` that prints to stdout; empty for one
    without."""
    printing = [node.options for node in plan.sinks if node.options.get("connector") == "print"]
    return [o.get("print-identifier", "") for o in printing if o.get("standard-error", "false").lower() != "true"]


class NotAPlan(ValueError):
    """The JSON is not a compiled plan that can be read here."""


def read(body: Json) -> Plan:
    """Read a compiled plan. Raises `NotAPlan`."""
    try:
        inputs: dict[int, list[int]] = {int(n["id"]): [] for n in body["nodes"]}
        for edge in body["edges"]:
            inputs[int(edge["target"])].append(int(edge["source"]))
        nodes = {}
        for item in body["nodes"]:
            match = _TYPE.match(str(item["type"]))
            if match is None:
                raise NotAPlan(f"an operator of the type {item['type']}")
            number = int(item["id"])
            nodes[number] = Node(number, match.group(1), int(match.group(2)), item, tuple(inputs[number]))
        return Plan(str(body["flinkVersion"]), _in_order(nodes), body)
    except (KeyError, TypeError, ValueError) as error:
        raise NotAPlan(f"not a compiled plan: {error}") from error


def _in_order(nodes: Mapping[int, Node]) -> dict[int, Node]:
    ordered: dict[int, Node] = {}
    waiting = list(nodes)
    while waiting:
        ready = [n for n in waiting if all(i in ordered for i in nodes[n].inputs)]
        if not ready:
            raise NotAPlan("its operators feed each other in a circle")
        ordered.update({n: nodes[n] for n in ready})
        waiting = [n for n in waiting if n not in ordered]
    return ordered


def with_connectors(plan: Plan) -> Plan:
    """The plan, when Flink can run it: every table of another catalog has a connector. Where the catalog itself gives
    it (Paimon, Iceberg), Flink finds it for a text and not for a plan. Raises `NotAPlan`."""
    for node in [*plan.sources, *plan.sinks]:
        table = node.table
        if table and table.catalog not in ("", _OWN) and node.schema and "connector" not in node.options:
            raise NotAPlan(f"{table} has its connector from its catalog, where Flink does not look for one of a plan")
    return plan


_GENERATION, _FORMAT = "table.exec.uid.generation", "table.exec.uid.format"


def ids_tell(made_with: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether the ids of a plan say which state goes to which operator, for a state that was made with one
    configuration and is given to another: the uid of an operator is made of its id, in the same form in both. These
    are Flink's defaults (1.20.5, 2.3.0), unless somebody sets these keys."""
    forms = {config.get(_FORMAT, "<id>_<transformation>") for config in (made_with, now)}
    disabled = any(config.get(_GENERATION, "").strip().upper() == "DISABLED" for config in (made_with, now))
    return not disabled and len(forms) == 1 and all("<id>" in form for form in forms)


def renumbered(plan: Plan, ids: Mapping[int, int]) -> Plan:
    """The same plan with other operator ids. The uid of an operator's state is made of its id."""
    nodes = [{**n, "id": ids[int(n["id"])]} for n in plan.body["nodes"]]
    edges = [{**e, "source": ids[int(e["source"])], "target": ids[int(e["target"])]} for e in plan.body["edges"]]
    return read({**plan.body, "nodes": nodes, "edges": edges})
