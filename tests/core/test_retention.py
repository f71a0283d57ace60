"""Which savepoints may go: every rule, and that the newest point never does."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.restore import RestoreKind, RestorePoint, newest
from core.retention import SavepointPolicy, to_delete

NOW = datetime(2026, 1, 31, tzinfo=UTC)
DAY = 86_400.0


def point(days_old: float, kind: str = "savepoint") -> RestorePoint:
    return RestorePoint(
        id=f"rp-{kind}-{days_old}", kind=RestoreKind(kind), path=f"file:///s/{kind}-{days_old}",
        completed_at=NOW - timedelta(days=days_old), attempt=1, version=1,
    )  # fmt: skip


SIX = [point(d) for d in (1, 2, 3, 4, 5, 6)]


@pytest.mark.parametrize(
    ("policy", "in_use", "gone"),
    [
        (SavepointPolicy(), [], []),
        (SavepointPolicy(keep_last=2, keep_for=0), [], [6, 5, 4, 3]),
        (SavepointPolicy(keep_last=2, keep_for=3.5 * DAY), [], [6, 5, 4]),
        (SavepointPolicy(keep_last=1, keep_for=0), [SIX[4].path, SIX[2].id], [6, 4, 2]),
        (SavepointPolicy(keep_last=9, keep_for=0), [], []),
    ],
)
def test_every_rule(policy, in_use, gone):
    assert to_delete(policy, SIX, NOW, in_use=in_use) == [point(d) for d in gone]


def test_checkpoints_are_left_to_flink():
    points = [point(1), point(2), point(3, "checkpoint")]
    assert to_delete(SavepointPolicy(keep_last=1, keep_for=0), points, NOW, in_use=[]) == [points[1]]


def test_the_last_ones_are_those_of_the_last_attempt():
    """The clock was set back between two attempts: the older savepoints look younger."""
    old = [point(d) for d in (1, 2, 3)]
    new = [point(d).model_copy(update={"attempt": 2, "id": f"rp-new-{d}"}) for d in (8, 9)]
    gone = to_delete(SavepointPolicy(keep_last=2, keep_for=0), [*old, *new], NOW, in_use=[])
    assert gone == [old[2], old[1], old[0]]


@given(st.lists(st.floats(0, 100), max_size=20, unique=True), st.integers(1, 5), st.floats(0, 50))
def test_the_newest_point_and_the_last_n_stay(ages, keep_last, days):
    points = [point(age, "checkpoint" if n % 3 == 0 else "savepoint") for n, age in enumerate(ages)]
    gone = to_delete(SavepointPolicy(keep_last=keep_last, keep_for=days * DAY), points, NOW, in_use=[])
    left = [p for p in points if p not in gone]
    assert newest(points) not in gone
    savepoints = [p for p in points if p.kind is RestoreKind.SAVEPOINT]
    assert len([p for p in left if p.kind is RestoreKind.SAVEPOINT]) >= min(keep_last, len(savepoints))
    assert all(p.completed_at <= NOW - timedelta(days=days) for p in gone)
