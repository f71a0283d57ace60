"""An activity that gives up for good: its step fails, and the workflow goes on."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.checks import present
from core.jobs.observations import EngineState
from tests.workflows.conftest import Cluster


def missing(_: Any) -> Any:
    return present(None, "attempt 1 of job x")


def test_a_row_that_is_there_is_given_back():
    assert present("row", "a row") == "row"


def test_one_that_is_not_ends_the_activity():
    with pytest.raises(ApplicationError, match="has no attempt 1") as raised:
        missing(None)
    assert (raised.value.non_retryable, raised.value.type) == (True, "row_missing")


async def test_a_submission_without_its_row_parks_the_job(start):
    cluster = Cluster()
    cluster.submitted = missing
    life = await start(cluster)
    ended = await life.do("start")
    assert (ended.state, ended.error_code) == ("FAILED", "internal")
    assert "The database has no attempt 1 of job x" in ended.error
    assert await life.state() == "BLOCKED"
    assert cluster.asked.count("submit") == 1


@pytest.mark.skips_time
async def test_an_attempt_without_its_row_is_written_down_again_by_the_check(start):
    cluster = Cluster()
    life = await start(cluster, check_interval=60)
    await life.do("start")
    cluster.looks = missing
    await life.skip(120)
    await life.until(lambda: any(a.running for r in cluster.records[2:] for a in r.attempts))
    assert len(cluster.opened) == 1, "by the same number, for the same Flink job"
    assert cluster.records[-1].job.state == "RUNNING"
    cluster.looks = lambda a: cluster.seen(a.number, EngineState.RUNNING)
    assert (await life.do("pause")).state == "SUCCEEDED"


@pytest.mark.skips_time
async def test_a_check_that_cannot_be_made_says_so_and_the_job_goes_on(start):
    def unknown(_: Any) -> Any:
        raise ApplicationError("This worker knows no jobs of type x.", type="unknown_job_type", non_retryable=True)

    cluster = Cluster()
    life = await start(cluster, check_interval=60)
    await life.do("start")
    cluster.looks = unknown
    await life.skip(120)
    await life.until(lambda: "knows no jobs of type x" in cluster.records[-1].job.reason)
    assert cluster.records[-1].job.state == "RUNNING"
    cluster.looks = lambda a: cluster.seen(a.number, EngineState.RUNNING)
    await life.skip(120)
    await life.until(lambda: cluster.records[-1].job.reason == "")
    assert (await life.do("pause")).state == "SUCCEEDED"
