"""What the activities that ask a cluster make of its answers. The engines are doubles, as in `test_certainty.py`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities import contracts as c
from activities.observe import Observing
from clusters import state_files
from clusters.protocol import Checkpoints, Failure, HostsClusters, Metrics, Progress, RestoreOrigin, Unreachable
from core.jobs.observations import EngineState, Trouble
from core.jobs.snapshot import JobSnapshot
from observation import points
from settings import clock, waits
from settings.polling import Pace
from store import jobs, resources
from store.database import Database
from store.vault import Vault
from tests.activities.test_certainty import Double
from tests.rows import attempt_row
from tests.store.test_store import add_job

ID = "a" * 32
AT_ONCE = Pace(0.01)
NO_PLACE = Failure("There is no operator for the state\nat org.apache.flink", Trouble.UNREADABLE)


class Engine(Double, Metrics, Checkpoints):
    """Of one attempt. `away`: it cannot be asked."""

    def __init__(self, **script: Any):
        super().__init__(**script)
        self.restarts, self.completed = script.get("restarts", 0), script.get("completed", 0)
        self.origin_, self.away, self.takes = script.get("origin"), script.get("away", False), script.get("takes", True)

    async def look(self, ref: Any) -> Any:
        if self.away:
            raise Unreachable("no answer")
        return await super().look(ref)

    async def progress(self, ref: Any) -> Progress:
        return Progress(restarts=self.restarts, completed=self.completed)

    async def origin(self, ref: Any) -> RestoreOrigin | None:
        return self.origin_

    async def takes_checkpoints(self, ref: Any) -> bool:
        return bool(self.takes)


class Hosting(Double, HostsClusters):
    """Of session clusters that are started and stopped."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STARTING_PACE", "UNREACHABLE_PACE"):
        monkeypatch.setattr(waits, name, AT_ONCE)
    for name in ("CERTAIN_PAUSE_SECONDS", "PROVING_PAUSE_SECONDS", "STEADY_SECONDS"):
        monkeypatch.setattr(waits, name, 0.01)
    monkeypatch.setattr(waits, "UNREACHABLE_SECONDS", 0.05)


def observing(
    engine: Double,
    *,
    database: Any = None,
    vault: Any = None,
    observed_at: datetime | None = None,
    **attempt: Any,
) -> Observing:
    fields = {
        "job_id": "j",
        "number": 2,
        "flink_job_id": ID,
        "handle": ID,
        "config": {},
        "started_at": datetime.now(UTC),
        "restored_from": None,
        "restored_why": "",
        "seen": "RUNNING",
        "detail": None,
        "sequence": 1,
        "ended_at": None,
    }
    row = SimpleNamespace(**fields | attempt)
    cluster = SimpleNamespace(name="local", state_dir="file:///nowhere", observed_at=observed_at)
    settings = SimpleNamespace(
        lost_grace=0.02, running_timeout=0.1, flink_start_timeout=0.4, watch_interval=10.0, check_interval=60.0
    )
    engines = SimpleNamespace(get=lambda _: engine)
    services = SimpleNamespace(database=database, vault=vault, engines=engines, settings=settings)
    made = Observing(services, None)  # type: ignore[arg-type]

    async def found(_: Any) -> Any:
        return row, cluster

    made._attempt = found  # type: ignore[method-assign]
    return made


WANTED = c.AttemptIn(job_id="j", number=2, leader="jm-1")


def test_a_session_cluster_has_the_time_of_its_jobmanager_before_that_of_the_rest():
    cluster: Any = None
    assert observing(Engine()).patience(None, cluster) == 0.1
    assert observing(Hosting()).patience(None, cluster) == 0.5
    assert observing(Hosting()).patience(0.2, cluster) == 0.2


class TestUntilItRuns:
    @pytest.fixture(autouse=True)
    async def _job(self, sqlite: Database, tmp_path: Path) -> None:
        self.database, self.job = sqlite, await add_job(sqlite)
        self.vault = Vault("", tmp_path / "key")

    async def started(self, engine: Engine, **attempt: Any) -> c.Seen:
        made = observing(engine, database=self.database, vault=self.vault, **{"job_id": self.job.id} | attempt)
        found: c.Seen = await ActivityEnvironment().run(made.await_running, WANTED)
        return found

    async def test_what_a_program_says_of_its_secret_is_not_told(self):
        async with self.database.write() as session:
            await resources.set_secret(session, "default", "word", self.vault.seal("hush"), clock.now())
        engine = Engine(state=lambda t: EngineState.RECOVERING, cause=lambda t: Failure("no entry with hush"))
        seen = await self.started(engine)
        assert seen.observation is not None
        assert seen.observation.detail == "as scripted: no entry with ******"

    @pytest.mark.parametrize(
        ("restarts", "completed", "cause", "trouble"),
        [
            (3, 0, NO_PLACE, Trouble.UNREADABLE),
            (2, 0, NO_PLACE, None),  # it may have been the disk: Flink's own restarts go first
            (3, 1, NO_PLACE, None),
            (3, 0, Failure("a disk is full"), None),
        ],
    )
    async def test_a_restore_that_fails_again_and_again(self, restarts: int, completed: int, cause: Any, trouble: Any):
        engine = Engine(
            state=lambda t: EngineState.RECOVERING, restarts=restarts, completed=completed, cause=lambda t: cause
        )
        seen = await self.started(engine, restored_from="file:///s/p")
        assert seen.trouble is trouble
        assert seen.observation is not None
        if trouble is None:
            assert seen.observation.detail == f"as scripted: {cause.message.splitlines()[0]}"

    async def test_without_a_state_no_restore_is_to_blame(self):
        engine = Engine(state=lambda t: EngineState.RECOVERING, restarts=9, cause=lambda t: NO_PLACE)
        assert (await self.started(engine)).trouble is None

    @pytest.mark.parametrize(
        ("config", "origin", "trouble"),
        [
            ({"build_key": "k"}, RestoreOrigin("file:///other", True, on_files=False), Trouble.OVERRIDDEN),
            ({"build_key": "k"}, RestoreOrigin(None, True, on_files=True), None),
            ({"build_key": "k"}, None, None),
            ({}, RestoreOrigin("file:///other", True, on_files=False), None),  # a script cannot
        ],
    )
    async def test_a_program_that_restores_from_elsewhere(self, config: Any, origin: Any, trouble: Any):
        engine = Engine(state=lambda t: EngineState.RUNNING, origin=origin)
        assert (await self.started(engine, config=config)).trouble is trouble

    async def test_one_that_cannot_be_asked_until_the_time_is_over(self):
        assert await self.started(Engine(away=True)) == c.Seen(why="no answer")


async def test_a_look_at_one_that_does_not_answer_ends():
    seen = await ActivityEnvironment().run(observing(Engine(away=True)).look, WANTED)
    assert seen == c.Seen(why="no answer")


class TestItsOwnCheck:
    async def checked(self, engine: Engine, database: Database, observed: datetime | None, **attempt: Any) -> c.Seen:
        job = await add_job(database)
        wanted = WANTED.model_copy(update={"job_id": job.id})
        made = observing(engine, database=database, observed_at=observed, **attempt)
        found: c.Seen = await ActivityEnvironment().run(made.check, wanted)
        return found

    @pytest.mark.parametrize(("known", "forgotten"), [(0, True), (4, True), (5, False)])
    async def test_an_attempt_that_the_workflow_does_not_know(self, sqlite: Database, known: int, forgotten: bool):
        """It may follow an older one than the newest: one that was believed to have ended, and adopted since."""
        job = await add_job(sqlite)
        async with sqlite.write() as session:
            for number in (2, 5):
                ids = {"flink_job_id": f"{number}" * 32, "handle": f"{number}" * 32}
                session.add(attempt_row(job.id, number, state="RUNNING", started_at=clock.now(), **ids))
        made = observing(Engine(state=lambda t: EngineState.RUNNING), database=sqlite, observed_at=None)
        wanted = WANTED.model_copy(update={"job_id": job.id, "known": known})
        seen: c.Seen = await ActivityEnvironment().run(made.check, wanted)
        assert (seen.newest is not None and seen.newest.number == 5) is forgotten
        assert (seen.observation is None) is forgotten

    @pytest.mark.parametrize(("attempts", "knows"), [(2, False), (3, True)])
    async def test_and_what_the_last_record_says_of_it(self, sqlite: Database, attempts: int, knows: bool):
        job = await add_job(sqlite)
        last = JobSnapshot(
            job_id=job.id, project="default", name="j", type="sql", cluster="local", state_dir="s", attempts=attempts
        )
        async with sqlite.write() as session:
            known, newest = ({"flink_job_id": f"{n}" * 32, "handle": f"{n}" * 32} for n in (2, 3))
            session.add(attempt_row(job.id, 2, state="RUNNING", started_at=clock.now(), **known))
            session.add(attempt_row(job.id, 3, state="RUNNING", started_at=clock.now(), **newest))
            row = await jobs.by_id(session, job.id)
            assert row is not None
            row.snapshot = last.model_dump(mode="json")
        made = observing(Engine(state=lambda t: EngineState.RUNNING), database=sqlite, observed_at=None)
        seen: c.Seen = await ActivityEnvironment().run(made.check, WANTED.model_copy(update={"job_id": job.id}))
        assert seen.newest is not None
        assert seen.newest.newer == (last if knows else None)

    async def test_what_the_watch_has_seen_is_not_asked_again(self, sqlite: Database):
        seen = await self.checked(Engine(away=True), sqlite, clock.now(), seen="FAILED", sequence=7)
        assert seen.check_interval == 60, "the workflow goes by the settings of now"
        assert seen.observation is not None
        assert (seen.observation.state, seen.observation.sequence) == (EngineState.FAILED, 7)

    async def test_nor_what_it_has_not_seen_yet(self, sqlite: Database):
        assert (await self.checked(Engine(away=True), sqlite, clock.now(), seen=None)).why == "not seen yet"

    @pytest.mark.parametrize("observed", [None, timedelta(minutes=10)])
    async def test_where_the_watch_is_dead_the_cluster_is_asked(self, sqlite: Database, observed: timedelta | None):
        at = observed and clock.now() - observed
        seen = await self.checked(Engine(state=lambda t: EngineState.FINISHED), sqlite, at)
        assert seen.observation is not None
        assert seen.observation.state is EngineState.FINISHED

    async def test_and_may_not_answer(self, sqlite: Database):
        assert (await self.checked(Engine(away=True), sqlite, None)).why == "no answer"


class TestProving:
    @pytest.fixture(autouse=True)
    async def _job(self, sqlite: Database) -> None:
        self.database, self.job = sqlite, await add_job(sqlite)

    async def proven(self, engine: Engine, within: float) -> c.Proven:
        made = observing(engine, database=self.database, job_id=self.job.id)
        wanted = c.ProveIn(job_id="j", number=2, leader="jm-1", within=within)
        found: c.Proven = await ActivityEnvironment().run(made.prove, wanted)
        return found

    async def test_one_that_takes_no_checkpoints_has_to_run_steadily(self):
        proven = await self.proven(Engine(state=lambda t: EngineState.RUNNING, takes=False), 5)
        assert proven.healthy

    async def test_one_that_its_engine_restarts_says_why(self):
        engine = Engine(state=lambda t: EngineState.RECOVERING, cause=lambda t: Failure("it cannot go on"))
        proven = await self.proven(engine, 0.05)
        assert (proven.healthy, proven.why) == (False, "as scripted: it cannot go on")


class TestPoints:
    async def gathered(self, monkeypatch: pytest.MonkeyPatch, named: str | None, found: Any) -> c.Gathered:
        async def gather(*_: Any, **__: Any) -> Any:
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(points, "gather", gather)
        wanted = c.GatherIn(job_id="j", named=named)
        made: c.Gathered = await ActivityEnvironment().run(observing(Engine()).gather, wanted)
        return made

    async def test_one_that_the_job_has_not(self, monkeypatch: pytest.MonkeyPatch):
        gathered = await self.gathered(monkeypatch, "rp-0123", points.Found(points=[]))
        assert gathered.code == "restore_point_missing"

    async def test_files_that_cannot_be_read(self, monkeypatch: pytest.MonkeyPatch):
        found = points.Found(points=[], unread="file:///s")
        assert (await self.gathered(monkeypatch, None, found)).code == "points_unreadable"
        lost = points.Found(points=[], unread="its folder is not known", for_a_person=True)
        assert (await self.gathered(monkeypatch, None, lost)).code == "points_undecided"

    async def test_a_path_of_elsewhere_whose_files_cannot_be_read(self, monkeypatch: pytest.MonkeyPatch):
        async def away(_: str) -> bool:
            raise Unreachable("the disk is away")

        monkeypatch.setattr(state_files, "is_complete", away)
        gathered = await self.gathered(monkeypatch, "file:///other/p", points.Found(points=[]))
        assert (gathered.code, gathered.error) == ("points_unreadable", "the disk is away")

    @pytest.mark.parametrize("complete", [True, False])
    async def test_a_path_of_elsewhere_has_to_be_complete(self, monkeypatch: pytest.MonkeyPatch, complete: bool):
        async def told(_: str) -> bool:
            return complete

        monkeypatch.setattr(state_files, "is_complete", told)
        gathered = await self.gathered(monkeypatch, "file:///other/p", points.Found(points=[]))
        assert gathered.code == (None if complete else "restore_point_missing")
