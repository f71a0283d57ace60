"""What an attempt runs from is decided once more when it is sent: the world may have changed since the command."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.effects import Rejected
from core.errors import InvalidInput
from core.jobs.restore import RestoreKind, RestorePoint, RestoreRequest
from core.sql.plan import NotAPlan, read
from core.sql.script import EMPTY, Script, parse
from core.sql.verdict import Verdict, compare, from_one
from sql.attempt_plan import PlanOfAttempt
from sql.compiling import judge, ran_like, row_of
from sql.environment import OF_HINTS, Environment, TableAccess
from store import attempts, plans
from store.database import Database
from store.tables import Attempt, Job, Version
from tests.store.test_store import T0, add_attempt, add_job

PLANS = Path(__file__).parent.parent / "core" / "sql" / "plans"
OURS, FOREIGN = "file:///s/{}/savepoints/1-a/savepoint-1", "file:///elsewhere/savepoint-1"


def body(name: str) -> dict[str, Any]:
    return json.loads((PLANS / f"{name}.json").read_text())


def environment(inputs: str, without_plan: str = "", script: Script = EMPTY, **rights: TableAccess) -> Environment:
    return Environment(
        before=[], script=script, secrets=[], rights=rights, properties={}, inputs=inputs, without_plan=without_plan
    )


TEAM = "default_catalog.team.t"
READS, WRITES = TableAccess("team/t", read=True, write=False), TableAccess("team/t", read=False, write=True)


@pytest.mark.parametrize(
    ("text", "right", "allowed"),
    [
        ("INSERT INTO mine SELECT * FROM team.t", READS, True),
        ("INSERT INTO mine SELECT * FROM team.t", WRITES, False),
        ("INSERT INTO team.t SELECT * FROM mine", WRITES, True),
        ("INSERT INTO team.t SELECT * FROM mine", READS, False),
        ("INSERT INTO team.t SELECT 1; INSERT INTO mine SELECT * FROM team.t", WRITES, False),
        ("INSERT INTO team.t SELECT 1; INSERT INTO mine SELECT * FROM team.t", READS, False),
        ("INSERT INTO mine SELECT t FROM own", WRITES, True),  # a column
        ("USE team; INSERT INTO mine SELECT * FROM t", WRITES, False),
    ],
)
def test_what_runs_from_its_text_has_no_other_rights(text: str, right: TableAccess, allowed: bool):
    made = environment("x", "it has no plan", parse(text), **{TEAM: right})
    if allowed:
        made.check_text()
    else:
        with pytest.raises(InvalidInput, match="team/t"):
            made.check_text()


class World:
    """A job whose attempt 1 made a savepoint, from the plan `made_by` (None: from its text), and whose attempt 2 is to
    be sent."""

    def __init__(self, database: Database, job: Job):
        self.database, self.job, self.told = database, job, []
        self.services = SimpleNamespace(database=database)
        self.ours = OURS.format(job.name)

    @staticmethod
    async def make(database: Database, made_by: str | None) -> World:
        world = World(database, await add_job(database, uuid.uuid4().hex))
        await add_attempt(database, world.job)
        async with database.write() as session:
            session.add(Version(job_id=world.job.id, number=2, spec={"type": "sql"}, created_at=T0))
            await attempts.add_point(
                session,
                world.job.id,
                RestorePoint(
                    id=attempts.point_id(world.job.id, world.ours),
                    kind=RestoreKind.SAVEPOINT,
                    path=world.ours,
                    completed_at=T0,
                    attempt=1,
                    version=1,
                ),
            )
            row = None
            if made_by is not None:
                row = row_of(from_one(read(body(made_by))), environment("one"), "2.3.0")
                await plans.keep(session, row)
            attempt = await attempts.get(session, world.job.id, 1)
            await plans.used(session, attempt, 1, row.digest if row else None, "", {"inputs": "one"})
        return world

    async def send(
        self, path: str | None, *, inputs: str = "two", compiles_to: str = "count", catalogs: str = "", **accepted: Any
    ) -> dict[str, Any] | None:
        """The plan that attempt 2 runs from, None for its text."""
        await add_attempt(self.database, self.job, 2)
        async with self.database.write() as session:
            attempt = await attempts.get(session, self.job.id, 2)
            attempt.version, attempt.config = 2, accepted
            attempt.restored_from = path and path.format(self.job.name)
        async with self.database.read() as session:
            attempt = await attempts.get(session, self.job.id, 2)
            version = await session.get(Version, (self.job.id, 2))
            like = await ran_like(session, attempt)
        told = self.told.append
        deciding = PlanOfAttempt(self.services, attempt, version, environment(inputs, catalogs), "2.3.0", told, like)
        plan, planner = await deciding.known()
        return plan if planner is None else await planner(body(compiles_to), "")

    async def also_ran(
        self, number: int, plan: str | None, *, restored_from: str | None = None, version: int = 2
    ) -> None:
        await add_attempt(self.database, self.job, number)
        async with self.database.write() as session:
            row = row_of(from_one(read(body(plan))), environment("three"), "2.3.0") if plan else None
            if row is not None:
                await plans.keep(session, row)
            attempt = await attempts.get(session, self.job.id, number)
            attempt.restored_from, attempt.version = restored_from, version
            digest = row.digest if row else None
            await plans.used(session, attempt, version, digest, "", {"inputs": "three"})

    async def attempt(self) -> Attempt:
        async with self.database.read() as session:
            return await attempts.get(session, self.job.id, 2)


LOSS, UNKNOWN = {"allow_non_restored_state": True}, {"accept_unknown_state": True}
CHANGE = {"accept_changed_state": True}


@pytest.mark.parametrize(
    ("made_by", "to", "verdict", "enough", "not_enough"),
    [
        ("count", "count-filtered", Verdict.COMPATIBLE, [{}], []),
        ("count-two", "count", Verdict.WITH_LOSS, [LOSS, CHANGE, {"automatic": True}], [{}, UNKNOWN]),
        ("count", "count-sum", Verdict.INCOMPATIBLE, [CHANGE, {"automatic": True}], [{}, LOSS, UNKNOWN]),
    ],
)
async def test_what_does_not_fit_is_refused_unless_it_was_accepted(database, made_by, to, verdict, enough, not_enough):
    assert compare(from_one(read(body(made_by))), read(body(to))).verdict.verdict is verdict
    for accepted in not_enough:
        world = await World.make(database, made_by)
        with pytest.raises(Rejected):
            await world.send(OURS, compiles_to=to, **accepted)
        assert (await world.attempt()).plan is None, "nothing was decided"
    for accepted in enough:
        world = await World.make(database, made_by)
        found = await world.send(OURS, compiles_to=to, **accepted)
        assert found == compare(from_one(read(body(made_by))), read(body(to))).aligned.body


async def test_the_same_inputs_run_from_the_same_plan(database):
    world = await World.make(database, "count")
    for n, spelling in enumerate([OURS, "/s/{}/savepoints/1-a/savepoint-1", "file:/s/{}/savepoints/1-a//savepoint-1/"]):
        world = await World.make(database, "count") if n else world
        assert await world.send(spelling, inputs="one") == from_one(read(body("count"))).body


async def test_state_that_nobody_knows_is_given_to_nobody(database):
    world = await World.make(database, "count")
    with pytest.raises(Rejected) as refused:
        await world.send(FOREIGN, inputs="one")
    assert "accept_unknown_state" in refused.value.message
    for accepted in (UNKNOWN, {"automatic": True}):
        world = await World.make(database, "count")
        assert await world.send(FOREIGN, **accepted) is not None


async def test_a_run_from_text_goes_on_from_the_same_text_only(database):
    world = await World.make(database, None)
    assert await world.send(OURS, inputs="one") is None
    assert (await world.attempt()).config["sql"]["inputs"] == "one"
    world = await World.make(database, None)
    with pytest.raises(Rejected):
        await world.send(OURS, inputs="two")
    world = await World.make(database, None)
    assert await world.send(OURS, inputs="two", **UNKNOWN) is None


async def test_a_start_from_nothing_asks_for_nothing(database):
    world = await World.make(database, "count")
    assert await world.send(None, inputs="two", compiles_to="count-sum") is not None


async def test_a_foreign_state_is_unknown_to_the_verdict_too(database):
    world = await World.make(database, "count")
    found = await judge(world.services, world.job, 1, RestoreRequest(mode="point", point="/elsewhere/savepoint-1"))
    assert found.verdict is Verdict.UNKNOWN
    fresh = await add_job(database, "fresh")
    found = await judge(world.services, fresh, 1, RestoreRequest(mode="point", point="/elsewhere/savepoint-1"))
    assert found.verdict is Verdict.UNKNOWN
    assert await judge(world.services, fresh, 1, RestoreRequest(mode="newest")) is None


class TestAgain:
    """A start, a restart and the policy run what the attempt before ran, and compile nothing."""

    async def test_its_own_state_needs_no_comparison(self, database):
        for path in (OURS, None):
            world = await World.make(database, "count")
            found = await world.send(path, inputs="tables have changed", compiles_to="count-sum", like=1)
            assert found == from_one(read(body("count"))).body

    async def test_nor_does_a_run_from_its_text(self, database):
        world = await World.make(database, None)
        assert await world.send(OURS, inputs="one", like=1) is None
        assert any("as before" in line for line in world.told)

    @pytest.mark.parametrize(
        ("made_by", "runs", "enough", "not_enough"),
        [
            ("count", "count-two", [{}], []),
            ("count-two", "count", [LOSS, {"automatic": True}], [{}]),
            ("count", "count-sum", [CHANGE, {"automatic": True}], [{}, LOSS]),
        ],
    )
    async def test_state_of_another_plan_is_compared_and_aligned(self, database, made_by, runs, enough, not_enough):
        """An older point of the job is named, or the policy falls back to one."""

        async def again(**accepted):
            world = await World.make(database, made_by)
            await world.also_ran(3, runs)
            return await world.send(OURS, like=3, **accepted)

        for accepted in not_enough:
            with pytest.raises(Rejected):
                await again(**accepted)
        aligned = compare(from_one(read(body(made_by))), from_one(read(body(runs)))).aligned.body
        for accepted in enough:
            assert await again(**accepted) == aligned

    async def test_where_ids_say_nothing_its_own_plan_is_run_once_that_is_accepted(self, database):
        async def again(**accepted):
            world = await World.make(database, "count")
            await world.also_ran(3, "count-sum")
            async with database.write() as session:
                made = await attempts.get(session, world.job.id, 1)
                made.config = {**made.config, "effective": {"table.exec.uid.generation": {"value": "DISABLED"}}}
            return await world.send(OURS, like=3, **accepted)

        with pytest.raises(Rejected, match=r"table\.exec\.uid"):
            await again()
        assert await again(**UNKNOWN) == from_one(read(body("count-sum"))).body

    async def test_the_point_that_it_had_started_from_was_accepted_then(self, database):
        world = await World.make(database, "count")
        await world.also_ran(3, "count-sum", restored_from=FOREIGN)
        assert await world.send(FOREIGN, like=3) == from_one(read(body("count-sum"))).body

    async def test_another_that_nobody_knows_was_not(self, database):
        world = await World.make(database, "count")
        with pytest.raises(Rejected):
            await world.send(FOREIGN, like=1)

    async def test_plans_and_texts_do_not_take_each_others_state(self, database):
        world = await World.make(database, "count")
        await world.also_ran(3, None)
        with pytest.raises(Rejected):
            await world.send(OURS, like=3, **UNKNOWN)
        world = await World.make(database, None)
        await world.also_ran(3, "count")
        assert await world.send(OURS, like=3, **UNKNOWN) is None

    async def test_an_attempt_that_was_never_sent_leads_to_the_one_before(self, database):
        world = await World.make(database, "count")
        await add_attempt(database, world.job, 3)
        async with database.write() as session:
            (await attempts.get(session, world.job.id, 3)).config = {"like": 1}
        assert await world.send(OURS, like=3) == from_one(read(body("count"))).body

    async def test_one_of_which_nothing_was_written_down_is_compiled(self, database):
        world = await World.make(database, "count")
        await add_attempt(database, world.job, 3)
        found = await world.send(OURS, like=3, compiles_to="count-filtered")
        assert found == compare(from_one(read(body("count"))), read(body("count-filtered"))).aligned.body

    async def test_the_command_is_judged_by_what_will_run(self, database):
        world = await World.make(database, "count")
        async with database.write() as session:
            job = await session.get(Job, world.job.id)
            job.current_attempt = 1
        found = await judge(world.services, job, 1, None, anew=False)
        assert found.verdict is Verdict.COMPATIBLE
        await world.also_ran(3, "count-sum", version=1)
        async with database.write() as session:
            job = await session.get(Job, world.job.id)
            job.current_attempt = 3
            (await attempts.get(session, job.id, 3)).ended_at = T0
        named = RestoreRequest(mode="point", point=OURS.format(job.name))
        assert (await judge(world.services, job, 1, named, anew=False)).verdict is Verdict.INCOMPATIBLE


class TestOfCatalogs:
    """What names a catalog that outlives the session runs from its text."""

    @pytest.mark.parametrize(("made_by", "path"), [("count", None), (None, None), (None, OURS)])
    async def test_it_runs_from_its_text(self, database, made_by: str | None, path: str | None):
        world = await World.make(database, made_by)
        assert await world.send(path, inputs="one", catalogs="It names a catalog.") is None
        attempt = await world.attempt()
        assert (attempt.plan, attempt.config["sql"]["inputs"]) == (None, "one")

    async def test_state_of_a_plan_is_not_given_to_a_text(self, database):
        world = await World.make(database, "count")
        with pytest.raises(Rejected, match="its state was made by one"):
            await world.send(OURS, inputs="one", catalogs="It names a catalog.")


class TestOfHints:
    """A plan has no OPTIONS hint, so a script with one runs from its text."""

    async def test_it_runs_from_its_text(self, database):
        world = await World.make(database, "count")
        assert await world.send(None, inputs="one", catalogs=OF_HINTS) is None

    async def test_what_ran_from_a_plan_before_goes_on_as_it_did_and_says_so(self, database):
        world = await World.make(database, "count")
        assert await world.send(OURS, inputs="one", catalogs=OF_HINTS) is not None
        assert OF_HINTS in world.told[-1]

    async def test_state_of_another_plan_is_not_given_to_it(self, database):
        world = await World.make(database, "count")
        with pytest.raises(Rejected, match="its state was made by one"):
            await world.send(OURS, inputs="two", catalogs=OF_HINTS)


@pytest.mark.parametrize(
    ("made_by", "path", "catalogs"),
    [(None, OURS, ""), (None, None, "it names a catalog"), ("count", None, "it names a catalog")],
)
async def test_a_table_that_may_not_be_used_is_a_clear_no_from_the_text_too(
    database, monkeypatch: pytest.MonkeyPatch, made_by: str | None, path: str | None, catalogs: str
):
    """Anything but `Rejected` would be tried again for ever."""

    def refuses(self: Environment) -> None:
        raise InvalidInput(
            "The script reads team/t, which this project may not read.", code="access_denied", remedy="Ask team."
        )

    monkeypatch.setattr(Environment, "check_text", refuses)
    world = await World.make(database, made_by)
    with pytest.raises(Rejected, match="team/t"):
        await world.send(path, catalogs=catalogs, **UNKNOWN)


async def test_a_plan_that_flink_cannot_run_is_held_to_the_rights_first(database, monkeypatch: pytest.MonkeyPatch):
    def no_connectors(plan: Any) -> Any:
        raise NotAPlan("a table has its connector from its catalog")

    def refuses(self: Environment, reads: Any, writes: Any) -> None:
        raise InvalidInput(
            "The script writes team/t, which this project may not write.", code="access_denied", remedy="Ask team."
        )

    monkeypatch.setattr("sql.attempt_plan.with_connectors", no_connectors)
    world = await World.make(database, None)
    assert await world.send(None) is None, "it runs from its text"
    monkeypatch.setattr(Environment, "check", refuses)
    world = await World.make(database, None)
    with pytest.raises(Rejected, match="team/t"):
        await world.send(None)
