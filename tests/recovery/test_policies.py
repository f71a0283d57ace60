"""What nobody has chosen of a policy follows the default, also one that is changed; the workflow is told."""

from __future__ import annotations

from typing import Any

import pytest
from alembic import command
from pydantic import Field
from sqlalchemy import Connection, update
from temporalio.service import RPCError, RPCStatusCode

from api.jobs import schemas
from api.jobs import service as job_service
from core.errors import Unavailable
from core.jobs.policy import RestartPolicy
from core.jobs.retention import SavepointPolicy
from core.jobs.snapshot import JobSnapshot
from store.database import Database
from store.migrate import config, upgrade
from store.tables import Job
from temporal.delivery import policies_of
from tests.recovery.conftest import House
from tests.store.test_store import add_job


class Changed(RestartPolicy):
    """As if a later version of Penstock restarted more often."""

    max_restarts: int = Field(default=77)


def later(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("temporal.delivery", "activities.recovery", "api.jobs.service"):
        monkeypatch.setattr(f"{module}.RestartPolicy", Changed)


async def patch(house: House, job: Job, **changes: Any) -> schemas.JobOut:
    return await job_service.patch(house.services, job.id, schemas.JobPatch.model_validate(changes))


async def told(house: House, job: Job) -> JobSnapshot:
    handle = house.services.client.get_workflow_handle(str(job.workflow_id))
    snapshot: JobSnapshot = await handle.query("snapshot", result_type=JobSnapshot)
    return snapshot


async def found(house: House, *, dry: bool = False) -> list[tuple[str, bool]]:
    return [(f.subject, f.done) for f in await house.recover(dry=dry) if f.kind == "policy"]


async def test_a_row_has_what_was_chosen(house: House):
    job = await house.create()
    assert (job.policy, job.savepoints) == ({}, {})
    await patch(house, job, restart_policy={"max_restarts": 3}, savepoint_policy={"keep_last": 2})
    row = await house.job(job.id)
    assert (row.policy, row.savepoints) == ({"max_restarts": 3}, {"keep_last": 2})
    shown = await patch(house, job, labels={})
    assert shown.restart_policy == RestartPolicy(max_restarts=3)
    assert shown.savepoint_policy == SavepointPolicy(keep_last=2)


async def test_a_changed_default_counts(house: House, monkeypatch: pytest.MonkeyPatch):
    """For a job that has not lived, and for a workflow that runs; not for what somebody has chosen."""
    new, runs, chosen = [await house.create() for _ in range(3)]
    await patch(house, chosen, restart_policy={"max_restarts": 10, "window": 60})
    for job in (runs, chosen):
        await house.do(job, "start")
    assert await found(house) == []
    later(monkeypatch)
    assert policies_of(await house.job(new.id))[0].max_restarts == 77
    label = f"default:{runs.name}"
    assert await found(house, dry=True) == [(label, False)]
    assert (await told(house, runs)).policy.max_restarts == 10
    monkeypatch.setattr("settings.waits.COMPARE_SECONDS", -1.0)
    assert await found(house) == [(label, True)]
    assert (await told(house, runs)).policy.max_restarts == 77
    assert (await told(house, chosen)).policy.max_restarts == 10
    assert await found(house) == [], "once, although the record of its row is older"


async def test_what_could_not_be_told_is_told_later(house: House, monkeypatch: pytest.MonkeyPatch):
    job = await house.create()
    await house.do(job, "start")
    before = (await told(house, job)).policy

    async def away(*_: Any, **__: Any) -> None:
        raise RPCError("refused", RPCStatusCode.UNAVAILABLE, b"")

    with monkeypatch.context() as patched:
        patched.setattr("temporalio.client.WorkflowHandle.signal", away)
        with pytest.raises(Unavailable, match="is written down, and its workflow has not been told"):
            await patch(house, job, restart_policy={"max_restarts": 3}, savepoint_policy={"keep_last": 2})
    assert (await told(house, job)).policy == before
    monkeypatch.setattr("settings.waits.COMPARE_SECONDS", -1.0)
    assert await found(house) == [(f"default:{job.name}", True)]
    now = await told(house, job)
    assert (now.policy.max_restarts, now.savepoints.keep_last) == (3, 2)


async def test_defaults_that_were_copied_are_taken_out(database: Database):
    def to(revision: str, how: Any) -> Any:
        def run(connection: Connection) -> None:
            settings = config()
            settings.attributes["connection"] = connection
            how(settings, revision)

        return run

    job, other = await add_job(database, "a"), await add_job(database, "b")
    async with database.engine.connect() as connection:
        connection = await connection.execution_options(penstock_write=True)
        await connection.run_sync(to("0007", command.downgrade))
        await connection.commit()
    full, kept = RestartPolicy(max_restarts=3).model_dump(), SavepointPolicy(interval=60).model_dump()
    async with database.write() as session:
        await session.execute(update(Job).where(Job.id == job.id).values(policy=full, savepoints=kept))
    await upgrade(database)
    async with database.read() as session:
        rows = [await session.get(Job, one.id) for one in (job, other)]
    assert [(row.policy, row.savepoints) for row in rows if row] == [({"max_restarts": 3}, {"interval": 60}), ({}, {})]
