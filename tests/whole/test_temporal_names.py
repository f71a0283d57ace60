"""What the Temporal UI calls the timers and activities of a workflow: a person at three in the morning reads them."""

from __future__ import annotations

from tests.whole.penstock import Penstock

OWN_TIMERS = {"until the planned restart", "until the job's own check", "until the periodic savepoint"}


def test_each_timer_and_activity_of_a_job_is_named(penstock: Penstock):
    named = penstock.world.temporal.named
    penstock.running("clicks", savepoint_policy={"interval": 60})
    penstock.running("plain")
    penstock.wait(100)
    penstock.world.flinks[0].fail(penstock.flink_job("clicks"), "it is ill", restarts=False)
    penstock.until(
        lambda: penstock.job("clicks")["current_attempt"]["number"] == 2 and penstock.state("clicks") == "RUNNING"
    )
    penstock.done("clicks", "pause")
    of_jobs = [(what, summary) for workflow, what, summary in named if workflow == "JobWorkflow"]
    assert [what for what, summary in of_jobs if not summary] == []
    assert {summary for what, summary in of_jobs if what == "timer"} == OWN_TIMERS
    summaries = [summary or "" for what, summary in of_jobs if what != "timer"]
    for begin in ("start attempt 1, version 1", "start attempt 2, version 1"):
        assert any(summary.startswith(begin) for summary in summaries), summaries


def test_so_are_those_of_a_watch_and_of_the_recovery(penstock: Penstock):
    penstock.wait(120)
    others = {(what, summary) for workflow, what, summary in penstock.world.temporal.named if workflow != "JobWorkflow"}
    assert not [what for what, summary in others if not summary]
    assert "watch a" in {summary for _, summary in others}
