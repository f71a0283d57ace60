"""What the expressions of a plan are made of: the columns that they come from, and what they mean."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from core.sql.operators import Column, ColumnOrigin, Json, type_text

_LONG = 160


def meaning(expression: Any, rows: Sequence[Column]) -> str:
    """What an expression of a plan over these columns means: the same for two that compute the same."""
    return of_expression(expression, rows).meaning


def of_call(call: Json, rows: Sequence[Column]) -> Column:
    """Of distinct values, and by functions of people, a state is kept by types that the result does not tell."""
    arguments = [rows[i] for i in call.get("argList") or [] if i < len(rows)]
    words = [_function(call), *(["DISTINCT"] if call.get("distinct") else [])]
    if call.get("distinct") or not call.get("internalName"):
        words.append(f"<{','.join(a.type for a in arguments)}>")
    if call.get("ignoreNulls"):
        words.append("IGNORE NULLS")
    made_of = list(arguments)
    if (guard := call.get("filterArg", -1)) >= 0:
        words.append(f"FILTER {rows[guard].meaning}")
        made_of.append(rows[guard])
    return Column(
        "",
        "",
        f"{' '.join(words)}({','.join(a.meaning for a in arguments)})",
        frozenset(o for a in made_of for o in a.origins),
        all(a.exact for a in made_of),
    )


def merged(columns: Iterable[Column]) -> Column:
    """One column for what may come from any of them, as in a UNION or a CASE. Its name and type are empty."""
    every = list(columns)
    meanings = sorted({c.meaning for c in every})
    return Column(
        "",
        "",
        meanings[0] if len(meanings) == 1 else f"any({';'.join(meanings)})",
        frozenset(o for c in every for o in c.origins),
        all(c.exact for c in every),
    )


def _function(call: Json) -> str:
    for key in ("internalName", "catalogName", "systemName", "class", "sqlKind"):
        if call.get(key):
            return re.sub(r"\$\d+$", "", str(call[key])).strip("$")
    return "?"


def of_expression(expression: Any, rows: Sequence[Column]) -> Column:
    """What an expression of the plan is made of."""
    if not isinstance(expression, dict):
        return Column("", "", json.dumps(expression))
    kind = expression.get("kind")
    if kind in ("INPUT_REF", "PATTERN_INPUT_REF"):
        index = int(expression["inputIndex"])
        if index >= len(rows):
            return Column("", "", f"constant {index}")
        row, alpha = rows[index], expression.get("alpha")
        return row if alpha is None else Column("", "", f"{alpha}.{row.meaning}", row.origins, row.exact)
    if kind == "LITERAL":
        value = expression.get("value", expression.get("sarg"))
        return Column("", "", f"{json.dumps(value, sort_keys=True)}:{type_text(expression.get('type'))}")
    if kind == "FIELD_ACCESS":
        return _field(expression, rows)
    if kind == "CORREL_VARIABLE":
        return merged(rows)
    operands = [of_expression(o, rows) for o in expression.get("operands") or []]
    name = _function(expression)
    tail = f":{type_text(expression.get('type'))}" if "CAST" in name else ""
    return Column(
        "",
        "",
        short(f"{name}({','.join(o.meaning for o in operands)}){tail}"),
        frozenset(o for operand in operands for o in operand.origins),
        all(o.exact for o in operands),
    )


def _field(expression: Json, rows: Sequence[Column]) -> Column:
    name, inner = str(expression["name"]), expression.get("expr") or {}
    if inner.get("kind") == "CORREL_VARIABLE":
        found = next((c for c in rows if c.name == name), None)
        return found or Column("", "", name, exact=False)
    of = of_expression(inner, rows)
    direct = len(of.origins) == 1 and of.meaning == str(next(iter(of.origins)))
    origins = frozenset(ColumnOrigin(o.table, f"{o.column}.{name}") for o in of.origins) if direct else of.origins
    return Column("", "", f"{of.meaning}.{name}", origins, of.exact)


def short(text: str) -> str:
    """Meanings grow with the depth of a plan: long ones are told apart by their hash."""
    return text if len(text) <= _LONG else f"{text[:40]}…{hashlib.sha256(text.encode()).hexdigest()[:24]}"


# Filters --------------------------------------------------------------------------------------


def held(condition: Any, rows: Sequence[Column]) -> frozenset[ColumnOrigin]:
    """The columns that a condition holds to one value (`a = 1 AND b IS NULL`)."""
    if not isinstance(condition, dict):
        return frozenset()
    if condition.get("kind") == "INPUT_REF":
        return of_expression(condition, rows).origins
    operands = condition.get("operands") or []
    match _function(condition):
        case "AND":
            return frozenset(o for operand in operands for o in held(operand, rows))
        case "IS NULL" | "NOT" | "IS TRUE" | "IS FALSE":
            return frozenset(o for operand in operands for o in of_expression(operand, rows).origins)
        case "=" | "IS NOT DISTINCT FROM":
            sides = [of_expression(operand, rows).origins for operand in operands]
            return frozenset().union(*sides) if not all(sides) else frozenset()
    return frozenset()


_COMPARES = frozenset({">", "<", ">=", "<=", "<>", "SEARCH"})
"""SEARCH is a BETWEEN, an IN, or several comparisons of one column. 2.3.0 makes no constants by it; nothing promises
that it stays so."""


def bounded(condition: Any, rows: Sequence[Column]) -> frozenset[ColumnOrigin]:
    """The columns that a condition holds within bounds (`a > 1 AND b IS NOT NULL`). Behind it Flink knows of some
    comparisons how they end, and has TRUE or FALSE in their places."""
    if not isinstance(condition, dict):
        return frozenset()
    operands = condition.get("operands") or []
    name = _function(condition)
    if name == "AND":
        return frozenset(o for operand in operands for o in bounded(operand, rows))
    if name in _COMPARES or name == "IS NOT NULL":
        sides = [of_expression(operand, rows).origins for operand in operands]
        return frozenset().union(*sides) if name == "IS NOT NULL" or not all(sides) else frozenset()
    return frozenset()


def has_literal(expression: Any, type_: str = "") -> bool:
    """Whether there is a constant in an expression; of a type that begins like `type_`."""
    literals = (part for part in _parts(expression) if part.get("kind") == "LITERAL")
    return any(type_text(part.get("type")).startswith(type_) for part in literals)


def _parts(expression: Any) -> Iterator[Json]:
    if isinstance(expression, dict):
        yield expression
        for part in (expression.get("expr"), *(expression.get("operands") or [])):
            yield from _parts(part)
