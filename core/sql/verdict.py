"""Whether the state of a running SQL job fits a changed one: the two compiled plans, operator by operator.

Flink maps state by the ids of operators, which a new compilation hands out anew. So operators of the new plan that
do the same as one of the old plan get its id (`Comparison.aligned`), and go on with its state; those whose state
means something else get an id of their own and begin empty.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field

from core.jobs.restore import Accepted
from core.sql.operators import Node
from core.sql.option_values import differing
from core.sql.places import PLACES, Known, differing_places, place_of_options
from core.sql.plan import Plan, renumbered
from core.sql.renames import renamed
from core.sql.state import AGGREGATES, ROWS, OperatorState, in_manner, is_stateful, manner_of, operator_states

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
    diff: str = Field(default="", description="The operators of both plans that keep state, one per line")


@dataclass(frozen=True)
class Comparison:
    verdict: StateVerdict
    aligned: Plan


@dataclass(frozen=True)
class _Pair:
    """An operator of the old plan and the one of the new plan that takes its place; `told` unless it may be another."""

    a: OperatorState
    b: OperatorState
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
    """Nothing can be told of the state as a whole; `why` is a sentence."""
    return StateVerdict(verdict=Verdict.UNKNOWN, summary=why)


def compare(old: Plan, new: Plan) -> Comparison:
    """Compare two plans; `aligned` is `new` with the ids of those operators of `old` whose state it can take."""
    old, notes = renamed(old, new)
    known = Known(place for plan in (old, new) for place in _places(plan))
    before, after = operator_states(old, known), operator_states(new, known)
    pairs = _pairs(before, after)
    changes: list[OperatorChange] = []
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
    manners = {p.b.node.id: manner_of(p.a.node) for p in pairs if ids[p.b.node.id] == p.a.node.id}
    return Comparison(found, renumbered(in_manner(new, manners), ids))


def _places(plan: Plan) -> list[str]:
    places = [place_of_options(node.options) for node in plan.sources]
    return [place for place in places if place]


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
    return [found for one in given for found in ([one] if is_stateful(one) else _in_front(plan, one))]


def _takes_back(node: Node, reader: Node) -> bool:
    """Whether one operator takes back rows that it has given, as far as it or the one that reads them tells."""
    if reader.kind in AGGREGATES:
        return bool(reader.body.get("needRetraction") or any(reader.body.get("aggCallNeedRetractions") or []))
    if node.kind == "deduplicate":
        return bool(node.body.get("keepLastRow"))
    if node.kind == "join":
        return (node.body.get("joinSpec") or {}).get("joinType") != "INNER"
    return node.kind in ("group-aggregate", "global-group-aggregate", "rank", "sort-limit", "changelog-normalize")


def from_one(plan: Plan) -> Plan:
    """The plan with ids counted from one: the gateway counts over all it ever compiled."""
    return renumbered(plan, {number: i for i, number in enumerate(plan.nodes, 1)})


# Which operator of the new plan is which of the old one ---------------------------------------


def _pairs(before: list[OperatorState], after: list[OperatorState]) -> list[_Pair]:
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
_SAME: list[tuple[Callable[[OperatorState, OperatorState], bool], bool | None]] = [
    (lambda a, b: a.origin == b.origin and a.sinks == b.sinks, True),
    (lambda a, b: a.origin == b.origin and bool(a.sinks & b.sinks), None),
    (lambda a, b: a.origin == b.origin, None),
    (lambda a, b: a.inputs == b.inputs and bool(a.sinks & b.sinks), None),
    (lambda a, b: bool(a.sinks & b.sinks), None),
    (lambda a, b: True, False),
]


def _alike(a: OperatorState, b: OperatorState) -> int:
    return sum(1 for key, value in a.pieces.items() if b.pieces.get(key) == value)


# What a pair means ----------------------------------------------------------------------------


def _change(change: Change, a: OperatorState | None, b: OperatorState | None, why: str = "") -> OperatorChange:
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
    if "dynamicTableSink" in a.node.body and (elsewhere := differing_places(a.node.options, b.node.options)):
        return _written_elsewhere(a, b, ", ".join(elsewhere), notes)
    known = a.node.kind in AGGREGATES | ROWS or "dynamicTableSink" in a.node.body
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


def _called(node: Node) -> str:
    """A source or a sink, as a note calls it."""
    return str(node.table or node.description)


def _written_elsewhere(a: OperatorState, b: OperatorState, options: str, notes: list[str]) -> OperatorChange:
    connector = b.node.options.get("connector", "")
    if connector in _ANYWHERE:
        notes.append(f"{_called(b.node)}: it writes elsewhere ({options}) from now on")
        return _change(Change.KEPT, a, b)
    if connector == "filesystem":  # seen on 2.3.0: while files are open, new rows go to the old folder, too
        why = "its state holds the files that are open in the old place, and it would go on writing there"
        return _change(Change.CHANGED, a, b, f"it writes elsewhere ({options}); {why}; without it, they are lost")
    why = "its state may hold what is to be committed at the old place"
    return _change(Change.UNSURE, a, b, f"it writes elsewhere ({options}); {why}")


def _same_place(a: OperatorState, b: OperatorState, notes: list[str]) -> OperatorChange:
    before, after = a.node.options, b.node.options
    moved = differing_places(before, after)
    if moved:
        why = f"it reads from elsewhere ({', '.join(moved)}); its state holds positions of the old place"
        return _change(Change.UNSURE, a, b, why)
    if others := differing(before, after, but=PLACES):
        notes.append(f"{_called(b.node)}: changed options {', '.join(others)}; positions are taken from the state")
    return _change(Change.KEPT, a, b)


def _ttls(node: Node) -> list[str]:
    return [str(s.get("ttl")) for s in node.body.get("state") or []]


def _differs(key: str, a: OperatorState, b: OperatorState) -> str:
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
        return f"{', '.join(names) or key} changed"
    if isinstance(was, list) and isinstance(now, list):
        gone = [f"without {_item(x)}" for x in was if x and x not in now]
        come = [f"with {_item(x)}" for x in now if x and x not in was]
        if gone or come:
            return f"{key}: " + ", ".join(dict.fromkeys([*gone, *come]))
        return (
            f"{key}: in another order"
            if sorted(map(json.dumps, was)) == sorted(map(json.dumps, now))
            else f"{key} changed"
        )
    return f"{key} changed"


def _item(piece: Any) -> str:
    """A column as `type meaning`; several as a list of them."""
    if isinstance(piece, list) and piece and all(isinstance(p, list) for p in piece):
        return ", ".join(_item(p) for p in piece)
    if isinstance(piece, list):
        return " ".join(str(p) for p in piece[:2][::-1] if p)
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
