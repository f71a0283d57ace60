import pytest

from core.errors import Conflict
from core.jobs.states import ALLOWED, DELETABLE, LIVE, CommandKind, JobState, allowed, check_allowed

S, K = JobState, CommandKind
STARTS = {K.START, K.RESTART, K.RESUBMIT}
AGAIN = STARTS | {K.ADOPT}

TABLE = {
    S.CREATED: {K.START, K.ADOPT},
    S.DEPLOYING: {K.KILL},
    S.DEPLOYED: {K.PAUSE, K.KILL, K.RESTART, K.RESUBMIT},
    S.DEPLOY_FAILED: AGAIN,
    S.RUNNING: {K.PAUSE, K.KILL, K.RESTART, K.RESUBMIT, K.SAVEPOINT},
    S.RESTARTING: {K.PAUSE, K.KILL, K.RESTART, K.RESUBMIT, K.ADOPT},
    S.PAUSED: AGAIN,
    S.KILLED: AGAIN,
    S.FINISHED: AGAIN,
    S.FAILED: AGAIN,
    S.BLOCKED: AGAIN | {K.KILL},
}


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("kind", K)
def test_every_state_and_command(state, kind):
    if kind in TABLE[state]:
        check_allowed("p:j", "sql", state, kind)
    else:
        with pytest.raises(Conflict) as error:
            check_allowed("p:j", "sql", state, kind)
        assert error.value.allowed == sorted(k.value for k in TABLE[state])
        assert "p:j" in error.value.message


@pytest.mark.parametrize("state", S)
def test_only_a_kill_comes_beside_a_command(state):
    for kind in K:
        if kind is K.KILL:
            check_allowed("p:j", "sql", state, kind, busy=K.START)
        else:
            with pytest.raises(Conflict):
                check_allowed("p:j", "sql", state, kind, busy=K.START)
        with pytest.raises(Conflict):
            check_allowed("p:j", "sql", state, kind, busy=K.KILL)


def test_nothing_that_lives_is_deleted():
    assert not DELETABLE & LIVE
    assert set(ALLOWED) == set(S)


@pytest.mark.parametrize("state", S)
def test_what_has_no_state_is_neither_paused_nor_adopted(state):
    of_state = {K.PAUSE, K.SAVEPOINT, K.ADOPT}
    assert allowed("session-cluster", state, None) == TABLE[state] - of_state
    for kind in of_state:
        with pytest.raises(Conflict) as error:
            check_allowed("p:j", "session-cluster", state, kind)
        assert error.value.allowed == sorted(k.value for k in TABLE[state] - of_state)
