"""A job that Flink itself restarts for ever: RUNNING in Flink's eyes, and no healthy job in ours."""

from __future__ import annotations

import pytest

from tests.real.conftest import PRINT, Stack

pytestmark = pytest.mark.real

LOOPS = (
    "SET 'execution.checkpointing.interval' = '1 h';\nSET 'restart-strategy.type' = 'fixed-delay';\n"
    "SET 'restart-strategy.fixed-delay.attempts' = '2147483647';\nSET 'restart-strategy.fixed-delay.delay' = '1 s';\n"
    "CREATE TABLE src (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '20', "
    "'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '20000');\n"
    f"{PRINT}\nINSERT INTO sink SELECT 1 / (60 - id) FROM src;"
)
OFF = {"max_engine_restarts": 0}
FEW = {"max_engine_restarts": 5, "max_restarts": 1, "initial_backoff": 0, "jitter": 0}


def alerts(stack: Stack, job: str) -> list[str]:
    return [e["message"] for e in stack.items(job, "timeline") if e["kind"] == "alert"]


def test_it_is_said_with_flinks_own_words_and_once_on_the_timeline(stack: Stack):
    job = stack.create(LOOPS, restart_policy=OFF)
    stack.send(job, "start")
    stack.until(lambda: (stack.job(job)["warning"] or "").startswith("Flink restarts it again and again"), "it is said")
    before = stack.job(job)["warning"]
    assert "/ by zero" in before
    stack.until(lambda: stack.job(job)["warning"] != before, "the count grows")
    assert len([a for a in alerts(stack, job) if "again and again" in a]) == 1
    listed = next(j for j in stack.http.get("/jobs", params={"text": job.split(":")[1]}).json()["items"])
    assert listed["warning"]
    assert listed["state"] in ("RUNNING", "DEPLOYED")
    stack.do(job, "kill")
    assert stack.job(job)["warning"] is None


def test_the_policy_takes_too_many_for_a_failure_and_gives_up(stack: Stack):
    job = stack.create(LOOPS, restart_policy=FEW)
    stack.send(job, "start")
    # Twice so many restarts, and a start that may wait until all tasks run (90 s here) while they do not for long.
    shown = stack.state(job, "FAILED", patience=400)
    assert "without a completed checkpoint" in shown["reason"]
    assert "used up" in shown["reason"]
    assert "/ by zero" in shown["reason"]
    assert len(stack.items(job, "attempts")) == 2
    assert stack.alive(job) == []
