"""DELETE and commands at the same moment, and deletions that were cut off."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from datetime import timedelta

import pytest
from sqlalchemy import update
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from core.errors import Conflict, NotFound, Unavailable
from core.jobs.commands import CommandRequest
from settings import clock
from store import jobs
from store.tables import Cluster, Job
from tests.recovery.conftest import House

REFUSED = (Conflict, NotFound)


async def status(client: Client, workflow_id: str) -> WorkflowExecutionStatus | None:
    try:
        return (await client.get_workflow_handle(workflow_id).describe()).status
    except RPCError:
        return None


async def unfinished(house: House, job: Job) -> Job:
    """As if whoever deleted it had died after the first step, some time ago."""
    async with house.services.database.write() as session:
        await session.execute(
            update(Job).where(Job.id == job.id).values(deleting_at=clock.now() - timedelta(seconds=60))
        )
    return await house.job(job.id)


class TestRace:
    async def test_of_delete_and_start_exactly_one_succeeds(self, house: House):
        outcomes = set()
        for n in range(24):
            job = await house.create()
            if n % 2:
                await house.do(job, "start")
                await house.do(job, "kill")

            async def after(what, seconds):
                await asyncio.sleep(seconds)
                return await what

            more = {"restore": {"mode": "none"}} if n % 2 else {}
            start, delete = await asyncio.gather(
                after(house.send(job, "start", **more), random.uniform(0, 0.02)),
                after(house.delete(job), random.uniform(0, 0.02)),
                return_exceptions=True,
            )
            assert isinstance(start, REFUSED) != isinstance(delete, REFUSED), (start, delete)
            outcomes.add(isinstance(start, REFUSED))
            row = await house.job(job.id)
            if isinstance(start, REFUSED):
                assert row.deleted_at is not None
                assert await status(house.services.client, str(row.workflow_id)) in (
                    None,
                    WorkflowExecutionStatus.COMPLETED,
                )
            else:
                assert (await house.ended(start.id)).state == "SUCCEEDED"
                row = await house.job(job.id)
                assert (row.state, row.deleted_at, row.deleting_at) == ("RUNNING", None, None)
        assert outcomes == {True, False}, "each of them has been refused"

    async def test_many_deletes_are_one(self, house: House):
        job = await house.create()
        await house.do(job, "start")
        await house.do(job, "kill")
        answers = await asyncio.gather(*(house.delete(job) for _ in range(5)), return_exceptions=True)
        assert None in answers
        assert (await house.job(job.id)).deleted_at is not None

    async def test_a_name_that_is_used_again_has_another_workflow(self, house: House):
        first = await house.create("same")
        await house.do(first, "start")
        await house.do(first, "kill")
        await house.delete(first)
        second = await house.create("same")
        assert first.workflow_id != second.workflow_id
        assert (await house.do(second, "start")).state == "SUCCEEDED"
        assert (await house.job(second.id)).state == "RUNNING"


class TestRefusal:
    async def test_what_runs_stays(self, house: House):
        job = await house.create()
        await house.do(job, "start")
        with pytest.raises(Conflict, match="is RUNNING"):
            await house.delete(job)
        assert (await house.job(job.id)).deleting_at is None

    async def test_an_open_command_keeps_the_job(self, house: House):
        job = await house.create()
        await house.worker.aclose()
        sent = await house.send(job, "start")
        assert sent.state == "PENDING"
        with pytest.raises(Conflict, match=r"Command 1 .start. of job .* is PENDING"):
            await house.delete(job)

    async def test_when_the_workflow_refuses_it_is_taken_back(self, house: House):
        """The row says KILLED; the workflow, which knows better, RUNNING."""
        job = await house.create()
        await house.do(job, "start")
        async with house.services.database.write() as session:
            await session.execute(update(Job).where(Job.id == job.id).values(state="KILLED", current_attempt=None))
        with pytest.raises(Conflict, match="is RUNNING, and something of it may run"):
            await house.delete(job)
        row = await house.job(job.id)
        assert (row.deleting_at, row.deleted_at) == (None, None)

    async def test_commands_of_a_job_that_is_being_deleted_are_refused(self, house: House):
        job = await unfinished(house, await house.create())
        with pytest.raises(Conflict) as error:
            await house.send(job, "start")
        assert error.value.code == "job_being_deleted"

    async def test_no_job_is_created_on_a_cluster_whose_job_is_being_deleted(self, house: House):
        keeper = await house.create()
        async with house.services.database.write() as session:
            await session.execute(update(Cluster).where(Cluster.name == "local").values(managed_by=keeper.id))
        await house.create()
        await unfinished(house, keeper)
        with pytest.raises(Conflict) as error:
            await house.create()
        assert error.value.code == "cluster_being_deleted"

    async def test_the_workflow_of_another_job_takes_no_command(self, house: House):
        """A row of an older version: its workflow's id is made of names alone, and may be that of an earlier job."""
        old, new = await house.create(), await house.create()
        await house.do(old, "start")
        client = house.services.client
        request = CommandRequest(id="x", number=1, kind="kill", job_id=new.id)
        with pytest.raises(Exception) as error:
            await client.get_workflow_handle(str(old.workflow_id)).execute_update("command", request, id="x")
        cause = error.value.__cause__
        assert isinstance(cause, ApplicationError)
        assert cause.type == "workflow_of_another_job"

    async def test_the_workflow_of_an_earlier_job_of_that_name_is_left_alone(self, house: House):
        name = f"twice-{uuid.uuid4().hex[:8]}"
        old = await house.create(name)
        async with house.services.database.write() as session:
            await session.execute(update(Job).where(Job.id == old.id).values(workflow_id=None))
        await house.do(old, "start")
        now = clock.now()
        async with house.services.database.write() as session:
            await session.execute(update(Job).where(Job.id == old.id).values(deleted_at=now))
        new = await house.create(name)
        async with house.services.database.write() as session:
            await session.execute(update(Job).where(Job.id == new.id).values(workflow_id=None))
        with pytest.raises(Conflict, match="belongs to another job"):
            await house.send(new, "start")
        await house.delete(new)
        assert await status(house.services.client, f"job-default:{name}") is WorkflowExecutionStatus.RUNNING


class TestCutOff:
    async def test_the_recovery_finishes_it(self, house: House):
        lived, fresh = await house.create(), await house.create()
        await house.do(lived, "start")
        await house.do(lived, "kill")
        for job in (lived, fresh):
            await unfinished(house, job)
        found = [f for f in await house.recover() if f.kind == "deletion"]
        assert [f.done for f in found] == [True, True]
        for job in (lived, fresh):
            assert (await house.job(job.id)).deleted_at is not None
        assert await status(house.services.client, str(lived.workflow_id)) is WorkflowExecutionStatus.COMPLETED

    async def test_the_recovery_takes_it_back_when_something_runs(self, house: House):
        job = await house.create()
        await house.do(job, "start")
        await unfinished(house, job)
        await house.recover()
        row = await house.job(job.id)
        assert (row.deleting_at, row.deleted_at) == (None, None)
        assert (await house.do(job, "kill")).state == "SUCCEEDED"

    async def test_one_whose_workflow_has_ended_is_not_started_again(self, house: House):
        """It died between the workflow's end and the last row."""
        job = await house.create()
        await house.do(job, "start")
        await house.do(job, "kill")
        await house.services.client.get_workflow_handle(str(job.workflow_id)).execute_update("retire")
        await unfinished(house, job)
        assert "workflow" not in {f.kind for f in await house.recover(dry=True)}
        await house.recover()
        assert (await house.job(job.id)).deleted_at is not None

    async def test_without_an_answer_it_stays_begun_and_says_so(self, house: House):
        job = await house.create()
        await house.do(job, "start")
        await house.do(job, "kill")
        await house.worker.aclose()
        with pytest.raises(Unavailable) as error:
            await house.delete(job)
        assert error.value.code == "deletion_unfinished"
        assert (await house.job(job.id)).deleting_at is not None
        await house.start()
        for _ in range(12):  # a worker that has just begun, on a machine that is busy, may not answer within 5 s
            with contextlib.suppress(Unavailable):
                await house.delete(job)
                break
        async with house.services.database.read() as session:
            assert await jobs.find(session, "default", job.name) is None
