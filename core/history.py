"""Which rows of the past may be forgotten: pure functions. What lives, and what is needed to go on, is kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field

SEARCHED = 20
"""Last attempts of a job whose folders are searched for restore points that nobody has written down."""


class HistoryPolicy(BaseModel):
    """How long the past is kept, in days; 0: for ever. `keep_last` counts rows of a job."""

    model_config = ConfigDict(frozen=True)
    events_days: float = Field(description="Days that lines of timelines are kept")
    log_lines_days: float = Field(description="Days that lines of the logs of commands, builds and libraries are kept")
    commands_days: float = Field(description="Days that commands are kept after their end, with their logs")
    attempts_days: float = Field(description="Days that attempts are kept after their end")
    previews_days: float = Field(description="Days that previews are kept after their end")
    keep_last: int = Field(description="Of each job the last so many events, commands and attempts are kept for ever")


def cutoff(days: float, now: datetime) -> datetime | None:
    """What is older may be forgotten; None: nothing may."""
    return now - timedelta(days=days) if days > 0 else None


@dataclass(frozen=True)
class PastAttempt:
    """`like` is the attempt that it was to run like; `knows` tells that it has written down itself what it ran."""

    number: int
    flink_job_id: str
    ended_at: datetime | None
    like: int | None = None
    knows: bool = True


def links(kept: Mapping[int, PastAttempt]) -> set[int]:
    """Numbers of attempts that those were to run like, and that are needed for it, since they have not written down
    themselves what they ran. Not those that are kept already."""
    return {a.like for a in kept.values() if not a.knows and a.like is not None} - kept.keys()


def attempts_to_forget(
    old: Sequence[PastAttempt], *, before: datetime, kept: Mapping[int, PastAttempt]
) -> list[PastAttempt]:
    """Those of `old` that may go: they have ended before that moment, and are not among those that are kept."""
    return [a for a in old if a.ended_at is not None and a.ended_at < before and a.number not in kept]


def numbers_of(savepoints: Collection[str]) -> set[int]:
    """Of the attempts that have left savepoints: names of their folders begin with them."""
    heads = (name.partition("-")[0] for name in savepoints)
    return {int(head) for head in heads if head.isascii() and head.isdigit()}
