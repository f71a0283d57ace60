"""A job that is restarted for ever inside its engine is seen, said, and told; a quiet one costs no question."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from clusters.protocol import Course, Failure
from observation.condition import condition
from store import attempts, resources
from store.vault import Vault
from tests.observation.conftest import World


def course(world: World, restarts: int, **more: object) -> Course:
    failures = [world.time.now() - timedelta(seconds=n) for n in range(restarts)]
    return Course(failures=failures, failure=Failure("boom\n at x"), restarts=restarts, interval=10, **more)  # type: ignore[arg-type]


async def looks(world: World, times: int = 1, *, changes: bool = False):
    observer = world.observer(reports=True)
    await observer.observe("local")
    for _ in range(times):
        world.time.go_on(10)
        world.flink.modified_at += changes
        await observer.observe("local")
    return observer


async def told(world: World) -> list[str]:
    async with world.database.read() as session:
        events, _ = await attempts.events(session, world.job_id, limit=50, cursor=None)
    return [event.message for event in reversed(events)]


async def test_a_quiet_job_is_not_asked(world: World):
    await looks(world, 20)
    assert "course" not in world.flink.asked


async def test_one_that_changes_is(world: World):
    world.flink.course_ = Course(failures=[])
    await looks(world, 3, changes=True)
    assert world.flink.asked.count("course") == 3
    assert (await world.job()).warning is None


async def test_the_warning_is_written_and_told_once_per_kind_of_trouble(world: World):
    world.flink.course_ = course(world, 4)
    observer = await looks(world, 1, changes=True)
    warning = (await world.job()).warning
    assert warning is not None
    assert "4 times" in warning
    assert "boom" in warning
    for n in (5, 6, 7):
        world.time.go_on(10)
        world.flink.modified_at, world.flink.course_ = n, course(world, n)
        await observer.observe("local")
    assert "7 times" in str((await world.job()).warning)
    assert len(await told(world)) == 1
    # It completes a checkpoint, which changes nothing in the overview of all jobs.
    world.flink.course_ = course(world, 7, completed=1, completed_at=world.time.now() + timedelta(seconds=1))
    world.time.go_on(40)
    world.flink.course_ = Course(failures=[], completed=1, completed_at=world.time.now(), interval=10)
    await observer.observe("local")
    assert (await world.job()).warning is None
    assert "that is over" in (await told(world))[-1]


async def test_too_many_are_told_to_the_workflow_and_not_with_every_look(world: World):
    world.flink.course_ = course(world, 12)
    await looks(world, 3, changes=True)
    assert [seen.restarts for seen in world.temporal.signals] == [12]
    assert world.temporal.signals[0].failure == "boom"


async def test_nobody_is_told_a_secret_that_a_failure_names(world: World, tmp_path: Path):
    world.vault = Vault("", tmp_path / "key")
    async with world.database.write() as session:
        await resources.set_secret(session, "default", "word", world.vault.seal("boom"), world.time.now())
    world.flink.course_ = course(world, 12)
    await looks(world, 1, changes=True)
    assert world.temporal.signals[0].failure == "******"
    assert "boom" not in str((await world.job()).warning)


async def test_the_policy_of_the_job_counts(world: World):
    await world.write(policy={"max_engine_restarts": 0})
    world.flink.course_ = course(world, 200)
    await looks(world, 3, changes=True)
    assert world.temporal.signals == []
    assert (await world.job()).warning is not None


async def test_what_failed_before_the_newest_checkpoint_does_not_count(world: World):
    now = world.time.now()
    failures = [now - timedelta(seconds=s) for s in (10, 20, 300, 400)]
    seen = Course(failures=failures, restarts=4, completed=2, completed_at=now - timedelta(seconds=100))
    found = condition(seen, since=now, now=now)
    assert (found.restarts, found.in_an_hour, found.age) == (2, 4, 100)


async def test_all_of_them_count_when_none_has_completed(world: World):
    """The engine remembers the last 16 failures, and counts all restarts."""
    now = world.time.now()
    seen = Course(failures=[now] * 16, restarts=90, completed=0)
    assert condition(seen, since=now - timedelta(seconds=420), now=now).restarts == 90


async def test_with_the_end_of_the_attempt_it_is_over(world: World):
    from core.jobs.records import AttemptChange, Record
    from core.jobs.states import AttemptState
    from store.record import apply

    await world.write(warning="x: y")
    async with world.database.write() as session:
        end = AttemptChange(number=1, state=AttemptState.FAILED, at=world.time.now())
        await apply(session, Record(job_id=world.job_id, attempts=[end]))
    assert (await world.job()).warning is None
