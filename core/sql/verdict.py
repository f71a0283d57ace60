"""Whether the state of a running SQL job fits a changed one: the two compiled plans, operator by operator.

Flink maps state by the ids of operators, which a new compilation hands out anew. So operators of the new plan that
do the same as one of the old plan get its id (`Comparison.aligned`), and go on with its state; those whose state
means something else get an id of their own and begin empty.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field

from core.jobs.restore import Accepted
from core.sql.operators import Node
from core.sql.plan import Plan, renumbered
from core.sql.state import AGGREGATES, PLACES, ROWS, OperatorState, in_manner, manner_of, operator_states


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


def objection(judged: StateVerdict, accepted: Accepted) -> tuple[str, str] | None:
    """What speaks against giving this state to that version, as a code and a sentence; None when nothing does, or all
    of it was accepted."""
    by = {kind: [c for c in judged.operators if c.change is kind] for kind in Change}
    if (by[Change.CHANGED] or judged.verdict is Verdict.INCOMPATIBLE) and not accepted.change:
        return "state_incompatible", judged.summary
    if (by[Change.UNSURE] or judged.verdict is Verdict.UNKNOWN) and not accepted.unknown:
        return "state_unknown", _first(by[Change.UNSURE]) if by[Change.UNSURE] else judged.summary
    if (by[Change.DROPPED] or judged.verdict is Verdict.WITH_LOSS) and not accepted.loss:
        return "state_loss", _dropped(by[Change.DROPPED]) if by[Change.DROPPED] else judged.summary
    return None


def unknown(why: str) -> StateVerdict:
    """A verdict of which nothing is known, with the reason."""
    return StateVerdict(verdict=Verdict.UNKNOWN, summary=why)


def compare(old: Plan, new: Plan) -> Comparison:
    """Compare two plans; `aligned` is `new` with the ids of those operators of `old` whose state it can take."""
    before, after = operator_states(old), operator_states(new)
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
    judged = _sum(changes, notes)
    manners = {b.node.id: manner_of(a.node) for a, b in pairs if ids[b.node.id] == a.node.id}
    return Comparison(judged, renumbered(in_manner(new, manners), ids))


def from_one(plan: Plan) -> Plan:
    """The plan with ids counted from one: the gateway counts over all it ever compiled."""
    return renumbered(plan, {number: i for i, number in enumerate(plan.nodes, 1)})


# Which operator of the new plan is which of the old one ---------------------------------------


def _pairs(before: list[OperatorState], after: list[OperatorState]) -> list[tuple[OperatorState, OperatorState]]:
    """The same ones first, in the order of the plans; then those at the same place that resemble each other most."""
    pairs: list[tuple[OperatorState, OperatorState]] = []
    left, right = list(before), list(after)
    for inputs_too in (True, False):
        for a in list(left):
            same = next((b for b in right if _same(a, b, inputs_too)), None)
            if same is not None:
                pairs.append((a, same))
                left.remove(a)
                right.remove(same)
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


def _same(a: OperatorState, b: OperatorState, inputs_too: bool) -> bool:
    return a.place == b.place and a.pieces == b.pieces and (a.inputs == b.inputs or not inputs_too)


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


def _judge(a: OperatorState, b: OperatorState, notes: list[str]) -> OperatorChange:
    differing = [k for k in {**a.pieces, **b.pieces} if a.pieces.get(k) != b.pieces.get(k)]
    if differing:
        return _change(Change.CHANGED, a, b, "; ".join(_differs(k, a, b) for k in differing))
    if "scanTableSource" in a.node.body:
        return _same_place(a, b, notes)
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


def _same_place(a: OperatorState, b: OperatorState, notes: list[str]) -> OperatorChange:
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


def _moved(old: Plan, new: Plan, pairs: list[tuple[OperatorState, OperatorState]], notes: list[str]) -> None:
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
