"""Whether the state of a running SQL job fits a changed one: the two compiled plans, operator by operator.

Flink maps state by the ids of operators, which a new compilation hands out anew. So operators of the new plan that
do the same as one of the old plan get its id (`Comparison.aligned`), and go on with its state; those whose state
means something else get an id of their own and begin empty.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field

from core.jobs.restore import Accepted
from core.sql.operators import Column, Json, Node
from core.sql.plan import Plan, read, renumbered

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
_AGGREGATES = frozenset(
    [
        "group-aggregate",
        "global-group-aggregate",
        "incremental-group-aggregate",
        "window-aggregate",
        "global-window-aggregate",
        "group-window-aggregate",
    ]
)
_ROWS = frozenset(
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


class Verdict(StrEnum):
    COMPATIBLE = "COMPATIBLE"
    WITH_LOSS = "COMPATIBLE_WITH_LOSS"
    INCOMPATIBLE = "INCOMPATIBLE"
    UNKNOWN = "UNKNOWN"


class Change(StrEnum):
    KEPT = "kept"  # its state goes on
    CHANGED = "changed"  # its state cannot go on
    DROPPED = "dropped"  # it is gone, and its state with it
    NEW = "new"  # it begins empty
    UNSURE = "unsure"


class OperatorChange(BaseModel):
    """One operator that keeps state. `old` and `new` are Flink's own descriptions."""

    change: Change
    kind: str
    old: str | None = None
    new: str | None = None
    why: str = ""


class StateVerdict(BaseModel):
    """Whether the state of one plan fits another, with the operators that decide it."""

    verdict: Verdict
    summary: str
    operators: list[OperatorChange] = []
    notes: list[str] = []
    diff: str = Field(default="", description="The operators of both plans that keep state, one a line")


@dataclass(frozen=True)
class Comparison:
    verdict: StateVerdict
    aligned: Plan


@dataclass(frozen=True)
class _Part:
    """A stateful operator: what its state is keyed by and made of, piece by piece."""

    node: Node
    pieces: Mapping[str, str]
    place: str  # what makes it the same operator in both plans, though it may have changed
    inputs: str  # what flows into it, for a note when only that changed


def objection(found: StateVerdict, accepted: Accepted) -> tuple[str, str] | None:
    """What speaks against giving this state to that version, as a code and a sentence; None when nothing does, or all
    of it was accepted."""
    by = {kind: [c for c in found.operators if c.change is kind] for kind in Change}
    if (by[Change.CHANGED] or found.verdict is Verdict.INCOMPATIBLE) and not accepted.change:
        return "state_incompatible", found.summary
    if (by[Change.UNSURE] or found.verdict is Verdict.UNKNOWN) and not accepted.unknown:
        return "state_unknown", _first(by[Change.UNSURE]) if by[Change.UNSURE] else found.summary
    if (by[Change.DROPPED] or found.verdict is Verdict.WITH_LOSS) and not accepted.loss:
        return "state_loss", _dropped(by[Change.DROPPED]) if by[Change.DROPPED] else found.summary
    return None


def unknown(why: str) -> StateVerdict:
    return StateVerdict(verdict=Verdict.UNKNOWN, summary=why)


def compare(old: Plan, new: Plan) -> Comparison:
    """Compare two plans; `aligned` is `new` with the ids of those operators of `old` whose state it can take."""
    before, after = _parts(old), _parts(new)
    pairs = _pairs(before, after)
    changes: list[OperatorChange] = []
    notes: list[str] = []
    ids: dict[int, int] = {}
    for a, b in pairs:
        change = _judge(a, b, notes)
        changes.append(change)
        if change.change in (Change.KEPT, Change.UNSURE):
            ids[b.node.id] = a.node.id
    for left in before:
        if not any(a is left for a, _ in pairs):
            why = "what it had not committed is dropped" if "dynamicTableSink" in left.node.body else ""
            changes.append(_change(Change.DROPPED, left, None, why))
    for added in after:
        if not any(b is added for _, b in pairs):
            changes.append(_change(Change.NEW, None, added))
    _moved(old, new, pairs, notes)
    top = max(old.nodes, default=0)
    for number in new.nodes:
        if number not in ids:
            top += 1
            ids[number] = top
    found = _sum(changes, notes)
    manners = {b.node.id: _manner(a.node) for a, b in pairs if ids[b.node.id] == a.node.id}
    return Comparison(found, renumbered(_as_made(new, manners), ids))


def _manner(node: Node) -> Json:
    return {k: v for k, v in node.body.items() if k in _MANNER}


def _as_made(plan: Plan, manners: Mapping[int, Json]) -> Plan:
    """The plan with operators that keep their state in the manner given for them."""
    if not any(key in node.body for node in plan.nodes.values() for key in _MANNER):
        return plan
    nodes = [
        {**{k: v for k, v in n.items() if k not in _MANNER}, **manners[int(n["id"])]} if int(n["id"]) in manners else n
        for n in plan.body["nodes"]
    ]
    return read({**plan.body, "nodes": nodes})


def from_one(plan: Plan) -> Plan:
    """The plan with ids counted from one: the gateway counts over all it ever compiled."""
    return renumbered(plan, {number: i for i, number in enumerate(plan.nodes, 1)})


# What an operator's state is made of ----------------------------------------------------------


def _parts(plan: Plan) -> list[_Part]:
    return [_part(plan, node) for node in plan.nodes.values() if _stateful(node)]


def _stateful(node: Node) -> bool:
    if node.kind == "window-table-function":
        return bool((node.body.get("windowing") or {}).get("window", {}).get("type") == "SessionWindow")
    if node.kind == "lookup-join":
        return bool(node.body.get("state"))
    return node.kind not in _STATELESS


def _part(plan: Plan, node: Node) -> _Part:
    given = [plan.columns[i] for i in node.inputs]
    inputs = json.dumps([_filters(plan, i) for i in node.inputs])
    if "scanTableSource" in node.body:
        return _Part(node, _source(node), f"source {node.table}", inputs)
    if "dynamicTableSink" in node.body:
        return _Part(node, _sink(node, given), f"sink {node.table}", inputs)
    pieces = {"operator": f"{node.kind}_{node.version}", "key": json.dumps(_keys(plan, node))}
    if node.kind in _AGGREGATES:
        pieces |= _aggregate(plan, node, given[0])
    elif _counts_on(node, given[0]):
        made = plan.columns[node.id][len(given[0]) :]
        return _Part(node, {**pieces, "aggregates": json.dumps(_row(made))}, node.kind, inputs)
    else:
        for side, columns in enumerate(given):
            pieces[f"rows of input {side + 1}" if len(given) > 1 else "rows"] = json.dumps(_row(columns))
    does = {k: v for k, v in {**_BEFORE, **node.body}.items() if k not in _NOISE and k not in _MANNER}
    pieces["what it does"] = json.dumps(does, sort_keys=True)
    if node.kind in _AGGREGATES:
        pieces["what it does"] = json.dumps(_windows(node.body, given[0]), sort_keys=True)
    return _Part(node, pieces, node.kind, inputs)


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
    found = []
    for number in node.inputs:
        exchange, columns = plan.nodes[number], plan.columns[number]
        properties = exchange.body.get("inputProperties") or [{}]
        keys = (properties[0].get("requiredDistribution") or {}).get("keys") or []
        keyed = exchange.kind == "exchange"
        found.append([[columns[k].type, columns[k].meaning] for k in keys] if keyed else [])
    return found


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
    found = {
        k: v for k, v in body.items() if k not in _NOISE and k not in ("aggCallNeedRetractions", "generateUpdateBefore")
    }
    windowing = dict(found.get("windowing") or {})
    for key in ("timeAttributeIndex", "sliceEnd", "windowStart", "windowEnd"):
        if key in windowing and windowing[key] < len(rows):
            windowing[key] = rows[windowing[key]].meaning
    if windowing:
        found["windowing"] = windowing
    return found


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
    found = [f for i in node.inputs for f in _filters(plan, i)]
    condition = node.body.get("condition")
    if condition:
        found.append(json.dumps(condition, sort_keys=True))
    return found


# Which operator of the new plan is which of the old one ---------------------------------------


def _pairs(before: list[_Part], after: list[_Part]) -> list[tuple[_Part, _Part]]:
    """The same ones first, in the order of the plans; then those at the same place that resemble each other most."""
    pairs: list[tuple[_Part, _Part]] = []
    left, right = list(before), list(after)
    for inputs_too in (True, False):
        for a in list(left):
            found = next((b for b in right if _same(a, b, inputs_too)), None)
            if found is not None:
                pairs.append((a, found))
                left.remove(a)
                right.remove(found)
    scored = sorted(
        ((-_alike(a, b), i, j) for i, a in enumerate(left) for j, b in enumerate(right) if a.place == b.place),
    )
    used: set[tuple[str, int]] = set()
    for _, i, j in scored:
        if ("a", i) not in used and ("b", j) not in used:
            used |= {("a", i), ("b", j)}
            pairs.append((left[i], right[j]))
    order = {part.node.id: i for i, part in enumerate(before)}
    return sorted(pairs, key=lambda pair: order[pair[0].node.id])


def _same(a: _Part, b: _Part, inputs_too: bool) -> bool:
    return a.place == b.place and a.pieces == b.pieces and (a.inputs == b.inputs or not inputs_too)


def _alike(a: _Part, b: _Part) -> int:
    return sum(1 for key, value in a.pieces.items() if b.pieces.get(key) == value)


# What a pair means ----------------------------------------------------------------------------


def _change(change: Change, a: _Part | None, b: _Part | None, why: str = "") -> OperatorChange:
    node = (a or b).node  # type: ignore[union-attr]
    return OperatorChange(
        change=change,
        kind=node.kind,
        old=a.node.description if a else None,
        new=b.node.description if b else None,
        why=why.replace("default_catalog.default_database.", ""),
    )


def _judge(a: _Part, b: _Part, notes: list[str]) -> OperatorChange:
    differing = [k for k in {**a.pieces, **b.pieces} if a.pieces.get(k) != b.pieces.get(k)]
    if differing:
        return _change(Change.CHANGED, a, b, "; ".join(_differs(k, a, b) for k in differing))
    if "scanTableSource" in a.node.body:
        return _same_place(a, b, notes)
    known = a.node.kind in _AGGREGATES | _ROWS or "dynamicTableSink" in a.node.body
    if not known and _body(a.node) != _body(b.node):
        return _change(Change.UNSURE, a, b, f"what a {a.node.kind} keeps is not known here")
    if (times := _ttls(a.node)) != (later := _ttls(b.node)):
        if ("0 ms" in times) != ("0 ms" in later):
            why = f"its state has no time to live in one of them ({', '.join(times)} and {', '.join(later)})"
            return _change(Change.UNSURE, a, b, why)
        notes.append(f"{b.node.description}: state lives {', '.join(later)} now, it was {', '.join(times)}")
    return _change(Change.KEPT, a, b)


def _body(node: Node) -> str:
    return json.dumps({k: v for k, v in node.body.items() if k not in ("id", "description")}, sort_keys=True)


def _same_place(a: _Part, b: _Part, notes: list[str]) -> OperatorChange:
    before, after = a.node.options, b.node.options
    moved = sorted(k for k in PLACES if before.get(k) != after.get(k))
    if moved:
        why = f"it reads from elsewhere ({', '.join(moved)}); its state holds positions of the old place"
        return _change(Change.UNSURE, a, b, why)
    others = sorted(k for k in {*before, *after} if before.get(k) != after.get(k))
    if others:
        notes.append(f"{b.node.table}: changed options {', '.join(others)}; positions are taken from the state")
    return _change(Change.KEPT, a, b)


def _ttls(node: Node) -> list[str]:
    return [str(s.get("ttl")) for s in node.body.get("state") or []]


def _differs(key: str, a: _Part, b: _Part) -> str:
    """One piece that differs, in words where its parts can be told."""
    old, new = a.pieces.get(key, "none"), b.pieces.get(key, "none")
    if key == "connector":
        return f"the connector was {old or 'another'} and is {new or 'another'}"
    try:
        was, now = json.loads(old), json.loads(new)
    except ValueError:
        return f"{key} changed from {old} to {new}"
    if key == "what it does":
        names = sorted(k for k in {*was, *now} if was.get(k) != now.get(k))
        return f"{', '.join(names)} changed"
    if isinstance(was, list) and isinstance(now, list):
        gone = [_item(x) for x in was if x not in now]
        come = [_item(x) for x in now if x not in was]
        if not gone and not come:
            return f"the order of the {key} changed"
        return f"{key}: " + ", ".join([*(f"without {g}" for g in gone), *(f"with {c}" for c in come)])
    return f"{key} changed"


def _item(piece: Any) -> str:
    """A column as `type meaning`; several as a list of them."""
    if isinstance(piece, list) and piece and all(isinstance(p, list) for p in piece):
        return ", ".join(_item(p) for p in piece)
    if isinstance(piece, list):
        return " ".join(str(p) for p in piece[:2][::-1])
    return str(piece)


def _moved(old: Plan, new: Plan, pairs: list[tuple[_Part, _Part]], notes: list[str]) -> None:
    for a, b in pairs:
        if a.inputs != b.inputs:
            notes.append(
                f"{b.node.description}: a filter in front of it changed; what it has kept was filtered the old way"
            )


def _sum(changes: list[OperatorChange], notes: list[str]) -> StateVerdict:
    by = {kind: [c for c in changes if c.change is kind] for kind in Change}
    if by[Change.CHANGED]:
        verdict, summary = Verdict.INCOMPATIBLE, _first(by[Change.CHANGED])
    elif by[Change.UNSURE]:
        verdict, summary = Verdict.UNKNOWN, _first(by[Change.UNSURE])
    elif by[Change.DROPPED]:
        verdict = Verdict.WITH_LOSS
        summary = _dropped(by[Change.DROPPED])
    else:
        verdict = Verdict.COMPATIBLE
        begun = "; ".join(str(c.new) for c in by[Change.NEW])
        summary = f"All state goes on. New, and begins empty: {begun}." if begun else "All state goes on."
    return StateVerdict(verdict=verdict, summary=summary, operators=changes, notes=notes, diff=_diff(changes))


def _first(changes: list[OperatorChange]) -> str:
    more = f" And {len(changes) - 1} more." if len(changes) > 1 else ""
    return f"{changes[0].new}: {changes[0].why}.{more}"


def _dropped(changes: list[OperatorChange]) -> str:
    return "State is dropped: " + "; ".join(str(c.old) for c in changes) + "."


_SIGNS = {Change.KEPT: "=", Change.CHANGED: "!", Change.DROPPED: "-", Change.NEW: "+", Change.UNSURE: "?"}


def _diff(changes: list[OperatorChange]) -> str:
    lines = []
    for c in changes:
        lines.append(f"{_SIGNS[c.change]} {c.new or c.old}")
        if c.old and c.new and c.old != c.new:
            lines.append(f"    was: {c.old}")
        if c.why:
            lines.append(f"    {c.why}")
    return "\n".join(lines)
