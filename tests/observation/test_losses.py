"""Task managers that die: none is missed, and they do not bury what else is on a timeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from clusters.protocol import JobSeen, Loss, Overview, Ref
from core.jobs.observations import EngineState
from observation.losses import LINES, Losses
from services.hidden import NOT_SHOWN
from store import attempts, resources
from store.tables import Cluster
from store.vault import Vault
from tests.observation.conftest import ID, World


@dataclass
class Looks:
    world: World
    losses: Losses
    died: list[Loss] = field(default_factory=list)

    async def look(self, taskmanagers: int | None = None, *, row: int | None = None) -> list[str]:
        """What it adds to the timeline. `row` is what was written down of the cluster's task managers."""
        self.world.time.go_on(1)
        async with self.world.database.write() as session:
            before = await self._messages(session)
            cluster = await session.get_one(Cluster, "local")
            cluster.health = {"taskmanagers": row}
            known = await attempts.open_on(session, "local")
            seen = JobSeen(Ref(ID, ID), EngineState.RUNNING, losses=tuple(self.died))
            health = None if taskmanagers is None else {"taskmanagers": taskmanagers}
            await self.losses.tell(session, cluster, known, Overview({ID: seen}), health, self.world.time.now())
            await session.flush()
            return (await self._messages(session))[len(before) :]

    async def look_at_stack(self, url: str | None = None) -> list[str]:
        """The same, of what the keeper of the local stack has told."""
        self.world.time.go_on(1)
        async with self.world.database.write() as session:
            before = await self._messages(session)
            cluster = await session.get_one(Cluster, "local")
            now = self.world.time.now()
            await self.losses.tell_of_stack(session, url or cluster.jobmanager_url, self.died, now)
            await session.flush()
            return (await self._messages(session))[len(before) :]

    async def _messages(self, session: Any) -> list[str]:
        rows, _ = await attempts.events(session, self.world.job_id, limit=500, cursor=None)
        return [row.message for row in sorted(rows, key=lambda row: row.id)]

    def dies(self, why: str = "out of memory") -> None:
        self.world.time.go_on(1)
        self.died = [*self.died, Loss("taskmanager-1", self.world.time.now(), why)][-20:]


def looks(world: World, vault: Any = None) -> Looks:
    services: Any = SimpleNamespace(database=world.database, vault=vault)
    return Looks(world, Losses(services))


class TestOfAClusterOfOthers:
    async def test_a_number_that_a_page_has_written_already_is_told_all_the_same(self, world: World):
        one = looks(world)
        await one.look(5, row=5)
        assert await one.look(4, row=4) == ["local has 4 of the 5 task managers that it had"]

    async def test_one_that_goes_down_and_up_is_told_in_few_lines_that_count_the_others(self, world: World):
        one, told = looks(world), []
        for _ in range(40):
            told += await one.look(5, row=5)
            world.time.go_on(30)
            told += await one.look(4, row=5)
            world.time.go_on(30)
        assert told == ["local has 4 of the 5 task managers that it had"] * LINES
        await one.look(5)
        world.time.go_on(3600)
        times = 40 - LINES
        assert await one.look(5) == [
            f"local had fewer task managers for a while, and has 5 again; {times} times there were fewer since the last line"
        ]
        assert await one.look(5) == []

    async def test_what_is_left_is_told_by_the_most_since_the_last_line(self, world: World):
        one = looks(world)
        await one.look(5, row=5)
        assert await one.look(3) == ["local has 3 of the 5 task managers that it had"]
        assert await one.look(4) == []
        assert await one.look(3) == ["local has 3 of the 4 task managers that it had"]


class TestOfOneThatPenstockRuns:
    async def test_one_that_dies_again_and_again_is_told_in_few_lines_that_count_the_others(self, world: World):
        one, told = looks(world), []
        for _ in range(30):
            one.dies()
            told += await one.look()
            assert await one.look() == []
        words = "taskmanager-1 of default:j died, and is started again: out of memory"
        assert told == [words] * LINES
        world.time.go_on(3600)
        assert await one.look() == [], "what was counted is not told again"
        one.dies()
        assert await one.look() == [f"{words} ({30 - LINES} more died since the last line)"]

    async def test_no_secret_is_told(self, world: World, tmp_path: Any):
        vault = Vault("", tmp_path / "key")
        async with world.database.write() as session:
            await resources.set_secret(session, "default", "word", vault.seal("hush"), world.time.now())
        one = looks(world, vault)
        one.dies("password hush is wrong")
        assert (await one.look())[0].endswith(": password ****** is wrong")
        other = looks(world, Vault("", tmp_path / "other"))
        other.died = one.died
        other.dies("password hush is wrong")
        assert (await other.look())[0].endswith(NOT_SHOWN)


class TestOfTheLocalStack:
    async def test_its_jobs_are_told_which_part_died_and_why(self, world: World):
        one = looks(world)
        one.dies()
        assert await one.look_at_stack() == [
            "taskmanager-1 of the local stack died, and is started again: out of memory"
        ]
        assert await one.look_at_stack() == []
        other = looks(world)
        other.died = one.died
        assert await other.look_at_stack() == [], "another worker of the machine has told it"

    async def test_in_few_lines_that_count_the_others(self, world: World):
        one, told = looks(world), []
        for _ in range(12):
            one.dies()
            told += await one.look_at_stack()
        assert len(told) == LINES
        world.time.go_on(3600)
        one.dies()
        assert (await one.look_at_stack())[0].endswith(f"({12 - LINES} more died since the last line)")

    async def test_what_died_before_they_began_is_nothing_to_them(self, world: World):
        one = looks(world)
        one.died = [Loss("taskmanager", (await world.attempt()).started_at - timedelta(seconds=1), "killed")]
        assert await one.look_at_stack() == []

    async def test_another_cluster_is_not_concerned(self, world: World):
        one = looks(world)
        one.dies()
        assert await one.look_at_stack("http://elsewhere:8081") == []
