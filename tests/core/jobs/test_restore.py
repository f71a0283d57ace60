"""Which state an attempt starts from: every row of the rules."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.errors import InvalidInput
from core.jobs.restore import (
    Basis,
    Choice,
    Missing,
    RestoreKind,
    RestorePoint,
    RestoreRequest,
    StateLineage,
    basis_of_killed,
    choose,
    newer_than,
    newest,
    newest_first,
    resolve_request,
)
from core.jobs.states import CommandKind, JobState

T0 = datetime(2026, 1, 1, tzinfo=UTC)
NEWEST, NONE = RestoreRequest(mode="newest"), RestoreRequest(mode="none")


def point(
    seconds: int, *, kind: str = "checkpoint", attempt: int = 1, name: str | None = None, number: int | None = None
) -> RestorePoint:
    name = name or f"{kind}-{attempt}-{seconds}"
    return RestorePoint(
        id=f"rp-{name}",
        kind=RestoreKind(kind),
        path=f"file:///s/{name}",
        completed_at=T0 + timedelta(seconds=seconds),
        attempt=attempt,
        version=1,
        number=number,
    )


points = st.builds(
    point, st.integers(0, 50), kind=st.sampled_from(["checkpoint", "savepoint"]), attempt=st.integers(1, 5)
)


class TestNewest:
    def test_none_of_none(self):
        assert newest([]) is None

    @pytest.mark.parametrize(
        ("found", "winner"),
        [
            ([point(1), point(2)], 2),
            ([point(5, kind="savepoint"), point(9)], 9),
            ([point(9, kind="savepoint"), point(5)], 9),
            # The clock was set back within an attempt: Flink's numbers tell, where all of that attempt are known.
            ([point(9, number=3), point(5, kind="savepoint", number=4)], 5),
            ([point(9, number=3), point(5, kind="savepoint")], 9),
            ([point(9, number=40), point(5, attempt=2, number=4), point(3, attempt=2, number=5)], 3),
            ([point(9), point(5, attempt=2, number=4), point(3, attempt=2, number=5)], 3),
            # The clock was set back between two attempts.
            ([point(9, attempt=1), point(5, attempt=2)], 5),
            ([point(9, attempt=1, kind="savepoint"), point(5, attempt=2), point(6, attempt=2)], 6),
            ([point(1, attempt=3), point(9, attempt=2), point(8, attempt=1)], 1),
        ],
    )
    def test_by_attempt_then_by_time_whatever_the_kind(self, found, winner):
        assert newest(found).completed_at == T0 + timedelta(seconds=winner)

    def test_an_attempt_that_was_taken_up_again_is_newer_than_those_made_meanwhile(self):
        """1 was believed ended, 2 and 3 were made, 1 was alive after all and adopted; then came 4."""
        one, two, three, four = (point(1, attempt=n) for n in (1, 2, 3, 4))
        taken_up = StateLineage(first=2).adopted(1, 3)
        assert (taken_up.first, taken_up.untouched, taken_up.taken_up) == (1, False, {1: 3})
        assert newest([one, two, three], taken_up.taken_up) == one
        assert newest_first([one, two, three, four], taken_up.taken_up) == [four, one, three, two]
        assert taken_up.begun(5, "/p").taken_up == {1: 3}
        assert StateLineage().adopted(3, 3).taken_up == {}
        assert choose(NEWEST, [one, two, three], taken_up, asked=False).point == one
        assert newer_than(choose(NEWEST, [three], taken_up, asked=False), [one, two], taken_up) == [one]

    def test_state_that_was_there_before_a_take_over_does_not_come_back(self):
        """1 was killed, its state given up; 2 was started past Penstock, and adopted; then its JobManager was lost."""
        taken_over = StateLineage().taken_over(2)
        assert isinstance(choose(NEWEST, [point(9, attempt=1)], taken_over, asked=False), Missing)
        assert choose(NEWEST, [point(9, attempt=1), point(1, attempt=2)], taken_over, asked=False).point.attempt == 2
        assert isinstance(choose(NEWEST, [], taken_over, asked=False), Missing)

    def test_ten_minutes_of_a_clock_cost_no_state(self):
        """Attempt 1 wrote on a clock that was ten minutes ahead; attempt 2 has run for nine since."""
        old = point(600, attempt=1)
        new = [point(60 * n, attempt=2) for n in range(1, 10)]
        chosen = choose(NEWEST, [old, *new], StateLineage(untouched=False), asked=False)
        assert chosen.point == new[-1]
        assert newer_than(chosen, [old], StateLineage()) == []
        third = Choice(path=new[3].path, point=new[3], why="")
        assert newer_than(third, [old, *new], StateLineage()) == new[4:]
        # It is passed over for one that could not be restored; those between the two Flink has replaced.
        assert newer_than(third, [old, *new[4:-1]], StateLineage(), new[-1:]) == []

    def test_a_savepoint_wins_a_tie(self):
        assert newest([point(3), point(3, kind="savepoint")]).kind is RestoreKind.SAVEPOINT

    @given(st.lists(points, min_size=1))
    def test_no_point_is_newer(self, found):
        best = newest(found)
        assert all((p.attempt, p.completed_at) <= (best.attempt, best.completed_at) for p in found)
        assert newest_first(found)[0] == best

    @given(st.lists(points), st.randoms())
    def test_order_does_not_matter(self, found, random):
        shuffled = list(found)
        random.shuffle(shuffled)
        assert newest(found) == newest(shuffled)


class TestRequest:
    """Who has to decide: (command, basis, changes version) -> mode, or an error."""

    @pytest.mark.parametrize(
        ("kind", "state", "basis", "changes", "mode"),
        [
            ("start", "CREATED", "fresh", False, "none"),
            ("start", "CREATED", "fresh", True, "none"),
            ("start", "DEPLOY_FAILED", "fresh", False, "none"),
            ("start", "PAUSED", "newest", False, "newest"),
            ("restart", "PAUSED", "newest", False, "newest"),
            ("restart", "FAILED", "newest", False, "newest"),
            ("restart", "RUNNING", "newest", False, "newest"),
            ("restart", "BLOCKED", "newest", False, "newest"),
            ("start", "PAUSED", "newest", True, None),
            ("resubmit", "PAUSED", "newest", False, None),
            ("resubmit", "RUNNING", "newest", True, None),
            ("resubmit", "CREATED", "fresh", True, "none"),
            ("start", "KILLED", "decide", False, None),
            ("restart", "KILLED", "decide", False, None),
            ("resubmit", "KILLED", "decide", True, None),
            ("restart", "FINISHED", "decide", False, None),
        ],
    )
    def test_table(self, kind, state, basis, changes, mode):
        def resolve():
            return resolve_request(
                "p:j", CommandKind(kind), JobState(state), Basis(basis), None, changes_version=changes
            )

        if mode is None:
            with pytest.raises(InvalidInput) as error:
                resolve()
            assert error.value.code == "restore_undecided"
            assert "p:j" in error.value.message
        else:
            assert resolve().mode == mode

    @pytest.mark.parametrize(
        ("basis", "attempts", "left"),
        [
            ("fresh", 0, "fresh"),  # its first build, or nothing at all, was killed
            ("fresh", 1, "decide"),  # perhaps it was sent, and ran
            ("newest", 0, "decide"),  # adopted, or from a database of before
            ("newest", 3, "decide"),
            ("decide", 0, "decide"),
            ("decide", 2, "decide"),
        ],
    )
    def test_what_a_kill_leaves(self, basis, attempts, left):
        assert basis_of_killed(Basis(basis), attempts) is Basis(left)

    @given(st.sampled_from(CommandKind), st.sampled_from(JobState), st.sampled_from(Basis), st.booleans())
    def test_what_the_caller_says_goes(self, kind, state, basis, changes):
        for request in (NEWEST, NONE):
            assert resolve_request("p:j", kind, state, basis, request, changes_version=changes) is request

    @pytest.mark.parametrize("wrong", [{"mode": "point"}, {"mode": "newest", "point": "/x"}, {"mode": "old"}, {}])
    def test_a_point_goes_with_its_mode(self, wrong):
        with pytest.raises(ValidationError):
            RestoreRequest.model_validate(wrong)


class TestChoose:
    def test_none_starts_empty(self):
        assert choose(NONE, [point(1)], StateLineage(), asked=True).path is None

    def test_a_named_point_by_id_or_path(self):
        old = point(1)
        for name in (old.id, old.path):
            chosen = choose(RestoreRequest(mode="point", point=name), [old, point(2)], StateLineage(), asked=True)
            assert chosen.point == old

    def test_a_named_path_that_is_not_ours(self):
        chosen = choose(RestoreRequest(mode="point", point="/elsewhere"), [], StateLineage(), asked=True)
        assert chosen == Choice(path="file:///elsewhere", why=chosen.why)

    @pytest.mark.parametrize(
        "written", ["/s/p", "file:/s/p", "file:///s/p/", "file://localhost//s/./p", "/s/x/../p", "/s/p/_metadata"]
    )
    def test_a_point_is_known_in_every_spelling(self, written):
        mine = point(1, name="p")
        chosen = choose(RestoreRequest(mode="point", point=written), [mine], StateLineage(), asked=True)
        assert (chosen.point, chosen.path) == (mine, "file:///s/p")
        assert isinstance(
            choose(NEWEST, [mine], StateLineage(untouched=False), asked=False, without=[written]), Missing
        )
        assert StateLineage(root=written).root == "file:///s/p"

    def test_the_newest_across_attempts(self):
        chosen = choose(NEWEST, [point(1, attempt=1), point(2, attempt=2)], StateLineage(), asked=False)
        assert chosen.point.attempt == 2

    def test_nothing_where_something_is_due_blocks(self):
        assert isinstance(choose(NEWEST, [], StateLineage(untouched=False), asked=False), Missing)

    def test_asked_for_and_not_there_blocks(self):
        assert isinstance(choose(NEWEST, [], StateLineage(untouched=True), asked=True), Missing)

    def test_nothing_was_ever_completed(self):
        assert choose(NEWEST, [], StateLineage(untouched=True), asked=False).path is None

    def test_nothing_was_completed_since_the_named_point(self):
        lineage = StateLineage(first=3, root="file:///named", untouched=True)
        assert choose(NEWEST, [point(9, attempt=2)], lineage, asked=False).path == "file:///named"

    def test_given_up_state_does_not_come_back_by_itself(self):
        """Attempt 2 was started empty by a person; what attempt 1 left is not for the restart policy."""
        chosen = choose(NEWEST, [point(9, attempt=1)], StateLineage(first=2, untouched=True), asked=False)
        assert chosen.path is None
        assert isinstance(
            choose(NEWEST, [point(9, attempt=1)], StateLineage(first=2, untouched=False), asked=False), Missing
        )

    def test_a_person_may_ask_for_it_back(self):
        chosen = choose(NEWEST, [point(9, attempt=1)], StateLineage(first=2, untouched=False), asked=True)
        assert chosen.point.attempt == 1

    @given(st.lists(points), st.integers(1, 5), st.booleans())
    def test_an_automatic_choice_is_never_older_than_another_of_the_lineage(self, found, first, untouched):
        chosen = choose(NEWEST, found, StateLineage(first=first, untouched=untouched), asked=False)
        mine = [p for p in found if p.attempt >= first]
        if mine:
            latest = max((p.attempt, p.completed_at) for p in mine)
            assert (chosen.point.attempt, chosen.point.completed_at) == latest
        elif untouched:
            assert chosen.path is None
        else:
            assert isinstance(chosen, Missing)


class TestWithoutUnusablePoints:
    def test_the_one_before_is_taken_and_said(self):
        points = [point(1), point(2), point(3)]
        choice = choose(NEWEST, points, StateLineage(untouched=False), asked=False, without=[points[2].path])
        assert isinstance(choice, Choice)
        assert choice.path == points[1].path
        assert points[2].path in choice.why

    def test_none_before_it_blocks(self):
        points = [point(1)]
        assert isinstance(
            choose(NEWEST, points, StateLineage(untouched=False), asked=False, without=[points[0].path]), Missing
        )

    def test_a_root_that_cannot_be_restored_is_not_tried_again(self):
        lineage = StateLineage(first=2, root="file:///s/root", untouched=True)
        assert isinstance(choose(NEWEST, [], lineage, asked=False, without=["file:///s/root"]), Missing)
