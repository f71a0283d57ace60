"""Two installations in one Temporal namespace: none takes the other's work, and none ends the other's workflows."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import update
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import contracts as c
from activities.record import Recorder
from core.jobs.records import Record
from core.names import Installation
from core.queues import Queues, queues_of
from store.database import Database
from store.migrate import upgrade
from store.tables import InstallationRow, Job
from tests.recovery.conftest import House, services_of
from tests.rows import opening
from worker.temporal import prepare


@pytest.fixture
def temporal(temporal_of_its_own: Client) -> Client:
    return temporal_of_its_own


def test_names_carry_the_installation_and_are_as_they_were_without_one():
    old, new = Installation(), Installation("abc123")
    assert (old.queues.main, old.queues.build, old.queues.watch) == ("penstock", "penstock-build", "penstock-watch")
    assert new.queues == queues_of("abc123") == Queues("penstock-abc123")
    assert old.cluster_workflow_id("local") == "cluster-local"
    assert new.cluster_workflow_id("local") == "cluster-abc123:local"
    assert old.build_workflow_id("k" * 64) == "build-" + "k" * 24
    assert (old.recovery_id, new.recovery_id) == ("penstock-recovery", "penstock-recovery-abc123")
    assert new.library_workflow_id("p", "n", "1") == "library-abc123:p:n:1"


async def database_at(path: Path, id_: str | None = None) -> Database:
    made = Database(f"sqlite+aiosqlite:///{path}")
    await upgrade(made)
    if id_ is not None:
        async with made.write() as session:
            await session.execute(update(InstallationRow).values(id=id_))
    return made


@pytest.fixture
async def houses(temporal: Client, tmp_path: Path) -> AsyncIterator[tuple[House, House]]:
    """A new one, and one that is older than installation ids."""
    async with AsyncExitStack() as stack:
        made = []
        for name, id_ in (("new", None), ("old", "")):
            database = await database_at(tmp_path / f"{name}.db", id_)
            stack.push_async_callback(database.close)
            house = House(await services_of(temporal, database))
            await house.start()
            stack.push_async_callback(house.worker.aclose)
            made.append(house)
        yield made[0], made[1]


async def test_the_jobs_of_each_are_carried_out_by_its_own_workers(houses: tuple[House, House]):
    assert houses[0].services.installation.id != houses[1].services.installation.id == ""
    for _ in range(3):
        for house in houses:
            job = await house.create()
            assert (await house.do(job, "start")).state == "SUCCEEDED"
            assert (await house.job(job.id)).state == "RUNNING"
    assert [house.script.asked.count("submit") for house in houses] == [3, 3]


async def test_the_recovery_of_one_leaves_the_other_alone(houses: tuple[House, House]):
    jobs = []
    for house in houses:
        job = await house.create("same-name")
        await house.do(job, "start")
        await house.do(job, "kill")
        jobs.append(job)
    for _ in range(3):  # visibility is a moment behind
        for house in houses:
            assert [f for f in await house.recover() if f.kind in ("row", "workflow", "recovery")] == []
    for house, job in zip(houses, jobs, strict=True):
        assert (await house.do(job, "restart", restore={"mode": "none"})).state == "SUCCEEDED"


async def test_each_has_its_own_schedule_and_watches(houses: tuple[House, House]):
    client = houses[0].services.client
    for house in houses:
        await prepare(house.services)
        assert {f.subject for f in await house.recover() if f.kind == "watch" and f.done} == {"local"}
    own = houses[0].services.installation
    for id_ in ("penstock-recovery", own.recovery_id):
        assert (await client.get_schedule_handle(id_).describe()).id == id_
    for id_, queue in (("cluster-local", "penstock"), (own.cluster_workflow_id("local"), own.queues.main)):
        assert (await client.get_workflow_handle(id_).describe()).task_queue == queue


class TestUnknownJob:
    async def test_a_record_is_tried_again_and_says_which_database_lacks_it(self, house: House):
        recorder = Recorder(house.services)
        with pytest.raises(ApplicationError) as error:
            await ActivityEnvironment().run(recorder.record, Record(job_id="of-another-database"))
        assert (error.value.type, error.value.non_retryable) == ("unknown_job", False)
        assert house.services.installation.id in str(error.value)
        opened = opening(c.OpenAttempt, "of-another-database", uuid.uuid4().hex)
        with pytest.raises(ApplicationError) as error:
            await ActivityEnvironment().run(recorder.open_attempt, opened)
        assert (error.value.type, error.value.non_retryable) == ("unknown_job", False)

    async def test_a_worker_of_the_wrong_database_carries_nothing_out(
        self, house: House, temporal: Client, tmp_path: Path
    ):
        """Somebody gives a worker a copy of the settings and another database: the job waits for the right one."""
        job = await house.create()
        await house.worker.aclose()
        wrong = House(
            await services_of(temporal, await database_at(tmp_path / "wrong.db", house.services.installation.id))
        )
        await wrong.start()
        sent = await house.send(job, "start")
        for _ in range(600):
            events = (await temporal.get_workflow_handle(str(job.workflow_id)).describe()).raw_description
            if any("unknown_job" in str(a.last_failure) for a in events.pending_activities):
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError("the record was not refused")
        assert wrong.script.asked == []
        await wrong.worker.aclose()
        await house.start()
        assert (await house.ended(sent.id)).state == "SUCCEEDED"
        assert (await house.job(job.id)).state == "RUNNING"

    async def test_a_job_that_was_deleted_is_known(self, house: House):
        job = await house.create()
        await house.delete(job)
        async with house.services.database.read() as session:
            assert (await session.get(Job, job.id)) is not None
        await ActivityEnvironment().run(Recorder(house.services).record, Record(job_id=job.id))
