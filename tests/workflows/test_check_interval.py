"""How often a job is checked is what the setting says now, not what it said when the job was made."""

from __future__ import annotations

import pytest

from activities import contracts as c
from core.jobs.snapshot import JobSnapshot
from settings import Settings
from temporal.delivery import snapshot_of
from tests.rows import cluster_row, job_row
from tests.workflows.conftest import Cluster

LONG, SHORT = 7200, 60


@pytest.mark.parametrize("kept", [False, True], ids=["a new job", "one that is begun again"])
def test_a_workflow_begins_with_the_setting_of_now(kept: bool):
    job = job_row("j", name="j", project="p", revision=0, savepoints=None)
    before = snapshot_of(job, cluster_row(), Settings(check_interval=LONG))
    if kept:
        job.snapshot = before.model_dump(mode="json")
    assert snapshot_of(job, cluster_row(), Settings(check_interval=SHORT)).check_interval == SHORT


@pytest.mark.skips_time
async def test_one_that_runs_is_told_by_each_check(start):
    cluster = Cluster()
    cluster.looks = lambda _: c.Seen(why="not seen yet", check_interval=SHORT)
    life = await start(cluster, check_interval=LONG)
    await life.do("start")
    for _ in range(2 * LONG // SHORT):
        await life.skip(10 * SHORT)
        if "check" in cluster.asked:
            break
    asked = cluster.asked.count("check")
    await life.skip(10 * SHORT)
    await life.until(lambda: cluster.asked.count("check") - asked >= 5)
    snapshot: JobSnapshot = await life.handle.query("snapshot", result_type=JobSnapshot)
    assert snapshot.check_interval == SHORT
