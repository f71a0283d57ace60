"""Which restore points are kept, and which may be deleted: one pure function, every row tested."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field

from core.restore import NOTHING, RestoreKind, RestorePoint, newest_first


class SavepointPolicy(BaseModel):
    """Savepoints that are taken by themselves, and how long savepoints are kept. Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    interval: float | None = Field(
        default=None, ge=10, le=31_536_000, description="Seconds between two savepoints while it runs; null: none"
    )
    keep_last: int | None = Field(
        default=None, ge=1, le=10_000, description="Savepoints kept whatever their age; null: nothing is ever deleted"
    )
    keep_for: float = Field(
        default=604_800, ge=0, le=315_360_000, description="Seconds that any savepoint is kept at the least"
    )


def to_delete(
    policy: SavepointPolicy,
    points: Sequence[RestorePoint],
    now: datetime,
    *,
    in_use: Collection[str],
    taken_up: Mapping[int, int] = NOTHING,
) -> list[RestorePoint]:
    """The savepoints that may go, oldest first; for `taken_up` see `core.restore.Lineage`.

    Kept are the last `keep_last`, every one younger than `keep_for`, every one whose path or id is
    `in_use` (pinned, or the point that the current attempt came from), and always the newest restore
    point of the job when it is a savepoint. Checkpoints are Flink's, and left alone.
    """
    if policy.keep_last is None:
        return []
    ordered = newest_first(points, taken_up)
    savepoints = [p for p in ordered if p.kind is RestoreKind.SAVEPOINT]
    kept = {p.id for p in savepoints[: policy.keep_last]} | ({ordered[0].id} if ordered else set())
    young = now - timedelta(seconds=policy.keep_for)
    return [
        p
        for p in reversed(savepoints)
        if p.id not in kept and p.completed_at <= young and p.path not in in_use and p.id not in in_use
    ]
