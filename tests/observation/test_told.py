"""What a cluster says reaches the job's workflow, however questions and signals cross or get lost."""

from __future__ import annotations

import itertools

import pytest

from core.jobs.observations import EngineState as E
from settings.waits import TELL_AGAIN_PACE
from store import attempts
from store.tables import Attempt, Job
from tests.observation.conftest import World
from tests.rows import attempt_row
from tests.store.test_store import add_job


async def test_a_signal_that_could_not_be_sent_is_sent_with_the_next_look(world: World):
    observer = world.observer()
    world.temporal.away, world.flink.state = True, E.FAILED
    await observer.observe("local")
    assert world.temporal.told == []
    world.temporal.away = False
    world.time.go_on(1)
    await observer.observe("local")
    assert world.temporal.told == ["FAILED"]


async def test_one_that_died_before_it_was_told_of_is_told_by_another_watch(world: World):
    """The row was written by a process that did not come to tell."""
    world.flink.state = E.FAILED
    world.temporal.away = True
    await world.observer().observe("local")
    world.temporal.away = False
    world.time.go_on(10)
    await world.observer().observe("local")
    assert world.temporal.told == ["FAILED"]


async def test_a_lost_workflow_with_news_is_begun_at_once_and_told_with_the_next_look(world: World):
    observer = world.observer()
    world.temporal.lost, world.flink.state = True, E.FAILED
    await world.write(revision=1)
    await observer.observe("local")
    assert world.temporal.started == ["JobWorkflow of default:j"]
    world.time.go_on(1)
    await observer.observe("local")
    assert world.temporal.told == ["FAILED"]
    assert len(world.temporal.started) == 1


async def test_one_whose_record_cannot_be_read_does_not_keep_the_others_from_being_told(world: World):
    other = await add_job(world.database, "k", state="RUNNING")
    async with world.database.write() as session:
        row = attempt_row(other.id, flink_job_id="b" * 32, handle="b" * 32, state="RUNNING", seen="RUNNING", sequence=1)
        row.started_at = world.time.now()
        session.add(row)
    world.temporal.lost, world.flink.state = True, E.FAILED
    await world.write(revision=1, snapshot={"state": "of a version that is not known"})
    await world.observer().observe("local")
    assert world.temporal.started == []
    assert (await world.attempt()).seen == "FAILED", "what was seen is written down"


@pytest.mark.parametrize("gone", ["deleting_at", "deleted_at"])
async def test_the_workflow_of_a_job_that_is_being_deleted_is_not_begun_again(world: World, gone: str):
    world.temporal.lost, world.flink.state = True, E.FAILED
    await world.write(**{"revision": 1, gone: world.time.now()})
    await world.observer().observe("local")
    assert world.temporal.started == []


async def test_it_is_told_again_as_long_as_the_workflow_says_otherwise_and_ever_more_rarely(world: World):
    observer = world.observer()
    world.flink.state = E.FAILED
    for _ in range(240):
        await observer.observe("local")
        world.time.go_on(10)
    assert 5 <= len(world.temporal.told) < 10
    at = [seen.sequence / 1000 for seen in world.temporal.signals]
    gaps = [b - a for a, b in itertools.pairwise(at)]
    assert gaps[0] == pytest.approx(TELL_AGAIN_PACE.first, abs=1)
    assert max(gaps) <= TELL_AGAIN_PACE.longest + 10


async def test_a_job_that_is_as_its_workflow_says_is_not_told_again(world: World):
    observer = world.observer()
    for _ in range(20):
        await observer.observe("local")
        world.time.go_on(10)
    assert world.temporal.told == []


async def test_other_words_for_the_same_state_are_shown_and_not_told(world: World):
    """A task manager that dies again and again keeps its cluster STARTING: why is news for who looks."""
    observer = world.observer()
    for says in ("0 of 1 task managers", "0 of 1 task managers; it died: no memory"):
        world.flink.says = says
        world.time.go_on(10)
        await observer.observe("local")
        assert (await world.attempt()).detail == says
    assert world.temporal.told == []


async def test_a_reason_that_is_over_is_told_by_level(world: World):
    """The signal that it runs again was lost with the process that sent it."""
    await world.write(reason="Flink is restarting it (its own restart strategy)")
    world.time.go_on(60)
    await world.observer().observe("local")
    assert world.temporal.told == ["RUNNING"]


@pytest.mark.parametrize(("seen", "said"), [(None, []), ("RUNNING", ["MISSING"])])
async def test_that_an_unclear_attempt_is_missing_counts_once_it_was_seen(
    world: World, seen: str | None, said: list[str]
):
    """Found by the simulation: its row said RUNNING for ten minutes, and a check of the job believed it."""
    async with world.database.write() as session:
        row = await session.get(Attempt, (world.job_id, 1))
        assert row is not None
        row.state, row.seen = "UNKNOWN", seen
    world.flink.state = E.MISSING
    world.time.go_on(60)
    await world.observer().observe("local")
    assert world.temporal.told == said
    assert (await world.attempt()).seen == (said[0] if said else None)


async def test_many_attempts_are_written_at_once(world: World):
    """A final state stays, whatever else is written with it."""
    other = await add_job(world.database, name="other", state="RUNNING")
    async with world.database.write() as session:
        more = {"cluster": "local", "version": 1, "state": "RUNNING", "cause": "test", "config": {}, "sequence": 1}
        for number, seen in ((1, "FAILED"), (2, None)):
            handle = str(number) * 32
            row = Attempt(job_id=other.id, number=number, flink_job_id=handle, handle=handle, seen=seen, **more)
            row.started_at = world.time.now()
            session.add(row)
    keys = [(world.job_id, 1), (other.id, 1), (other.id, 2)]
    rows = [{"job": job, "attempt": number, "saw": "RECOVERING", "told": "", "seq": 2} for job, number in keys]
    async with world.database.write() as session:
        await attempts.observe(session, rows)
    async with world.database.read() as session:
        found = [await session.get(Attempt, key) for key in keys]
    assert [row.seen for row in found if row] == ["RECOVERING", "FAILED", "RECOVERING"]


class TestAFinalState:
    async def test_counts_also_when_a_younger_question_was_answered_first(self, world: World):
        """A look is slow; while it waits, a younger one sees the job running and writes that down."""

        async def a_younger_one_is_written_down() -> None:
            async with world.database.write() as session:
                later = int(world.time.now().timestamp() * 1000) + 5000
                row = {"job": world.job_id, "attempt": 1, "saw": "RUNNING", "told": "RUNNING", "seq": later}
                await attempts.observe(session, [row])

        world.flink.state, world.flink.before_it_answers = E.FAILED, a_younger_one_is_written_down
        await world.observer().observe("local")
        assert world.temporal.told == ["FAILED"]
        row = await world.attempt()
        assert row.seen == "FAILED"
        assert row.sequence > int(world.time.now().timestamp() * 1000), "the youngest moment stays"

    async def test_is_not_overwritten_by_a_look_that_began_before(self, world: World):
        observer = world.observer()
        world.flink.state = E.FAILED
        await observer.observe("local")
        world.flink.state = E.RUNNING
        world.time.go_on(40)
        await observer.observe("local")
        assert (await world.attempt()).seen == "FAILED"
        assert world.temporal.told == ["FAILED", "FAILED"]

    async def test_is_told_also_when_the_cluster_has_forgotten_it_since(self, world: World):
        world.flink.state, world.temporal.away = E.FINISHED, True
        await world.observer().observe("local")
        world.flink.state, world.temporal.away = E.MISSING, False
        world.time.go_on(10)
        await world.observer().observe("local")
        assert world.temporal.told == ["FINISHED"]


async def test_one_that_runs_as_its_workflow_has_written_is_not_told_so(world: World):
    """A start looks itself: that it runs is no news, and is only kept with its row."""
    async with world.database.write() as session:
        row = await attempts.get(session, world.job_id, 1)
        assert row is not None
        row.seen = None
    await world.observer().observe("local")
    assert world.temporal.told == []
    async with world.database.read() as session:
        row = await attempts.get(session, world.job_id, 1)
    assert row is not None
    assert row.seen == "RUNNING"


@pytest.mark.parametrize(("state", "told"), [(E.RUNNING, []), (E.FAILED, ["FAILED"])])
async def test_one_that_is_being_sent_is_left_for_a_moment_to_who_sends_it(world: World, state: E, told: list[str]):
    async with world.database.write() as session:
        row = await attempts.get(session, world.job_id, 1)
        job = await session.get(Job, world.job_id)
        assert row is not None
        assert job is not None
        row.seen, row.state, job.state = None, "RECORDED", "DEPLOYING"
    world.flink.state = state
    observer = world.observer()
    await observer.observe("local")
    assert world.temporal.told == told
    world.time.go_on(6)
    await observer.observe("local")
    assert world.temporal.told == [state.value]
