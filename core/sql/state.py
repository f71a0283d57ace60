"""What the state of each operator of a compiled plan is keyed by and made of, piece by piece."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from core.sql.operators import Column, Json, Node
from core.sql.plan import Plan, read

# What keeps nothing between two rows that a savepoint would have to hold.
_STATELESS = frozenset(
    [
        "calc",
        "python-calc",
        "exchange",
        "union",
        "expand",
        "values",
        "correlate",
        "python-correlate",
        "watermark-assigner",
        "mini-batch-assigner",
        "drop-update-before",
        "local-group-aggregate",
        "local-window-aggregate",
    ]
)
# What keeps accumulators and no whole rows: columns beside those it uses may change.
AGGREGATES = frozenset(
    [
        "group-aggregate",
        "global-group-aggregate",
        "incremental-group-aggregate",
        "window-aggregate",
        "global-window-aggregate",
        "group-window-aggregate",
    ]
)
ROWS = frozenset(
    [
        "join",
        "interval-join",
        "temporal-join",
        "window-join",
        "lookup-join",
        "rank",
        "window-rank",
        "deduplicate",
        "window-deduplicate",
        "over-aggregate",
        "match",
        "changelog-normalize",
        "sort-limit",
        "temporal-sort",
        "limit",
        "window-table-function",
    ]
)
_NOISE = frozenset(
    [
        "id",
        "type",
        "description",
        "outputType",
        "inputProperties",
        "configuration",
        "state",
        "scanTableSource",
        "dynamicTableSink",
        "localAggInputRowType",
        "aggCalls",
        "grouping",
        "namedWindowProperties",
        "inputUpsertKey",
        "inputChangelogMode",
        "rightUpsertKeys",
        "leftUpsertKeys",
    ]
)
# What an older Flink did where its plans do not say so.
_BEFORE: Json = {"outputInsertOnly": False}
# Which implementation of an operator is meant: what goes on goes on in the one that made its state. That another one
# would take that state is seldom promised (2.3.0's second one took a count of 1.20.5's first).
_MANNER = ("unboundedOverVersion",)
# Options that say where a source reads. Its positions are kept in its state.
PLACES = frozenset(
    [
        "topic",
        "topic-pattern",
        "topics",
        "path",
        "url",
        "table-name",
        "hostname",
        "port",
        "database-name",
        "schema-name",
        "stream",
        "stream.arn",
        "service-url",
        "properties.bootstrap.servers",
        "index",
        "collection",
    ]
)


@dataclass(frozen=True)
class OperatorState:
    """A stateful operator: what its state is keyed by and made of, piece by piece."""

    node: Node
    pieces: Mapping[str, str]
    place: str  # what makes it the same operator in both plans, though it may have changed
    inputs: str  # what flows into it, for a note when only that changed


def operator_states(plan: Plan) -> list[OperatorState]:
    """The operators of a plan that keep state, in its order."""
    return [_part(plan, node) for node in plan.nodes.values() if _stateful(node)]


def _stateful(node: Node) -> bool:
    if node.kind == "window-table-function":
        return bool((node.body.get("windowing") or {}).get("window", {}).get("type") == "SessionWindow")
    if node.kind == "lookup-join":
        return bool(node.body.get("state"))
    return node.kind not in _STATELESS


def _part(plan: Plan, node: Node) -> OperatorState:
    given = [plan.columns[i] for i in node.inputs]
    inputs = json.dumps([_filters(plan, i) for i in node.inputs])
    if "scanTableSource" in node.body:
        return OperatorState(node, _source(node), f"source {node.table}", inputs)
    if "dynamicTableSink" in node.body:
        return OperatorState(node, _sink(node, given), f"sink {node.table}", inputs)
    pieces = {"operator": f"{node.kind}_{node.version}", "key": json.dumps(_keys(plan, node))}
    if node.kind in AGGREGATES:
        pieces |= _aggregate(plan, node, given[0])
    elif _counts_on(node, given[0]):
        made = plan.columns[node.id][len(given[0]) :]
        return OperatorState(node, {**pieces, "aggregates": json.dumps(_row(made))}, node.kind, inputs)
    else:
        for side, columns in enumerate(given):
            pieces[f"rows of input {side + 1}" if len(given) > 1 else "rows"] = json.dumps(_row(columns))
    does = {k: v for k, v in {**_BEFORE, **node.body}.items() if k not in _NOISE and k not in _MANNER}
    pieces["what it does"] = json.dumps(does, sort_keys=True)
    if node.kind in AGGREGATES:
        pieces["what it does"] = json.dumps(_windows(node.body, given[0]), sort_keys=True)
    return OperatorState(node, pieces, node.kind, inputs)


def _counts_on(node: Node, rows: list[Column]) -> bool:
    """Whether an OVER keeps accumulators and no rows: over all rows so far, in the order in which they come."""
    spec = node.body.get("overSpec") or {}
    return node.kind == "over-aggregate" and all(
        (group.get("lowerBound") or {}).get("kind") == "UNBOUNDED_PRECEDING"
        and all('"PROCTIME"' in rows[f["index"]].type for f in (group.get("orderBy") or {}).get("fields") or [])
        for group in spec.get("groups") or []
    )


def _row(columns: list[Column]) -> list[list[str]]:
    return [[c.type, c.meaning] for c in columns]


def _keys(plan: Plan, node: Node) -> list[list[list[str]]]:
    """What each input is distributed by."""
    keys_of_inputs = []
    for number in node.inputs:
        exchange, columns = plan.nodes[number], plan.columns[number]
        properties = exchange.body.get("inputProperties") or [{}]
        keys = (properties[0].get("requiredDistribution") or {}).get("keys") or []
        keyed = exchange.kind == "exchange"
        keys_of_inputs.append([[columns[k].type, columns[k].meaning] for k in keys] if keyed else [])
    return keys_of_inputs


def _aggregate(plan: Plan, node: Node, rows: list[Column]) -> dict[str, str]:
    count = len(node.body.get("grouping") or [])
    calls = node.body.get("aggCalls") or []
    given = plan.columns[node.id]
    made = given[count : count + len(calls)]
    retractions = node.body.get("aggCallNeedRetractions") or [node.body.get("needRetraction")] * len(calls)
    return {
        "grouping": json.dumps(_row(given[:count])),
        "aggregates": json.dumps([[c.type, c.meaning, r] for c, r in zip(made, retractions, strict=False)]),
    }


def _windows(body: Json, rows: list[Column]) -> Json:
    kept = {
        k: v for k, v in body.items() if k not in _NOISE and k not in ("aggCallNeedRetractions", "generateUpdateBefore")
    }
    windowing = dict(kept.get("windowing") or {})
    for key in ("timeAttributeIndex", "sliceEnd", "windowStart", "windowEnd"):
        if key in windowing and windowing[key] < len(rows):
            windowing[key] = rows[windowing[key]].meaning
    if windowing:
        kept["windowing"] = windowing
    return kept


def _source(node: Node) -> dict[str, str]:
    return {"connector": node.options.get("connector", "")}


def _sink(node: Node, given: list[list[Column]]) -> dict[str, str]:
    pieces = {"connector": node.options.get("connector", "")}
    if node.body.get("state"):  # it puts late changes into order, and keeps whole rows for that
        pieces["rows"] = json.dumps([c.type for columns in given for c in columns])
        pieces["key"] = json.dumps([node.body.get("inputUpsertKey"), node.body.get("sinkUpsertMaterializeStrategy")])
    return pieces


def _filters(plan: Plan, number: int) -> list[str]:
    """The conditions on the way from the last stateful operator to here."""
    node = plan.nodes[number]
    if "scanTableSource" in node.body:  # some sources filter themselves
        pushed = node.body["scanTableSource"].get("abilities") or []
        return [json.dumps(a, sort_keys=True) for a in pushed if a.get("type") == "FilterPushDown"]
    if _stateful(node):
        return []
    filters = [f for i in node.inputs for f in _filters(plan, i)]
    condition = node.body.get("condition")
    if condition:
        filters.append(json.dumps(condition, sort_keys=True))
    return filters


def manner_of(node: Node) -> Json:
    """Which implementation of an operator a plan means, for `in_manner`."""
    return {k: v for k, v in node.body.items() if k in _MANNER}


def in_manner(plan: Plan, manners: Mapping[int, Json]) -> Plan:
    """The plan with operators that keep their state in the manner given for them."""
    if not any(key in node.body for node in plan.nodes.values() for key in _MANNER):
        return plan
    nodes = [
        {**{k: v for k, v in n.items() if k not in _MANNER}, **manners[int(n["id"])]} if int(n["id"]) in manners else n
        for n in plan.body["nodes"]
    ]
    return read({**plan.body, "nodes": nodes})
