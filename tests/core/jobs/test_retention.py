"""Which savepoints may go: every rule, and that the newest point never does."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.jobs.restore import RestoreKind, RestorePoint, StateLineage, newest
from core.jobs.retention import CheckpointFolder, SavepointPolicy, folders_to_delete, to_delete

NOW = datetime(2026, 1, 31, tzinfo=UTC)
DAY = 86_400.0


def point(days_old: float, kind: str = "savepoint") -> RestorePoint:
    return RestorePoint(
        id=f"rp-{kind}-{days_old}",
        kind=RestoreKind(kind),
        path=f"file:///s/{kind}-{days_old}",
        completed_at=NOW - timedelta(days=days_old),
        attempt=1,
        version=1,
    )


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


# Checkpoints of ended attempts -----------------------------------------------------------------


def folder(attempt: int, *, ended: float | None = 30, changed: float = 30) -> CheckpointFolder:
    """Of an attempt that ended so many days ago."""
    return CheckpointFolder(
        attempt=attempt,
        path=f"file:///s/checkpoints/{attempt:032x}",
        ended_at=None if ended is None else NOW - timedelta(days=ended),
        changed_at=NOW - timedelta(days=changed),
    )


def checkpoint(attempt: int, days_old: float = 30, n: int = 7) -> RestorePoint:
    path = f"{folder(attempt).path}/chk-{n}"
    return RestorePoint(
        id=f"rp-{attempt}-{n}",
        kind=RestoreKind.CHECKPOINT,
        path=path,
        completed_at=NOW - timedelta(days=days_old),
        attempt=attempt,
        version=1,
    )


EIGHT = [folder(n) for n in range(1, 8)] + [folder(8, ended=None, changed=0)]
POINTS = [checkpoint(n) for n in range(1, 8)] + [checkpoint(8, 0)]
WEEK = SavepointPolicy()


@pytest.mark.parametrize(
    ("case", "policy", "folders", "points", "in_use", "gone"),
    [
        ("the last five stay", WEEK, EIGHT, POINTS, [], [1, 2, 3]),
        ("never", SavepointPolicy(keep_attempts=None), EIGHT, POINTS, [], []),
        ("fewer stay", SavepointPolicy(keep_attempts=2), EIGHT, POINTS, [], [1, 2, 3, 4, 5, 6]),
        ("more than there are", SavepointPolicy(keep_attempts=8), EIGHT, POINTS, [], []),
        ("what is young stays", WEEK, [folder(1, ended=6), folder(2, ended=30, changed=6), folder(3)], POINTS, [], [3]),
        ("so does a young checkpoint", WEEK, EIGHT, [checkpoint(1, 6, n=8), *POINTS], [], [2, 3]),
        (
            "what has just ended may write",
            SavepointPolicy(keep_for=0),
            [folder(1, changed=0), *EIGHT[1:]],
            POINTS,
            [],
            [2, 3],
        ),
        ("what has not ended stays", WEEK, [folder(1, ended=None), *EIGHT[1:]], POINTS, [], [2, 3]),
        ("in use by its path", WEEK, EIGHT, POINTS, [POINTS[0].path], [2, 3]),
        ("in use by its id", WEEK, EIGHT, POINTS, [POINTS[1].id], [1, 3]),
        ("in use and not known as a point", WEEK, EIGHT, POINTS, [f"{EIGHT[2].path}/chk-99"], [1, 2]),
        ("a name that only begins alike is another", WEEK, EIGHT, POINTS, [f"{EIGHT[2].path}0/chk-7"], [1, 2, 3]),
        ("no point is there at all", WEEK, EIGHT, [], [], []),
        ("the newest point is in it", WEEK, EIGHT, POINTS[:2], [], [1]),
        ("no later attempt has completed any", WEEK, EIGHT, POINTS[:1], [], []),
    ],
)
def test_every_rule_of_checkpoints(case, policy, folders, points, in_use, gone):
    found = folders_to_delete(policy, folders, points, NOW, attempts=8, in_use=in_use)
    assert [f.attempt for f in found] == gone, case


def test_an_attempt_that_was_taken_up_again_is_not_an_old_one():
    taken_up = StateLineage().adopted(2, 8).taken_up
    found = folders_to_delete(WEEK, EIGHT, POINTS, NOW, attempts=8, in_use=[], taken_up=taken_up)
    assert [f.attempt for f in found] == [1]


@st.composite
def histories(draw):
    attempts = draw(st.integers(1, 12))
    folders, points = [], []
    for n in range(1, attempts + 1):
        ended = draw(st.none() | st.floats(0, 60))
        folders.append(folder(n, ended=ended, changed=draw(st.floats(0, 60))))
        points += [checkpoint(n, draw(st.floats(0, 60)), k) for k in range(draw(st.integers(0, 2)))]
    used = (
        draw(st.lists(st.sampled_from([p.path for p in points] + [p.id for p in points]), max_size=3)) if points else []
    )
    policy = SavepointPolicy(keep_attempts=draw(st.integers(1, 6)), keep_for=draw(st.floats(0, 40)) * DAY)
    return attempts, folders, points, used, policy


@given(histories())
def test_nothing_that_may_be_needed_is_deleted(history):
    attempts, folders, points, used, policy = history
    gone = folders_to_delete(policy, folders, points, NOW, attempts=attempts, in_use=used)
    lost = [p for p in points if any(p.path.startswith(f.path + "/") for f in gone)]
    assert newest(points) not in lost
    assert not any(p.path in used or p.id in used for p in lost)
    young = NOW - timedelta(seconds=policy.keep_for)
    assert all(p.completed_at <= young for p in lost)
    for f in gone:
        assert f.attempt <= attempts - policy.keep_attempts
        assert f.ended_at is not None
        assert max(f.ended_at, f.changed_at) <= young
        assert any(p.attempt > f.attempt for p in points if p not in lost), "a later attempt has state of its own"
    # One at a time or all at once is the same.
    assert [f for f in folders if folders_to_delete(policy, [f], points, NOW, attempts=attempts, in_use=used)] == gone
