"""Rows of the past go, some at a time; what a job needs stays."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from activities import forget
from activities.forget import Forgetting
from core.jobs.restore import RestoreKind
from core.jobs.snapshot import checkpoint_directory, savepoint_root
from services import Services
from settings import Settings, clock
from store import commands
from store.database import Database
from store.tables import Attempt, Cluster, Command, Event, Job, LogLine, Orphan, Preview, RestorePointRow
from tests.api.conftest import refused_client
from tests.recovery.conftest import services_of
from tests.store.test_store import add_job

KEEP = 20


@pytest.fixture
async def services(database: Database, tmp_path: Path) -> Services:
    settings = Settings(home=tmp_path, secret_key="x" * 43 + "=", keep_last=KEEP)  # type: ignore[arg-type]
    made = await services_of(await refused_client(), database, settings)
    (tmp_path / "state").mkdir()
    async with database.write() as session:
        await session.execute(update(Cluster).values(state_dir=f"file://{tmp_path}/state"))
    return made


def ago(days: float) -> datetime:
    return clock.now() - timedelta(days=days)


async def with_attempts(services: Services, count: int, *, days: float = 400, **of_job: Any) -> Job:
    job = await add_job(services.database, f"j-{uuid.uuid4().hex[:6]}")
    async with services.database.write() as session:
        rows = [
            {
                "job_id": job.id,
                "number": n,
                "flink_job_id": uuid.uuid4().hex,
                "handle": f"h{n}",
                "cluster": "local",
                "version": 1,
                "state": "FAILED",
                "cause": "test",
                "config": {},
                "started_at": ago(days),
                "sequence": 0,
                "ended_at": ago(days),
            }
            for n in range(1, count + 1)
        ]
        await session.execute(insert(Attempt), rows)
        await session.execute(update(Job).where(Job.id == job.id).values({"current_attempt": count, **of_job}))
    return job


async def change(services: Services, job: Job, number: int, **values: Any) -> str:
    async with services.database.write() as session:
        row = await session.get(Attempt, (job.id, number))
        assert row is not None
        for key, value in values.items():
            setattr(row, key, value)
        return row.flink_job_id


async def numbers(services: Services, job: Job) -> set[int]:
    async with services.database.read() as session:
        return set(await session.scalars(select(Attempt.number).where(Attempt.job_id == job.id)))


async def count(services: Services, table: Any) -> int:
    async with services.database.read() as session:
        return (await session.scalar(select(func.count()).select_from(table))) or 0


async def add(services: Services, rows: Iterable[Any]) -> None:
    async with services.database.write() as session:
        session.add_all(rows)


LAST = set(range(31, 51))


class TestAttempts:
    async def test_the_last_ones_stay(self, services: Services):
        job, other = await with_attempts(services, 50), await with_attempts(services, KEEP)
        young = await with_attempts(services, 50, days=179)
        await Forgetting(services).past()
        assert await numbers(services, job) == LAST
        assert len(await numbers(services, other)) == KEEP
        assert len(await numbers(services, young)) == 50

    async def test_what_something_names_stays(self, services: Services):
        snapshot = {"lineage": {"taken_up": {"4": 44}}}
        job = await with_attempts(services, 50, current_attempt=2, snapshot=snapshot)
        await change(services, job, 3, ended_at=None, config={"like": 1})
        await change(services, job, 7, version=2)
        await change(services, job, 31, config={"like": 12})  # it has not come so far as to know what it runs
        await change(services, job, 12, config={"like": 11})
        await change(services, job, 11, config={"sql": "hash", "like": 10})
        point: dict[str, Any] = {
            "job_id": job.id,
            "version": 1,
            "kind": RestoreKind.CHECKPOINT.value,
            "completed_at": ago(400),
        }
        await add(
            services,
            [
                RestorePointRow(id="rp-5", attempt=5, path="file:///s/5", **point),
                RestorePointRow(id="rp-6", attempt=6, path="file:///s/6", gone_at=ago(300), **point),
                Orphan(cluster="local", flink_job_id="o", name="x", job_id=job.id, attempt=8, first_seen_at=ago(1)),
            ],
        )
        await Forgetting(services).past()
        assert await numbers(services, job) == LAST | {1, 2, 3, 4, 5, 7, 8, 11, 12}

    async def test_one_whose_files_are_there_stays(self, services: Services, tmp_path: Path):
        job = await with_attempts(services, 50)
        own = await change(services, job, 5)
        root = f"{tmp_path}/state"
        Path(checkpoint_directory(root, job.id), own).mkdir(parents=True)
        Path(savepoint_root(root, job.id), f"6-{uuid.uuid4()}").mkdir(parents=True)
        await Forgetting(services).past()
        assert await numbers(services, job) == LAST | {5, 6}

    async def test_none_goes_where_the_files_cannot_be_seen(self, services: Services, tmp_path: Path):
        job = await with_attempts(services, 50)
        async with services.database.write() as session:
            await session.execute(update(Cluster).values(state_dir=f"file://{tmp_path}/elsewhere"))
        await Forgetting(services).past()
        assert len(await numbers(services, job)) == 50
        async with services.database.write() as session:
            await session.execute(update(Job).values(type="session-cluster"))  # it has no state
        await Forgetting(services).past()
        assert await numbers(services, job) == LAST

    async def test_page_by_page(self, services: Services, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(forget, "BATCH", 3)
        job = await with_attempts(services, 50)
        for n in range(4, 11):
            await change(services, job, n, version=n)
        await Forgetting(services).past()
        assert await numbers(services, job) == LAST | set(range(4, 11))


def command(job: Job, number: int, state: str = "SUCCEEDED", days: float = 400) -> Command:
    return Command(
        id=f"{job.id}-{number}",
        job_id=job.id,
        number=number,
        kind="start",
        state=state,
        created_at=ago(days),
        finished_at=ago(days) if state == "SUCCEEDED" else None,
    )


def line(scope: str, days: float) -> LogLine:
    return LogLine(scope=scope, at=ago(days), text="x")


async def test_commands_and_their_logs(services: Services, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forget, "BATCH", 7)
    services = dataclasses.replace(services, settings=services.settings.model_copy(update={"keep_log_lines_days": 0}))
    job = await add_job(services.database)
    await add(services, [command(job, n) for n in range(1, 50) if n not in (3, 4)])
    await add(services, [command(job, 3, "RUNNING"), command(job, 4, days=80)])
    await add(services, [line(commands.scope(f"{job.id}-{n}"), 400) for n in (1, 3, 40)])
    await Forgetting(services).past()
    async with services.database.read() as session:
        left = set(await session.scalars(select(Command.number)))
        scopes = set(await session.scalars(select(LogLine.scope)))
        assert await commands.next_number(session, job.id) == 50
    assert left == {3, 4, *range(30, 50)}
    assert scopes == {commands.scope(f"{job.id}-{n}") for n in (3, 40)}


async def test_lines_of_logs(services: Services, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forget, "BATCH", 4)
    job = await add_job(services.database)
    await add(services, [command(job, 1, "RUNNING")])
    running = commands.scope(f"{job.id}-1")
    for scope, days in [*[("build:x", 40)] * 9, *[(running, 40)] * 9, *[("library:x", 40)] * 9, *[("build:y", 20)] * 3]:
        await add(services, [line(scope, days)])
    await Forgetting(services).past()
    async with services.database.read() as session:
        rows = await session.execute(select(LogLine.scope, func.count()).group_by(LogLine.scope))
        assert {row[0]: row[1] for row in rows} == {running: 9, "build:y": 3}


async def test_timelines(services: Services, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forget, "BATCH", 8)
    job, quiet = await add_job(services.database), await add_job(services.database, "quiet")

    def event(of: Job, n: int, days: float) -> Event:
        return Event(key=f"{of.id}/{n}", job_id=of.id, at=ago(days), kind="state", message=str(n), data={})

    for n in range(60):
        await add(services, [event(job, n, 100 if n < 30 else 50)])
    for n in range(KEEP + 5):
        await add(services, [event(quiet, n, 400)])
    await Forgetting(services).past()
    async with services.database.read() as session:
        for of, first, last in ((job, 30, 60), (quiet, 5, KEEP + 5)):
            left = await session.scalars(select(Event.message).where(Event.job_id == of.id).order_by(Event.id))
            assert list(left) == [str(n) for n in range(first, last)]


@pytest.mark.parametrize("ahead", [[-400], [-400] * 9, [20], [20] * 3], ids=str)
async def test_what_a_clock_wrote_that_was_ahead_holds_nothing_up(
    services: Services, monkeypatch: pytest.MonkeyPatch, ahead: list[float]
):
    """It stays itself until it is old: by its own time, or because that has passed meanwhile."""
    monkeypatch.setattr(forget, "BATCH", 4)
    job = await add_job(services.database)
    days = [*ahead, *[400] * 12, *[10] * 9, *[400] * 2]
    await add(services, [line("build:x", of) for of in days])
    await add(
        services,
        [
            Event(key=str(n), job_id=job.id, at=ago(of), kind="state", message="", data={})
            for n, of in enumerate([*days, *[10] * KEEP])
        ],
    )
    left = [*ahead, *[10] * 9, *[400] * 2]
    await Forgetting(services).past()
    assert await count(services, LogLine) == len(left)
    assert await count(services, Event) == len(left) + KEEP


async def test_previews(services: Services):
    await add_job(services.database)

    def preview(id_: str, ended: float | None, gone: float | None) -> Preview:
        return Preview(
            id=id_,
            project="default",
            cluster="local",
            stream="s",
            flink_job_id=uuid.uuid4().hex,
            run=id_,
            request={},
            state="X",
            lease_until=ago(9),
            created_at=ago(9),
            rows=0,
            ended_at=ago(ended) if ended else None,
            gone_at=ago(gone) if gone else None,
        )

    rows = [preview("old", 8, 8), preview("young", 6, 6), preview("alive", None, None), preview("not-gone", 8, None)]
    await add(services, rows)
    await Forgetting(services).past()
    async with services.database.read() as session:
        assert set(await session.scalars(select(Preview.id))) == {"young", "alive", "not-gone"}


async def test_zero_is_for_ever(services: Services):
    names = ("events", "log_lines", "commands", "attempts", "previews")
    never = services.settings.model_copy(update={f"keep_{name}_days": 0 for name in names})
    job = await with_attempts(services, 50)
    await add(services, [command(job, n) for n in range(1, 50)] + [line("build:x", 9000)])
    await Forgetting(dataclasses.replace(services, settings=never)).past()
    assert [await count(services, table) for table in (Attempt, Command, LogLine)] == [50, 49, 1]


async def test_it_goes_on_where_it_has_ended(services: Services, monkeypatch: pytest.MonkeyPatch):
    """A run has its seconds; the next ones go on, and when all has been looked at an hour passes."""
    for _ in range(4):
        job = await add_job(services.database, uuid.uuid4().hex)
        await add(services, [command(job, n) for n in range(1, 50)])
    monkeypatch.setattr(forget, "BATCH", 10)
    ticks = iter(range(10_000))
    monkeypatch.setattr("activities.forget.clock.monotonic", lambda: float(next(ticks)))
    forgetting, left = Forgetting(services), [await count(services, Command)]
    for _ in range(30):
        await forgetting.past()
        left.append(await count(services, Command))
    assert left[1] > left[2] > left[-1] == 4 * KEEP
    assert all(a - b <= 50 for a, b in pairwise(left)), "a run has a bound"
    more = await add_job(services.database, "more")
    await add(services, [command(more, n) for n in range(1, 50)])
    await forgetting.past()
    assert await count(services, Command) == 4 * KEEP + 49, "an hour has not passed"
    ticks = iter(range(20_000, 30_000))
    for _ in range(10):
        await forgetting.past()
    assert await count(services, Command) == 5 * KEEP
