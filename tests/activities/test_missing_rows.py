"""A row that is not there is said in words, and ends the step: the same would be found at every try."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import contracts as c
from activities.hosting import Hosting
from activities.observe import Observing
from activities.retain import Retaining
from core.errors import Conflict, NotFound
from core.jobs.observations import EngineState
from core.jobs.retention import SavepointPolicy
from observation import deletion, points
from observation.observer import Observer
from store import jobs, plans
from store.database import Database
from tests.activities.test_starting import House, house  # noqa: F401 - a fixture
from tests.rows import attempt_row

Activity = Callable[[Any], Awaitable[Any]]
OF_NO_JOB: dict[str, tuple[Callable[[House], Activity], BaseModel]] = {
    "gather": (lambda h: observing(h).gather, c.GatherIn(job_id="x")),
    "diagnose": (lambda h: observing(h).diagnose, c.DiagnoseIn(job_id="x", number=1, state=EngineState.FAILED)),
    "retain": (
        lambda h: Retaining(h.services).retain,
        c.RetainIn(job_id="x", number=1, policy=SavepointPolicy(keep_last=1)),
    ),
}


def observing(of: House) -> Observing:
    return Observing(of.services, Observer(of.services))


async def fails_for_good(run: Activity, request: BaseModel) -> str:
    with pytest.raises(ApplicationError) as error:
        await ActivityEnvironment().run(run, request)
    assert (error.value.type, error.value.non_retryable) == (c.ROW_MISSING, True)
    return error.value.message


@pytest.mark.parametrize("what", OF_NO_JOB)
async def test_of_a_job(house: House, what: str):  # noqa: F811
    run, request = OF_NO_JOB[what]
    assert "job x" in await fails_for_good(run(house), request)


async def test_of_a_version_that_a_cluster_is_to_be_scaled_to(house: House):  # noqa: F811
    await house.start()
    request = c.RescaleIn(job_id=house.job_id, number=1, version=9)
    assert "no version 9" in await fails_for_good(Hosting(house.services).rescale, request)


async def test_of_a_job_whose_restore_points_are_looked_for(house: House):  # noqa: F811
    with pytest.raises(NotFound, match="no job x"):
        await points.gather(house.services, "x")


async def test_of_an_attempt_that_is_about_to_run_from_a_plan(database: Database):
    async with database.write() as session:
        with pytest.raises(NotFound, match="no attempt 1 of job x"):
            await plans.used(session, attempt_row("x"), 1, None, "", {})


async def test_a_deletion_that_was_never_begun_is_not_finished(house: House):  # noqa: F811
    async with house.services.database.read() as session:
        job = await jobs.by_id(session, house.job_id)
    assert job is not None
    with pytest.raises(Conflict, match="taken back"):
        await deletion.finish(house.services, job)
