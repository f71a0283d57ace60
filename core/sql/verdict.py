"""Whether the state of a running SQL job fits a changed one: the two compiled plans, operator by operator.

Flink maps state by the ids of operators, which a new compilation hands out anew. So operators of the new plan that
do the same as one of the old plan get its id (`Comparison.aligned`), and go on with its state; those whose state
means something else get an id of their own and begin empty.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field

from core.jobs.restore import Accepted
from core.sql.columns import meaning
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
# Sinks whose state is not bound to the place that they write to.
_ANYWHERE = frozenset(["kafka", "upsert-kafka", "jdbc", "print", "blackhole"])


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
    origin: str  # all that makes its rows, up to the sources
    sinks: frozenset[str]  # the tables that its rows end in


@dataclass(frozen=True)
class _Pair:
    """An operator of the old plan and the one of the new plan that takes its place; `told` unless it may be another."""

    a: _Part
    b: _Part
    told: bool = True


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
    for pair in pairs:
        a, b = pair.a, pair.b
        change = _judge(pair, notes)
        if change.change is not Change.CHANGED and (gone := _never_taken_back(old, new, pair, ids)) is not None:
            why = f"{gone.kind} in front of it does not go on, and what it has given would be counted again"
            change = _change(Change.CHANGED, a, b, why)
        changes.append(change)
        if change.change in (Change.KEPT, Change.UNSURE):
            ids[b.node.id] = a.node.id
    for left in before:
        if not any(pair.a is left for pair in pairs):
            why = "what it had not committed is dropped" if "dynamicTableSink" in left.node.body else ""
            changes.append(_change(Change.DROPPED, left, None, why))
    for added in after:
        if not any(pair.b is added for pair in pairs):
            changes.append(_change(Change.NEW, None, added))
    _moved(pairs, notes)
    top = max(old.nodes, default=0)
    for number in new.nodes:
        if number not in ids:
            top += 1
            ids[number] = top
    found = _sum(changes, notes)
    manners = {p.b.node.id: _manner(p.a.node) for p in pairs if ids[p.b.node.id] == p.a.node.id}
    return Comparison(found, renumbered(_as_made(new, manners), ids))


def _never_taken_back(old: Plan, new: Plan, pair: _Pair, ids: Mapping[int, int]) -> Node | None:
    """An operator right in front of this one that gave rows which it took back later, and that does not go on: begun
    empty, or gone, it never takes back what this one has kept."""
    if "dynamicTableSink" in pair.a.node.body:
        return None
    go_on = {ids.get(node.id) for node in _in_front(new, pair.b.node)}
    lost = [node for node in _in_front(old, pair.a.node) if node.id not in go_on]
    return next((node for node in lost if _takes_back(node, pair.a.node)), None)


def _in_front(plan: Plan, node: Node) -> list[Node]:
    """The nearest operators with state that it gets its rows from."""
    given = [plan.nodes[number] for number in node.inputs]
    return [found for one in given for found in ([one] if _stateful(one) else _in_front(plan, one))]


def _takes_back(node: Node, reader: Node) -> bool:
    """Whether one operator takes back rows that it has given, as far as it or the one that reads them tells."""
    if reader.kind in _AGGREGATES:
        return bool(reader.body.get("needRetraction") or any(reader.body.get("aggCallNeedRetractions") or []))
    if node.kind == "deduplicate":
        return bool(node.body.get("keepLastRow"))
    if node.kind == "join":
        return (node.body.get("joinSpec") or {}).get("joinType") != "INNER"
    return node.kind in ("group-aggregate", "global-group-aggregate", "rank", "sort-limit", "changelog-normalize")


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
    found: list[_Part] = []
    origins: dict[int, str] = {}
    sinks = _sinks(plan)
    for node in plan.nodes.values():
        before = [origins[i] for i in node.inputs]
        if _stateful(node):
            part = _part(plan, node, " ".join(before), sinks[node.id])
            part = replace(part, pieces={**part.pieces, "mode": _mode(node)})
            found.append(part)
            does = [part.place, *(f"{k}={v}" for k, v in part.pieces.items()), *_read(node)]
        else:
            does = _passes(plan, node)
        if does or len(before) != 1:
            text = json.dumps([does, before if node.kind != "union" else sorted(before)])
            origins[node.id] = hashlib.sha256(text.encode()).hexdigest()
        else:
            origins[node.id] = before[0]
    return found


def _mode(node: Node) -> str:
    """`stream` or `batch`. In batch mode Flink restores nothing, whatever it is given, and says nothing."""
    return str(node.body.get("type", "")).partition("-")[0]


def _sinks(plan: Plan) -> dict[int, frozenset[str]]:
    """The tables that the rows of each operator end in."""
    found: dict[int, frozenset[str]] = dict.fromkeys(plan.nodes, frozenset())
    for node in reversed(list(plan.nodes.values())):
        if "dynamicTableSink" in node.body:
            found[node.id] |= {str(node.table)}
        for number in node.inputs:
            found[number] |= found[node.id]
    return found


def _read(node: Node) -> list[str]:
    """Of a source: where it reads, and what it leaves out by itself."""
    if "scanTableSource" not in node.body:
        return []
    return [f"{k}={v}" for k, v in sorted(node.options.items()) if k in PLACES] + _pushed(node)


def _passes(plan: Plan, node: Node) -> list[str]:
    """What an operator without state does to the rows, besides computing columns (those have their meanings)."""
    rows = [column for i in node.inputs for column in plan.columns[i]]
    if node.kind == "lookup-join":
        keys = ("joinType", "lookupKeys", "joinCondition", "filterOnTemporalTable")
        return [str(node.table), *(json.dumps(node.body.get(k), sort_keys=True) for k in keys)]
    if node.kind.endswith("correlate"):
        made = plan.columns[node.id][len(rows) :]
        return [str(node.body.get("joinType")), *(c.meaning for c in made)]
    condition = node.body.get("condition")
    return [meaning(condition, rows)] if condition else []


def _stateful(node: Node) -> bool:
    if node.kind == "window-table-function":
        return bool((node.body.get("windowing") or {}).get("window", {}).get("type") == "SessionWindow")
    if node.kind == "lookup-join":
        return bool(node.body.get("state"))
    return node.kind not in _STATELESS


def _part(plan: Plan, node: Node, origin: str, sinks: frozenset[str]) -> _Part:
    given = [plan.columns[i] for i in node.inputs]
    inputs = json.dumps([_filters(plan, i) for i in node.inputs])
    if "scanTableSource" in node.body:
        return _Part(node, _source(node), f"source {node.table}", inputs, " ".join(_read(node)), sinks)
    if "dynamicTableSink" in node.body:
        return _Part(node, _sink(node, given), f"sink {node.table}", inputs, origin, sinks)
    pieces = {"operator": f"{node.kind}_{node.version}", "key": json.dumps(_keys(plan, node))}
    if node.kind in _AGGREGATES:
        pieces |= _aggregate(plan, node, given[0])
    elif _counts_on(node, given[0]):
        made = plan.columns[node.id][len(given[0]) :]
        return _Part(node, {**pieces, "aggregates": json.dumps(_row(made))}, node.kind, inputs, origin, sinks)
    else:
        for side, columns in enumerate(given):
            pieces[f"rows of input {side + 1}" if len(given) > 1 else "rows"] = json.dumps(_row(columns))
            if node.kind == "join":
                pieces[f"what tells apart the rows of input {side + 1}"] = json.dumps(_told_apart(node, side, columns))
    does = {k: v for k, v in {**_BEFORE, **node.body}.items() if k not in _NOISE and k not in _MANNER}
    pieces["what it does"] = json.dumps(does, sort_keys=True)
    if node.kind in _AGGREGATES:
        pieces["what it does"] = json.dumps(_windows(node.body, given[0]), sort_keys=True)
    if (zone := _zone(node)) is not None:
        pieces["time zone"] = zone
    return _Part(node, pieces, node.kind, inputs, origin, sinks)


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
    if _stateful(node):
        return []
    found = [f for i in node.inputs for f in _filters(plan, i)]
    condition = node.body.get("condition")
    if condition:
        found.append(json.dumps(condition, sort_keys=True))
    return found


def _primary_key(node: Node) -> list[int]:
    """Of a table: the places of the columns that are its key."""
    schema = ((node.body["dynamicTableSink"].get("table") or {}).get("resolvedTable") or {}).get("schema") or {}
    names = (schema.get("primaryKey") or {}).get("columns") or []
    return [i for i, column in enumerate(node.schema) if column["name"] in names]


def _pushed(node: Node) -> list[str]:
    pushed = node.body["scanTableSource"].get("abilities") or []
    return [json.dumps(a, sort_keys=True) for a in pushed if a.get("type") == "FilterPushDown"]


# Which operator of the new plan is which of the old one ---------------------------------------


def _pairs(before: list[_Part], after: list[_Part]) -> list[_Pair]:
    """Operators that keep the same are told apart by what their rows come from and where they end: two aggregates with
    the same words in two INSERTs are not each other's. What is left is paired with what resembles it most."""
    pairs: list[_Pair] = []
    left, right = list(before), list(after)
    for alike, sure in _SAME:
        for a in list(left):
            found = [b for b in right if a.place == b.place and a.pieces == b.pieces and alike(a, b)]
            if not found:
                continue
            b = found[0]
            rivals = [x for x in left if x.place == b.place and x.pieces == b.pieces and alike(x, b)]
            told = (
                "dynamicTableSink" in a.node.body or sure is True or (sure is None and len(found) == len(rivals) == 1)
            )
            pairs.append(_Pair(a, b, told))
            left.remove(a)
            right.remove(b)
    scored = sorted(
        (-_alike(a, b), not a.sinks & b.sinks, i, j)
        for i, a in enumerate(left)
        for j, b in enumerate(right)
        if a.place == b.place
    )
    used: set[tuple[str, int]] = set()
    for _, _, i, j in scored:
        if ("a", i) not in used and ("b", j) not in used:
            used |= {("a", i), ("b", j)}
            pairs.append(_Pair(left[i], right[j]))
    order = {part.node.id: i for i, part in enumerate(before)}
    return sorted(pairs, key=lambda pair: order[pair.a.node.id])


# By what operators that keep the same are taken for the same one, the surest first, and whether it is one then. None:
# if no other could be it as well.
_SAME: list[tuple[Callable[[_Part, _Part], bool], bool | None]] = [
    (lambda a, b: a.origin == b.origin and a.sinks == b.sinks, True),
    (lambda a, b: a.origin == b.origin and bool(a.sinks & b.sinks), None),
    (lambda a, b: a.origin == b.origin, None),
    (lambda a, b: a.inputs == b.inputs and bool(a.sinks & b.sinks), None),
    (lambda a, b: bool(a.sinks & b.sinks), None),
    (lambda a, b: True, False),
]


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


def _judge(pair: _Pair, notes: list[str]) -> OperatorChange:
    a, b = pair.a, pair.b
    differing = [k for k in {**a.pieces, **b.pieces} if a.pieces.get(k) != b.pieces.get(k)]
    if differing:
        return _change(Change.CHANGED, a, b, "; ".join(_differs(k, a, b) for k in differing))
    if not pair.told:
        why = "it cannot be told which operator of the old version it goes on from: what comes into it has changed"
        return _change(Change.UNSURE, a, b, f"{why}, and others keep the same or it is written elsewhere")
    if "scanTableSource" in a.node.body:
        return _same_place(a, b, notes)
    if "dynamicTableSink" in a.node.body and (elsewhere := _moved_places(a, b)):
        return _written_elsewhere(a, b, ", ".join(elsewhere), notes)
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


def _moved_places(a: _Part, b: _Part) -> list[str]:
    """The options by which one table reads or writes elsewhere than the other."""
    before, after = a.node.options, b.node.options
    return sorted(k for k in PLACES if before.get(k, "").rstrip("/") != after.get(k, "").rstrip("/"))


def _written_elsewhere(a: _Part, b: _Part, options: str, notes: list[str]) -> OperatorChange:
    connector = b.node.options.get("connector", "")
    if connector in _ANYWHERE:
        notes.append(f"{b.node.table}: it writes elsewhere ({options}) from now on")
        return _change(Change.KEPT, a, b)
    if connector == "filesystem":  # seen on 2.3.0: while files are open, new rows go to the old folder, too
        why = "its state holds the files that are open in the old place, and it would go on writing there"
        return _change(Change.CHANGED, a, b, f"it writes elsewhere ({options}); {why}; without it, they are lost")
    why = "its state may hold what is to be committed at the old place"
    return _change(Change.UNSURE, a, b, f"it writes elsewhere ({options}); {why}")


def _same_place(a: _Part, b: _Part, notes: list[str]) -> OperatorChange:
    before, after = a.node.options, b.node.options
    moved = _moved_places(a, b)
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


def _moved(pairs: list[_Pair], notes: list[str]) -> None:
    for pair in pairs:
        if pair.a.inputs != pair.b.inputs:
            notes.append(
                f"{pair.b.node.description}: a filter in front of it changed; what it has kept was filtered the old way"
            )
        elif pair.a.origin != pair.b.origin and not {"scanTableSource", "dynamicTableSink"} & pair.b.node.body.keys():
            notes.append(
                f"{pair.b.node.description}: what comes into it is made in another way; what it has kept was made the "
                "old way"
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
