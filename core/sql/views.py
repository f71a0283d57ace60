"""A registered view: its query, the DDL that it stands for, and the order in which views are made.

A view is made where the session begins, so short names in its query are registered tables and views of the project.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from core.errors import InvalidInput
from core.specs import Frozen
from core.sql.ddl import refused
from core.sql.positions import table_names
from core.sql.references import check_script, secrets_in
from core.sql.resources import TABLE_NAME, TableDefinition
from core.sql.script import Statement, parse
from core.sql.tokens import Chain, name_at, quoted_name

MAX_QUERY = 50_000
MAX_VIEWS = 500
MAX_QUERIES = 500_000
_NAME = re.compile(TABLE_NAME)
Query = Annotated[str, StringConstraints(min_length=1, max_length=MAX_QUERY)]


class ViewDefinition(Frozen):
    """A view as Flink's CREATE VIEW takes it."""

    kind: Literal["view"] = "view"
    query: Query = Field(description="One query (SELECT, WITH, VALUES), without a semicolon")

    def check(self) -> None:
        """Raise `InvalidInput` unless it is one query without secrets."""
        if "\x00" in self.query:
            raise InvalidInput("The query has a NUL character.", code="bad_query", field="query")
        script = parse(self.query)
        check_script(script)
        if len(script.statements()) != 1 or len(script.queries) != 1:
            raise InvalidInput("A view is one query.", code="not_one_query", field="query")
        if secrets_in(self.query):
            raise InvalidInput(
                "A secret stands in an option of a table or a catalog only.", code="secret_misplaced", field="query"
            )

    def ddl(self, *chain: str, if_not_exists: bool = False) -> str:
        """CREATE VIEW under the name `chain`."""
        condition = "IF NOT EXISTS " if if_not_exists else ""
        # Without what follows the query: a semicolon, a comment that would swallow one.
        return f"CREATE VIEW {condition}{quoted_name(*chain)} AS\n{parse(self.query).queries[0].text}"


Definition = TableDefinition | ViewDefinition


def definition_in(stored: Mapping[str, Any]) -> Definition:
    """What a row of a resource has. Tables have no `kind`."""
    model = ViewDefinition if stored.get("kind") == "view" else TableDefinition
    return model.model_validate(stored)


def needed(names: Collection[Chain], views: Mapping[str, ViewDefinition]) -> list[str]:
    """The views that some names reach, each after those that it names itself. Raises `InvalidInput` when they name each
    other in a circle."""
    ordered: dict[str, None] = {}
    for name in _among(names, views):
        path = [(name, iter(_among(tables_of_query(views[name].query), views)))]
        while path:
            current, below = path[-1]
            following = next((view for view in below if view not in ordered), None)
            if following is None:
                ordered[current] = None
                path.pop()
                continue
            above = [view for view, _ in path]
            if following in above:
                circle = " > ".join([*above[above.index(following) :], following])
                raise InvalidInput(f"Views name each other in a circle: {circle}.", code="view_circle", field="query")
            path.append((following, iter(_among(tables_of_query(views[following].query), views))))
    return list(ordered)


def _among(names: Collection[Chain], views: Mapping[str, ViewDefinition]) -> list[str]:
    return sorted(chain[0] for chain in names if len(chain) == 1 and chain[0] in views)


@lru_cache(maxsize=1000)
def tables_of_query(query: str) -> frozenset[Chain]:
    """What a query may read, as it names it."""
    return frozenset(table_names(parse(query)))


def check_size(views: Mapping[str, ViewDefinition]) -> None:
    """Raise `InvalidInput` when the views of a project are more than can be looked through for each script."""
    if len(views) > MAX_VIEWS or sum(len(view.query) for view in views.values()) > MAX_QUERIES:
        raise InvalidInput(
            f"A project may have {MAX_VIEWS} views, with {MAX_QUERIES} characters in all their queries together.",
            code="too_many_views",
            field="query",
        )


def view_of(statement: Statement) -> tuple[str, ViewDefinition] | None:
    """The view that a statement of an imported text creates; None when it creates none. Raises `InvalidInput` for what
    a registered view has no place for."""
    parts = statement.tokens
    at = next((i for i, t in enumerate(parts[:4]) if t.word == "VIEW"), None)
    if parts[0].word != "CREATE" or at is None:
        return None
    if "OR" in [t.word for t in parts[:at]]:
        raise refused(statement, "only CREATE TABLE and CREATE VIEW can be imported")
    chain = name_at(parts, at + 1)
    behind = next((i for i, t in enumerate(parts) if i > at and t.word not in ("IF", "NOT", "EXISTS")), len(parts))
    behind += max(1, 2 * len(chain) - 1)
    if len(chain) != 1 or not _NAME.match(chain[0]):
        raise refused(statement, f"write the view's name alone, of letters, digits and _, not {'.'.join(chain)}")
    if behind + 1 >= len(parts) or parts[behind].word != "AS":
        raise refused(statement, "a registered view is a name and a query: name its columns in the query")
    definition = ViewDefinition(query=statement.text_from(behind + 1))
    definition.check()
    return chain[0], definition
