"""Two who ask at the same moment: what one has just done, the other one is told."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from services import Services
from store.tables import Attempt, Orphan
from tests.api.conftest import create
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
