"""One workflow that cannot take anything keeps no other job from being helped, and is said plainly."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update
from temporalio.client import Client, RPCTimeoutOrCancelledError

from activities.recovery import _Run
from api.app import make_app
from observation.observer import Observer
from settings import clock
from store import clusters
from store.tables import Command, Job
from tests.recovery.conftest import House


@pytest.fixture
def temporal(temporal_of_its_own: Client) -> Client:
    return temporal_of_its_own


async def stuck(house: House) -> Job:
    """A job whose workflow fails each of its tasks, as one does that a worker cannot replay."""
    job = await house.create()
    await house.services.client.start_workflow(
        "JobWorkflow", {"no": "snapshot"}, id=str(job.workflow_id), task_queue=house.services.installation.queues.main
    )
    return job


async def aged(house: House, *ids: str) -> None:
    async with house.services.database.write() as session:
        await session.execute(
            update(Command).where(Command.id.in_(ids)).values(created_at=clock.now() - timedelta(seconds=60))
        )


async def test_the_commands_of_other_jobs_are_delivered(house: House):
    bad, good = await stuck(house), await house.create()
    first, second = await house.written(bad, "start"), await house.written(good, "start")
    await aged(house, first.id, second.id)
    found = {f.subject: f for f in await house.recover() if f.kind == "command"}
    assert not found[f"default:{bad.name} command 1"].done
    assert "not mended" in found[f"default:{bad.name} command 1"].what
    assert found[f"default:{good.name} command 1"].done
    assert (await house.ended(second.id)).state == "SUCCEEDED"


async def test_one_without_a_row_is_asked_for_a_bounded_time(house: House):
    await house.services.client.start_workflow(
        "JobWorkflow", {"no": "snapshot"}, id="job-default:nobody", task_queue=house.services.installation.queues.main
    )
    began = clock.monotonic()
    for _ in range(20):
        if found := [f for f in await house.recover() if f.kind == "row"]:
            break
    assert [(f.subject, f.done) for f in found] == [("job-default:nobody", False)]
    assert "not mended" in found[0].what
    assert clock.monotonic() - began < 60


async def test_a_step_that_fails_is_a_finding(house: House, monkeypatch: pytest.MonkeyPatch):
    async def broken(_: Any) -> None:
        raise RuntimeError("the visibility store is away")

    monkeypatch.setattr(_Run, "workflows", broken)
    found = await house.recover()
    assert [f.what for f in found if f.kind == "recovery"] == ["could not look at broken: the visibility store is away"]
    assert {f.subject for f in found if f.kind == "watch"} == {"local"}


@pytest.mark.parametrize(("age", "unreachable", "found"), [(20, False, 0), (300, False, 1), (300, True, 0)])
async def test_a_watch_that_is_there_and_asks_nothing_is_a_finding(
    house: House, age: int, unreachable: bool, found: int
):
    """Somebody has paused it, or its activity, in Temporal."""
    watch = house.services.installation.cluster_workflow_id("local")
    async with house.services.database.write() as session:
        row = await clusters.get(session, "local")
        row.observed_at = clock.now() - timedelta(seconds=age)
        row.unreachable_since = row.observed_at if unreachable else None
    run = _Run(house.services, dry=False, full=False)
    await run._unwatched({watch: row})
    assert [f.kind for f in run.findings] == ["watch"] * found
    assert all("paused" in f.action and not f.safe for f in run.findings)


class TestApi:
    @pytest.fixture
    async def http(self, house: House):
        async def services_of():
            return house.services

        app = make_app(services_of)
        app.state.services, app.state.observer = house.services, Observer(house.services)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/api/v1", timeout=60) as client:
            yield client

    async def test_a_command_is_kept_with_a_note(self, house: House, http: httpx.AsyncClient):
        job = await stuck(house)
        answer = await http.post(f"/jobs/{job.id}/commands", json={"kind": "start"})
        assert (answer.status_code, answer.json()["state"]) == (202, "PENDING")
        log = await http.get(f"/jobs/{job.id}/commands/1/log")
        assert "could not be delivered yet" in log.text

    async def test_a_delete_says_that_it_is_not_finished(self, house: House, http: httpx.AsyncClient):
        job = await stuck(house)
        answer = await http.delete(f"/jobs/{job.id}")
        assert (answer.status_code, answer.json()["code"]) == (503, "deletion_unfinished")
        assert (await house.job(job.id)).deleting_at is not None

    async def test_anything_else_has_a_code_and_a_remedy(
        self, house: House, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ):
        async def unanswered(*_: Any, **__: Any) -> None:
            raise RPCTimeoutOrCancelledError()

        monkeypatch.setattr("api.jobs.service.patch", unanswered)
        job = await house.create()
        answer = await http.patch(f"/jobs/{job.id}", json={"labels": {}})
        assert (answer.status_code, answer.json()["code"]) == (503, "workflow_unanswered")
        assert "worker" in answer.json()["remedy"]
