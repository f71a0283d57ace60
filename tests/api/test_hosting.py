"""A session cluster does not end under a job that is about to start on it, whichever of the two was asked for first."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from api.commands import service
from api.commands.schemas import NewCommand
from api.security import EVERYBODY
from core.errors import Conflict
from core.jobs.states import CommandKind
from services import Services
from store import clusters, commands, jobs
from store.database import Database
from store.tables import Cluster, Command, Event, Version
from tests.api.conftest import refused_client
from tests.recovery.conftest import SQL, services_of
from tests.rows import T0, attempt_row, cluster_row, job_row

SPEC: dict[str, Any] = {"type": "session-cluster", "flink_version": "2.3.0", "taskmanagers": 1, "slots": 1}


@pytest.fixture
async def studio(database: Database) -> Services:
    """A session cluster that runs, and a job on it that does not."""
    made = await services_of(await refused_client(), database)
    async with database.write() as session:
        session.add(job_row("s", name="studio", type="session-cluster", state="RUNNING", workflow_id="w"))
        await session.flush()
        session.add(Version(job_id="s", number=1, spec=SPEC, created_at=T0))
        session.add(cluster_row("studio", jobmanager_url="http://y", managed_by="s"))
        await session.flush()
        session.add(job_row("j", name="clicks", cluster="studio", state="CREATED", workflow_id="v"))
        await session.flush()
        session.add(Version(job_id="j", number=1, spec={"type": "sql", "sql": SQL}, created_at=T0))
    return made


async def send(services: Services, job: str, kind: str, **more: Any) -> Any:
    """Temporal is away: a command that is taken stays PENDING."""
    new = NewCommand(kind=CommandKind(kind), **more)
    return await service.send(services, EVERYBODY, f"default:{job}", new, None)


async def refused(services: Services, job: str, kind: str, **more: Any) -> str:
    with pytest.raises(Conflict) as refusal:
        await send(services, job, kind, **more)
    return str(refusal.value.code)


@pytest.mark.parametrize("what", ["a start that no workflow has taken yet", "an attempt that was not seen to end"])
async def test_it_does_not_end_under(studio: Services, what: str):
    if what.startswith("a start"):
        assert (await send(studio, "clicks", "start")).state == "PENDING"
    else:
        async with studio.database.write() as session:
            session.add(attempt_row("j", flink_job_id="a" * 32, handle="a" * 32, cluster="studio", state="ACCEPTED"))
    assert await refused(studio, "studio", "kill") == "cluster_in_use"
    assert (await send(studio, "studio", "kill", force=True)).state == "PENDING"


@pytest.mark.parametrize("kind", ["kill", "restart", "resubmit"])
async def test_nothing_is_started_on_one_that_is_being_stopped(studio: Services, kind: str):
    if kind == "resubmit":
        async with studio.database.write() as session:
            session.add(Version(job_id="s", number=2, spec={**SPEC, "flink_version": "1.20.5"}, created_at=T0))
    assert (await send(studio, "studio", kind)).state == "PENDING"
    assert await refused(studio, "clicks", "start") == "cluster_stopping"


async def test_while_one_that_is_down_is_brought_back_a_start_waits(studio: Services):
    async with studio.database.write() as session:
        (await jobs.get(session, "s")).state = "FAILED"
    assert await refused(studio, "clicks", "start") == "cluster_stopped"
    assert (await send(studio, "studio", "restart")).state == "PENDING"
    assert (await send(studio, "clicks", "start")).state == "PENDING"


async def test_a_watch_that_writes_lines_of_the_job_does_not_lock_out_its_start(studio: Services):
    """It holds the cluster's row then, for which the start waits, with the row of the job."""
    at = {"kind": "alert", "message": "away", "at": T0}
    async with studio.database.write() as session:
        await session.execute(update(Cluster).where(Cluster.name == "studio").values(cannot_tell_at=T0))
        if studio.database.is_sqlite:  # one writes at a time
            return
        starting = asyncio.create_task(send(studio, "clicks", "start"))
        await asyncio.sleep(0.5)
        await session.execute(insert(Event), [{"key": "j/cannot-tell", "job_id": "j", **at}])
    assert (await starting).state == "PENDING"


async def test_of_a_start_and_a_kill_at_the_same_moment_one_is_refused(
    studio: Services, monkeypatch: pytest.MonkeyPatch
):
    """The start is written down, and not committed yet, when the kill comes."""
    add, written, goes_on = commands.add, asyncio.Event(), asyncio.Event()

    async def slow(session: Any, job_id: str, *asked: Any, **more: Any) -> Command:
        command = await add(session, job_id, *asked, **more)
        if job_id == "j":
            written.set()
            await goes_on.wait()
        return command

    monkeypatch.setattr(commands, "add", slow)
    starting = asyncio.create_task(send(studio, "clicks", "start"))
    await written.wait()
    killing = asyncio.create_task(refused(studio, "studio", "kill"))
    await asyncio.sleep(0.5)
    goes_on.set()
    assert ((await starting).state, await killing) == ("PENDING", "cluster_in_use")
    async with studio.database.read() as session:
        kinds = list(await session.scalars(select(Command.kind)))
        assert (kinds, (await clusters.get(session, "studio")).name) == (["start"], "studio")
