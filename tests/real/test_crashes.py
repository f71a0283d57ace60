"""kill -9 in the middle: worker and API, during a start, a pause and a restart; JobManager and gateway too."""

from __future__ import annotations

import asyncio
import time

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from tests.real.conftest import SQL, Stack

pytestmark = pytest.mark.real

# After how many seconds of the command the part dies: before, around and after what is sent to Flink.
MOMENTS = [0.0, 0.1, 0.3]


def prepared(stack: Stack, kind: str) -> str:
    job = stack.create()
    if kind != "start":
        stack.do(job, "start")
        stack.checkpointed(job)
    return job


@pytest.mark.parametrize("kind", ["start", "pause", "restart"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_the_worker_dies(stack: Stack, kind: str, moment: float):
    job = prepared(stack, kind)
    before = len(stack.items(job, "attempts"))
    number = stack.send(job, kind).json()["number"]
    time.sleep(moment)
    stack.kill("worker")
    stack.start("worker")
    assert stack.ended(job, number)["state"] == "SUCCEEDED"
    judge(stack, job, kind, before)


@pytest.mark.parametrize("kind", ["start", "pause", "restart"])
def test_the_api_dies_with_the_answer(stack: Stack, kind: str):
    """The caller does not know what became of it, and sends it again with the same key."""
    job = prepared(stack, kind)
    before = len(stack.items(job, "attempts"))
    key = f"key-{job}"
    first = stack.send(job, kind, key=key).json()
    stack.kill("api")
    stack.start("api")
    again = stack.send(job, kind, key=key).json()
    assert again["id"] == first["id"]
    assert stack.ended(job, again["number"])["state"] == "SUCCEEDED"
    judge(stack, job, kind, before)


def judge(stack: Stack, job: str, kind: str, before: int) -> None:
    """By Flink's own word: exactly what was asked for runs, once, from the right state."""
    shown = stack.job(job)
    attempts = stack.items(job, "attempts")
    on_flink = stack.flink_jobs(job)
    if kind == "pause":
        assert shown["state"] == "PAUSED"
        assert stack.alive(job) == []
        assert stack.items(job, "restore-points")[0]["kind"] == "savepoint"
        assert len(on_flink) == len(attempts) == before
        return
    assert shown["state"] == "RUNNING"
    assert stack.alive(job) == [shown["current_attempt"]["flink_job_id"]]
    assert len(attempts) == before + 1
    assert len(on_flink) == before + 1
    if kind == "restart":
        assert "/savepoints/1-" in attempts[0]["restored_from"]


def test_a_command_sent_while_temporal_is_away_is_kept_and_delivered(stack: Stack):
    job = stack.create()
    stack.kill("temporal")
    answer = stack.send(job, "start")
    assert answer.status_code == 202
    assert answer.json()["state"] == "PENDING"
    stack.start("temporal")
    assert stack.ended(job, answer.json()["number"])["state"] == "SUCCEEDED"
    assert len(stack.alive(job)) == 1


def test_the_gateway_dies_and_a_start_waits_for_it(stack: Stack):
    job = stack.create()
    stack.kill("gateway")
    number = stack.send(job, "start").json()["number"]
    time.sleep(2)
    assert stack.http.get(f"/jobs/{job}/commands/{number}").json()["state"] == "RUNNING"
    stack.start("gateway")
    assert stack.ended(job, number)["state"] == "SUCCEEDED"
    assert len(stack.alive(job)) == 1


def test_a_jobmanager_that_is_away_fails_no_job_and_loses_none(stack: Stack):
    """Without high availability a JobManager that comes back knows no job: then, and only then, the policy
    restarts it, from its newest checkpoint."""
    job = stack.create(SQL, restart_policy={"initial_backoff": 1})
    stack.do(job, "start")
    stack.checkpointed(job, more_than=1)
    old = stack.job(job)["current_attempt"]
    stack.kill("jobmanager")
    away = stack.until(lambda: (s := stack.job(job))["unreachable_since"] and s, "it is said that the cluster is away")
    assert away["state"] == "RUNNING"
    stack.start("jobmanager")
    stack.until(lambda: stack.job(job)["current_attempt"]["number"] == 2, "a second attempt is made")
    shown = stack.state(job, "RUNNING")
    assert f"/checkpoints/{old['flink_job_id']}/chk-" in shown["current_attempt"]["restored_from"]
    assert stack.items(job, "attempts")[1]["state"] == "GONE"
    assert stack.alive(job) == [shown["current_attempt"]["flink_job_id"]]


async def test_a_workflow_that_was_lost_is_started_again_where_it_was(stack: Stack):
    """Someone terminates a job's workflow, and the watch of the cluster: the recovery schedule brings both back."""
    job = stack.create()
    stack.do(job, "start")
    stack.checkpointed(job)
    before = stack.job(job)["current_attempt"]
    client = await Client.connect(f"127.0.0.1:{stack.ports['temporal']}")
    workflows = (stack.workflow_id(job), stack.installation().cluster_workflow_id("local"))
    for workflow in workflows:
        await client.get_workflow_handle(workflow).terminate("test")
    for workflow in workflows:
        for _ in range(600):
            if (await client.get_workflow_handle(workflow).describe()).status is WorkflowExecutionStatus.RUNNING:
                break
            await asyncio.sleep(0.2)
        else:
            raise AssertionError(f"{workflow} was not started again")
    assert stack.alive(job) == [before["flink_job_id"]]
    stack.do(job, "pause")
    assert stack.job(job)["state"] == "PAUSED"
    stack.do(job, "start")
    after = stack.job(job)["current_attempt"]
    assert after["number"] == before["number"] + 1
    assert "/savepoints/" in after["restored_from"]


def test_temporal_is_wiped_while_the_worker_runs(stack: Stack):
    """All that Temporal knew is gone; jobs run on, and take commands again once their workflows are started from the
    rows. No worker is restarted."""
    job, resting = stack.create(), stack.create()
    stack.do(job, "start")
    stack.checkpointed(job)
    stack.do(resting, "start")
    stack.do(resting, "pause")
    before = stack.job(job)["current_attempt"]
    worker = stack.local.processes.find("worker")
    stack.kill("temporal")
    pending = stack.send(resting, "start").json()
    assert pending["state"] == "PENDING"
    for path in stack.home.glob("temporal.db*"):
        path.unlink()
    began = time.monotonic()
    stack.start("temporal")
    assert stack.ended(resting, pending["number"], patience=90)["state"] == "SUCCEEDED"
    stack.do(job, "savepoint")
    took = time.monotonic() - began
    assert took < 90, f"{took:.0f} s"
    assert stack.local.processes.find("worker").pid == worker.pid
    assert stack.alive(job) == [before["flink_job_id"]]
    assert stack.job(job)["current_attempt"]["number"] == before["number"]
    assert len(stack.alive(resting)) == 1
    looked = stack.http.get("/clusters/local").json()["health"]["last_observed_at"]
    stack.until(
        lambda: stack.http.get("/clusters").json()["items"][0]["health"]["last_observed_at"] > looked,
        "the cluster is watched again",
        30,
    )
    print(f"right again after {took:.0f} s")
