"""Queries and records, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

import pytest
from sqlalchemy import insert, inspect, select, text

from core.errors import InvalidInput, NotFound, PenstockError
from core.jobs.commands import AskedCommand
from core.jobs.records import AttemptChange, CommandChange, JobChange, NewEvent, NewPoint, Record
from core.jobs.restore import RestoreKind, RestoreRequest
from core.jobs.states import AttemptState, CommandState, JobState
from settings import waits
from store import attempts, clusters, commands, jobs
from store.database import Database, DatabaseUnavailable
from store.migrate import upgrade
from store.record import apply
from store.tables import Base, Cluster, Command, Event, Job, Project, Version
from tests.rows import T0, attempt_row, cluster_row, job_row


async def add_job(database: Database, name: str = "j", *, project: str = "default", state: str = "CREATED") -> Job:
    job = job_row(str(uuid.uuid4()), project=project, name=name, state=state)
    async with database.write() as session:
        if await session.get(Project, project) is None:
            session.add(Project(name=project, config={}, created_at=T0))
        if await session.get(Cluster, "local") is None:
            session.add(cluster_row())
        await session.flush()
        session.add(job)
        await session.flush()
        session.add(Version(job_id=job.id, number=1, spec={"type": "sql"}, created_at=T0))
    return job


async def add_attempt(database: Database, job: Job, number: int = 1, flink_job_id: str | None = None) -> None:
    flink_job_id = flink_job_id or uuid.uuid4().hex
    async with database.write() as session:
        session.add(attempt_row(job.id, number, flink_job_id=flink_job_id, handle=f"h{number}", state="RECORDED"))


def change(revision: int, state: JobState = JobState.RUNNING) -> JobChange:
    return JobChange(revision=revision, state=state, reason="", version=1, current_attempt=1, snapshot={"r": revision})


class TestSchema:
    async def test_the_migrations_make_what_the_tables_say(self, database):
        async with database.engine.connect() as connection:
            found = await connection.run_sync(
                lambda c: {t: {col["name"] for col in inspect(c).get_columns(t)} for t in inspect(c).get_table_names()}
            )
        wanted = {t.name: {col.name for col in t.columns} for t in Base.metadata.sorted_tables}
        assert {k: v for k, v in found.items() if k != "alembic_version"} == wanted

    async def test_upgrading_at_the_same_time_is_fine(self, database):
        await asyncio.gather(*(upgrade(database) for _ in range(4)))

    async def test_one_that_a_later_version_has_made_is_told_so(self, sqlite: Database):
        async with sqlite.write() as session:
            await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(PenstockError, match="A later version of Penstock") as error:
            await upgrade(sqlite)
        assert error.value.remedy == "Run that version here, too."

    async def test_moments_keep_their_time_zone(self, database):
        job = await add_job(database)
        async with database.read() as session:
            assert (await jobs.get(session, job.id)).created_at == T0


class TestCommands:
    async def test_what_was_asked_comes_back_whole(self, database):
        job = await add_job(database)
        asked = AskedCommand(
            kind="resubmit",
            restore=RestoreRequest(mode="point", point="/s/1"),
            version=1,
            rollback_within=60,
            force=True,
            reason="because",
            requested_by="somebody",
        )
        async with database.write() as session:
            session.add(
                Command(id="c", job_id=job.id, number=1, state="PENDING", created_at=T0, **commands.columns_of(asked))
            )
        async with database.read() as session:
            row = await commands.by_id(session, "c")
            assert row is not None
            assert commands.asked_of(row) == asked
            assert row.options == {"force": True, "requested_by": "somebody"}, "the rest has columns of its own"

    async def test_a_row_of_before_is_read(self, database):
        """As an API wrote it that knew no `options`, also one that still runs while it is being exchanged."""
        job = await add_job(database)
        old = {"id": "c", "job_id": job.id, "number": 1, "kind": "resubmit", "state": "PENDING", "reason": "because"}
        async with database.write() as session:
            await session.execute(insert(Command).values(**old, restore={"mode": "newest"}, created_at=T0))
            assert await session.scalar(text("SELECT count(*) FROM commands WHERE options IS NULL")) == 1
        async with database.read() as session:
            row = await commands.by_id(session, "c")
            assert row is not None
            newest = RestoreRequest(mode="newest")
            assert commands.asked_of(row) == AskedCommand(kind="resubmit", restore=newest, reason="because")
            assert commands.asked_of(row).requested_by == "local"


class TestJobs:
    async def test_by_id_and_by_name(self, database):
        job = await add_job(database)
        async with database.read() as session:
            assert (await jobs.get(session, "default:j")).id == (await jobs.get(session, job.id)).id
            for wrong in ("default:k", "j", "", ":", "x\0y"):
                with pytest.raises(NotFound):
                    await jobs.get(session, wrong)

    async def test_a_deleted_job_frees_its_name(self, database):
        job = await add_job(database)
        async with database.write() as session:
            job.deleting_at = T0
            session.add(job)
            await session.flush()
            assert await jobs.delete(session, job.id, T0, T0)
        again = await add_job(database)
        assert again.id != job.id

    @pytest.mark.parametrize("sort", ["name", "-name", "created_at", "-updated_at", "state"])
    async def test_pages_hold_every_job_once(self, database, sort):
        for n in range(7):
            await add_job(database, f"job-{n}", state="RUNNING" if n % 2 else "FAILED")
        seen, cursor = [], None
        async with database.read() as session:
            for _ in range(10):
                page, cursor = await jobs.search(session, jobs.Filter(), sort=sort, limit=3, cursor=cursor)
                seen += [j.name for j in page]
                if cursor is None:
                    break
        assert sorted(seen) == [f"job-{n}" for n in range(7)]
        if sort == "-name":
            assert seen == sorted(seen, reverse=True)

    async def test_filters(self, database):
        await add_job(database, "a_b", state="RUNNING")
        await add_job(database, "axb", state="FAILED", project="other")
        async with database.read() as session:

            async def names(**wanted):
                found, _ = await jobs.search(session, jobs.Filter(**wanted), sort="name", limit=9, cursor=None)
                return [j.name for j in found]

            assert await names(text="a_b") == ["a_b"]
            assert await names(text="%") == []
            assert await names(state="FAILED") == ["axb"]
            assert await names(project="other", cluster="local") == ["axb"]

    @pytest.mark.parametrize("cursor", ["x", "e30", "W10", "WzEsMl0", "bnVsbA", "WyJhIl0", "////"])
    async def test_a_foreign_cursor_is_bad_input(self, database, cursor):
        async with database.read() as session:
            with pytest.raises(InvalidInput):
                await jobs.search(session, jobs.Filter(), sort="name", limit=3, cursor=cursor)


class TestRecord:
    async def test_an_older_revision_changes_nothing(self, database):
        job = await add_job(database)
        for revision, state in ((2, JobState.RUNNING), (1, JobState.DEPLOYING), (2, JobState.FAILED)):
            async with database.write() as session:
                await apply(session, Record(job_id=job.id, job=change(revision, state)))
        async with database.read() as session:
            assert (await jobs.get(session, job.id)).state == "RUNNING"

    async def test_applied_twice_is_applied_once(self, database):
        job = await add_job(database)
        await add_attempt(database, job)
        record = Record(
            job_id=job.id,
            job=change(1),
            attempts=[AttemptChange(number=1, state=AttemptState.RUNNING, at=T0, running=True)],
            events=[NewEvent(key="k", at=T0, kind="state", message="m")],
            points=[NewPoint(kind=RestoreKind.SAVEPOINT, path="file:///p", completed_at=T0, attempt=1, version=1)],
            pin="file:///p",
        )
        for _ in range(2):
            async with database.write() as session:
                await apply(session, record)
        async with database.read() as session:
            assert len((await session.scalars(select(Event))).all()) == 1
            points = await attempts.points(session, job.id)
            assert [p.pinned for p in points] == [True]
            assert (await attempts.get(session, job.id, 1)).running_since == T0

    async def test_an_ended_command_stays_ended(self, database):
        job = await add_job(database)
        async with database.write() as session:
            session.add(Command(id="c", job_id=job.id, number=1, kind="start", state="PENDING", created_at=T0))
        for state in (CommandState.RUNNING, CommandState.FAILED, CommandState.RUNNING, CommandState.SUCCEEDED):
            ended = CommandChange(id="c", state=state, at=T0, error="why" if state is CommandState.FAILED else None)
            async with database.write() as session:
                await apply(session, Record(job_id=job.id, commands=[ended]))
        async with database.read() as session:
            command = await commands.by_id(session, "c")
            assert (command.state, command.error) == ("FAILED", "why")

    @pytest.mark.parametrize(
        ("now", "late", "then"),
        [
            (AttemptState.RUNNING, AttemptState.ACCEPTED, AttemptState.RUNNING),
            (AttemptState.ACCEPTED, AttemptState.UNKNOWN, AttemptState.ACCEPTED),
            (None, AttemptState.ACCEPTED, AttemptState.ACCEPTED),
            (AttemptState.RUNNING, AttemptState.FAILED, AttemptState.RUNNING),  # before it was adopted again
        ],
    )
    async def test_a_late_record_takes_an_attempt_no_step_back(self, database, now, late, then):
        """Of a worker that stood still, or one that was written beside the work and had to be tried again."""
        job = await add_job(database)
        await add_attempt(database, job)
        for revision, state in ((2, now), (1, late)):
            changes = [AttemptChange(number=1, state=state, at=T0)] if state else []
            async with database.write() as session:
                await apply(session, Record(job_id=job.id, job=change(revision), attempts=changes))
        async with database.read() as session:
            row = await attempts.get(session, job.id, 1)
        assert (row.state, row.ended_at) == (then, None)

    async def test_a_workflow_that_was_set_back_ends_nothing(self, database):
        """However late it says so: whether it is so its job's workflow finds out again, as what it knows by then."""
        job = await add_job(database)
        await add_attempt(database, job)
        late = AttemptChange(number=1, state=AttemptState.FAILED, at=T0 + timedelta(hours=1))
        async with database.write() as session:
            assert await apply(session, Record(job_id=job.id, job=change(2))) is None
            assert await apply(session, Record(job_id=job.id, job=change(1), attempts=[late])) is not None
        async with database.read() as session:
            assert (await attempts.get(session, job.id, 1)).ended_at is None

    async def test_a_late_record_opens_no_attempt_again_and_pins_nothing(self, database):
        job = await add_job(database)
        await add_attempt(database, job)
        ended = AttemptChange(number=1, state=AttemptState.FAILED, at=T0, why="x")
        adopted = AttemptChange(number=1, state=AttemptState.ACCEPTED, at=T0, reopen=True)
        point = NewPoint(kind=RestoreKind.SAVEPOINT, path="/s/1", completed_at=T0, attempt=1, version=1)
        async with database.write() as session:
            await apply(session, Record(job_id=job.id, job=change(2), attempts=[ended], points=[point], pin="/s/1"))
        async with database.write() as session:
            await apply(session, Record(job_id=job.id, job=change(1), attempts=[adopted], pin=""))
        async with database.read() as session:
            row = await attempts.get(session, job.id, 1)
            assert [p.pinned for p in await attempts.points(session, job.id)] == [True]
        assert (row.state, row.ended_at) == ("FAILED", T0)

    async def test_an_ended_attempt_stays_ended(self, database):
        job = await add_job(database)
        await add_attempt(database, job)
        for state in (AttemptState.FAILED, AttemptState.RUNNING):
            async with database.write() as session:
                await apply(session, Record(job_id=job.id, attempts=[AttemptChange(number=1, state=state, at=T0)]))
        async with database.read() as session:
            assert (await attempts.get(session, job.id, 1)).state == "FAILED"


class TestObservations:
    async def test_an_older_look_changes_nothing(self, database):
        job = await add_job(database)
        await add_attempt(database, job)

        async def look(sequence, saw):
            row = {"job": job.id, "attempt": 1, "saw": saw, "told": None, "seq": sequence}
            async with database.write() as session:
                await attempts.observe(session, [row])

        await look(5, "RUNNING")
        await look(3, "STARTING")
        async with database.read() as session:
            assert (await attempts.get(session, job.id, 1)).seen == "RUNNING"
            assert [r["sequence"] for r in await attempts.open_on(session, "local")] == [5]
        # A clock that was set ahead for a while has written; from then on the right one counts again.
        await look(600_005, "RECOVERING")
        await look(7, "STARTING")
        async with database.read() as session:
            assert (await attempts.get(session, job.id, 1)).seen == "STARTING"
            assert [r["sequence"] for r in await attempts.open_on(session, "local")] == [7]

    async def test_unreachable_since_is_the_first_time(self, database):
        await add_job(database)
        for seconds in (1, 2):
            async with database.write() as session:
                await clusters.did_not_answer(session, "local", T0 + timedelta(seconds=seconds), "refused")
        async with database.read() as session:
            assert (await clusters.get(session, "local")).unreachable_since == T0 + timedelta(seconds=1)
        async with database.write() as session:
            await clusters.answered(session, "local", T0, None)
        async with database.read() as session:
            assert (await clusters.get(session, "local")).unreachable_since is None


async def test_writers_at_the_same_time_wait_for_each_other(database):
    job = await add_job(database)

    async def one(n: int) -> None:
        async with database.write() as session:
            await commands.append(session, "command:x", [(T0, f"line {n}")])
            await attempts.pin(session, job.id, None)

    await asyncio.gather(*(one(n) for n in range(40)))
    async with database.read() as session:
        assert len(await commands.lines(session, "command:x")) == 40


async def test_one_that_takes_no_writes_is_not_well(database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(waits, "DATABASE_BUSY_SECONDS", 0.2)
    await database.ping()
    url = database.engine.url
    other = Database(url.render_as_string(hide_password=False))
    async with database.write() as session:  # of SQLite's file one that is open locks it
        if not database.is_sqlite:
            await session.execute(text(f"ALTER DATABASE {url.database} SET default_transaction_read_only = on"))
            await session.commit()
        with pytest.raises(DatabaseUnavailable):
            await other.ping()
    await other.close()
