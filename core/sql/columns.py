"""What every column of every operator of a plan is made of: one rule a kind of operator.

A kind that is not known here is not guessed at: its columns come from all that went in, and are not exact. The fields
are those of Flink 1.20 and 2.3 (seen by compiling: tests/core/sql/plans, tests/real/lineage_queries.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.sql.expressions import bounded, has_literal, held, merged, of_call, of_expression, short
from core.sql.operators import Column, ColumnOrigin, Json, Node, TableName, fields_of

Nodes = Mapping[int, Node]


def columns_of(nodes: Nodes) -> dict[int, list[Column]]:
    """The columns that each operator gives. Every node comes after its inputs."""
    made: dict[int, list[Column]] = {}
    fixed: dict[int, frozenset[ColumnOrigin]] = {}
    within: dict[int, frozenset[ColumnOrigin]] = {}
    for node in nodes.values():
        given = [made[i] for i in node.inputs]
        fixed[node.id] = frozenset().union(*(fixed[i] for i in node.inputs), _filtered(node, given, held))
        fixed[node.id] |= _of_partitions(node)
        within[node.id] = frozenset().union(*(within[i] for i in node.inputs), _filtered(node, given, bounded))
        made[node.id] = _folded(node, _columns(nodes, node, made), fixed[node.id], within[node.id])
    return made


def _filtered(
    node: Node, given: Sequence[Sequence[Column]], by: Callable[[Any, Sequence[Column]], frozenset[ColumnOrigin]]
) -> frozenset[ColumnOrigin]:
    """The columns that the conditions of an operator hold to one value (`held`), or within bounds (`bounded`)."""
    body, rows = node.body, [c for columns in given for c in columns]
    join = body.get("joinSpec") or (body.get("intervalJoinSpec") or {}).get("joinSpec") or {}
    found = by(body.get("condition"), rows) | by(join.get("nonEquiCondition"), rows)
    table = node.table
    if table is None:
        return found
    of_table = [
        Column(str(c["name"]), "", "", frozenset([ColumnOrigin(table, str(c["name"]))])) for c in _physical(node)
    ]
    for ability in (body.get("scanTableSource") or {}).get("abilities") or []:
        for predicate in ability.get("predicates") or []:
            found |= by(predicate, of_table)
    return found | by(body.get("filterOnTemporalTable"), of_table)


def _of_partitions(node: Node) -> frozenset[ColumnOrigin]:
    """The partition keys that a source reads with one value only. A filter of them is nowhere else in the plan."""
    found: set[ColumnOrigin] = set()
    for ability in (node.body.get("scanTableSource") or {}).get("abilities") or []:
        if ability.get("type") == "PartitionPushDown" and node.table is not None:
            found |= {ColumnOrigin(node.table, key) for key in _of_one_value(ability.get("partitions") or [], node)}
    return frozenset(found)


def _of_one_value(partitions: Sequence[Mapping[str, str]], node: Node) -> set[str]:
    """The partition keys with one value in all partitions that are read; all of them where none is read."""
    keys = {str(key) for partition in partitions for key in partition} or set(node.partition_keys)
    return {key for key in keys if len({partition.get(key) for partition in partitions}) <= 1}


def _folded(
    node: Node, columns: list[Column], fixed: frozenset[ColumnOrigin], within: frozenset[ColumnOrigin]
) -> list[Column]:
    """A column that a filter holds to one value stands in the plan as a constant, or in a constant that was computed
    from it; of one that is held within bounds a comparison does, as TRUE or FALSE. So a constant may come from each of
    them. Nothing else is made a constant by bounds, not even a CASE of such a comparison (seen on 2.3.0)."""
    expressions = node.body.get("projection") or []
    if len(expressions) != len(columns):
        return columns
    folded = []
    for column, expression in zip(columns, expressions, strict=True):
        more = fixed if has_literal(expression) else frozenset[ColumnOrigin]()
        more |= within if has_literal(expression, "BOOLEAN") else frozenset[ColumnOrigin]()
        folded.append(replace(column, origins=column.origins | more, exact=False) if more else column)
    return folded


_PASS = frozenset(
    [
        "watermark-assigner",
        "exchange",
        "drop-update-before",
        "changelog-normalize",
        "mini-batch-assigner",
        "deduplicate",
        "sort",
        "limit",
        "sort-limit",
        "temporal-sort",
        "sink",
        "upsert-materialize",
    ]
)
_JOINS = frozenset(["join", "interval-join", "temporal-join", "window-join", "delta-join"])
_AGGREGATES = frozenset(["group-aggregate", "group-window-aggregate", "window-aggregate", "python-group-aggregate"])
_LOCAL = frozenset(["local-group-aggregate", "local-window-aggregate"])
_GLOBAL = frozenset(["global-group-aggregate", "global-window-aggregate"])


def _columns(nodes: Nodes, node: Node, made: Mapping[int, list[Column]]) -> list[Column]:
    named = fields_of(node.body.get("outputType"))
    rule = _rule(node.kind)
    given = [made[i] for i in node.inputs]
    found = rule(At(nodes, node, given, made, [n for n, _ in named])) if rule else None
    if found is None or len(found) != len(named):
        every = [c for columns in given for c in columns]
        origins = frozenset(o for c in every for o in c.origins)
        meaning = short(f"{node.kind}?({';'.join(c.meaning for c in every)})")
        return [Column(n, t, f"{meaning}.{n}", origins, exact=False) for n, t in named]
    return [Column(n, t, short(c.meaning), c.origins, c.exact) for (n, t), c in zip(named, found, strict=True)]


@dataclass(frozen=True)
class At:
    """Where a rule is: an operator, the columns of each input, those of all operators before, the names it gives."""

    nodes: Nodes
    node: Node
    given: list[list[Column]]
    made: Mapping[int, list[Column]]
    names: list[str]


Rule = Callable[[At], "list[Column] | None"]


def _rule(kind: str) -> Rule | None:
    if kind in _PASS:
        return lambda at: at.given[0]
    if kind in _JOINS:
        return _join
    if kind in _AGGREGATES or kind in _LOCAL or kind in _GLOBAL:
        return _aggregate
    return _RULES.get(kind)


def _scan(at: At) -> list[Column]:
    table = at.node.table or TableName("", "", at.node.description)
    keys = {
        str(c.get("metadataKey") or c["name"]): str(c["name"]) for c in at.node.schema if c.get("kind") == "METADATA"
    }
    known = {str(c["name"]) for c in at.node.schema}
    paths = _pushed(at.node)
    found = []
    for i, name in enumerate(at.names):
        column = keys.get(name.removeprefix("$metadata$"), name) if name.startswith("$metadata$") else name
        if column not in known and i < len(paths) and paths[i]:
            column = paths[i]
        # Read under another key it is another thing, whatever its name.
        key = next((f" METADATA {k}" for k, of in keys.items() if of == column), "")
        found.append(Column(name, "", f"{table}.{column}{key}", frozenset([ColumnOrigin(table, column)])))
    return found


def _physical(node: Node) -> list[Json]:
    return [c for c in node.schema if c.get("kind") in (None, "PHYSICAL")]


def _pushed(node: Node) -> list[str]:
    """Which field of which column each output is, where fields of ROWs were pushed into the source."""
    schema = _physical(node)
    for ability in node.body["scanTableSource"].get("abilities") or []:
        if ability.get("type") == "ProjectPushDown":
            return [_path(schema, [int(i) for i in path]) for path in ability.get("projectedFields") or []]
    return []


def _path(schema: Sequence[Json], path: Sequence[int]) -> str:
    if not path or path[0] >= len(schema):
        return ""
    column = schema[path[0]]
    parts, kind = [str(column["name"])], column.get("dataType")
    for index in path[1:]:
        fields = fields_of(kind)
        if index >= len(fields):
            break
        parts.append(fields[index][0])
        kind = fields[index][1]
    return ".".join(parts)


def _calc(at: At) -> list[Column]:
    if at.node.body.get("projection") is None:
        return at.given[0]
    return [of_expression(expression, at.given[0]) for expression in at.node.body["projection"]]


def _join(at: At) -> list[Column]:
    spec = at.node.body.get("joinSpec") or (at.node.body.get("intervalJoinSpec") or {}).get("joinSpec") or {}
    left = at.given[0]
    return left if spec.get("joinType") in ("SEMI", "ANTI") else [*left, *(at.given[1] if len(at.given) > 1 else [])]


def _lookup(at: At) -> list[Column]:
    table = at.node.table or TableName("", "", "lookup")
    if at.node.body.get("joinType") in ("SEMI", "ANTI"):
        return at.given[0]
    kept = [n for n, _ in fields_of((at.node.body.get("temporalTable") or {}).get("outputType"))]
    right = [Column(n, "", f"{table}.{n}", frozenset([ColumnOrigin(table, n)])) for n in kept]
    projection = at.node.body.get("projectionOnTemporalTable")
    return [*at.given[0], *([of_expression(e, right) for e in projection] if projection else right)]


def _aggregate(at: At) -> list[Column] | None:
    """Grouping, then aggregates, then properties of the window. Of a two-phase aggregate the second phase names
    columns of what the first one was given."""
    rows = at.given[0]
    inner = rows
    if at.node.kind in _GLOBAL:
        local = _upstream(at.nodes, at.node, _LOCAL)
        if local is None:
            return None
        inner = at.made[local.inputs[0]]
        if (between := _upstream(at.nodes, at.node, frozenset(["incremental-group-aggregate"]))) is not None:
            # The first phase's aggregates are what this one aggregates.
            groups = at.made[between.inputs[0]]
            calls = [of_call(c, inner) for c in between.body.get("partialOriginalAggCalls") or []]
            inner = [*(groups[i] for i in between.body.get("partialAggGrouping") or []), *calls]
    grouping = [rows[i] for i in at.node.body.get("grouping") or []]
    calls = [of_call(c, inner) for c in at.node.body.get("aggCalls") or []]
    if at.node.kind in _LOCAL:
        return _accumulators(at.node, rows, grouping, calls, at.names)
    time = _time(at.node, rows)
    properties = [
        Column("", "", f"{p['property']['kind']}({time.meaning};{_window(at.node)})", time.origins, time.exact)
        for p in at.node.body.get("namedWindowProperties") or []
    ]
    return [*grouping, *calls, *properties]


def _accumulators(
    node: Node, rows: list[Column], grouping: list[Column], calls: list[Column], names: list[str]
) -> list[Column]:
    """The output of a first phase: accumulators, of which one call may have several, and the end of the slice."""
    every = frozenset(o for c in calls for o in c.origins)
    meaning = ";".join(c.meaning for c in calls)
    made = list(grouping)
    for name in names[len(grouping) :]:
        if name == "$slice_end":
            time = _time(node, rows)
            made.append(Column(name, "", f"slice({time.meaning};{_window(node)})", time.origins, time.exact))
        else:
            made.append(Column(name, "", f"{name}({meaning})", every))
    return made


def _window(node: Node) -> str:
    return json.dumps(_plain(node.body.get("windowing") or node.body.get("window") or {}), sort_keys=True)


def _plain(window: Any) -> Any:
    """A window without the places of columns, which change with the columns beside them."""
    left_out = ("timeAttributeIndex", "sliceEnd", "windowStart", "windowEnd", "fieldIndex", "inputIndex")
    if not isinstance(window, dict):
        return window
    return {k: _plain(v) for k, v in window.items() if k not in left_out}


def _time(node: Node, rows: Sequence[Column]) -> Column:
    """The column that a window is made from."""
    windowing = node.body.get("windowing") or {}
    index = next((windowing[k] for k in ("timeAttributeIndex", "sliceEnd", "windowEnd") if k in windowing), None)
    if index is None and (name := (node.body.get("window") or {}).get("timeField")):
        index = name.get("fieldIndex")
    if index is None or index >= len(rows):
        return Column("", "", "time", exact=False)
    return rows[int(index)]


def _over(at: At) -> list[Column]:
    spec, rows = at.node.body["overSpec"], at.given[0]
    # Places behind the columns are those of constants.
    more = [*rows, *(of_expression(c, rows) for c in spec.get("constants") or [])]
    by = ",".join(rows[i].meaning for i in (spec.get("partition") or {}).get("fields") or [])
    calls = []
    for group in spec.get("groups") or []:
        bounds = json.dumps([group.get("isRows"), *(_bound(group.get(k), more) for k in ("lowerBound", "upperBound"))])
        for call in group.get("aggCalls") or []:
            one = of_call(call, more)
            calls.append(Column("", "", f"{one.meaning} OVER ({by};{bounds})", one.origins, one.exact))
    return [*rows, *calls]


def _bound(bound: Any, rows: Sequence[Column]) -> str:
    found = dict(bound or {})
    if "offset" in found:
        found["offset"] = of_expression(found["offset"], rows).meaning
    return json.dumps(found, sort_keys=True)


def _incremental(at: At) -> list[Column]:
    """Grouping of the second phase, then accumulators of it."""
    rows = at.given[0]
    first = len(at.node.body.get("partialAggGrouping") or [])
    rest = merged(rows[first:])
    grouping = [rows[i] for i in at.node.body.get("finalAggGrouping") or []]
    return [*grouping, *([rest] * (len(at.names) - len(grouping)))]


def _rank(at: At) -> list[Column]:
    rows = at.given[0]
    fields = (at.node.body.get("partition") or at.node.body.get("partitionSpec") or {}).get("fields") or []
    number = Column("", "", f"{at.node.body.get('rankType')}({','.join(rows[i].meaning for i in fields)})")
    return [*rows, number] if len(at.names) > len(rows) else rows


def _match(at: At) -> list[Column]:
    spec, rows = at.node.body["matchSpec"], at.given[0]
    keys = [rows[i] for i in (spec.get("partition") or {}).get("fields") or []]
    measures = spec.get("measures") or {}
    pattern = short(json.dumps([spec.get("pattern"), spec.get("patternDefinitions")], sort_keys=True))
    found = []
    for i, name in enumerate(at.names):
        if name not in measures:
            found.append(keys[i] if i < len(keys) else Column(name, "", name, exact=False))
            continue
        one = of_expression(measures[name], rows)
        found.append(Column("", "", f"{one.meaning} MATCH {pattern}", one.origins, one.exact))
    return found


def _correlate(at: At) -> list[Column]:
    rows = at.given[0]
    one = of_expression(at.node.body.get("functionCall") or at.node.body.get("invocation") or {}, rows)
    more = [Column(n, "", f"{one.meaning}.{i}", one.origins, one.exact) for i, n in enumerate(at.names[len(rows) :])]
    return [*rows, *more]


def _union(at: At) -> list[Column]:
    return [merged(side[i] for side in at.given) for i in range(len(at.names))]


def _expand(at: At) -> list[Column]:
    projects = at.node.body["projects"]
    return [merged(of_expression(project[i], at.given[0]) for project in projects) for i in range(len(at.names))]


def _values(at: At) -> list[Column]:
    rows = short(json.dumps(at.node.body.get("tuples"), sort_keys=True))
    return [Column(n, "", f"values({rows}).{n}") for n in at.names]


def _window_function(at: At) -> list[Column]:
    rows = at.given[0]
    time = _time(at.node, rows)
    more = [Column(n, "", f"{n}({time.meaning};{_window(at.node)})", time.origins) for n in at.names[len(rows) :]]
    return [*rows, *more]


_RULES: dict[str, Rule] = {
    "table-source-scan": _scan,
    "calc": _calc,
    "python-calc": _calc,
    "async-calc": _calc,
    "lookup-join": _lookup,
    "incremental-group-aggregate": _incremental,
    "over-aggregate": _over,
    "rank": _rank,
    "window-rank": _rank,
    "window-deduplicate": _rank,
    "match": _match,
    "correlate": _correlate,
    "python-correlate": _correlate,
    "union": _union,
    "expand": _expand,
    "values": _values,
    "window-table-function": _window_function,
}


def _upstream(nodes: Nodes, node: Node, kinds: frozenset[str]) -> Node | None:
    """The nearest node of one of the kinds, through what only passes rows on."""
    while len(node.inputs) == 1:
        node = nodes[node.inputs[0]]
        if node.kind in kinds:
            return node
        if node.kind not in _PASS and node.kind != "incremental-group-aggregate":
            return None
    return None
