"""Which restore points are kept, and which may be deleted: pure functions, every row tested."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field

from core.jobs.restore import NOTHING, RestoreKind, RestorePoint, newest, newest_first

SETTLED_SECONDS = 60.0
"""What has ended just now may still be writing."""


class SavepointPolicy(BaseModel):
    """Savepoints that are taken by themselves, and how long savepoints and the checkpoints of ended attempts are kept.
    Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    interval: float | None = Field(
        default=None, ge=10, le=31_536_000, description="Seconds between two savepoints while it runs; null: none"
    )
    keep_last: int | None = Field(
        default=None, ge=1, le=10_000, description="Savepoints kept whatever their age; null: nothing is ever deleted"
    )
    keep_for: float = Field(
        default=604_800,
        ge=0,
        le=315_360_000,
        description="Seconds that any savepoint, and any checkpoint of an ended attempt, is kept at the least",
    )
    keep_attempts: int | None = Field(
        default=5,
        ge=1,
        le=10_000,
        description="Last attempts whose checkpoints are kept whatever their age; null: checkpoints of ended attempts "
        "are never deleted",
    )


class CheckpointFolder(BaseModel):
    """The folder of an attempt's checkpoints. `changed_at` is when anything in it was last written."""

    model_config = ConfigDict(frozen=True)
    attempt: int
    path: str
    ended_at: datetime | None
    changed_at: datetime


def to_delete(
    policy: SavepointPolicy,
    points: Sequence[RestorePoint],
    now: datetime,
    *,
    in_use: Collection[str],
    taken_up: Mapping[int, int] = NOTHING,
) -> list[RestorePoint]:
    """The savepoints that may go, oldest first; for `taken_up` see `core.jobs.restore.StateLineage`.

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


def folders_to_delete(
    policy: SavepointPolicy,
    folders: Sequence[CheckpointFolder],
    points: Sequence[RestorePoint],
    now: datetime,
    *,
    attempts: int,
    in_use: Collection[str],
    taken_up: Mapping[int, int] = NOTHING,
) -> list[CheckpointFolder]:
    """The folders of checkpoints that may go as a whole, oldest attempt first.

    `points` are all restore points of the job that are there, `attempts` is how many the job has made, `in_use` are ids
    and paths of points that are pinned, kept by a person, or that any living attempt of any job came from. Kept are the
    folders of the last `keep_attempts` attempts, of those that have not ended, of those with anything younger than
    `keep_for` or in use, and the one with the newest restore point of the job. And one is kept until a later attempt
    has completed a checkpoint or savepoint of its own: restore points are not claimed, so from then on nothing of that
    attempt refers to files of an earlier one.
    """
    if policy.keep_attempts is None:
        return []
    young = now - timedelta(seconds=policy.keep_for)
    settled = min(young, now - timedelta(seconds=SETTLED_SECONDS))
    latest = newest(points, taken_up)
    return [
        folder
        for folder in sorted(folders, key=lambda f: f.attempt)
        if folder.attempt <= attempts - policy.keep_attempts
        and folder.attempt not in taken_up
        and folder.ended_at is not None
        and folder.ended_at <= young
        and folder.changed_at <= settled
        and latest is not None
        and latest.attempt > folder.attempt
        and not any(_inside(path, folder.path) for path in in_use)
        and not any(p.id in in_use or p.completed_at > young for p in points if _inside(p.path, folder.path))
        and not _inside(latest.path, folder.path)
    ]


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")
