"""On a kind of cluster whose handles are no Flink job ids all is as on others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulation.applications import installed
from tests.simulation.world import leave
from tests.whole import test_losses
from tests.whole.penstock import Penstock, whole


@pytest.fixture(scope="module")
def penstock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    with installed(), whole(tmp_path_factory.mktemp("penstock")) as made:
        yield made
    leave()


def by_hand(penstock: Penstock, flink_job_id: str, name: str = "by hand") -> None:
    """Somebody starts a Flink job past Penstock."""
    penstock.world.judge.by_hand.add(flink_job_id)
    flink = penstock.world.flinks[0]
    flink.accept(flink_job_id, name, penstock.world.program("", {}), {}, None, False)
    penstock.wait(2)


def test_a_job_lives(penstock: Penstock):
    penstock.running("lives")
    handle = penstock.world.row("SELECT handle FROM attempts ORDER BY started_at DESC LIMIT 1")[0]
    assert handle.startswith("application_"), "the kind that this file is about"
    for command in ("savepoint", "pause", "restart", "kill"):
        penstock.done("lives", command)
    assert penstock.state("lives") == "KILLED"


class TestAdopted:
    def test_one_goes_on_as_a_job_that_is_watched_and_paused(self, penstock: Penstock):
        by_hand(penstock, "2" * 32)
        penstock.create("adopts")
        penstock.done("adopts", "adopt", flink_job_id="2" * 32)
        penstock.until(lambda: penstock.state("adopts") == "RUNNING")
        penstock.wait(120)
        assert penstock.state("adopts") == "RUNNING"
        penstock.done("adopts", "pause")
        assert penstock.world.flinks[0].jobs["2" * 32].state == "FINISHED"

    def test_there_is_nothing_to_adopt(self, penstock: Penstock):
        penstock.create("finds-none")
        done = penstock.do("finds-none", "adopt", flink_job_id="9" * 32)
        assert (done["state"], done["error_code"]) == ("FAILED", "not_adoptable")
        assert "There is nothing to adopt" in done["error"]


class TestOnlyTheDatabaseIsRestored(test_losses.TestOnlyTheDatabaseIsRestored):
    """An attempt whose row was lost is found by its Flink job id."""
