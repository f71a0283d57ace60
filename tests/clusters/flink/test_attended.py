"""Programs that go on beside their job: what they say and how they end is told, and nothing of them is left. The client
is a coroutine, the cluster a table of states."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from clusters.flink import attended, pyflink
from clusters.flink.attended import Attended, Running
from clusters.flink.output import Output
from clusters.protocol import Aftermath, JobSeen, Ref, Unreachable
from core.effects import LogSink, NotNow
from core.jobs.observations import EngineState
from processes.child import MAX_LINE, ProcessFailed
from settings import clock, waits

ID, OTHER = "a" * 32, "b" * 32
SUBMITTED = f"Job has been submitted with JobID {ID}"
Client = Callable[[LogSink], Awaitable[None]]


class World:
    """A cluster, the log of a command, and a timeline."""

    def __init__(self) -> None:
        self.state = EngineState.RUNNING
        self.cancelled: list[str] = []
        self.first: list[str] = []
        self.log: list[str] = []
        self.alerts: list[str] = []
        self.troubles: list[str] = []
        self.attended = Attended()
        self.away = False
        self.own = {OTHER}
        self.not_now = 0
        self.started_at = datetime(2026, 1, 1, tzinfo=UTC)

    async def look(self, ref: Ref) -> JobSeen:
        if self.away:
            raise Unreachable("it is away")
        return JobSeen(ref, self.state, started_at=self.started_at)

    async def cancel(self, ref: Ref) -> None:
        if self.not_now:
            self.not_now -= 1
            raise NotNow("its tasks are being set up")
        self.cancelled.append(ref.handle)

    async def owns(self, _: Ref, other: str) -> bool:
        return other in self.own

    @property
    def aftermath(self) -> Aftermath:
        @contextlib.asynccontextmanager
        async def log() -> AsyncIterator[LogSink]:
            yield self.log.append

        async def alert(words: str) -> None:
            self.alerts.append(words)

        async def trouble(words: str) -> None:
            self.troubles.append(words)

        return Aftermath(log, alert, trouble)

    def runs(self, client: Client, *secrets: str) -> Running:
        output = Output(self.first.append, set(), secrets)
        return Running(asyncio.create_task(client(output)), output)

    async def attend(self, client: Client, *, prints: bool = False) -> Running:
        running = self.runs(client)
        await self.attended.begin(
            running,
            Ref(ID, ID),
            self.aftermath,
            look=self.look,
            cancel=self.cancel,
            owns=self.owns,
            prints=prints,
        )
        return running

    async def over(self) -> None:
        async with asyncio.timeout(10):
            while self.attended._tasks:
                await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "PROGRAM_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(waits, "PROGRAM_GOES_ON_SECONDS", 0.05)
    monkeypatch.setattr(waits, "PROGRAM_AFTER_SECONDS", 0.05)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.attended.close()


async def for_ever(say: LogSink) -> None:
    say(SUBMITTED)
    await asyncio.sleep(600)


class TestUntilItGoesOn:
    async def test_one_whose_job_is_alive(self, world: World):
        running = world.runs(for_ever)
        assert await pyflink._goes_on(running, Ref(ID, ID), world.look)
        await running.stop()

    async def test_one_that_tells_why_it_fails_is_heard_to_its_end(self, world: World, monkeypatch: pytest.MonkeyPatch):
        # A pause is a tenth of what counts as silence: a machine that is busy makes it several times as long.
        monkeypatch.setattr(waits, "PROGRAM_GOES_ON_SECONDS", 1.0)
        monkeypatch.setattr(waits, "PROGRAM_TALKS_SECONDS", 60.0)

        async def client(say: LogSink) -> None:
            say(SUBMITTED)
            for _ in range(15):
                await asyncio.sleep(0.1)
                say("\tat org.apache.flink.client")
            raise ProcessFailed("java ended with status 1", [])

        with pytest.raises(ProcessFailed):
            await pyflink._goes_on(world.runs(client), Ref(ID, ID), world.look)

    async def test_one_that_plans_its_next_job_for_long_is_heard_to_its_end(self, world: World):
        """Without a word, on a busy machine: what tells it from one that waits is that it works."""

        async def client(say: LogSink) -> None:
            say(SUBMITTED)
            await asyncio.sleep(0.3)
            raise ProcessFailed("java ended with status 1", [])

        running = world.runs(client)
        running.cpu = lambda: 0.2 * clock.monotonic()
        with pytest.raises(ProcessFailed):
            await pyflink._goes_on(running, Ref(ID, ID), world.look)
        running = world.runs(client)
        running.cpu = lambda: 0.05 * clock.monotonic()
        assert await pyflink._goes_on(running, Ref(ID, ID), world.look)
        await running.stop()

    async def test_one_that_works_all_the_time_goes_on(self, world: World, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(waits, "PROGRAM_TALKS_SECONDS", 0.2)
        running = world.runs(for_ever)
        running.cpu = clock.monotonic
        assert await pyflink._goes_on(running, Ref(ID, ID), world.look)
        await running.stop()

    async def test_one_that_prints_all_the_time_goes_on(self, world: World, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(waits, "PROGRAM_TALKS_SECONDS", 0.2)

        async def client(say: LogSink) -> None:
            say(SUBMITTED)
            while True:
                await asyncio.sleep(0.01)
                say("| +I |")

        running = world.runs(client)
        assert await pyflink._goes_on(running, Ref(ID, ID), world.look)
        await running.stop()

    async def test_one_that_ends_in_time_does_not(self, world: World):
        async def client(say: LogSink) -> None:
            say(SUBMITTED)

        assert not await pyflink._goes_on(world.runs(client), Ref(ID, ID), world.look)

    @pytest.mark.parametrize("state", [EngineState.FINISHED, EngineState.MISSING])
    async def test_while_its_job_is_not_alive_it_has_to_end(
        self, world: World, monkeypatch: pytest.MonkeyPatch, state: EngineState
    ):
        monkeypatch.setattr(waits, "PYTHON_PROGRAM_SECONDS", 0.2)
        world.state = state
        running = world.runs(for_ever)
        with pytest.raises(ProcessFailed, match="longer than") as caught:
            await pyflink._goes_on(running, Ref(ID, ID), world.look)
        assert caught.value.stopped
        await running.stop()


class TestBeside:
    async def test_what_it_says_goes_on_into_the_log(self, world: World):
        async def client(say: LogSink) -> None:
            await asyncio.sleep(0.05)
            say("+I[1]")

        await world.attend(client)
        await world.over()
        assert "+I[1]" in world.log
        assert "the program has ended well; its job goes on" in world.log
        assert not world.alerts

    async def test_its_failure_is_told_and_the_job_left_alone(self, world: World):
        async def client(say: LogSink) -> None:
            say("Traceback (most recent call last):")
            say("ValueError: half-way")
            await asyncio.sleep(0.05)
            raise ProcessFailed("java ended with status 1", [])

        await world.attend(client)
        await world.over()
        assert "ValueError: half-way (its job was started before that, and goes on)" in world.alerts[0]
        assert world.troubles == [world.alerts[0].removesuffix(" (its job was started before that, and goes on)")]
        assert not world.cancelled

    async def test_one_that_fails_as_its_job_ends_is_no_news(self, world: World):
        async def client(say: LogSink) -> None:
            await asyncio.sleep(0.05)
            world.state = EngineState.CANCELED
            raise ProcessFailed("java ended with status 1", ["JobCancellationException"])

        await world.attend(client)
        await world.over()
        assert not world.alerts
        assert not world.troubles

    @pytest.mark.parametrize("state", [EngineState.FINISHED, EngineState.CANCELED, EngineState.MISSING])
    async def test_it_ends_with_its_job(self, world: World, state: EngineState):
        running = await world.attend(for_ever)
        await asyncio.sleep(0.1)
        assert not running.task.done()
        world.state = state
        await world.over()
        assert running.task.cancelled()

    async def test_a_cluster_that_is_away_ends_nothing(self, world: World):
        running = await world.attend(for_ever)
        world.away = True
        await asyncio.sleep(0.2)
        assert not running.task.done()

    async def test_it_ends_with_the_worker(self, world: World):
        running = await world.attend(for_ever)
        await asyncio.sleep(0.05)
        await world.attended.close()
        assert running.task.cancelled()
        assert "the worker ends" in world.log[-1]

    @pytest.mark.parametrize(
        ("state", "says"), [(EngineState.RUNNING, "goes on"), (EngineState.FINISHED, "had finished before")]
    )
    async def test_a_job_that_comes_later_is_cancelled(
        self, world: World, monkeypatch: pytest.MonkeyPatch, state: EngineState, says: str
    ):
        monkeypatch.setattr(waits, "PROGRAM_AFTER_SECONDS", 60.0)

        async def client(say: LogSink) -> None:
            say(SUBMITTED)
            await asyncio.sleep(0.05)
            world.state = state
            await asyncio.sleep(0.3)
            say(SUBMITTED.replace(ID, OTHER))
            await asyncio.sleep(600)

        running = await world.attend(client)
        await world.over()
        assert world.cancelled == [OTHER]
        assert running.task.cancelled()
        assert "more than one Flink job" in world.alerts[0]
        assert f"its first job {says}." in world.alerts[0]
        (trouble,) = world.troubles
        assert OTHER in trouble
        assert "was cancelled" in trouble
        assert "first job" not in trouble, "it stays true while that goes on, and when it has ended"

    async def test_one_whose_tasks_are_being_set_up_is_cancelled_a_moment_later(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ):
        async def client(say: LogSink) -> None:
            say(SUBMITTED.replace(ID, OTHER))
            await asyncio.sleep(600)

        world.not_now = 2
        monkeypatch.setattr(waits, "PROGRAM_AFTER_SECONDS", 5.0)
        await world.attend(client)
        await world.over()
        assert world.cancelled == [OTHER]

    async def test_a_job_that_is_only_named_is_nobodys_business(self, world: World):
        """Found by a reading: a line that it printed cancelled any job of the cluster."""

        async def client(say: LogSink) -> None:
            say(SUBMITTED.replace(ID, OTHER))
            await asyncio.sleep(0.2)

        world.own = set()
        await world.attend(client)
        await world.over()
        assert world.cancelled == []
        assert "the program has ended well; its job goes on" in world.log

    @pytest.mark.parametrize("anew", [True, False])
    async def test_its_job_is_sent_again_under_the_same_id(self, world: World, anew: bool):
        """It has caught the loss of its job, and calls execute once more. The same words alone say nothing."""

        async def client(say: LogSink) -> None:
            say(SUBMITTED)
            await asyncio.sleep(0.1)
            world.started_at += timedelta(seconds=anew)
            say(SUBMITTED)
            await asyncio.sleep(0.2)

        running = await world.attend(client)
        await world.over()
        assert world.cancelled == ([ID] if anew else [])
        assert running.task.cancelled() == anew

    @pytest.mark.parametrize("state", [EngineState.FAILED, EngineState.MISSING])
    async def test_it_is_ended_at_once_when_its_job_was_lost(
        self, world: World, monkeypatch: pytest.MonkeyPatch, state: EngineState
    ):
        monkeypatch.setattr(waits, "PROGRAM_AFTER_SECONDS", 600.0)
        running = await world.attend(for_ever)
        await asyncio.sleep(0.05)
        world.state = state
        await world.over()
        assert running.task.cancelled()

    async def test_who_takes_no_more_rows_says_so(self, world: World):
        await world.attend(for_ever, prints=True)
        await asyncio.sleep(0.1)
        await world.attended.close()
        assert "nobody takes the rows" in world.alerts[-1]

    async def test_one_that_prints_says_what_that_means(self, world: World):
        await world.attend(for_ever, prints=True)
        await asyncio.sleep(0.05)
        assert "stands still" in world.alerts[0]
        assert not world.troubles, "it has not ended"

    @pytest.mark.parametrize("prints", [True, False])
    async def test_one_more_than_are_followed_is_ended_and_that_is_told(
        self, world: World, monkeypatch: pytest.MonkeyPatch, prints: bool
    ):
        """Found by an attack: a job that printed its rows stood still, and nobody was told."""
        monkeypatch.setattr(attended, "MOST", 1)
        first = await world.attend(for_ever)
        second = await world.attend(for_ever, prints=prints)
        assert (second.task.cancelled(), first.task.done()) == (True, False)
        (words,) = world.alerts
        assert words in world.log
        assert "1 programs beside their jobs already" in words
        assert ("stands still" in words) is prints
        assert ("goes on" in words) is not prints
        assert not world.cancelled, "its job is left alone"
        first.task.cancel()
        await world.over()
        third = await world.attend(for_ever)
        assert not third.task.done(), "there is room again"

    async def test_endless_output_is_not_kept(self, world: World, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(attended, "KEPT_CHARACTERS", 100)

        async def client(say: LogSink) -> None:
            await asyncio.sleep(0.02)
            for _ in range(1000):
                say("x" * 20)

        await world.attend(client)
        await world.over()
        assert sum(line.startswith("xx") for line in world.log) == 4
        assert "(the program says more than is kept of it)" in world.log


async def test_no_secret_is_shown(world: World):
    async def client(say: LogSink) -> None:
        say("it is hunter2, of course")

    running = world.runs(client, "hunter2")
    await running.task
    assert world.first == ["it is ******, of course"]
    assert list(running.output.last) == world.first


async def test_no_begin_of_a_secret_is_left_by_a_cut(world: World):
    async def client(say: LogSink) -> None:
        say("x" * (MAX_LINE - 6) + "hunter")

    running = world.runs(client, "hunter2-and-more")
    await running.task
    assert world.first == ["x" * (MAX_LINE - 6) + "******"]
