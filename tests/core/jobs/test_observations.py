import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.jobs.observations import (
    ENDED,
    EngineState,
    Intent,
    Lost,
    Observation,
    alive,
    attempt_state,
    disagrees,
    ended,
    in_order,
    in_place_of,
    is_stale,
    newer,
)
from core.jobs.states import ATTEMPT_ENDED, AttemptState, JobState

E, J = EngineState, JobState


def seen(state: EngineState = E.RUNNING, *, attempt: int = 2, job: str = "b" * 32, sequence: int = 10) -> Observation:
    return Observation(attempt=attempt, flink_job_id=job, sequence=sequence, state=state)


@pytest.mark.parametrize(
    ("observation", "stale"),
    [
        (seen(), False),
        (seen(attempt=1), True),
        (seen(attempt=3), True),
        (seen(job="c" * 32), True),
        (seen(sequence=9), True),
        (seen(sequence=8), True),
        (seen(E.MISSING, sequence=8), True),
        (seen(E.FAILED, sequence=8), False),
        (seen(E.FINISHED, sequence=9), False),
        (seen(E.CANCELED, sequence=1), False),
        (seen(E.FAILED, attempt=1, sequence=100), True),
        (seen(E.FAILED, job="c" * 32, sequence=100), True),
    ],
)
def test_an_old_observation_changes_nothing(observation, stale):
    assert is_stale(observation, attempt=2, flink_job_id="b" * 32, last_sequence=9) is stale


@pytest.mark.parametrize(
    ("waiting", "other", "takes_its_place"),
    [
        (None, seen(), True),
        (seen(), seen(sequence=11), True),
        (seen(), seen(sequence=9), False),
        (seen(), seen(attempt=3, sequence=1), True),
        (seen(), seen(attempt=1, sequence=99), False),
        (seen(E.FAILED, sequence=5), seen(sequence=9), False),
        (seen(sequence=9), seen(E.FAILED, sequence=5), True),
        (seen(E.FAILED, sequence=5), seen(E.MISSING, sequence=9), False),
    ],
)
def test_which_of_two_observations_is_looked_at(waiting, other, takes_its_place):
    assert newer(waiting, other) is takes_its_place


def test_what_was_told_of_restarts_stays_with_the_attempt():
    waiting = seen().model_copy(update={"restarts": 12, "failure": "boom"})
    after = in_place_of(waiting, seen(E.RECOVERING, sequence=11))
    assert (after.state, after.restarts, after.failure) == (E.RECOVERING, 12, "boom")
    assert in_place_of(waiting, seen(attempt=3)).restarts is None
    assert in_place_of(waiting, after.model_copy(update={"restarts": 13})).restarts == 13
    assert in_place_of(None, seen()).restarts is None


@pytest.mark.parametrize(
    ("state", "job", "reason", "told"),
    [
        (E.RUNNING, J.RUNNING, "", False),
        (E.RUNNING, J.RUNNING, "Flink is restarting it", True),
        (E.RUNNING, J.DEPLOYED, "", True),
        (E.RUNNING, J.BLOCKED, "unclear", True),
        (E.FAILED, J.RUNNING, "", True),
        (E.MISSING, J.RUNNING, "", True),
    ],
)
def test_when_a_workflow_has_to_be_told(state, job, reason, told):
    assert disagrees(seen(state), job, reason) is told


@given(st.sampled_from([s for s in E if s not in ENDED]), st.sampled_from(J))
def test_once_it_has_been_told_there_is_nothing_more_to_tell(state, job):
    after, reason = alive(job, seen(state))
    assert not disagrees(seen(state), after, reason)


@pytest.mark.parametrize(
    ("state", "intent", "savepoint", "job", "restartable"),
    [
        (E.FINISHED, None, None, J.FINISHED, False),
        (E.FINISHED, Intent.PAUSE, "/sp", J.PAUSED, False),
        (E.FINISHED, Intent.PAUSE, None, J.FINISHED, False),
        (E.FINISHED, Intent.REPLACE, "/sp", J.PAUSED, False),
        (E.CANCELED, Intent.KILL, None, J.KILLED, False),
        (E.FINISHED, Intent.KILL, None, J.KILLED, False),
        (E.FAILED, Intent.KILL, None, J.KILLED, False),
        (E.MISSING, Intent.KILL, None, J.KILLED, False),
        (E.CANCELED, None, None, J.KILLED, False),
        (E.CANCELED, Intent.PAUSE, None, J.KILLED, False),
        (E.FAILED, None, None, J.FAILED, True),
        (E.FAILED, Intent.PAUSE, None, J.FAILED, True),
        (E.MISSING, None, None, J.FAILED, True),
    ],
)
def test_what_an_end_means(state, intent, savepoint, job, restartable):
    ending = ended(state, intent, savepoint=savepoint, cause="boom")
    assert (ending.job, ending.restartable) == (job, restartable)
    assert ending.why


@given(st.sampled_from(sorted(ENDED)), st.none() | st.sampled_from(Intent), st.none() | st.just("/s"))
def test_an_end_ends_the_attempt(state, intent, savepoint):
    assert ended(state, intent, savepoint=savepoint, cause=None).attempt in ATTEMPT_ENDED


@pytest.mark.parametrize(
    ("job", "state", "after"),
    [
        (J.DEPLOYING, E.STARTING, J.DEPLOYED),
        (J.DEPLOYED, E.STARTING, J.DEPLOYED),
        (J.DEPLOYED, E.RUNNING, J.RUNNING),
        (J.RUNNING, E.STARTING, J.RUNNING),
        (J.RUNNING, E.RECOVERING, J.RUNNING),
        (J.DEPLOYED, E.RECOVERING, J.DEPLOYED),
        (J.BLOCKED, E.RUNNING, J.RUNNING),
        (J.RUNNING, E.STOPPING, J.RUNNING),
    ],
)
def test_what_being_alive_means(job, state, after):
    found, reason = alive(job, seen(state))
    assert found is after
    assert (reason == "") is (state is E.RUNNING)


def test_every_engine_state_has_an_attempt_state():
    assert {attempt_state(s) for s in E} <= set(AttemptState)


@pytest.mark.parametrize(
    ("state", "intent", "savepoint", "lost", "job", "restartable", "unseen"),
    [
        (E.MISSING, None, None, Lost.CLUSTER, J.FAILED, True, False),
        (E.MISSING, None, None, Lost.FORGOTTEN, J.BLOCKED, False, True),
        (E.MISSING, Intent.PAUSE, None, Lost.CLUSTER, J.PAUSED, False, False),
        (E.MISSING, Intent.PAUSE, None, Lost.FORGOTTEN, J.BLOCKED, False, True),
        (E.MISSING, Intent.PAUSE, "file:///s", Lost.FORGOTTEN, J.PAUSED, False, False),
        (E.MISSING, Intent.REPLACE, None, Lost.CLUSTER, J.FAILED, True, False),
        (E.MISSING, Intent.KILL, None, Lost.FORGOTTEN, J.KILLED, False, False),
        (E.CANCELED, Intent.ABANDON, None, None, J.FAILED, True, False),
        (E.FAILED, Intent.ABANDON, None, None, J.FAILED, True, False),
        (E.FINISHED, Intent.ABANDON, None, None, J.FINISHED, False, False),
    ],
)
def test_an_end_that_nobody_saw(state, intent, savepoint, lost, job, restartable, unseen):
    end = ended(state, intent, savepoint=savepoint, cause="boom", lost=lost)
    assert (end.job, end.restartable, end.unseen) == (job, restartable, unseen)


def test_a_moment_far_in_the_future_orders_nothing():
    now = 1_800_000_000_000
    assert in_order(now - 5, now) == now - 5
    assert in_order(now + 60_000, now) == now + 60_000, "two machines' clocks may differ"
    assert in_order(now + 60_001, now) == 0
