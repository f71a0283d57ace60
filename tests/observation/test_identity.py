"""What another Flink says at a cluster's address is no answer."""

from __future__ import annotations

import pytest

from clusters.protocol import AliveElsewhere
from core.jobs.observations import EngineState as E
from observation import growth
from observation.growth import Growth
from settings import waits
from store import clusters
from tests.observation.conftest import World


async def test_it_is_written_down_when_the_cluster_first_answers(world: World):
    await world.observer().observe("local")
    assert (await world.cluster()).identity == "flink-1"
    world.flink.identity = "flink-2"
    async with world.database.write() as session:
        await clusters.identified(session, await world.cluster(), "flink-2")
    assert (await world.cluster()).identity == "flink-1", "once"


async def test_a_stranger_that_does_not_know_a_job_is_not_believed(world: World):
    observer = world.observer()
    await observer.observe("local")
    world.flink.identity, world.flink.state = "flink-2", E.MISSING
    world.time.go_on(10)
    look = await observer.observe("local")
    assert not look.reachable
    assert world.temporal.told == []
    row = await world.cluster()
    assert "another Flink (flink-2)" in str(row.unreachable_why)
    world.flink.identity, world.flink.state = "flink-1", E.RUNNING
    world.time.go_on(10)
    assert (await observer.observe("local")).reachable
    assert (await world.cluster()).unreachable_since is None


async def test_a_stranger_is_noticed_with_the_question_after_its_health(world: World):
    """Nothing that is known is missing there: there is nothing to be missed."""
    observer = world.observer()
    await observer.observe("local")
    world.flink.identity = "flink-2"
    world.time.go_on(31)
    assert not (await observer.observe("local")).reachable


async def test_the_same_cluster_that_was_started_again_is_believed(world: World):
    observer = world.observer()
    await observer.observe("local")
    world.flink.leads, world.flink.state = "jm-2", E.MISSING
    world.time.go_on(10)
    await observer.observe("local")
    assert world.temporal.told == ["MISSING"]


async def test_who_leads_is_not_asked_with_every_look(world: World):
    observer = world.observer()
    for _ in range(12):
        await observer.observe("local")
        world.time.go_on(10)
    assert len(world.flink.asked) <= 5


async def test_one_that_has_another_address_by_now_is_not_identified_by_the_old_one(world: World):
    asked = await world.cluster()
    async with world.database.write() as session:
        (await clusters.get(session, "local")).jobmanager_url = "http://elsewhere"
    async with world.database.write() as session:
        await clusters.identified(session, asked, "flink-1")
    assert (await world.cluster()).identity is None


class TestGrowth:
    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(waits, "GROWTH_SECONDS", 0.05)

    async def test_a_new_checkpoint_means_that_it_is_alive(self, tmp_path):
        one = Growth(str(tmp_path))
        await one.begin()
        (tmp_path / "chk-7").mkdir()
        (tmp_path / "chk-7" / "_metadata").write_text("x")
        with pytest.raises(AliveElsewhere, match="chk-7/_metadata"):
            await one.check()

    async def test_a_silent_folder_says_nothing(self, tmp_path):
        (tmp_path / "chk-7").mkdir()
        (tmp_path / "chk-7" / "_metadata").write_text("x")
        for folder in (tmp_path, tmp_path / "not there"):
            one = Growth(str(folder))
            await one.begin()
            await one.check()

    async def test_the_last_files_of_tasks_that_were_ending_are_no_sign_of_life(self, tmp_path):
        one = Growth(str(tmp_path))
        await one.begin()
        (tmp_path / "shared").mkdir()
        (tmp_path / "shared" / "a").write_text("x")
        await one.check()

    async def test_files_that_go_on_being_written_are(self, tmp_path, monkeypatch: pytest.MonkeyPatch):
        one = Growth(str(tmp_path))
        await one.begin()
        written = []

        async def sleep(_: float) -> None:
            written.append(tmp_path / f"op-{len(written)}")
            written[-1].write_text("x")

        (tmp_path / "first").write_text("x")
        monkeypatch.setattr(growth.asyncio, "sleep", sleep)
        with pytest.raises(AliveElsewhere):
            await one.check()
