"""Which registered views a script is given."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from core.sql.catalogs import catalogs_named
from core.sql.script import parse
from core.sql.tokens import Chain
from core.sql.views import ViewDefinition, definition_in, needed, tables_of_query
from store.resources import Visible, is_view

Views = Mapping[str, ViewDefinition]


def views_in(visible: Iterable[Visible], project: str) -> dict[str, ViewDefinition]:
    """The views of a project, by name, among what it may use."""
    rows = [item.resource for item in visible if item.resource.project == project]
    definitions = {row.name: definition_in(row.definition) for row in rows if is_view(row)}
    return {name: view for name, view in definitions.items() if isinstance(view, ViewDefinition)}


def in_order(names: Collection[Chain], mine: Collection[str], views: Views) -> list[str]:
    """The views that some names reach and that are not made otherwise (`mine`), each after those that it names. Raises
    `InvalidInput` for a circle."""
    return needed(names, {name: view for name, view in views.items() if name in mine})


def those_without(catalogs: Collection[str], views: Views) -> list[str]:
    """All views but those that need a catalog, in order."""
    ordered = needed({(name,) for name in views}, views)
    left_out: set[str] = set()
    for name in ordered if catalogs else ():
        below = {chain[0] for chain in tables_of_query(views[name].query) if len(chain) == 1}
        if below & left_out or catalogs_named(parse(views[name].query), catalogs):
            left_out.add(name)
    return [name for name in ordered if name not in left_out]
