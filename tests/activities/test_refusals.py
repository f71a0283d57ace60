"""What an attempt cannot be made or sent for, and what that says when an earlier try has perhaps sent it. What its id
comes to is a double here: `test_spending.py` has the rules of that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from activities import contracts as c
from activities import submit
from activities.programs import ArtifactMissing, SubmissionFactory
from activities.submit import Submitter
from clusters.protocol import Unreachable
from core.effects import EngineError, Rejected
from core.jobs.observations import EngineState, Observation
from store import attempts
from tests.activities.test_starting import ID, House, house  # noqa: F401 - a fixture

RUNS = Observation(attempt=1, flink_job_id=ID, sequence=1, state=EngineState.RUNNING)
FENCED, UNTOLD = c.Fenced(fenced=True), c.Fenced(error="it is away")


class Refusing:
    """Has one attempt that is written down, and sends it: making its program fails."""

    def __init__(self, of: House, monkeypatch: pytest.MonkeyPatch):
        self.house, self.patch = of, monkeypatch
        self.spent = FENCED
        self.lines: list[str] = []

    async def send(self, error: EngineError, *, maybe_sent: bool) -> c.Submitted:
        await self.house.start()
        services = self.house.services

        async def fails(*_: Any) -> Any:
            raise error

        async def spends(*_: Any, **__: Any) -> c.Fenced:
            return self.spent

        async def leads(*_: Any) -> str:
            return "jm"

        self.patch.setattr(SubmissionFactory, "submission", fails)
        self.patch.setattr(submit, "spend", spends)
        self.patch.setattr(Submitter, "_leader_of", leads)
        async with services.database.read() as session:
            context = await attempts.context(session, self.house.job_id, 1)
        assert context is not None
        assert context.attempt is not None
        tell: Callable[[str], None] = self.lines.append
        made = Submitter(services)
        return await made.send(context, context.attempt, tell, None, None, maybe_sent=maybe_sent)  # type: ignore[arg-type]


@pytest.fixture
def refusing(house: House, monkeypatch: pytest.MonkeyPatch) -> Refusing:  # noqa: F811
    return Refusing(house, monkeypatch)


@pytest.mark.parametrize("maybe_sent", [False, True])
async def test_what_was_built_and_is_gone_is_built_again(refusing: Refusing, maybe_sent: bool):
    answer = await refusing.send(ArtifactMissing("its jar is gone"), maybe_sent=maybe_sent)
    assert (answer.state, answer.code) == (c.SubmitState.REJECTED, "artifact_missing")
    assert answer.maybe_sent is maybe_sent
    assert refusing.lines == ["its jar is gone"]


@pytest.mark.parametrize(("maybe_sent", "state"), [(False, c.SubmitState.UNREACHABLE), (True, c.SubmitState.UNCLEAR)])
async def test_where_parts_do_not_answer_nothing_is_known_of_an_earlier_try(
    refusing: Refusing, maybe_sent: bool, state: c.SubmitState
):
    answer = await refusing.send(Unreachable("no answer"), maybe_sent=maybe_sent)
    assert (answer.state, answer.error) == (state, "no answer")


async def test_a_no_before_anything_was_sent_is_one(refusing: Refusing):
    refusing.spent = UNTOLD  # is not asked
    answer = await refusing.send(Rejected("no such class"), maybe_sent=False)
    assert (answer.state, answer.code, answer.error) == (c.SubmitState.REJECTED, "rejected", "no such class")


@pytest.mark.parametrize(
    ("spent", "state", "words"),
    [
        (FENCED, c.SubmitState.REJECTED, "no such class"),
        (UNTOLD, c.SubmitState.UNCLEAR, "no such class it is away"),
        (c.Fenced(fenced=True, unknown="its folder"), c.SubmitState.UNCLEAR, "no such class its folder"),
        (c.Fenced(fenced=True, ran=True), c.SubmitState.RAN, None),
        (c.Fenced(observation=RUNS), c.SubmitState.ACCEPTED, None),
    ],
)
async def test_a_no_counts_once_nothing_of_an_earlier_try_can_arrive(
    refusing: Refusing, spent: c.Fenced, state: c.SubmitState, words: str | None
):
    refusing.spent = spent
    answer = await refusing.send(Rejected("no such class"), maybe_sent=True)
    assert answer.state is state
    if words:
        assert answer.error == words
    assert "making sure that nothing of this attempt arrives later" in refusing.lines[0]
