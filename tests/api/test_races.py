"""Two who ask at the same moment: what one has just done, the other one is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import httpx
import pytest
from sqlalchemy import update

from api.clusters import service as cluster_service
from api.history import service as history_service
from api.jobs import service as job_service
from api.jobs.schemas import JobPatch
from api.versions import NewVersion
from core.errors import Conflict, NotFound
from core.jobs.policy import RestartPolicy
from core.jobs.records import NewPoint, Record
from core.jobs.restore import Basis, RestoreKind
from core.jobs.retention import SavepointPolicy
from core.jobs.snapshot import JobSnapshot
from core.sql.verdict import StateVerdict, Verdict
from observation.observer import Observer
from services import Services
from store import attempts, clusters
from store.database import Database
from store.record import apply
from store.tables import Attempt, Command, Job, Orphan
from tests.api.conftest import create, refused_client
from tests.recovery.conftest import SQL, services_of
from tests.rows import T0, attempt_row, cluster_row, job_row

ID = "a" * 32


async def test_an_orphan_that_a_job_has_by_now_is_not_stopped(
    services: Services, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    """It is on the list until the next look at its cluster."""
    cancelled = []

    async def cancel(_: Any, ref: Any) -> None:
        cancelled.append(ref.handle)

    monkeypatch.setattr("tests.recovery.conftest._Engine.cancel", cancel, raising=False)
    job = await create(services)
    async with services.database.write() as session:
        session.add(Orphan(cluster="local", flink_job_id=ID, name="x", first_seen_at=T0))
        session.add(attempt_row(job.id, flink_job_id=ID, handle=ID, state="ACCEPTED"))
    url = f"/clusters/local/orphans/{ID}/stop"
    answer = await http.post(url, json={"mode": "cancel"})
    assert (answer.status_code, answer.json()["code"]) == (409, "orphan_adopted"), answer.text
    assert "is attempt 1 of default:j by now" in answer.json()["detail"]
    assert cancelled == []
    async with services.database.write() as session:
        (await session.get_one(Attempt, (job.id, 1))).ended_at = T0
    assert (await http.post(url, json={"mode": "cancel"})).status_code == 202
    assert cancelled == [ID]


FITS = StateVerdict(verdict=Verdict.COMPATIBLE, summary="it fits")
NEWEST = {"mode": "newest"}


async def add_version(services: Services, job: str) -> None:
    await job_service.add_version(services, job, NewVersion.model_validate({"spec": {"type": "sql", "sql": SQL}}))


@pytest.mark.parametrize(
    ("state", "basis", "body", "version"),
    [
        ("RUNNING", "newest", {"kind": "resubmit", "restore": NEWEST}, 2),
        ("PAUSED", "newest", {"kind": "start"}, 1),
        ("CREATED", "fresh", {"kind": "start", "restore": {"mode": "point", "point": "/s/savepoint-1"}}, 2),
    ],
)
async def test_the_version_runs_that_was_judged(
    services: Services,
    http: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    basis: str,
    body: dict[str, Any],
    version: int,
):
    """Another one is added while the first is compiled; a caller who names none gets the one that fits."""
    job = (await create(services)).id
    await add_version(services, job)
    async with services.database.write() as session:
        names = {"project": "default", "name": "j", "type": "sql", "cluster": "local", "state_dir": "file:///s"}
        snapshot = JobSnapshot(job_id=job, basis=Basis(basis), **names).model_dump(mode="json")
        await session.execute(update(Job).where(Job.id == job).values(state=state, snapshot=snapshot))
    judged = []

    async def judge(_: Any, __: Any, number: int, *___: Any, **____: Any) -> StateVerdict:
        judged.append(number)
        await add_version(services, job)
        return FITS

    monkeypatch.setattr("api.commands.service.judge", judge)
    answer = await http.post(f"/jobs/{job}/commands", json=body, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json().get("version"), judged) == (202, version, [version]), answer.text
    again = await http.post(f"/jobs/{job}/commands", json=body, headers={"Idempotency-Key": "k"})
    assert (again.json()["number"], judged) == (1, [version]), again.text


class _Client:
    """A Temporal that notes what workflows are told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def get_workflow_handle(self, _: str) -> _Client:
        return self

    async def signal(self, _: str, policy: Any, **__: Any) -> None:
        self.told.append(policy)


async def test_a_workflow_that_has_not_written_anything_yet_is_told_of_another_policy(services: Services):
    """Its first command is on its way, or has just been taken."""
    client = _Client()
    services = replace(services, client=cast(Any, client))
    job = (await create(services)).id
    changes = JobPatch.model_validate({"restart_policy": {"max_restarts": 7}})
    await job_service.patch(services, job, changes)
    assert client.told == [], "it has none"
    async with services.database.write() as session:
        session.add(Command(id="c", job_id=job, number=1, kind="start", state="RUNNING", created_at=T0))
    await job_service.patch(services, job, changes)
    assert client.told == [RestartPolicy(max_restarts=7)]
    await job_service.patch(services, job, JobPatch.model_validate({"savepoint_policy": {"keep_last": 2}}))
    assert client.told[1:] == [SavepointPolicy(keep_last=2)]


async def test_what_is_told_is_what_the_row_says(services: Services, monkeypatch: pytest.MonkeyPatch):
    """Another change comes between the commit and the telling."""
    client = _Client()
    services = replace(services, client=cast(Any, client))
    job = (await create(services)).id
    async with services.database.write() as session:
        await session.execute(update(Job).where(Job.id == job).values(revision=1))
    tell = job_service._tell_policies

    async def late(*arguments: Any) -> None:
        async with services.database.write() as session:
            await session.execute(update(Job).where(Job.id == job).values(policy={"max_restarts": 9}))
        await tell(*arguments)

    monkeypatch.setattr(job_service, "_tell_policies", late)
    await job_service.patch(services, job, JobPatch.model_validate({"restart_policy": {"max_restarts": 7}}))
    assert client.told == [RestartPolicy(max_restarts=9)]


async def test_a_point_that_is_taken_away_at_this_moment_is_not_pinned(database: Database):
    """Who pins it would be told that it stays."""
    services = await services_of(await refused_client(), database)
    job = (await create(services)).id
    new = NewPoint(kind=RestoreKind.SAVEPOINT, path="file:///s/1", completed_at=T0, attempt=1, version=1)
    async with database.write() as session:
        await apply(session, Record(job_id=job, points=[new]))
    async with database.read() as session:
        point = attempts.as_point((await attempts.points(session, job))[0])
    async with database.write() as session:
        assert await attempts.take_away(session, job, point, T0)
        pinning = asyncio.create_task(history_service.keep(services, job, point.id, True))
        await asyncio.sleep(0.5)
    with pytest.raises(NotFound):
        await pinning


@pytest.mark.parametrize("used", [True, False], ids=["a job was on it", "never used"])
async def test_of_a_job_and_the_removal_of_its_cluster_one_is_refused(database: Database, used: bool):
    services = await services_of(await refused_client(), database)
    async with database.write() as session:
        session.add(cluster_row("other"))
        if used:
            await session.flush()
            session.add(job_row("gone", name="gone", cluster="other", state="KILLED", deleted_at=T0))
    async with database.write() as session:
        session.add(job_row("new", name="new", cluster="other", state="CREATED"))
        await session.flush()
        await clusters.held(session, "other")
        removing = asyncio.create_task(cluster_service.forget(services, Observer(services), "other"))
        await asyncio.sleep(0.5)
    with pytest.raises(Conflict) as refused:
        await removing
    assert refused.value.code == "cluster_in_use"
    async with database.write() as session:
        await session.delete(await session.get_one(Job, "new"))
    async with database.write() as session:
        await clusters.remove(session, await clusters.get(session, "other", lock=True), T0)
        creating = asyncio.create_task(create(services, cluster="other"))
        await asyncio.sleep(0.5)
    with pytest.raises(NotFound):
        await creating
