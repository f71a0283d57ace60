"""Two who ask at the same moment: what one has just done, the other one is told."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import update

from api.jobs import service as job_service
from api.versions import NewVersion
from core.jobs.restore import Basis
from core.jobs.snapshot import JobSnapshot
from core.sql.verdict import StateVerdict, Verdict
from services import Services
from store.tables import Attempt, Job, Orphan
from tests.api.conftest import create
from tests.recovery.conftest import SQL
from tests.rows import T0, attempt_row

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
