"""Writing down what a workflow decided, where the database does not have its job."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import contracts as c
from activities.record import Recorder
from api.clusters import service as cluster_service
from api.clusters.schemas import ClusterPatch
from core.errors import Conflict
from core.jobs.records import Record
from settings import waits
from store import attempts, clusters
from store.database import Database
from tests.api.conftest import create, refused_client
from tests.recovery.conftest import services_of
from tests.rows import attempt_row, opening


@pytest.mark.parametrize("step", ["record", "open_attempt"])
async def test_it_is_tried_again_after_a_while_and_says_what_to_do(sqlite: Database, step: str):
    services = await services_of(await refused_client(), sqlite)
    wanted = Record(job_id="nobody") if step == "record" else opening(c.OpenAttempt, "nobody", "a" * 32)
    with pytest.raises(ApplicationError) as raised:
        await ActivityEnvironment().run(getattr(Recorder(services), step), wanted)
    error = raised.value
    assert (error.type, error.non_retryable, error.next_retry_delay) == (
        "unknown_job",
        False,
        waits.RECORD_UNKNOWN_RETRY,
    )
    assert f"of installation {services.installation.id} has no job nobody" in error.message
    assert "terminate this workflow and cancel what it runs" in error.message


@pytest.mark.parametrize("change", [{"jobmanager_url": "http://other"}, {"identity": "another"}])
async def test_a_cluster_that_is_another_meanwhile_is_read_again(
    database: Database, monkeypatch: pytest.MonkeyPatch, change: dict[str, str]
):
    """It would be sent to the address before, and watched at the one that the cluster has now."""
    services = await services_of(await refused_client(), database)
    job = (await create(services)).id
    changes = [change]

    async def reserve(_: Any, flink_job_id: str) -> str:
        async with database.write() as session:
            for name, value in changes.pop().items() if changes else ():
                setattr(await clusters.get(session, "local"), name, value)
        return flink_job_id

    monkeypatch.setattr("tests.recovery.conftest._Engine.reserve", reserve)
    recorder, request = Recorder(services), opening(c.OpenAttempt, job, "a" * 32)
    with pytest.raises(ApplicationError) as raised:
        await recorder.open(request)
    assert (raised.value.type, raised.value.non_retryable) == ("cluster_changed", False)
    async with database.read() as session:
        assert await attempts.get(session, job, 1) is None
    written = await recorder.open(request)
    assert not isinstance(written, c.OpenedAttempt)
    assert {name: getattr(written.found.cluster, name) for name in change} == change


async def test_an_address_is_not_changed_under_an_attempt_that_is_being_written_down(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    services = await services_of(await refused_client(), database)
    job = (await create(services)).id

    async def is_another(*_: Any, **__: Any) -> bool:
        return True

    monkeypatch.setattr("api.clusters.addresses.is_another", is_another)
    changes = ClusterPatch.model_validate({"jobmanager_url": "http://other"})
    async with database.write() as session:
        await attempts.add(session, attempt_row(job, flink_job_id="a" * 32, state="RECORDED"))
        await clusters.held(session, "local")
        patch = asyncio.create_task(cluster_service.patch(services, "local", changes))
        await asyncio.sleep(0.5)
    with pytest.raises(Conflict) as refused:
        await patch
    assert refused.value.code == "cluster_in_use"
