"""Whatever changes something is not done for a workflow that was set back, or has left the step. Found by an attack: an
attempt that had ended was sent once more, a kill took the attempt that was started after it, savepoints were deleted by
a policy of before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import update
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import contracts as c
from activities.fence import Fencer
from activities.hosting import Hosting
from activities.retain import Retaining
from activities.stop import Stopper
from activities.submit import Submitter
from core.jobs.retention import SavepointPolicy
from settings import clock
from store.tables import Attempt, Job
from tests.activities.test_starting import House, house  # noqa: F401 - a fixture

Activity = Callable[[Any], Awaitable[Any]]
CHANGES: dict[str, Callable[[House], tuple[Activity, type[c.AttemptIn], dict[str, Any]]]] = {
    "stop": lambda h: (Stopper(h.services).stop_with_savepoint, c.TriggerIn, {"trigger_id": "t", "directory": "d"}),
    "savepoint": lambda h: (Stopper(h.services).take_savepoint, c.TriggerIn, {"trigger_id": "t", "directory": "d"}),
    "cancel": lambda h: (Stopper(h.services).cancel, c.AttemptIn, {}),
    "cancel all": lambda h: (Stopper(h.services).cancel_all, c.AttemptIn, {}),
    "submit": lambda h: (Submitter(h.services).submit, c.AttemptIn, {}),
    "fence": lambda h: (Fencer(h.services).fence, c.AttemptIn, {}),
    "rescale": lambda h: (Hosting(h.services).rescale, c.RescaleIn, {"version": 1}),
    "retain": lambda h: (Retaining(h.services).retain, c.RetainIn, {"policy": SavepointPolicy(keep_last=1)}),
}


class Untouched:
    """No cluster is asked anything."""

    def get(self, _: Any) -> Any:
        raise AssertionError("a cluster was asked")


async def change(of: House, table: type[Job] | type[Attempt], **values: Any) -> None:
    key = Job.id == of.job_id if table is Job else Attempt.job_id == of.job_id
    async with of.services.database.write() as session:
        await session.execute(update(table).where(key).values(**values))


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize(
    "since", [{"revision": 8}, {"revision": 7, "deleted_at": clock.now()}], ids=["later", "deleted"]
)
async def test_it_does_nothing(house: House, what: str, since: dict[str, Any]):  # noqa: F811
    await house.start()
    await change(house, Job, **since)
    run, model, more = CHANGES[what](house)
    house.services.engines.get = Untouched().get  # type: ignore[method-assign]
    with pytest.raises(ApplicationError, match="gone on since") as error:
        await ActivityEnvironment().run(run, model(job_id=house.job_id, number=1, revision=7, **more))
    assert (error.value.type, error.value.non_retryable) == (c.SET_BACK, True)


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("revision", [7, None], ids=["the last record", "of a workflow of before"])
async def test_and_goes_on_otherwise(house: House, what: str, revision: int | None):  # noqa: F811
    await house.start()
    await change(house, Job, revision=7)
    run, model, more = CHANGES[what](house)
    house.services.engines.get = Untouched().get  # type: ignore[method-assign]
    try:  # it comes as far as the cluster, or does not need it
        await ActivityEnvironment().run(run, model(job_id=house.job_id, number=1, revision=revision, **more))
    except Exception as error:
        assert "gone on since" not in str(error)


class TestStart:
    async def test_of_a_job_that_has_gone_on_is_not_sent(self, house: House):  # noqa: F811
        await house.start()
        snapshot = {
            "job_id": house.job_id,
            "project": "default",
            "name": "j",
            "type": "sql",
            "cluster": "local",
            "state_dir": "s",
            "attempts": 1,
            "revision": 9,
        }
        await change(house, Job, revision=9, snapshot=snapshot)
        before = len(house.submitter.sent)
        started = await house.start(of_revision=3)
        assert len(house.submitter.sent) == before
        assert started.conflict is not None
        assert started.conflict.newer is not None
        assert started.conflict.newer.revision == 9

    async def test_of_an_attempt_that_has_ended_is_not_sent(self, house: House):  # noqa: F811
        await house.start()
        await change(house, Attempt, state="STOPPED", ended_at=clock.now())
        before = len(house.submitter.sent)
        started = await house.start()
        assert started.conflict is not None
        assert started.conflict.ended
        assert len(house.submitter.sent) == before
