"""A command, as one model from the API to the workflow.

A new field stands in `CommandFields`, with a default, and nowhere else: the API takes it and shows it, the database
keeps it (`store.commands`), Temporal delivers it, and older rows and payloads are read without it. What the workflow
does by it is another matter. Bounds may be widened, not narrowed: what was accepted once is read for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from core.jobs.restore import RestoreRequest
from core.jobs.states import STARTS, CommandKind
from core.names import FlinkJobId

LOCAL = "local"
"""Who calls while there is no authentication."""
RESTART_POLICY = "restart policy"
ROLLBACK = "rollback"


@dataclass(frozen=True)
class With:
    """Mark of a field that has a meaning with some kinds of commands only."""

    kinds: frozenset[CommandKind]


class CommandFields(BaseModel):
    """What a caller sends."""

    kind: CommandKind
    restore: Annotated[
        RestoreRequest | None,
        With(STARTS),
        Field(description="With start, restart and resubmit: which state to start from"),
    ] = None
    version: Annotated[
        int | None,
        With(STARTS | {CommandKind.ADOPT}),
        Field(ge=1, le=2**31 - 1, description="With start, restart, resubmit and adopt"),
    ] = None
    rollback_within: Annotated[
        float | None,
        With(frozenset({CommandKind.RESUBMIT})),
        Field(
            ge=5,
            le=86_400,
            description="With resubmit: seconds to become healthy (all tasks running, one checkpoint completed); "
            "if it does not, the job goes back to the version and the state before",
        ),
    ] = None
    force: Annotated[
        bool,
        With(STARTS | {CommandKind.KILL}),
        Field(
            description="With start, restart and resubmit: also when the state does not fit the version (verdict "
            "INCOMPATIBLE); the state of the operators that changed is dropped, the rest goes on. The same as "
            "restore.accept_changed_state with restore.allow_non_restored_state. Of a session cluster, with kill too: "
            "also while jobs run on it",
        ),
    ] = False
    flink_job_id: Annotated[
        FlinkJobId | None,
        With(frozenset({CommandKind.ADOPT})),
        Field(description="With adopt: the Flink job that it takes over"),
    ] = None
    reason: Annotated[str | None, Field(max_length=2000, description="Why, for the timeline")] = None

    def without_meaning(self) -> Iterator[str]:
        """Names of fields that are given, and that have no meaning with this kind."""
        for name, field in type(self).model_fields.items():
            given = getattr(self, name) != field.default
            if given and any(self.kind not in mark.kinds for mark in field.metadata if isinstance(mark, With)):
                yield name


class AskedCommand(CommandFields):
    """A command that was asked for, with who asked: what is kept and shown of it."""

    requested_by: Annotated[str, Field(description=f"Who asked for it; `{LOCAL}` until there is authentication")] = (
        LOCAL
    )


class CommandRequest(AskedCommand):
    """A command as it reaches the workflow. `id` is also the id of the update, so that it arrives once. `job_id` is
    the job that it is for: the workflow of another one refuses it. From `expires_at` on it is not taken any more. Both
    are None in what was sent before there were any."""

    id: str
    number: int
    job_id: str | None = None
    expires_at: datetime | None = None

    def was_sent_before(self, other: CommandRequest) -> bool:
        """Whether it was sent before `other`, as far as that can be told: numbers begin again when a database was
        restored from a backup, and times when a clock was set."""
        if self.expires_at is None or other.expires_at is None:
            return False
        return self.number < other.number and self.expires_at < other.expires_at
