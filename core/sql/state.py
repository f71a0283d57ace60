"""What the state of each operator of a compiled plan is keyed by and made of, piece by piece."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from core.sql.expressions import meaning
from core.sql.operators import Column, Json, Node
from core.sql.places import Known, place_of_options
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


@dataclass(frozen=True)
class OperatorState:
    """A stateful operator: what its state is keyed by and made of, piece by piece."""

    node: Node
    pieces: Mapping[str, str]
    place: str  # what makes it the same operator in both plans, though it may have changed
    inputs: str  # what flows into it, for a note when only that changed
    origin: str  # all that makes its rows, up to the sources
    sinks: frozenset[str]  # the tables that its rows end in


def operator_states(plan: Plan, known: Known) -> list[OperatorState]:
    """Of all operators with state, in the order of the plan. `known` are the places of the plans that are compared."""
    states: list[OperatorState] = []
    origins: dict[int, str] = {}
    sinks = _sinks(plan)
    for node in plan.nodes.values():
        before = [origins[i] for i in node.inputs]
        if is_stateful(node):
            part = _part(plan, node, " ".join(before), sinks[node.id], known)
            part = replace(part, pieces={**part.pieces, "mode": _mode(node)})
            states.append(part)
            does = [part.place, *(f"{k}={v}" for k, v in part.pieces.items()), *_read(node, known)]
        else:
            does = _passes(plan, node)
        if does or len(before) != 1:
            text = json.dumps([does, before if node.kind != "union" else sorted(before)])
            origins[node.id] = hashlib.sha256(text.encode()).hexdigest()
        else:
            origins[node.id] = before[0]
    return states


def _mode(node: Node) -> str:
    """`stream` or `batch`. In batch mode Flink restores nothing, whatever it is given, and says nothing."""
    return str(node.body.get("type", "")).partition("-")[0]


def _sinks(plan: Plan) -> dict[int, frozenset[str]]:
    """The tables that the rows of each operator end in."""
    sinks: dict[int, frozenset[str]] = dict.fromkeys(plan.nodes, frozenset())
    for node in reversed(list(plan.nodes.values())):
        if "dynamicTableSink" in node.body:
            sinks[node.id] |= {str(node.table)}
        for number in node.inputs:
            sinks[number] |= sinks[node.id]
    return sinks


def _read(node: Node, known: Known) -> list[str]:
    """Of a source: where it reads, however that is written, and what it leaves out by itself."""
    if "scanTableSource" not in node.body:
        return []
    place = place_of_options(node.options)
    return [*(known.names(place) if place else []), *_pushed(node)]


def _passes(plan: Plan, node: Node) -> list[str]:
    """What an operator without state does to the rows, besides computing columns (those have their meanings)."""
    rows = [column for i in node.inputs for column in plan.columns[i]]
    if node.kind == "lookup-join":
        keys = ("joinType", "lookupKeys", "joinCondition", "filterOnTemporalTable")
        return [str(node.table), *(json.dumps(node.body.get(k), sort_keys=True) for k in keys)]
    if node.kind.endswith("correlate"):
        added = plan.columns[node.id][len(rows) :]
        return [str(node.body.get("joinType")), *(c.meaning for c in added)]
    condition = node.body.get("condition")
    return [meaning(condition, rows)] if condition else []


def is_stateful(node: Node) -> bool:
    """Whether an operator keeps something that a savepoint holds."""
    if node.kind == "window-table-function":
        return bool((node.body.get("windowing") or {}).get("window", {}).get("type") == "SessionWindow")
    if node.kind == "lookup-join":
        return bool(node.body.get("state"))
    return node.kind not in _STATELESS


def _part(plan: Plan, node: Node, origin: str, sinks: frozenset[str], known: Known) -> OperatorState:
    given = [plan.columns[i] for i in node.inputs]
    inputs = json.dumps([_filters(plan, i) for i in node.inputs])
    if "scanTableSource" in node.body:
        return OperatorState(node, _source(node), f"source {node.table}", inputs, " ".join(_read(node, known)), sinks)
    if "dynamicTableSink" in node.body:
        return OperatorState(node, _sink(node, given), f"sink {node.table}", inputs, origin, sinks)
    pieces = {"operator": f"{node.kind}_{node.version}", "key": json.dumps(_keys(plan, node))}
    if node.kind in AGGREGATES:
        pieces |= _aggregate(plan, node, given[0])
    elif _counts_on(node, given[0]):
        aggregates = plan.columns[node.id][len(given[0]) :]
        return OperatorState(
            node, {**pieces, "aggregates": json.dumps(_row(aggregates))}, node.kind, inputs, origin, sinks
        )
    else:
        for side, columns in enumerate(given):
            pieces[f"rows of input {side + 1}" if len(given) > 1 else "rows"] = json.dumps(_row(columns))
            if node.kind == "join":
                pieces[f"what tells apart the rows of input {side + 1}"] = json.dumps(_told_apart(node, side, columns))
    does = {k: v for k, v in {**_BEFORE, **node.body}.items() if k not in _NOISE and k not in _MANNER}
    pieces["what it does"] = json.dumps(does, sort_keys=True)
    if node.kind in AGGREGATES:
        pieces["what it does"] = json.dumps(_windows(node.body, given[0]), sort_keys=True)
    if (zone := _zone(node)) is not None:
        pieces["time zone"] = zone
    return OperatorState(node, pieces, node.kind, inputs, origin, sinks)


def _zone(node: Node) -> str | None:
    """Of windows over a time with a zone: the zone by which they begin and end. Their state is kept by those times."""
    windowing, window = node.body.get("windowing") or {}, node.body.get("window") or {}
    kind = windowing.get("timeAttributeType") or (window.get("timeField") or {}).get("fieldType")
    if not isinstance(kind, dict) or kind.get("type") != "TIMESTAMP_WITH_LOCAL_TIME_ZONE":
        return None
    return (node.body.get("configuration") or {}).get("table.local-time-zone")


def _told_apart(node: Node, side: int, rows: list[Column]) -> list[list[str]]:
    """How a join keeps the rows of one side, by the rules of Flink's JoinInputSideSpec: one for each join key, by the
    shortest key that is unique, or each with how often it came."""
    keys = node.body.get(("leftUpsertKeys", "rightUpsertKeys")[side]) or []
    by = set((node.body.get("joinSpec") or {}).get(("leftKeys", "rightKeys")[side]) or [])
    if not keys:
        return []
    if any(set(key) <= by for key in keys):
        return [["", "the join key"]]
    return _row([rows[i] for i in min(keys, key=len)])


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
    results = given[count : count + len(calls)]
    retractions = node.body.get("aggCallNeedRetractions") or [node.body.get("needRetraction")] * len(calls)
    return {
        "grouping": json.dumps(_row(given[:count])),
        "aggregates": json.dumps([[c.type, c.meaning, r] for c, r in zip(results, retractions, strict=False)]),
    }


def _windows(body: Json, rows: list[Column]) -> Json:
    window = {
        k: v for k, v in body.items() if k not in _NOISE and k not in ("aggCallNeedRetractions", "generateUpdateBefore")
    }
    windowing = dict(window.get("windowing") or {})
    for key in ("timeAttributeIndex", "sliceEnd", "windowStart", "windowEnd"):
        if key in windowing and windowing[key] < len(rows):
            windowing[key] = rows[windowing[key]].meaning
    if windowing:
        window["windowing"] = windowing
    return window


def _source(node: Node) -> dict[str, str]:
    return {"connector": node.options.get("connector", "")}


def _sink(node: Node, given: list[list[Column]]) -> dict[str, str]:
    pieces = {"connector": node.options.get("connector", "")}
    if node.body.get("state"):  # it puts late changes into order, and keeps whole rows for that
        pieces["rows"] = json.dumps([piece for columns in given for piece in _row(columns)])
        pieces["key"] = json.dumps(_primary_key(node))
        pieces["upsert key"] = json.dumps(
            [node.body.get("inputUpsertKey"), node.body.get("sinkUpsertMaterializeStrategy")]
        )
    return pieces


def _filters(plan: Plan, number: int) -> list[str]:
    """The conditions on the way from the last stateful operator to here."""
    node = plan.nodes[number]
    if "scanTableSource" in node.body:  # some sources filter themselves
        return _pushed(node)
    if is_stateful(node):
        return []
    conditions = [f for i in node.inputs for f in _filters(plan, i)]
    condition = node.body.get("condition")
    if condition:
        conditions.append(json.dumps(condition, sort_keys=True))
    return conditions


def _primary_key(node: Node) -> list[int]:
    """Of a table: the places of the columns that are its key."""
    schema = ((node.body["dynamicTableSink"].get("table") or {}).get("resolvedTable") or {}).get("schema") or {}
    names = (schema.get("primaryKey") or {}).get("columns") or []
    return [i for i, column in enumerate(node.schema) if column["name"] in names]


def _pushed(node: Node) -> list[str]:
    pushed = node.body["scanTableSource"].get("abilities") or []
    return [json.dumps(a, sort_keys=True) for a in pushed if a.get("type") == "FilterPushDown"]


def manner_of(node: Node) -> Json:
    """In which implementation an operator keeps its state, where there are several."""
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
