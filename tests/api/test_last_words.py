"""Why an attempt ended is told without the values of secrets."""

from __future__ import annotations

from dataclasses import replace

import httpx

from services import Services
from services.hidden import NOT_SHOWN
from store import resources
from store.tables import Job
from store.vault import Vault
from tests.api.conftest import client_of, create
from tests.rows import T0, attempt_row


async def _told(http: httpx.AsyncClient, job: str) -> tuple[str, str, str]:
    (attempt,) = (await http.get(f"/jobs/{job}/attempts")).json()["items"]
    (seen,) = (await http.get(f"/jobs/{job}/exceptions")).json()["items"]
    return attempt["ended_because"], seen["message"], seen["stack"]


async def test_no_secret_is_in_last_words(services: Services):
    key = services.settings.home
    services = replace(services, vault=Vault("", key / "one"))
    job = (await create(services)).id
    async with services.database.write() as session:
        await resources.set_secret(session, "default", "word", services.vault.seal("hush"), T0)
        row = attempt_row(job, flink_job_id="a" * 32, handle="a" * 32, state="FAILED")
        row.ended_at, row.why_ended = T0, "its JobManager died: password hush\nat hush"
        session.add(row)
        (await session.get_one(Job, job)).current_attempt = 1
    words = "its JobManager died: password ******"
    async with client_of(services) as http:
        assert await _told(http, job) == (f"{words}\nat ******", words, f"{words}\nat ******")
    async with client_of(replace(services, vault=Vault("", key / "another"))) as http:
        assert await _told(http, job) == (NOT_SHOWN, NOT_SHOWN, NOT_SHOWN)
