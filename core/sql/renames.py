"""A table that another version calls by another name: it is the same table when it reads or writes the same.

The names of tables are in the meanings of columns, so that two tables are told apart. State knows none of them: Flink
finds it by the ids of operators, and what is in it are positions in the place and values of columns (tried on 2.3.0:
tests/real/test_verdict.py).
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Mapping

from core.sql.operators import Node, TableName, table_in
from core.sql.option_values import meaning_of
from core.sql.places import place_of_options
from core.sql.plan import Plan, read
from core.sql.tokens import quoted_name


def renamed(old: Plan, new: Plan) -> tuple[Plan, list[str]]:
    """The old plan with the names that the new one has for the same tables, and a note on each. Only a table that no
    other of its plan could be taken for is the same."""
    before, after = _tables(old), _tables(new)
    gone = {name: what for name, what in before.items() if name not in after}
    come = {name: what for name, what in after.items() if name not in before}
    alike = {what: name for name, what in come.items()}
    counts, others = Counter(before.values()), Counter(after.values())
    names = {n: alike[what] for n, what in gone.items() if what in alike and counts[what] == others[what] == 1}
    if not names:
        return old, []
    notes = [f"{now}: it was called {was} and is the same table, so its state goes on" for was, now in names.items()]
    return _called(old, names), notes


def _tables(plan: Plan) -> dict[TableName, str]:
    """What each table is, besides its name: how it is used, its columns, and where it lies. Of one that lies nowhere,
    all its options."""
    uses: dict[TableName, list[Node]] = {}
    for node in plan.nodes.values():
        if node.table is not None:
            uses.setdefault(node.table, []).append(node)
    return {name: json.dumps([_is(node) for node in nodes], sort_keys=True) for name, nodes in uses.items()}


def _is(node: Node) -> list[object]:
    options = node.options
    where: object = place_of_options(options) or {key: meaning_of(key, value) for key, value in options.items()}
    columns = [{k: c.get(k) for k in ("name", "dataType", "kind", "metadataKey")} for c in node.schema]
    return [node.kind, options.get("connector"), where, columns]


def _called(plan: Plan, names: Mapping[TableName, TableName]) -> Plan:
    body = copy.deepcopy(plan.body)
    for table in filter(None, map(table_in, body["nodes"])):
        if now := names.get(TableName.parse(str(table.get("identifier")))):
            table["identifier"] = quoted_name(now.catalog, now.database, now.name)
    return read(body)
