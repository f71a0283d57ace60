"""What is learned of a Flink job before it is adopted: where it came from, and where its checkpoints lie."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities import contracts as c
from activities.adopt import Adopting
from clusters.protocol import Checkpoints, PointSeen, RestoreOrigin, Unreachable
from core.effects import Rejected
from core.jobs.observations import EngineState
from core.jobs.restore import RestoreKind
from core.jobs.snapshot import Adopted
from settings import waits
from settings.polling import Pace
from store import attempts
from store.database import Database
from tests.activities.test_certainty import Double
from tests.rows import attempt_row
from tests.store.test_store import add_job

ID = "a" * 32
OWN = f"hdfs://nn/of-somebody/{ID}"


class Flink(Double, Checkpoints):
    """`trouble` is raised by the first questions about checkpoints."""

    def __init__(self, origin: str | None, told: list[str], *trouble: Exception):
        super().__init__(state=lambda _: EngineState.RUNNING)
        self.origin_, self.told, self.trouble = origin, told, list(trouble)

    async def checkpoints(self, ref: Any) -> list[PointSeen]:
        if self.trouble:
            raise self.trouble.pop(0)
        return [PointSeen(RestoreKind.CHECKPOINT, path, datetime.now(UTC)) for path in self.told]

    async def takes_checkpoints(self, ref: Any) -> bool:
        return True

    async def origin(self, ref: Any) -> RestoreOrigin:
        return RestoreOrigin(self.origin_, True, on_files=True)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "UNREACHABLE_PACE", Pace(0.01))
    monkeypatch.setattr(waits, "ADOPTION_SECONDS", 0.05)


async def adoptable(database: Database, engine: Any, *, own: dict[str, Any] | None = None) -> c.Adoptable:
    job = await add_job(database)
    if own is not None:
        async with database.write() as session:
            session.add(attempt_row(job.id, 3, flink_job_id=ID, handle=ID, state="FAILED", config=own))
    services: Any = SimpleNamespace(database=database, engines=SimpleNamespace(get=lambda _: engine))
    wanted = c.AdoptIn(job_id=job.id, flink_job_id=ID)
    return await ActivityEnvironment().run(Adopting(services).adoptable, wanted)


@pytest.mark.parametrize(
    ("origin", "told", "restored_from", "folder"),
    [
        ("file:/s/1/", [f"{OWN}/chk-7"], "file:///s/1", OWN),
        (f"{OWN}/chk-6", [f"{OWN}/chk-7"], None, OWN),  # after a restart by Flink itself
        (None, [], None, None),
        ("file:/s/1", ["hdfs://nn/shared/chk-7"], "file:///s/1", None),  # others may keep theirs there
    ],
)
async def test_what_it_came_from_and_where_its_checkpoints_lie(database, origin, told, restored_from, folder):
    found = await adoptable(database, Flink(origin, told))
    assert found.restored_from == restored_from
    assert found.adopted == Adopted(checkpoint_folder=folder, takes_checkpoints=True)


async def test_it_is_asked_again_when_it_has_not_answered(database: Database):
    found = await adoptable(database, Flink("file:///s/1", [], Unreachable("refused")))
    assert (found.error, found.restored_from) == (None, "file:///s/1")


async def test_what_is_not_told_is_looked_for_later(database: Database):
    found = await adoptable(database, Flink("file:///s/1", [], Rejected("not now")))
    assert (found.error, found.restored_from, found.adopted) == (None, None, Adopted())


async def test_where_no_attempt_ever_has_one(database: Database):
    found = await adoptable(database, Double(state=lambda _: EngineState.RUNNING))
    assert found.adopted == Adopted(takes_checkpoints=False)


async def test_an_attempt_of_the_job_itself_keeps_what_is_known(database: Database):
    known = Adopted(checkpoint_folder=OWN)
    found = await adoptable(database, Flink("file:///s/1", []), own={attempts.ADOPTED: known.model_dump()})
    assert (found.number, found.restored_from, found.adopted) == (3, None, known)
