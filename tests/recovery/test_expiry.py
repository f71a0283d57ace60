"""Commands that could not be delivered: after a while they fail, and are never carried out."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from temporalio import workflow
from temporalio.worker import Worker

from activities import contracts as c
from activities.recovery import limited
from core.errors import Conflict
from core.jobs.snapshot import JobSnapshot
from settings import clock
from store import clusters
from store.tables import Cluster, Command, Job
from temporal.delivery import deliver, request_of
from tests.recovery.conftest import House
from tests.recovery.test_containment import stuck


@workflow.defn(name="JobWorkflow", sandboxed=False)
class Broken:
    @workflow.run
    async def run(self, snapshot: JobSnapshot) -> None:
        raise RuntimeError("cannot be replayed")


async def aged(house: House, id_: str, seconds: float, **more: Any) -> Command:
    async with house.services.database.write() as session:
        at = clock.now() - timedelta(seconds=seconds)
        await session.execute(update(Command).where(Command.id == id_).values(created_at=at, **more))
    return await house.command(id_)


async def found(house: House, job: Job) -> list[str]:
    return [f.what for f in await house.recover() if f.kind == "command" and job.name in f.subject]


async def test_one_for_a_job_without_a_workflow_fails_and_starts_none(house: House):
    job = await house.create()
    sent = await house.written(job, "start")
    await aged(house, sent.id, 3601)
    assert "it has failed" in (await found(house, job))[0]
    row = await house.command(sent.id)
    assert (row.state, row.error_code) == ("FAILED", "expired")
    assert "3600 s" in str(row.error)
    assert row.finished_at is not None
    assert "submit" not in house.script.asked
    assert [f for f in await house.recover() if f.kind == "row"] == []
    assert (await house.do(job, "start")).state == "SUCCEEDED"


async def test_one_that_is_younger_is_delivered(house: House):
    job = await house.create()
    sent = await house.written(job, "start")
    await aged(house, sent.id, 3500)
    await found(house, job)
    assert (await house.ended(sent.id)).state == "SUCCEEDED"


async def test_a_workflow_takes_none_that_is_expired_however_it_comes(house: House):
    job = await house.create()
    await house.do(job, "start")
    sent = await aged(house, (await house.written(job, "kill")).id, 3601)
    with pytest.raises(Conflict) as error:
        await deliver(house.services, job, await _cluster(house), sent)
    assert error.value.code == "expired"
    await found(house, job)
    assert (await house.command(sent.id)).error_code == "expired"
    assert (await house.job(job.id)).state == "RUNNING"


async def test_one_that_a_workflow_has_is_left_to_it(house: House):
    """It was taken in time; only its row does not say so yet."""
    job = await house.create()
    sent = await house.send(job, "start")
    await house.ended(sent.id)
    await aged(house, sent.id, 9000, state="PENDING")
    assert "its workflow has it" in (await found(house, job))[0]
    assert (await house.command(sent.id)).state == "PENDING"


async def test_a_stuck_workflow_that_took_it_keeps_it_and_one_that_did_not_loses_it(house: House):
    job = await house.create()
    taken = await house.send(job, "start")
    await house.ended(taken.id)
    await house.worker.aclose()
    services = house.services
    async with Worker(services.client, task_queue=services.installation.queues.main, workflows=[Broken]):
        await services.client.get_workflow_handle(str(job.workflow_id)).signal("policy", {})
        for _ in range(2):
            later = await house.written(job, "kill")
            await aged(house, later.id, 3700)
            await aged(house, taken.id, 9000, state="PENDING")
            assert "its workflow has it" in (await found(house, job))[0]
            assert (await house.command(taken.id)).state == "PENDING"
            await aged(house, taken.id, 9000, state="SUCCEEDED")
            await found(house, job)
            row = await house.command(later.id)
            assert (row.state, row.error_code) == ("FAILED", "expired")


async def test_without_an_answer_a_minute_is_left_for_clocks_that_differ(house: House):
    job = await stuck(house)
    sent = await house.written(job, "start")
    await aged(house, sent.id, 3610)
    assert "not mended" in (await found(house, job))[0]
    assert (await house.command(sent.id)).state == "PENDING"
    await aged(house, sent.id, 3700)
    assert "it has failed" in (await found(house, job))[0]
    assert (await house.command(sent.id)).error_code == "expired"


async def test_the_request_says_when_it_expires(house: House):
    job = await house.create()
    sent = await house.written(job, "start")
    request = request_of(sent, house.services.settings)
    assert request.expires_at == sent.created_at + timedelta(hours=1)
    assert request.job_id == job.id


async def _cluster(house: House) -> Cluster:
    async with house.services.database.read() as session:
        return await clusters.get(session, "local")


def test_the_findings_of_a_run_have_a_bound():
    findings = [
        c.Finding(
            kind="orphan" if n % 2 else "command", subject="s" * 9000, what="w" * 9000, action="a", done=n % 3 == 0
        )
        for n in range(5000)
    ]
    got = limited(findings)
    assert len(got.findings) == 200
    assert not any(f.done for f in got.findings), "those that want somebody come first"
    assert sum(got.more.values()) == 4800
    assert len(json.dumps(got.model_dump())) < 2_000_000
    assert limited(findings[:3]).more == {}
