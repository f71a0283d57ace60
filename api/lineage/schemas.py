"""Shapes of questions about lineage. The answers are those of `core.sql.lineage`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query

Direction = Literal["upstream", "downstream", "both"]
Project = Annotated[str | None, Query(max_length=80, description="Only jobs of this project")]
Place = Annotated[str, Query(max_length=2000, description="A place, as the graph names it")]
