"""Queries that the recovery, the watch and retention rest on, on both kinds of database."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import update

from clusters.protocol import JobSeen, Overview, Ref
from core.jobs.observations import EngineState
from core.jobs.records import AttemptChange, JobChange, NewPoint, Record
from core.jobs.restore import RestoreKind
from core.jobs.states import RESTING, AttemptState, JobState
from observation.orphans import OrphanWatch
from store import attempts, clusters, commands, jobs, orphans
from store.database import Database
from store.record import apply
from store.tables import Attempt, Cluster, Command, Job
from tests.store.test_store import T0, add_attempt, add_job


def state(job: Job, state: JobState, current: int, revision: int = 1) -> Record:
    change = JobChange(revision=revision, state=state, reason="", version=1, current_attempt=current, snapshot={})
    return Record(job_id=job.id, job=change)


class TestDisagreement:
    async def test_an_open_attempt_of_a_job_that_says_otherwise(self, database: Database):
        for name, states, current in (("runs", JobState.RUNNING, 1), ("paused", JobState.PAUSED, 1)):
            job = await add_job(database, name)
            await add_attempt(database, job, 1 if name == "runs" else 2)
            async with database.write() as session:
                await apply(session, state(job, states, current if name == "runs" else 2))
        other = await add_job(database, "beside")
        await add_attempt(database, other, 3)
        async with database.write() as session:
            await apply(session, state(other, JobState.RUNNING, 4))
        async with database.read() as session:
            found = await attempts.contradicted(session, sorted(RESTING))
        assert {job.name for _, job in found} == {"paused", "beside"}

    async def test_one_that_is_reopened_is_open(self, database: Database):
        job = await add_job(database)
        await add_attempt(database, job)
        gone = AttemptChange(number=1, state=AttemptState.GONE, at=T0, why="lost")
        back = AttemptChange(number=1, state=AttemptState.ACCEPTED, at=T0, reopen=True)
        async with database.write() as session:
            await apply(session, Record(job_id=job.id, attempts=[gone]))
            assert await attempts.open_on(session, "local") == []
            await apply(session, Record(job_id=job.id, attempts=[back]))
            assert [row["state"] for row in await attempts.open_on(session, "local")] == ["ACCEPTED"]


class TestWhatWaits:
    """By the clock of whoever looks, which may have been set back since: it is not waited for."""

    async def test_commands_and_deletions(self, database: Database):
        age, minutes = timedelta(seconds=15), {"old": -6, "new": 0, "ahead": 6}
        for name, at in minutes.items():
            job = await add_job(database, name)
            moment = T0 + timedelta(minutes=at)
            async with database.write() as session:
                session.add(Command(id=name, job_id=job.id, number=1, kind="start", state="PENDING", created_at=moment))
                await session.execute(update(Job).where(Job.id == job.id).values(deleting_at=moment))
        async with database.read() as session:
            waiting = await commands.undelivered(session, T0, age)
            deleting = await jobs.deleting(session, T0, age)
        assert [command.id for command, _ in waiting] == ["old", "ahead"]
        assert [job.name for job in deleting] == ["old", "ahead"]


def shown(*flink_job_ids: str) -> Overview:
    """They run, and the cluster knows them by other ids than Flink."""
    refs = [Ref(id_, f"application of {id_}") for id_ in flink_job_ids]
    return Overview({ref.handle: JobSeen(ref, EngineState.RUNNING, ref.flink_job_id, "RUNNING") for ref in refs})


class TestOrphans:
    async def look(self, watch: OrphanWatch, *ids: str, owned: tuple[str, ...] = (), at: int = 0) -> None:
        await watch.look("local", shown(*ids), set(owned), T0 + timedelta(seconds=at))

    async def listed(self, database: Database) -> list[str]:
        async with database.read() as session:
            return [o.flink_job_id for o in await orphans.all_(session, "local")]

    async def test_two_looks_make_one_and_one_look_ends_it(self, database: Database):
        watch = OrphanWatch(database)
        await self.look(watch, "a", "b", owned=("b",))
        assert await self.listed(database) == []
        await self.look(watch, "a", "b", owned=("b",))
        assert await self.listed(database) == ["a"]
        await self.look(watch, "b", owned=("b",))
        assert await self.listed(database) == []
        for at in (1, 2):  # it is back
            await self.look(watch, "a", at=at)
        assert await self.listed(database) == ["a"]

    async def test_an_attempt_that_was_given_up_and_is_alive_is_to_be_cancelled(self, database: Database):
        job = await add_job(database)
        await add_attempt(database, job, flink_job_id="id1")
        given_up = AttemptChange(number=1, state=AttemptState.NOT_SUBMITTED, at=T0, why="its id is spent")
        async with database.write() as session:
            await apply(session, Record(job_id=job.id, attempts=[given_up]))
        seen = shown("id1")
        watch = OrphanWatch(database)
        assert await watch.look("local", seen, set(), T0) == [], "one look is none"
        assert await watch.look("local", seen, set(), T0) == [Ref("id1", "application of id1")]
        assert len(await watch.look("local", seen, set(), T0)) == 1, "until it is gone"
        assert len(await OrphanWatch(database).look("local", seen, set(), T0)) == 1, "by another worker, too"
        assert await watch.look("local", Overview({}), set(), T0) == []

    async def test_an_attempt_that_is_just_being_started_is_none(self, database: Database):
        """Its row was written after the look had read the rows."""
        job = await add_job(database)
        await add_attempt(database, job, flink_job_id="id1")
        watch = OrphanWatch(database)
        for _ in range(3):
            await self.look(watch, "id1")
        assert await self.listed(database) == []

    async def lost(self, database: Database) -> Job:
        """A job whose attempt its cluster has lost."""
        job = await add_job(database)
        await add_attempt(database, job, flink_job_id="id1")
        async with database.write() as session:
            gone = AttemptChange(number=1, state=AttemptState.GONE, at=T0, why="lost")
            await apply(session, Record(job_id=job.id, attempts=[gone]))
        return job

    async def test_one_that_is_adopted_leaves_the_list_with_the_record_of_that(self, database: Database):
        job = await self.lost(database)
        watch = OrphanWatch(database)
        for _ in range(2):
            await self.look(watch, "id1", "other")
        assert await self.listed(database) == ["id1", "other"]
        async with database.write() as session:
            adopted = AttemptChange(number=1, state=AttemptState.ACCEPTED, at=T0, reopen=True)
            await apply(session, Record(job_id=job.id, attempts=[adopted]))
        assert await self.listed(database) == ["other"]
        for _ in range(2):
            await self.look(watch, "id1", "other", owned=("id1",))
        assert await self.listed(database) == ["other"]

    async def test_another_watch_goes_on_where_one_died(self, database: Database):
        for watch in (OrphanWatch(database), OrphanWatch(database)):
            for _ in range(2):
                await self.look(watch, "a")
        await self.look(OrphanWatch(database))
        assert await self.listed(database) == []

    async def test_one_that_was_an_attempt_is_told_on_its_jobs_timeline(self, database: Database):
        job = await self.lost(database)
        watch = OrphanWatch(database)
        for _ in range(4):
            await self.look(watch, "id1")
        async with database.read() as session:
            events, _ = await attempts.events(session, job.id, limit=10, cursor=None)
        assert [e.kind for e in events] == ["alert"]
        assert "is alive on local" in events[0].message

    async def test_a_second_job_of_a_program_tells_whose_it_is(self, database: Database):
        job = await add_job(database)
        await add_attempt(database, job, flink_job_id="id1")
        seen = shown("id1", "second", "strange")

        async def started_by(ids: Collection[str]) -> dict[str, str]:
            return {id_: {"second": "id1", "strange": "f" * 32}[id_] for id_ in ids}

        watch = OrphanWatch(database)
        for _ in range(3):  # its program is being submitted: that deals with it
            await watch.look("local", seen, {"id1"}, T0, started_by)
        assert await self.listed(database) == ["strange"]
        async with database.write() as session:
            accepted = AttemptChange(number=1, state=AttemptState.ACCEPTED, at=T0)
            await apply(session, Record(job_id=job.id, attempts=[accepted]))
        for _ in range(3):
            await watch.look("local", seen, {"id1"}, T0, started_by)
        assert sorted(await self.listed(database)) == ["second", "strange"]
        async with database.read() as session:
            rows = {row.flink_job_id: row for row in await orphans.all_(session, "local")}
            events, _ = await attempts.events(session, job.id, limit=10, cursor=None)
        assert (rows["second"].job_id, rows["second"].attempt) == (job.id, 1)
        assert (
            rows["second"].detail
            == f"started by the program of {job.project}:{job.name}, attempt 1, beside its job; RUNNING"
        )
        assert (rows["strange"].job_id, rows["strange"].detail) == (None, "RUNNING")
        assert len(events) == 1
        assert "has started a second Flink job, second, on local" in events[0].message
        assert events[0].data["actions"] == [{"stop": "/clusters/local/orphans/second/stop"}]


async def told_to_be_silent(database: Database) -> Sequence[Mapping[str, Any]]:
    """The cluster has not answered for 90 s, and its jobs were told; gives the attempts on it."""
    async with database.write() as session:
        await clusters.did_not_answer(session, "local", T0, "refused")
    async with database.write() as session:
        cluster, rows = await clusters.get(session, "local"), await attempts.open_on(session, "local")
        await clusters.tell_jobs(session, cluster, rows, T0 + timedelta(seconds=90), back=False)
    return rows


async def test_a_silent_cluster_is_told_once_to_each_of_its_jobs(database: Database):
    for n in range(3):
        await add_attempt(database, await add_job(database, f"j{n}"), n + 1)
    rows = await told_to_be_silent(database)
    async with database.write() as session:
        cluster = await clusters.get(session, "local")
        assert cluster.cannot_tell_at == T0 + timedelta(seconds=90)
        await clusters.tell_jobs(session, cluster, rows, T0 + timedelta(seconds=120), back=True)
        await clusters.answered(session, "local", T0 + timedelta(seconds=120), None)
    async with database.read() as session:
        assert (await clusters.get(session, "local")).cannot_tell_at is None
        for job in await jobs.lived(session) or [await jobs.get(session, f"default:j{n}") for n in range(3)]:
            events, _ = await attempts.events(session, job.id, limit=10, cursor=None)
            assert ["answers again" in e.message for e in events] == [True, False]
            assert "90 s" in events[1].message


async def test_a_cluster_that_has_answered_somebody_else_meanwhile_is_not_told_to_be_silent(database: Database):
    """The API asked long ago, and has had no answer; a worker has had one since. Were that told, no look at this
    cluster would succeed any more."""
    job = await add_job(database, "j")
    await add_attempt(database, job, 1)
    async with database.write() as session:
        await clusters.did_not_answer(session, "local", T0, "refused")
    async with database.read() as session:
        cluster, rows = await clusters.get(session, "local"), await attempts.open_on(session, "local")
    async with database.write() as session:
        await clusters.answered(session, "local", T0 + timedelta(seconds=80), None)
    async with database.write() as session:
        await clusters.tell_jobs(session, cluster, rows, T0 + timedelta(seconds=90), back=False)
    async with database.write() as session:
        now = await clusters.get(session, "local")
        assert (now.unreachable_since, now.cannot_tell_at) == (None, None)
        assert (await attempts.events(session, job.id, limit=10, cursor=None))[0] == []
        now.cannot_tell_at = T0  # as earlier code has left it
        await clusters.tell_jobs(session, now, rows, T0 + timedelta(seconds=120), back=True)


async def test_of_two_that_have_an_answer_at_the_same_moment_one_tells_it(database: Database):
    """A page is opened in the moment of a worker's look: the second one broke by the first one's line, and the page
    said that somebody else was changing the same thing."""
    job = await add_job(database, "j")
    await add_attempt(database, job, 1)
    rows = await told_to_be_silent(database)
    async with database.read() as session:
        before = await clusters.get(session, "local")
    for seconds in (120, 121):
        async with database.write() as session:
            await clusters.tell_jobs(session, before, rows, T0 + timedelta(seconds=seconds), back=True)
            await clusters.answered(session, "local", T0 + timedelta(seconds=seconds), None)
    async with database.read() as session:
        events, _ = await attempts.events(session, job.id, limit=10, cursor=None)
    assert [event.message for event in events if "again" in event.message] == ["local answers again, after 120 s"]


async def test_what_is_in_use_is_known_over_all_jobs(database: Database):
    job, other = await add_job(database, "j"), await add_job(database, "other")
    points = [
        NewPoint(kind=RestoreKind.SAVEPOINT, path=f"file:///s/{n}", completed_at=T0, attempt=1, version=1)
        for n in range(4)
    ]
    await add_attempt(database, other, 7)
    async with database.write() as session:
        await apply(session, Record(job_id=job.id, points=points, pin="file:///s/0"))
        row = await attempts.one_point(session, job, attempts.point_id(job.id, "file:///s/1"))
        row.kept = True
        await session.execute(update(Attempt).where(Attempt.job_id == other.id).values(restored_from="file:///s/2"))
    async with database.write() as session:
        assert await attempts.in_use(session, job.id) == {f"file:///s/{n}" for n in (0, 1, 2)}
        await attempts.gone(session, job.id, ["file:///s/3"], T0)
        assert "file:///s/3" not in [p.path for p in await attempts.points(session, job.id)]


async def test_a_cluster_from_before_has_no_standby(database: Database):
    await add_job(database)
    async with database.read() as session:
        cluster = await session.get(Cluster, "local")
        assert cluster is not None
        assert cluster.standby_urls == []


async def test_what_is_seen_of_many_attempts_is_written_at_once(database: Database):
    """And what was seen to be final stays."""
    owners = [await add_job(database, f"many-{n}") for n in range(3)]
    for job in owners:
        await add_attempt(database, job)

    async def look(sequence: int, *states: str) -> list[str | None]:
        rows = [
            {"job": job.id, "attempt": 1, "saw": saw, "told": None, "seq": sequence}
            for job, saw in zip(owners, states, strict=True)
        ]
        async with database.write() as session:
            await attempts.observe(session, rows)
        async with database.read() as session:
            found = [await attempts.get(session, job.id, 1) for job in owners]
        return [attempt.seen for attempt in found if attempt is not None]

    assert await look(1, "RUNNING", "STARTING", "FAILED") == ["RUNNING", "STARTING", "FAILED"]
    assert await look(2, "FINISHED", "RUNNING", "RUNNING") == ["FINISHED", "RUNNING", "FAILED"]
    assert await look(1, "RUNNING", "STARTING", "RUNNING") == ["FINISHED", "RUNNING", "FAILED"]
