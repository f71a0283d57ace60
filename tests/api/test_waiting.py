"""A client that waits for the end of a command is answered then, and asks no more often."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import httpx
import pytest

from core.jobs.records import CommandChange, Record
from core.jobs.states import CommandState
from services import Services
from store import commands
from store.record import apply
from tests.api.conftest import create


async def sent(http: httpx.AsyncClient, services: Services, name: str = "j") -> tuple[str, str]:
    """A command that stays PENDING, for Temporal is away: its path, and its id."""
    job = await create(services, name)
    command = (await http.post(f"/jobs/{job.id}/commands", json={"kind": "start"})).json()
    return f"/jobs/{job.id}/commands/{command['number']}", command["id"]


async def end(services: Services, command_id: str) -> None:
    async with services.database.write() as session:
        row = await commands.by_id(session, command_id)
        assert row is not None
        change = CommandChange(id=command_id, state=CommandState.SUCCEEDED, at=datetime.now(UTC))
        await apply(session, Record(job_id=row.job_id, commands=[change]))


async def test_it_is_answered_when_the_command_has_ended(http: httpx.AsyncClient, services: Services):
    path, command_id = await sent(http, services)
    waiting = asyncio.create_task(http.get(path, params={"wait": 60}))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await end(services, command_id)
    assert (await asyncio.wait_for(waiting, 10)).json()["state"] == "SUCCEEDED"
    assert (await http.get(path, params={"wait": 60})).json()["state"] == "SUCCEEDED", "it has ended already"


async def test_it_is_answered_when_the_time_is_over(http: httpx.AsyncClient, services: Services):
    path, _ = await sent(http, services)
    began = time.monotonic()
    assert (await http.get(path, params={"wait": 0.3})).json()["state"] == "PENDING"
    assert time.monotonic() - began >= 0.3
    assert (await http.get(path, params={"wait": 61})).status_code == 422


async def test_many_who_wait_are_one_question(
    http: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
):
    asked = []
    original = commands.open_among

    async def open_among(session, ids):
        asked.append(len(ids))
        return await original(session, ids)

    monkeypatch.setattr(commands, "open_among", open_among)
    found = [await sent(http, services, f"j{n}") for n in range(4)]
    waiting = [asyncio.create_task(http.get(path, params={"wait": 60})) for path, _ in found for _ in range(3)]
    async with asyncio.timeout(60):
        while max(asked, default=0) < len(found):
            await asyncio.sleep(0.05)
        for _, command_id in found:
            await end(services, command_id)
        answers = await asyncio.gather(*waiting)
    assert {answer.json()["state"] for answer in answers} == {"SUCCEEDED"}
    assert max(asked) == 4
    many = len(asked)
    await asyncio.sleep(0.6)
    assert len(asked) <= many + 1, "nobody waits any more"
