"""The step that writes an attempt down, sends it and looks at it: what a second try of it knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities import contracts as c
from activities.record import Recorder
from activities.start import Starter
from core.config import ALWAYS
from core.jobs.observations import EngineState, Observation, Trouble
from core.jobs.records import JobChange, Record
from core.jobs.states import JobState
from services import Services
from settings import clock
from store import attempts, jobs
from store.database import Database
from store.migrate import upgrade
from store.tables import Cluster
from tests.api.conftest import create, refused_client
from tests.recovery.conftest import services_of
from tests.rows import opening

ID = "a" * 32


class Submitter:
    """Notes what it was told, and whether the row was there."""

    def __init__(self, services: Services):
        self.services = services
        self.sent: list[tuple[bool, bool]] = []
        self.answer = c.Submitted(state=c.SubmitState.ACCEPTED, leader="jm")

    async def send(self, found: Any, attempt: Any, *_: Any, maybe_sent: bool) -> c.Submitted:
        async with self.services.database.read() as session:
            row = await attempts.get(session, attempt.job_id, attempt.number)
        self.sent.append((row is not None and row.flink_job_id == attempt.flink_job_id, maybe_sent))
        return self.answer


class Observing:
    def __init__(self, seen: c.Seen):
        self.seen = seen
        self.asked: list[float] = []

    def patience(self, asked: float | None, cluster: Any) -> float:
        return min(120, asked or 1000)

    async def until_it_runs(self, *_: Any, until: float, leader: str | None) -> c.Seen:
        assert leader == "jm"
        self.asked.append(round(until - clock.monotonic(), 1))
        return self.seen


def seen(state: EngineState, trouble: Trouble | None = None) -> c.Seen:
    return c.Seen(observation=Observation(attempt=1, flink_job_id=ID, sequence=1, state=state), trouble=trouble)


class House:
    def __init__(self, services: Services, job_id: str):
        self.services, self.job_id = services, job_id
        self.submitter = Submitter(services)
        self.observing = Observing(seen(EngineState.RUNNING))

    async def start(
        self, flink_job_id: str = ID, patience: float | None = None, of_revision: int | None = None
    ) -> c.Started:
        wanted = opening(c.StartAttempt, self.job_id, flink_job_id, patience=patience)
        if of_revision is not None:
            change = JobChange(
                revision=of_revision,
                state=JobState.DEPLOYING,
                reason="",
                version=1,
                current_attempt=1,
                snapshot={"revision": of_revision},
            )
            wanted = wanted.model_copy(update={"record": Record(job_id=self.job_id, job=change)})
        recorder = Recorder(self.services)
        starter = Starter(self.services, recorder, self.submitter, self.observing)  # type: ignore[arg-type]
        return await ActivityEnvironment().run(starter.start_attempt, wanted)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'test.db'}")
    await upgrade(database)
    services = await services_of(await refused_client(), database)
    yield House(services, (await create(services)).id)
    await database.close()


async def test_it_is_written_down_before_it_is_sent(house: House):
    started = await house.start()
    assert house.submitter.sent == [(True, False)]
    assert started.seen == seen(EngineState.RUNNING)


async def test_a_try_that_finds_the_row_asks_before_it_sends(house: House):
    await house.start()
    await house.start()
    assert house.submitter.sent == [(True, False), (True, True)]


async def test_what_each_attempt_needs_wins_over_what_a_cluster_is_configured_with(house: House):
    """No row could say so today; a Flink's own configuration is below all of these."""
    async with house.services.database.write() as session:
        row = await session.get(Cluster, (await jobs.by_id(session, house.job_id)).cluster)
        row.config = {"state.changelog.enabled": "true", "execution.checkpointing.create-subdir": "false"}
    await house.start()
    async with house.services.database.read() as session:
        effective = (await attempts.get(session, house.job_id, 1)).config["effective"]
    given = {key: effective[key]["value"] for key in ALWAYS}
    assert given == {**ALWAYS, "state.changelog.enabled": "false", "execution.checkpointing.create-subdir": "true"}


async def test_of_a_number_that_is_anothers_nothing_is_sent(house: House):
    await house.start()
    started = await house.start("b" * 32)
    assert started.conflict is not None
    assert started.conflict.flink_job_id == ID
    assert len(house.submitter.sent) == 1


async def test_one_that_the_cluster_does_not_have_is_not_looked_at(house: House):
    house.submitter.answer = c.Submitted(state=c.SubmitState.UNCLEAR, error="timed out")
    started = await house.start()
    assert (started.submitted.state, started.seen) == (c.SubmitState.UNCLEAR, None)
    assert house.observing.asked == []


@pytest.mark.parametrize(
    ("found", "patience", "is_clear"),
    [
        (seen(EngineState.FAILED), None, True),
        (seen(EngineState.RECOVERING, Trouble.UNREADABLE), None, True),
        (seen(EngineState.STARTING), None, False),
        (c.Seen(why="it is away"), None, False),
        (seen(EngineState.STARTING), 1.0, True),
    ],
)
async def test_what_is_not_clear_soon_is_left_to_another_step(house: House, found, patience, is_clear):
    house.observing.seen = found
    started = await house.start(patience=patience)
    assert (started.seen is not None) == is_clear
    assert house.observing.asked == [1.0 if patience else 2.0]


async def test_a_flink_job_is_an_attempt_of_one_job(house: House):
    """Two jobs adopt it at the same moment: both have seen that nobody owns it."""
    other = await create(house.services, "other")
    recorder = Recorder(house.services)
    environment = ActivityEnvironment()
    opened = [
        await environment.run(recorder.open_attempt, opening(c.OpenAttempt, job_id, ID))
        for job_id in (house.job_id, other.id, house.job_id)
    ]
    assert [o.owner is None for o in opened] == [True, False, True]
    assert not any(o.conflict for o in opened)
    async with house.services.database.read() as session:
        assert await attempts.get(session, other.id, 1) is None
