"""A scaling that is refused leaves nothing behind."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from clusters.protocol import EngineHealth, Unreachable
from core.errors import Conflict
from core.jobs.commands import AskedCommand
from core.jobs.records import AttemptChange, CommandChange, Record
from core.jobs.states import AttemptState, CommandKind, CommandState
from services import Services
from store import commands
from store.database import Database
from store.jobs import take_back
from store.record import apply
from store.tables import Command, Job, Version
from tests.rows import cluster_row, job_row
from tests.store.test_store import T0, add_attempt, add_job

SPEC: dict[str, Any] = {
    "type": "session-cluster",
    "flink_version": "2.3.0",
    "taskmanagers": 3,
    "slots": 2,
    "jobmanager_memory": "1100m",
    "taskmanager_memory": "1728m",
    "config": {},
}


@pytest.fixture
async def studio(services: Services, monkeypatch: pytest.MonkeyPatch) -> Services:
    """A session cluster that runs, with three task managers of two slots each, of which four are taken."""
    async with services.database.write() as session:
        session.add(job_row("s", name="studio", type="session-cluster", state="RUNNING", workflow_id="w"))
        await session.flush()
        session.add(Version(job_id="s", number=1, spec=SPEC, created_at=T0))
        session.add(cluster_row("studio", jobmanager_url="http://y", managed_by="s"))

    async def health(_: Any) -> EngineHealth:
        return EngineHealth(slots_total=6, slots_available=2)

    monkeypatch.setattr("tests.recovery.conftest._Engine.health", health)
    return services


async def versions(services: Services) -> list[int]:
    async with services.database.read() as session:
        return sorted(await session.scalars(select(Version.number).where(Version.job_id == "s")))


async def sent(services: Services) -> int:
    async with services.database.read() as session:
        return len((await session.scalars(select(Command).where(Command.job_id == "s"))).all())


async def scale(http: httpx.AsyncClient, count: int, key: str | None = None, **more: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await http.post("/clusters/studio/scale", json={"taskmanagers": count, **more}, headers=headers)


async def test_one_that_is_taken_has_its_version(studio: Services, http: httpx.AsyncClient):
    answer = await scale(http, 4, key="a")
    assert (answer.status_code, answer.json()["version"]) == (202, 2), answer.text
    assert (await scale(http, 4, key="a")).json()["number"] == answer.json()["number"]
    assert (await versions(studio), await sent(studio)) == ([1, 2], 1)
    async with studio.database.read() as session:
        made = await session.get(Version, ("s", 2))
        assert made is not None
        assert (made.spec, made.note) == ({**SPEC, "taskmanagers": 4}, "scaled to 4 task managers")


async def test_of_slots_that_are_taken(studio: Services, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch):
    assert (await scale(http, 1)).json()["code"] == "slots_in_use"

    async def away(_: Any) -> EngineHealth:
        raise Unreachable("refused")

    monkeypatch.setattr("tests.recovery.conftest._Engine.health", away)
    assert (await scale(http, 2)).json()["code"] == "cluster_unreachable"
    assert (await versions(studio), await sent(studio)) == ([1], 0)
    assert (await scale(http, 1, force=True)).status_code == 202
    assert await versions(studio) == [1, 2]


async def test_a_resubmit_runs_the_version_whose_slots_were_counted(
    studio: Services, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    async def health(_: Any) -> EngineHealth:
        async with studio.database.write() as session:
            session.add(Version(job_id="s", number=3, spec={**SPEC, "taskmanagers": 1}, created_at=T0))
        return EngineHealth(slots_total=6, slots_available=2)

    async with studio.database.write() as session:
        session.add(Version(job_id="s", number=2, spec={**SPEC, "taskmanagers": 2}, created_at=T0))
    monkeypatch.setattr("tests.recovery.conftest._Engine.health", health)
    answer = await http.post("/jobs/s/commands", json={"kind": "resubmit"})
    assert (answer.status_code, answer.json().get("version")) == (202, 2), answer.text


async def test_of_a_command_that_is_not_allowed_now(studio: Services, http: httpx.AsyncClient):
    async with studio.database.write() as session:
        await session.execute(update(Job).where(Job.id == "s").values(deleting_at=T0))
    assert (await scale(http, 4)).json()["code"] == "job_being_deleted"
    assert (await versions(studio), await sent(studio)) == ([1], 0)


async def test_of_a_workflow_that_does_not_take_it(
    studio: Services, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    async def refuses(*_: Any) -> None:
        raise Conflict("It is busy.", code="command_not_allowed")

    monkeypatch.setattr("api.commands.service.deliver", refuses)
    assert (await scale(http, 4)).json()["code"] == "command_not_allowed"
    assert (await versions(studio), await sent(studio)) == ([1], 0)


async def test_of_a_cluster_that_got_another_version_at_this_moment(
    studio: Services, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    """Its new slots would be gone with the one that is made from the version before."""

    async def health(_: Any) -> EngineHealth:
        async with studio.database.write() as session:
            session.add(Version(job_id="s", number=2, spec={**SPEC, "slots": 4}, created_at=T0))
            await session.execute(update(Job).where(Job.id == "s").values(version=2))
        return EngineHealth(slots_total=6, slots_available=2)

    monkeypatch.setattr("tests.recovery.conftest._Engine.health", health)
    answer = await scale(http, 4)
    assert (answer.status_code, answer.json()["code"]) == (409, "version_changed")
    assert (await versions(studio), await sent(studio)) == ([1, 2], 0)


async def test_of_one_that_could_not_be_delivered_in_time(studio: Services, http: httpx.AsyncClient):
    """The next resubmit would carry it out."""
    first = (await scale(http, 4, key="a")).json()
    assert await versions(studio) == [1, 2]
    async with studio.database.write() as session:
        assert await commands.refuse(session, first["id"], at=T0, error="too late", code="expired")
    assert await versions(studio) == [1]
    again = (await scale(http, 4, key="a")).json()
    assert (again["number"], again["state"], again["version"]) == (1, "FAILED", None)
    assert (await scale(http, 5)).json()["version"] == 2


async def test_a_version_that_something_else_names_stays_when_its_command_is_refused(database: Database):
    job = await add_job(database)
    async with database.write() as session:
        for number in (2, 3):
            session.add(Version(job_id=job.id, number=number, spec={}, created_at=T0))
        asked = AskedCommand(kind=CommandKind.RESUBMIT)
        rows = [("a", 2, True), ("b", 2, False), ("c", 3, True), ("d", 2, True)]
        for number, (id_, version, added) in enumerate(rows, 1):
            columns = commands.columns_of(asked, added=added) | {"version": version}
            session.add(Command(id=id_, job_id=job.id, number=number, state="PENDING", created_at=T0, **columns))
    left = []
    for id_ in ("a", "b", "c", "d"):
        async with database.write() as session:
            assert await commands.refuse(session, id_, at=T0, error="too late", code="expired")
            await session.flush()
            left.append(sorted(await session.scalars(select(Version.number).where(Version.job_id == job.id))))
    assert left == [[1, 2, 3], [1, 2, 3], [1, 2], [1, 2]]


@pytest.mark.parametrize(
    ("state", "at", "attempt", "added", "left"),
    [
        (CommandState.FAILED, 1, 1, True, [1]),
        (CommandState.CANCELLED, 1, 1, True, [1]),
        (CommandState.RUNNING, 1, 1, True, [1, 2]),
        (CommandState.SUCCEEDED, 1, 1, True, [1, 2]),
        (CommandState.FAILED, 2, 1, True, [1, 2]),  # it is scaled, and not all of it runs
        (CommandState.FAILED, 1, 2, True, [1, 2]),
        (CommandState.FAILED, 1, 1, False, [1, 2]),
    ],
)
async def test_a_version_goes_with_the_command_that_its_workflow_could_not_carry_out(
    database: Database, state: CommandState, at: int, attempt: int, added: bool, left: list[int]
):
    job = await add_job(database)
    async with database.write() as session:
        session.add(Version(job_id=job.id, number=2, spec={}, created_at=T0))
        columns = commands.columns_of(AskedCommand(kind=CommandKind.RESUBMIT, version=2), added=added)
        session.add(Command(id="c", job_id=job.id, number=1, state="RUNNING", created_at=T0, **columns))
    await add_attempt(database, job)
    ended = CommandChange(id="c", state=state, at=T0, error="why", error_code="not_scaled")
    moved = AttemptChange(number=1, state=AttemptState.RUNNING, at=T0, version=attempt)
    for _ in range(2):
        async with database.write() as session:
            await session.execute(update(Job).where(Job.id == job.id).values(version=at))
            await apply(session, Record(job_id=job.id, attempts=[moved]))
            await apply(session, Record(job_id=job.id, commands=[ended]))
    async with database.read() as session:
        assert sorted(await session.scalars(select(Version.number).where(Version.job_id == job.id))) == left
        command = await commands.by_id(session, "c")
        assert command is not None
        assert (command.state, command.version) == (state.value, 2 if 2 in left else None)


async def test_a_version_that_something_names_stays(database: Database):
    job = await add_job(database)
    other = await add_job(database, "other")
    async with database.write() as session:
        for number in (2, 3):
            session.add(Version(job_id=job.id, number=number, spec={}, created_at=T0))
        await session.flush()
        await take_back(session, job.id, 2)  # it is not the newest
        await take_back(session, job.id, 3)
        await take_back(session, other.id, 3)
        left = set(await session.scalars(select(Version.number).where(Version.job_id == job.id)))
        assert left == {1, 2}
        session.add(Command(id="c", job_id=job.id, number=1, kind="resubmit", state="FAILED", version=2, created_at=T0))
        await session.flush()
        await take_back(session, job.id, 2)
        assert await session.get(Version, (job.id, 2)) is not None
    await add_attempt(database, other)
    async with database.write() as session:
        await take_back(session, other.id, 1)
        assert await session.get(Version, (other.id, 1)) is not None
