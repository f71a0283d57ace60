"""One query of a run: its rows as they come, its table as it is, and how it ended."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field

from core.sql.changelog import KINDS, Materialized, Row, Table
from core.sql.operators import Json
from core.sql.values import Type


class Limits(BaseModel):
    """What a run may cost."""

    rows: int = Field(default=1000, ge=1, le=10_000, description="Changes a stream, then it ends")
    seconds: float = Field(default=60, ge=1, le=3600)
    rows_per_second: int | None = Field(default=None, ge=1, le=10_000, description="Slower sources wait no longer")
    parallelism: int = Field(default=1, ge=1, le=16)


class Ended(StrEnum):
    FINISHED = "FINISHED"  # the query came to its end
    LIMITED = "LIMITED"
    STOPPED = "STOPPED"
    ABANDONED = "ABANDONED"  # nobody was listening
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"  # a gateway or this process died; it can be asked for again


class StreamEvent(BaseModel):
    id: int
    event: str
    data: dict[str, Any]


@dataclass(frozen=True)
class NotNull:
    """The columns of a sink that may not be null, by their positions, and what Flink does with a row that has a null
    there: it `drops` it, or the job fails (`table.exec.sink.not-null-enforcer`).

    Flink's own enforcer stands before a sink. A query's result has one, too, which keeps lengths
    (`table.exec.sink.type-length-enforcer`), but knows of no null that is not allowed: no query has a type for that.
    """

    columns: Mapping[int, str] = field(default_factory=dict)
    drops: bool = False

    def violated(self, fields: Row) -> str | None:
        """The column that is null and may not be; None when there is none."""
        return next((name for at, name in self.columns.items() if fields[at] is None), None)


def null_refused(column: str) -> str:
    """Flink's own words about a null (`ConstraintEnforcer`; 1.20 and 2.3)."""
    return (
        f"Column '{column}' is NOT NULL, however, a null value is being written into it. You can set job configuration "
        "'table.exec.sink.not-null-enforcer'='DROP' to suppress this exception and drop such records silently."
    )


@dataclass
class Stream:
    """One query of a run. `name` is the sink that it stands for, empty for a plain query."""

    name: str
    statement: str
    not_null: NotNull = NotNull()
    table: Table = field(default_factory=Materialized)
    flink_job_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    id: str = ""
    operation: str = ""
    taken: bool = False
    """The gateway has answered: if there is a Flink job of it, the cluster knows it."""
    columns: list[Json] = field(default_factory=list)
    types: list[Type] = field(default_factory=list)
    rows: int = 0
    size: int = 0  # of its values, about, in bytes
    running_since: float | None = None  # all its tasks
    ended: Ended | None = None
    why: str = ""

    def take(self, changes: list[Json], limit: int) -> tuple[list[Json], str | None]:
        """Apply changes of the gateway until there are `limit` rows. Gives those that the sink gets, and the column of
        a null at which it fails."""
        taken: list[Json] = []
        for change in changes:
            if self.rows >= limit:
                break
            fields = change["fields"]
            if (column := self.not_null.violated(fields)) is not None:
                if self.not_null.drops:
                    continue
                return taken, column
            kind = KINDS.get(str(change["kind"]), "+I")
            self.rows += 1
            self.size += sum(len(f) if isinstance(f, str) else 16 for f in fields)
            self.table.apply(kind, fields)
            taken.append({"kind": kind, "fields": fields})
        return taken, None


def worst(streams: list[Stream]) -> Ended:
    """How a run of these streams has ended."""
    order = [Ended.FAILED, Ended.INTERRUPTED, Ended.ABANDONED, Ended.STOPPED, Ended.LIMITED, Ended.FINISHED]
    return min((s.ended or Ended.FAILED for s in streams), key=order.index)
