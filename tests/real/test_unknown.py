"""Unknown is not failed: a cluster that refuses, hangs, answers 503 or a web page."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from processes.supervised import free_port
from tests.faults.proxy import Mode, Proxy
from tests.real.conftest import BOUNDED, SQL, Stack

pytestmark = pytest.mark.real
TIMES_OUT = 20.0  # a question that hangs is given up after 15 s


@pytest.fixture(scope="module")
def proxy(stack: Stack) -> Iterator[Proxy]:
    """A cluster `proxied`, which is the stack's Flink behind a proxy."""
    made = Proxy(free_port(), stack.ports["flink"])
    stack.add_cluster("proxied", jobmanager_url=f"http://127.0.0.1:{made.port}")
    yield made
    made.close()


def events(stack: Stack, job: str, word: str) -> list[str]:
    return [e["message"] for e in stack.items(job, "timeline") if word in e["message"]]


def away(stack: Stack, job: str) -> dict:
    return stack.until(lambda: (s := stack.job(job))["unreachable_since"] and s, "it is said that the cluster is away")


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.UNAVAILABLE, Mode.HTML, Mode.HANG])
def test_its_jobs_keep_their_state_and_say_since_when(stack: Stack, proxy: Proxy, mode: Mode):
    job = stack.create(SQL, cluster="proxied")
    stack.do(job, "start")
    before = stack.job(job)["current_attempt"]["flink_job_id"]
    proxy.set(mode)
    try:
        assert away(stack, job)["state"] == "RUNNING"
        stack.until(lambda: events(stack, job, "cannot tell"), "its timeline says that nobody can tell")
        time.sleep(3)
        assert len(events(stack, job, "cannot tell")) == 1, "once, not with every look"
        assert stack.job(job)["state"] == "RUNNING"
    finally:
        proxy.set(Mode.PASS)
    stack.until(lambda: stack.job(job)["unreachable_since"] is None, "it answers again", 60 + TIMES_OUT)
    stack.until(lambda: events(stack, job, "answers again"), "its timeline says so")
    shown = stack.state(job, "RUNNING")
    assert shown["current_attempt"]["flink_job_id"] == before
    assert len(stack.items(job, "attempts")) == 1


class TestWhenItComesBackTheTruthIsTakenFromIt:
    def outage(self, stack: Stack, proxy: Proxy, job: str, meanwhile) -> None:
        proxy.set(Mode.REFUSE)
        try:
            away(stack, job)
            meanwhile()
        finally:
            proxy.set(Mode.PASS)

    def test_it_was_cancelled(self, stack: Stack, proxy: Proxy):
        job = stack.create(SQL, cluster="proxied")
        stack.do(job, "start")
        jid = stack.job(job)["current_attempt"]["flink_job_id"]

        def cancel() -> None:
            stack.flink.patch(f"/jobs/{jid}", params={"mode": "cancel"})
            stack.until(lambda: not stack.alive(job), "it is cancelled")

        self.outage(stack, proxy, job, cancel)
        assert "not by Penstock" in stack.state(job, "KILLED")["reason"]
        assert len(stack.items(job, "attempts")) == 1

    def test_it_has_finished(self, stack: Stack, proxy: Proxy):
        job = stack.create(
            BOUNDED.replace("'20', 'number-of-rows' = '20'", "'5', 'number-of-rows' = '25'"), cluster="proxied"
        )
        stack.do(job, "start")
        self.outage(stack, proxy, job, lambda: stack.until(lambda: not stack.alive(job), "it has finished"))
        stack.state(job, "FINISHED")
        assert len(stack.items(job, "attempts")) == 1

    def test_it_was_restarted_by_flink(self, stack: Stack, proxy: Proxy):
        job = stack.create(SQL, cluster="proxied")
        stack.do(job, "start")
        stack.checkpointed(job)
        jid = stack.job(job)["current_attempt"]["flink_job_id"]

        def lose_the_tasks() -> None:
            stack.kill("taskmanager")
            stack.start("taskmanager")

        self.outage(stack, proxy, job, lose_the_tasks)
        stack.until(
            lambda: (s := stack.job(job))["state"] == "RUNNING" and s["current_attempt"]["engine_state"] == "RUNNING",
            "it runs",
        )
        assert stack.alive(job) == [jid], "Flink's own restart, and none of ours"


def test_a_command_that_meets_an_outage_waits_and_goes_on(stack: Stack, proxy: Proxy):
    job = stack.create(SQL, cluster="proxied")
    stack.do(job, "start")
    stack.checkpointed(job)
    proxy.set(Mode.DROP)  # what is sent arrives, the answer does not
    number = stack.send(job, "pause").json()["number"]
    time.sleep(3)
    proxy.set(Mode.PASS)
    assert stack.ended(job, number)["state"] == "SUCCEEDED"
    assert stack.job(job)["state"] == "PAUSED"
    savepoints = [p for p in stack.items(job, "restore-points") if p["kind"] == "savepoint"]
    assert len(savepoints) == 1, "one was asked for, and one was taken"
