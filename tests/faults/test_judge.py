"""The judge finds what it is there to find: each rule with a forged history that breaks it, and with one that does not."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.judge import Attempt, Line, Point, Verdicts, check_history, normal, read_audit
from tests.faults.rounds import LEAST, deck
from tests.faults.sampler import Sampler, alive_at_once
from tests.faults.verbs import SPELLINGS

A, B, C = "a" * 32, "b" * 32, "c" * 32
BIG = 1_000_000


class History:
    """Lines of a file, ten values a second."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.at = 100.0

    def _add(self, kind: str, writer: str, operator: str, number: int | None, value: object) -> History:
        self.lines.append(Line(kind, self.at, writer, operator, number, str(value)))
        return self

    def begin(self, writer: str, restored: int | None = None, operator: str = "count", given: str = "-") -> History:
        self.at += 1
        return self._add("R", writer, operator, restored, given)

    def values(self, writer: str, first: int, last: int, operator: str = "count", unit: int = 1) -> History:
        for number, value in enumerate(range(first, last + 1)):
            self.at += 0.1
            self._add("V", writer, operator, number + 1, value * unit)
        return self

    def taken(self, writer: str, checkpoint: int, value: object, operator: str = "count") -> History:
        return self._add("S", writer, operator, checkpoint, value)


def judged(history: History, points=(), attempts=(), **more) -> list[str]:
    verdicts = Verdicts()
    check_history("job", history.lines, points, attempts, verdicts, **more)
    return verdicts.broken


def chk(owner: str, number: int, done: float, gone: float | None = None) -> Point:
    return Point(f"/s/job/checkpoints/{owner}/chk-{number}", done, owner, number, gone)


FIRST, SECOND = chk(A, 1, 102.0), chk(A, 2, 103.5)
ATTEMPTS = [Attempt(A, 1, 99.0), Attempt(B, 2, 110.0, f"file://{SECOND.path}")]


def two_attempts(restored: int, first: int) -> History:
    """A takes checkpoints after 10 and 20 and writes up to 25; then B begins."""
    history = History().begin(A).values(A, 1, 10).taken(A, 1, 10).values(A, 11, 20).taken(A, 2, 20).values(A, 21, 25)
    history.at = 110.0
    return history.begin(B, restored).values(B, first, first + 9)


class TestExactlyOnce:
    def test_a_restart_from_the_newest_point_is_fine(self):
        assert judged(two_attempts(2, 21), [FIRST, SECOND], ATTEMPTS) == []

    def test_a_value_that_was_lost_is_found(self):
        assert "exactly once" in judged(two_attempts(2, 22), [FIRST, SECOND], ATTEMPTS)[0]

    def test_a_value_that_was_counted_twice_is_found(self):
        assert "exactly once" in judged(two_attempts(2, 20), [FIRST, SECOND], ATTEMPTS)[0]

    def test_a_gap_within_a_life_is_found(self):
        history = History().begin(A).values(A, 1, 10).values(A, 12, 15)
        assert "exactly once" in judged(history)[0]

    def test_a_start_from_nothing_begins_at_one(self):
        assert judged(History().begin(A).values(A, 1, 3)) == []
        assert "exactly once" in judged(History().begin(A).values(A, 5, 7))[0]

    def test_flinks_own_restart_takes_its_own_checkpoint(self):
        history = History().begin(A).values(A, 1, 10).taken(A, 1, 10).values(A, 11, 15)
        assert judged(history.begin(A, 1).values(A, 11, 20)) == []
        assert judged(history.begin(A, 1).values(A, 16, 20)) != []

    def test_a_checkpoint_before_the_first_value_holds_what_was_restored(self):
        history = two_attempts(2, 21)
        history.lines = [x for x in history.lines if x.writer == A]
        history.begin(B, 2).taken(B, 3, "-").begin(B, 3).values(B, 21, 25)
        assert judged(history, [FIRST, SECOND], ATTEMPTS) == []

    def test_two_checkpoints_of_one_number_are_told_apart_by_their_attempt(self):
        """B and C both went on from A's second; each has a third of its own."""
        history = two_attempts(2, 21).taken(B, 3, 30).begin(C, 3).values(C, 31, 35)
        path = f"/s/job/checkpoints/{B}/chk-3"
        assert judged(history, [FIRST, SECOND, chk(B, 3, 111.5)], [*ATTEMPTS, Attempt(C, 3, 112.6, path)]) == []


class TestOneWriter:
    def test_two_writers_at_once_are_found(self):
        history = two_attempts(2, 21).values(A, 26, 27)
        assert "no second writer" in judged(history, [FIRST, SECOND], ATTEMPTS)[0]

    def test_a_task_that_only_takes_a_checkpoint_is_a_second_writer(self):
        history = two_attempts(2, 21).taken(A, 3, 25)
        assert "no second writer" in judged(history, [FIRST, SECOND], ATTEMPTS)[0]

    def test_tasks_that_may_outlive_their_jobmanager_are_known(self):
        history = two_attempts(2, 21).values(A, 26, 27)
        assert judged(history, [FIRST, SECOND], ATTEMPTS, outlived=[(110.0, 120.0)]) == []

    def test_the_clock_of_a_line_does_not_matter_its_place_does(self):
        history = two_attempts(2, 21)
        late = [
            Line(x.kind, x.at - 3600, x.writer, x.operator, x.number, x.value) for x in history.lines if x.writer == B
        ]
        history.lines = [x for x in history.lines if x.writer == A] + late
        assert judged(history, [FIRST, SECOND], ATTEMPTS) == []


class TestSwaps:
    def sums(self, small: int, big: int) -> History:
        """A has 20 in both; B goes on with these counts."""
        history = History().begin(A, operator="small").begin(A, operator="big")
        history.values(A, 1, 20, "small").values(A, 1, 20, "big", BIG)
        history.taken(A, 2, 20, "small").taken(A, 2, 20 * BIG, "big")
        history.begin(B, 2, "small").begin(B, 2, "big")
        history._add("V", B, "small", 1, small)._add("V", B, "big", 1, big)
        return history

    def judged(self, history: History) -> list[str]:
        return judged(
            history,
            [chk(A, 2, 105.0)],
            [Attempt(A, 1, 99), Attempt(B, 2, 106, chk(A, 2, 105.0).path)],
            units={"big": BIG},
        )

    def test_each_goes_on_with_its_own_is_fine(self):
        assert self.judged(self.sums(21, 21 * BIG)) == []

    def test_state_that_was_swapped_is_found(self):
        broken = self.judged(self.sums(20 * BIG + 1, 20 + BIG))
        assert len([words for words in broken if "state never swapped" in words]) == 2

    def test_state_that_was_dropped_is_found(self):
        assert "exactly once" in self.judged(self.sums(21, BIG))[0]

    def test_a_sink_that_was_given_anothers_state_is_found(self):
        history = History().begin(A, operator="big", given=f"small:{20}")
        assert "state never swapped" in judged(history)[0]


class TestNewest:
    def of(self, restored: str | None, points: list[Point], **more: object) -> list[str]:
        return judged(History(), points, [Attempt(A, 1, 99), Attempt(B, 2, 110, restored, **more)])

    def test_the_point_before_the_newest_is_found(self):
        assert "newest" in self.of(FIRST.path, [FIRST, SECOND])[0]
        assert self.of(f"file://{SECOND.path}", [FIRST, SECOND]) == []

    def test_starting_empty_in_silence_is_found(self):
        assert "newest" in self.of(None, [FIRST])[0]
        assert self.of(None, []) == []
        assert self.of(None, [FIRST], asked="none") == []

    def test_the_later_attempt_wins_whatever_the_clocks_say(self):
        """The disk's clock stepped back between the two attempts."""
        points = [chk(A, 7, 500.0), chk(B, 8, 106.0)]
        rows = [Attempt(A, 1, 99), Attempt(B, 2, 105, points[0].path, told=False), Attempt(C, 3, 600, points[1].path)]
        assert judged(History(), points, rows) == []
        rows[2] = Attempt(C, 3, 600, points[0].path)
        assert "newest" in judged(History(), points, rows)[0]

    def test_a_named_point_is_taken_and_begins_a_lineage(self):
        named = {"asked": "point", "named": FIRST.path.replace("/s/", "file:/s//") + "/"}
        assert self.of(FIRST.path, [FIRST, SECOND], **named) == []
        assert "as asked" in self.of(SECOND.path, [FIRST, SECOND], **named)[0]
        rows = [Attempt(A, 1, 99), Attempt(B, 2, 110, FIRST.path, **named), Attempt(C, 3, 120, FIRST.path)]
        assert judged(History(), [FIRST, SECOND], rows) == [], "B completed nothing: where it began"
        rows[2] = Attempt(C, 3, 120, SECOND.path)
        assert judged(History(), [FIRST, SECOND], rows) != [], "state that was given up does not come back"

    def test_what_flink_discarded_at_once_binds_nobody(self):
        assert self.of(FIRST.path, [FIRST, chk(A, 2, 104.0, gone=104.5)]) == []
        assert self.of(FIRST.path, [FIRST, chk(A, 2, 104.0, gone=108.0)]) != []


def test_what_is_deleted_writes_no_more():
    assert judged(two_attempts(2, 21), [FIRST, SECOND], ATTEMPTS, deleted_at=120.0) == []
    assert "gone" in judged(two_attempts(2, 21), [FIRST, SECOND], ATTEMPTS, deleted_at=105.0)[0]


def test_two_alive_at_once_are_found_by_their_ids(tmp_path: Path):
    """On one cluster or on two, whatever they call themselves."""
    sampler = Sampler({}, tmp_path, pause=60)
    sampler.together[frozenset({("local", A), ("second", B)})] = 3
    sampler.since[frozenset({("local", A), ("second", B)})] = 1.0
    assert len(alive_at_once(sampler, {A, B})) == 1
    assert alive_at_once(sampler, {A, C}) == []
    sampler.stop()


def test_an_audit_file(tmp_path: Path):
    file = tmp_path / "file"
    file.write_text(f"R 1000 {A} count - -\nV 1100 {A} count 1 1\nS 1200 {A} count 7 1\nV 1300 {A} cou")
    assert [(x.kind, x.number, x.value) for x in read_audit(file)] == [("R", None, "-"), ("V", 1, "1"), ("S", 7, "1")]
    file.write_text("V 11\nV 1\n")
    with pytest.raises(ValueError, match="not a line"):
        read_audit(file)


@pytest.mark.parametrize("spelling", [name for name in SPELLINGS if name != "id"])
def test_spellings_of_a_path_are_one_path(spelling: str):
    point = {"id": "rp-1", "path": "file:///s/job/savepoints/1-a/savepoint-aaaaaa-b"}
    assert normal(SPELLINGS[spelling](point)) == "/s/job/savepoints/1-a/savepoint-aaaaaa-b"


def test_each_new_kind_comes_often_enough():
    kinds = ["kill", "cut", *(f"new-{n}" for n in range(9))]
    found = Counter(deck(kinds, 230, random.Random(1)))
    assert sum(found.values()) == 230
    assert all(found[f"new-{n}"] == LEAST for n in range(9))
    assert len(deck(kinds, 5, random.Random(1))) == 5
    assert Counter(deck(["new"], 7, random.Random(1))) == {"new": 7}
