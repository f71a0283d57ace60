"""What a roll-back and a restart run is what ran: a commit and not a branch, a compiled plan with the tables of then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.conftest import GitRepository, Stack
from tests.real.test_builds import clicks, jar
from tests.real.test_cli import penstock
from tests.real.test_resources import project, register, table

__all__ = ["project"]
pytestmark = pytest.mark.real
NEWEST = {"mode": "newest"}
QUICK = {"execution.checkpointing.interval": "1 s"}


def spoiled() -> dict[str, str]:
    """The example, which now fails with every record."""
    files = clicks("app")
    (source,) = (name for name in files if name.endswith("Clicks.java"))
    made = files[source].replace(
        "Long now = count.value();", 'Long now = count.value(); if (page >= 0) throw new RuntimeException("spoiled");'
    )
    assert made != files[source]
    return {**files, source: made}


def test_the_commit_that_ran_runs_again(stack: Stack, repository: GitRepository):
    good = repository.write(clicks("app"))
    job = stack.create(jar(repository, "app"), config=QUICK)
    stack.do(job, "start")
    stack.checkpointed(job)
    bad = repository.write(spoiled())
    command = stack.do(job, "resubmit", "FAILED", restore=NEWEST, rollback_within=20)
    assert command["error_code"] == "rolled_back"
    assert f"Version 1 (commit {bad[:7]}) was rolled back to version 1 (commit {good[:7]})" in command["error"]
    attempts = stack.items(job, "attempts")
    assert [a["commit"] for a in attempts] == [good, bad, good]
    assert "/savepoints/1-" in attempts[0]["restored_from"]
    stack.checkpointed(job)
    shown = stack.job(job)
    assert (shown["state"], shown["current_attempt"]["commit"]) == ("RUNNING", good)
    # The commit is shown wherever a version is.
    assert stack.items(job, "versions")[0]["commit"] == good
    assert stack.http.get(f"/jobs/{job}/versions/1").json()["commit"] == good
    lines = " ".join(e["message"] for e in stack.items(job, "timeline"))
    assert f"attempt 2, version 1 (commit {bad[:7]})" in lines
    assert f"attempt 3, version 1 (commit {good[:7]})" in lines
    assert f"1 (commit {good[:7]}) of 1" in penstock(stack, "jobs", "show", job).stdout
    for what in ("versions", "attempts", "timeline"):
        assert good[:7] in penstock(stack, "jobs", what, job).stdout
    # A restart stays with it, and so does the restart policy; the branch is looked at by a resubmit only.
    stack.do(job, "restart")
    assert stack.job(job)["current_attempt"]["commit"] == good
    stack.do(job, "pause")
    stack.do(job, "start")
    assert stack.job(job)["current_attempt"]["commit"] == good


def test_a_paused_job_goes_back_to_the_commit_that_made_its_state(stack: Stack, repository: GitRepository):
    good = repository.write(clicks("app"))
    job = stack.create(jar(repository, "app"), config=QUICK)
    stack.do(job, "start")
    stack.do(job, "pause")
    bad = repository.write(spoiled())
    assert stack.do(job, "resubmit", "FAILED", restore=NEWEST, rollback_within=20)["error_code"] == "rolled_back"
    assert [a["commit"] for a in stack.items(job, "attempts")] == [good, bad, good]


def test_a_plan_runs_again_with_the_tables_that_it_had(stack: Stack, project: str, tmp_path: Path):
    register(stack, project, "numbers", table("id BIGINT", "v BIGINT", connector="datagen", rows_per_second="20"))
    register(stack, project, "hole", table("k BIGINT", "s BIGINT", connector="blackhole"))
    sql = (
        "SET 'execution.checkpointing.interval' = '1 s';\nINSERT INTO hole SELECT id, SUM(v) FROM numbers GROUP BY id;"
    )
    job = stack.create(sql, project=project).replace("default:", f"{project}:")
    stack.do(job, "start")
    stack.checkpointed(job)
    plan = stack.http.get(f"/jobs/{job}/versions/1/plan").json()["digest"]
    # The text does not compile with the table as it is now.
    changed = table("id BIGINT", "w STRING", connector="datagen", rows_per_second="20")
    register(stack, project, "numbers", changed, status=200)
    spec = {"type": "sql", "sql": sql.replace("SUM(v)", "SUM(CHAR_LENGTH(w))"), "parallelism": 64}
    assert stack.http.post(f"/jobs/{job}/versions", json={"spec": spec}).status_code == 201
    restore = {"mode": "newest"}
    command = stack.do(job, "resubmit", "FAILED", version=2, restore=restore, force=True, rollback_within=10)
    assert command["error_code"] == "rolled_back", command
    assert "rolled back to version 1" in command["error"]
    log = stack.http.get(f"/jobs/{job}/commands/{command['number']}/log").text
    assert "it runs what attempt 1 ran" in log
    assert stack.http.get(f"/jobs/{job}/versions/1/plan").json()["digest"] == plan
    stack.checkpointed(job)
    stack.do(job, "restart")
    assert stack.job(job)["version"] == 1
    stack.do(job, "pause")
    stack.do(job, "start")
    assert stack.http.get(f"/jobs/{job}/versions/1/plan").json()["digest"] == plan
    # A resubmit takes the tables as they are.
    refused = stack.send(job, "resubmit", version=1, restore=NEWEST)
    assert (refused.status_code, refused.json()["code"]) == (422, "sql_invalid")
