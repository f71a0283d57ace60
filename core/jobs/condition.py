"""How an attempt fares that its engine shows as running: whether it makes progress, or is restarted for ever."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

OFTEN = 3  # restarts without a completed checkpoint between them, from which on they are worth a word
OFTEN_IN_AN_HOUR = 5
LATE_SECONDS = 60.0
VERY_LATE_SECONDS = 900.0  # more than Flink's default time-out of a checkpoint, 10 min

NO_SAVEPOINT_NEEDED = (
    "Without a savepoint: `kill` keeps the retained checkpoints, then `start` with restore newest goes on from the "
    "last of them; a `restart` with a named restore point does both."
)


class Condition(BaseModel):
    """Seconds, and counts. `restarts` are the engine's own since the newest completed checkpoint, or since the start
    when none has completed; `in_an_hour` those of the last hour. `failed` counts failed checkpoints since the newest
    completed one; `age` is the time since that, or since the attempt ran. `interval` is None when it takes none.
    `failure` is the engine's last, in a line."""

    model_config = ConfigDict(frozen=True)
    restarts: int = 0
    in_an_hour: int = 0
    completed: int = 0
    failed: int = 0
    age: float | None = None
    interval: float | None = None
    failure: str | None = None


def warning(condition: Condition) -> str | None:
    """What is wrong with an attempt that runs; None when nothing is. The words before the colon say what kind of
    trouble it is, and stay the same while it lasts."""
    after = f" Last failure: {condition.failure}" if condition.failure else ""
    if condition.restarts >= OFTEN:
        since = "since then no checkpoint has completed" if condition.completed else "no checkpoint has ever completed"
        return f"Flink restarts it again and again: {condition.restarts} times, and {since}.{after}"
    if condition.interval is not None and condition.age is not None:
        late = condition.age > 3 * condition.interval + LATE_SECONDS and condition.failed > 0
        if late or condition.age > 3 * condition.interval + VERY_LATE_SECONDS:
            what = "the newest is" if condition.completed else "none has, and it runs for"
            old = f"{condition.age:.0f} s old" if condition.completed else f"{condition.age:.0f} s"
            failed = f"; {condition.failed} have failed since" if condition.failed else ""
            due = f"one is due every {condition.interval:g} s{failed}"
            return f"Its checkpoints do not complete: {what} {old}, and {due}.{after}"
    if condition.in_an_hour >= OFTEN_IN_AN_HOUR:
        times = f"{condition.in_an_hour} times within an hour"
        return f"Flink restarts it often: {times}, with checkpoints in between.{after}"
    return None


def kind(words: str | None) -> str | None:
    """What kind of trouble a warning tells of: the words that stay the same while it lasts."""
    return words.partition(":")[0] if words else None


def is_hopeless(restarts: int | None, limit: int | None) -> bool:
    """Whether the platform takes an attempt for failed that its engine restarts without a checkpoint in between."""
    return bool(limit) and restarts is not None and restarts >= (limit or 0)


def given_up(restarts: int, failure: str | None) -> str:
    """Why the platform takes such an attempt for failed, in words; `failure` is the last one's message, None when Flink
    tells none."""
    why = f": {failure}" if failure else ""
    return f"Flink restarted it {restarts} times without a completed checkpoint in between{why}"
