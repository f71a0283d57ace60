"""On a kind of cluster whose handles are no Flink job ids all is as on others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulation.applications import installed
from tests.simulation.world import leave
from tests.whole import test_clusters, test_losses
from tests.whole.penstock import Penstock, repository, whole
from tests.whole.test_lives import jar


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
        by_hand(penstock, "7" * 32)
        penstock.create("watched")
        penstock.done("watched", "adopt", flink_job_id="7" * 32)
        penstock.until(lambda: penstock.state("watched") == "RUNNING")
        penstock.wait(120)
        assert penstock.state("watched") == "RUNNING"
        penstock.done("watched", "pause")
        assert penstock.world.flinks[0].jobs["7" * 32].state == "FINISHED"

    def test_there_is_nothing_to_adopt(self, penstock: Penstock):
        penstock.create("finds-none")
        done = penstock.do("finds-none", "adopt", flink_job_id="9" * 32)
        assert (done["state"], done["error_code"]) == ("FAILED", "not_adoptable")
        assert "There is nothing to adopt" in done["error"]


class TestOnlyTheDatabaseIsRestored(test_losses.TestOnlyTheDatabaseIsRestored):
    """An attempt whose row was lost is found by its Flink job id."""


class TestNobodysJobs(test_clusters.TestNobodysJobs):
    """They are listed, adopted, and stopped under what the cluster knows them by."""


class TestAlive:
    test_an_attempt_that_is_not_written_down_is_known_by_its_checkpoints = (
        test_losses.TestWorkflows.test_with_the_database_restored_too_an_attempt_is_known_by_its_checkpoints
    )

    def test_all_that_a_program_has_started_is_cancelled(self, penstock: Penstock, monkeypatch: pytest.MonkeyPatch):
        flink = penstock.world.flinks[0]
        accept, started = flink.accept, list[str]()

        def twice(job_id: str, *more: Any) -> Any:
            started.extend((job_id, f"{int(job_id, 16) + (1 << 64) + 1:032x}"))
            return accept(job_id, *more) or accept(started[-1], *more)

        penstock.create("two-jobs", jar(repository(penstock.home / "repo"), "two_jobs"))
        monkeypatch.setattr(flink, "accept", twice)
        done = penstock.do("two-jobs", "start")
        assert (done["state"], done["error_code"]) == ("FAILED", "several_jobs"), done
        assert [flink.jobs[job_id].state for job_id in started] == ["CANCELED", "CANCELED"]
