"""A command goes through the API as one model. Temporal is away here: commands are written down and stay PENDING."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import update

from api.commands.schemas import CommandOut, NewCommand
from core.jobs.commands import AskedCommand, CommandFields, CommandRequest
from services import Services
from settings import Settings
from store import commands
from store.tables import Job
from temporal.delivery import request_of
from tests.api.conftest import create
from tests.rows import T0, attempt_row

FULL = {
    "kind": "resubmit",
    "version": 1,
    "restore": {"mode": "none"},
    "rollback_within": 60,
    "force": True,
    "reason": "because",
}
ADOPT = {"kind": "adopt", "flink_job_id": "f" * 32, "reason": "because"}


async def paused(services: Services, job: str) -> None:
    async with services.database.write() as session:
        await session.execute(update(Job).where(Job.id == job).values(state="PAUSED"))


async def send(http: httpx.AsyncClient, job: str, body: dict[str, object], key: str = "k") -> httpx.Response:
    return await http.post(f"/jobs/{job}/commands", json=body, headers={"Idempotency-Key": key})


def test_every_model_of_a_command_has_every_field():
    for model in (NewCommand, AskedCommand, CommandRequest, CommandOut):
        assert model.model_fields.keys() >= CommandFields.model_fields.keys(), model


@pytest.mark.parametrize("body", [FULL, ADOPT])
async def test_what_is_asked_is_shown_and_delivered(
    services: Services, http: httpx.AsyncClient, body: dict[str, object]
):
    job = (await create(services)).id
    await paused(services, job)
    answer = await send(http, job, body)
    assert answer.status_code == 202, answer.text
    shown = (await http.get(f"/jobs/{job}/commands/1")).json()
    for of_answer in (answer.json(), shown, (await http.get(f"/jobs/{job}/commands")).json()["items"][0]):
        asked = CommandFields.model_validate(body).model_dump(mode="json")
        assert {name: of_answer[name] for name in asked} == asked
        assert (of_answer["requested_by"], of_answer["state"]) == ("local", "PENDING")
    async with services.database.read() as session:
        row = await commands.by_id(session, shown["id"])
        assert row is not None
        request = request_of(row, Settings())
    assert CommandFields.model_validate(request.model_dump()) == CommandFields.model_validate(body)
    assert (request.id, request.number, request.job_id) == (shown["id"], 1, job)


@pytest.mark.parametrize("more", [{"requested_by": "somebody"}, {"id": "c"}, {"other": 1}])
async def test_nobody_says_who_they_are(services: Services, http: httpx.AsyncClient, more: dict[str, object]):
    job = (await create(services)).id
    answer = await send(http, job, {"kind": "start", **more})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input"), answer.text


async def test_the_same_key_asks_for_the_same(services: Services, http: httpx.AsyncClient):
    job = (await create(services)).id
    await paused(services, job)
    assert (await send(http, job, FULL)).json()["number"] == 1
    for same in (FULL, {**FULL, "reason": "another"}, {k: v for k, v in FULL.items() if k != "version"}):
        answer = await send(http, job, same)
        assert (answer.status_code, answer.json()["number"]) == (202, 1), answer.text
    for other in ({"rollback_within": 61}, {"rollback_within": None}, {"version": 2}, {"restore": {"mode": "newest"}}):
        answer = await send(http, job, {**FULL, **other})
        assert answer.json()["code"] == "idempotency_key_reused", (other, answer.text)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "pause", "rollback_within": 60}, "rollback_within"),
        ({"kind": "start", "flink_job_id": "f" * 32}, "flink_job_id"),
        ({"kind": "kill", "force": True}, "force"),
    ],
)
async def test_a_field_that_has_no_meaning_is_refused(
    services: Services, http: httpx.AsyncClient, body: dict[str, object], field: str
):
    job = (await create(services)).id
    async with services.database.write() as session:
        state = "PAUSED" if body["kind"] == "start" else "RUNNING"
        await session.execute(update(Job).where(Job.id == job).values(state=state))
    answer = await send(http, job, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "field_unused"), answer.text
    assert answer.json()["field"] == field


@pytest.mark.parametrize(
    ("deleted", "words"), [(False, "Adopt it there, or stop it"), (True, "Stop it, with a savepoint")]
)
async def test_what_another_job_has_had_is_not_adopted(
    services: Services, http: httpx.AsyncClient, deleted: bool, words: str
):
    """A job that was deleted can adopt nothing any more: whoever is sent there finds no way out."""
    job, other = (await create(services)).id, (await create(services, "other")).id
    async with services.database.write() as session:
        session.add(attempt_row(other, flink_job_id="f" * 32, handle="f" * 32, state="GONE", ended_at=T0))
        await session.execute(update(Job).where(Job.id == other).values(deleted_at=T0 if deleted else None))
    problem = (await send(http, job, dict(ADOPT))).json()
    assert (problem["code"], problem["remedy"].startswith(words)) == ("not_adoptable", True), problem
