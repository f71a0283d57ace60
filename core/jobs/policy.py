"""The platform's restart policy: the second tier, above Flink's own restart strategy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from core.jobs.observations import Trouble


class RestartPolicy(BaseModel):
    """How often and how fast a failed job is restarted. All times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    enabled: bool = Field(default=True, description="Off: a failed job stays FAILED")
    max_restarts: int = Field(default=10, ge=0, le=10_000, description="Restarts allowed within `window`")
    window: float = Field(default=3600, gt=0, le=31_536_000, description="Seconds that a restart counts for")
    initial_backoff: float = Field(default=10, ge=0, le=86_400, description="Seconds before the first restart")
    multiplier: float = Field(default=2, ge=1, le=100, description="Growth of the back-off")
    max_backoff: float = Field(default=300, ge=0, le=86_400, description="Longest back-off, in seconds")
    jitter: float = Field(default=0.1, ge=0, le=1, description="Share of the back-off that is random")
    reset_after: float = Field(
        default=600, gt=0, le=31_536_000, description="Seconds of stable running that forget earlier restarts"
    )
    restore_tries: int = Field(
        default=2, ge=1, le=100, description="Failures of the same restore point after which it counts as unusable"
    )
    max_engine_restarts: int = Field(
        default=10,
        ge=0,
        le=1000,
        description="Restarts by Flink itself without a completed checkpoint between them, after which the attempt is "
        "ended and this policy goes on; 0: Flink may go on for ever",
    )
    fall_back: bool = Field(
        default=False,
        description="Go on from the point before an unusable one: state goes back further. Off: BLOCKED",
    )


class Wait(BaseModel):
    """Restart at `at`; it is restart number `number` of those that count."""

    model_config = ConfigDict(frozen=True)
    at: datetime
    number: int


class GiveUp(BaseModel):
    model_config = ConfigDict(frozen=True)
    why: str


def counting(
    policy: RestartPolicy, restarts: Sequence[datetime], now: datetime, *, running_since: datetime | None
) -> list[datetime]:
    """The restarts that still count against the limit at `now`.

    `running_since` is when the attempt that has just failed was first seen running, None if never.
    """
    if running_since is not None and (now - running_since).total_seconds() >= policy.reset_after:
        return []
    start = now - timedelta(seconds=policy.window)
    return [at for at in restarts if at > start]


def decide(
    policy: RestartPolicy,
    restarts: Sequence[datetime],
    now: datetime,
    *,
    running_since: datetime | None,
    random: float,
) -> Wait | GiveUp:
    """What to do about a failure at `now`. `random` is in [0, 1). A limit of N allows exactly N restarts."""
    if not policy.enabled:
        return GiveUp(why="the restart policy is off")
    counted = counting(policy, restarts, now, running_since=running_since)
    if len(counted) >= policy.max_restarts:
        return GiveUp(
            why=f"the restart policy is used up: {len(counted)} of {policy.max_restarts} restarts "
            f"in {policy.window:g} s"
        )
    try:
        backoff = min(policy.max_backoff, policy.initial_backoff * policy.multiplier ** len(counted))
    except OverflowError:
        backoff = policy.max_backoff
    spread = backoff * policy.jitter * (2 * random - 1)
    return Wait(at=now + timedelta(seconds=max(0.0, backoff + spread)), number=len(counted) + 1)


class AfterRestore(StrEnum):
    """What a failure to restore means."""

    RETRY = "retry"  # as after any failure
    FALL_BACK = "fall back"  # without this point
    BLOCK = "block"


def after_restore(policy: RestartPolicy, trouble: Trouble | None, failures: int) -> AfterRestore:
    """`failures` counts the failures of the same point in a row, this one included.

    State that the program has no place for will not fit the next time either: no retry.
    """
    if trouble is None:
        return AfterRestore.RETRY
    if trouble is Trouble.UNMAPPABLE:
        return AfterRestore.BLOCK
    if failures < policy.restore_tries:
        return AfterRestore.RETRY
    return AfterRestore.FALL_BACK if policy.fall_back else AfterRestore.BLOCK
