"""Scripts to begin with, each for a purpose. They run as they are: sources make up their rows, sinks print them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from pydantic import BaseModel, Field

from core.errors import NotFound
from core.sql.variables import variables_in


class Template(BaseModel):
    """`purpose` is the comment at the head of its text, in one line."""

    name: str
    title: str
    purpose: str
    variables: dict[str, str | None] = Field(description="Its `${NAME}`s with their defaults")
    sql: str


@cache
def templates() -> tuple[Template, ...]:
    """All, by name."""
    of_sql = (path for path in files("sql.templates").iterdir() if path.name.endswith(".sql"))
    texts = {path.name.removesuffix(".sql"): path.read_text() for path in of_sql}
    return tuple(_template(name, texts[name]) for name in sorted(texts))


def template(name: str) -> Template:
    """Raises `NotFound`."""
    for known in templates():
        if known.name == name:
            return known
    names = ", ".join(known.name for known in templates())
    raise NotFound(f"There is no template {name[:80]}.", code="template_not_found", remedy=f"There are: {names}.")


def _template(name: str, sql: str) -> Template:
    """The comment at the head is `-- Title: purpose`, and goes on in the lines that follow."""
    head = []
    for line in sql.splitlines():
        if not line.startswith("-- "):
            break
        head.append(line.removeprefix("-- "))
    title, _, purpose = " ".join(head).partition(": ")
    return Template(name=name, title=title, purpose=purpose, variables=variables_in(sql), sql=sql)
