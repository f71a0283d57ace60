"""Restores that fail, versions that do not fit, and the way back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.real.conftest import Stack
from tests.real.test_cli import penstock

pytestmark = pytest.mark.real

COUNT = """SET 'execution.checkpointing.interval' = '1 s';
CREATE TABLE src (k INT) WITH ('connector' = 'datagen', 'rows-per-second' = '20', 'fields.k.max' = '3', 'fields.k.min' = '0');
CREATE TABLE sink (k INT, n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO sink SELECT k, COUNT(*) FROM src GROUP BY k;
"""
ONE_MORE = COUNT.replace("n BIGINT)", "n BIGINT, m INT)").replace("COUNT(*)", "COUNT(*), MAX(k)")
NO_COUNT = """CREATE TABLE src (k INT) WITH ('connector' = 'datagen', 'rows-per-second' = '20');
CREATE TABLE sink (k INT) WITH ('connector' = 'blackhole');
INSERT INTO sink SELECT k FROM src;
"""
QUICK = {"initial_backoff": 0.5, "multiplier": 1, "jitter": 0, "restore_tries": 2}
NEWEST = {"mode": "newest"}


def add_version(stack: Stack, job: str, sql: str) -> int:
    return stack.http.post(f"/jobs/{job}/versions", json={"spec": {"type": "sql", "sql": sql}}).json()["number"]


def spoil(stack: Stack, job: str) -> str:
    """Pause the job and cut its savepoint's `_metadata` in half; returns its path."""
    stack.do(job, "pause")
    point = stack.items(job, "restore-points")[0]
    assert point["kind"] == "savepoint"
    file = Path(point["path"].removeprefix("file://")) / "_metadata"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return point["path"]


class TestAPointThatCannotBeRead:
    def test_falls_back_to_the_one_before_when_it_may(self, stack: Stack):
        job = stack.create(COUNT, restart_policy={**QUICK, "fall_back": True})
        stack.do(job, "start")
        stack.do(job, "savepoint")
        bad = spoil(stack, job)
        stack.do(job, "start", "FAILED")
        shown = stack.state(job, "RUNNING")
        attempts = stack.items(job, "attempts")
        assert [a["restored_from"] for a in attempts[1:3]] == [bad, bad]
        assert shown["current_attempt"]["restored_from"] not in (bad, None)
        assert "could not be restored" in attempts[0]["restored_why"]
        assert any("going back to the point before" in e["message"] for e in stack.items(job, "timeline"))

    def test_parks_the_job_when_it_may_not(self, stack: Stack):
        job = stack.create(COUNT, restart_policy=QUICK)
        stack.do(job, "start")
        stack.do(job, "savepoint")
        bad = spoil(stack, job)
        stack.do(job, "start", "FAILED")
        shown = stack.state(job, "BLOCKED")
        assert shown["blocked"]["code"] == "restore_fails"
        assert bad in shown["reason"]
        action = next(a for a in shown["next_actions"] if (a.get("restore") or {}).get("mode") == "point")
        stack.do(job, action["kind"], restore=action["restore"])
        assert stack.job(job)["state"] == "RUNNING"

    def test_a_point_whose_files_are_gone_is_not_waited_for_for_ever(self, stack: Stack):
        """Flink itself would restart it without end: the state file is missing, `_metadata` is not."""
        job = stack.create(COUNT, restart_policy=QUICK, config={"execution.checkpointing.data-inline-threshold": "0 b"})
        stack.do(job, "start")
        stack.do(job, "pause")
        folder = Path(stack.items(job, "restore-points")[0]["path"].removeprefix("file://"))
        for file in folder.iterdir():
            if file.name != "_metadata":
                file.unlink()
        stack.do(job, "start", "FAILED")
        assert stack.state(job, "BLOCKED")["blocked"]["code"] == "restore_fails"
        assert stack.alive(job) == []


def unknown_point(stack: Stack, job: str, folder: Path) -> dict[str, object]:
    """A copy of the job's savepoint: which plan made it nobody can know, and that is accepted. Of its own points Penstock does know, and
    refuses what does not fit before anything is stopped (test_verdict.py)."""
    stack.do(job, "savepoint")
    own = next(p for p in stack.items(job, "restore-points") if p["kind"] == "savepoint")  # a checkpoint may be newer
    copy = folder / "copy"
    shutil.copytree(own["path"].removeprefix("file://"), copy)
    return {"mode": "point", "point": str(copy), "accept_unknown_state": True}


class TestAVersionThatDoesNotFit:
    @pytest.mark.parametrize("sql", [NO_COUNT, ONE_MORE], ids=["the operator is gone", "its state has changed"])
    def test_parks_the_job_and_the_old_version_goes_on(self, stack: Stack, sql: str, tmp_path: Path):
        job = stack.create(COUNT, restart_policy=QUICK)
        stack.do(job, "start")
        point = unknown_point(stack, job, tmp_path)
        first = stack.job(job)["current_attempt"]["flink_job_id"]
        version = add_version(stack, job, sql)
        ended = stack.do(job, "resubmit", "FAILED", version=version, restore=point)
        assert ended["error_code"] == "state_does_not_map"
        shown = stack.job(job)
        assert (shown["state"], shown["blocked"]["code"]) == ("BLOCKED", "state_does_not_map")
        assert stack.alive(job) == []
        action = shown["next_actions"][0]
        assert action == {"kind": "resubmit", "version": 1, "restore": NEWEST}
        told = " ".join(penstock(stack, "jobs", "show", job).stdout.split())
        assert f"penstock jobs resubmit {job} --restore newest --version 1" in told
        stack.do(job, action.pop("kind"), **action)
        restored = stack.job(job)["current_attempt"]["restored_from"]
        assert "/savepoints/1-" in restored or f"/checkpoints/{first}/" in restored  # whichever is newer

    def test_goes_back_by_itself_when_that_was_asked_for(self, stack: Stack, tmp_path: Path):
        job = stack.create(COUNT)
        stack.do(job, "start")
        point = unknown_point(stack, job, tmp_path)
        version = add_version(stack, job, ONE_MORE)
        ended = stack.do(job, "resubmit", "FAILED", version=version, restore=point, rollback_within=60)
        assert ended["error_code"] == "rolled_back"
        shown = stack.job(job)
        assert (shown["state"], shown["version"]) == ("RUNNING", 1)
        assert "/savepoints/1-" in shown["current_attempt"]["restored_from"]
        assert len(stack.alive(job)) == 1

    def test_one_that_does_not_get_to_run_goes_back_in_time(self, stack: Stack):
        """It wants more slots than there are: Flink would wait for them for five minutes."""
        job = stack.create(COUNT)
        stack.do(job, "start")
        version = add_version(stack, job, "SET 'parallelism.default' = '64';\n" + COUNT)
        ended = stack.do(job, "resubmit", "FAILED", version=version, restore=NEWEST, rollback_within=10)
        assert ended["error_code"] == "rolled_back"
        assert "does not run" in ended["error"]
        assert stack.job(job)["version"] == 1

    def test_one_that_is_healthy_stays(self, stack: Stack):
        job = stack.create(COUNT)
        stack.do(job, "start")
        version = add_version(stack, job, COUNT.replace("'20'", "'30'"))
        stack.do(job, "resubmit", version=version, restore=NEWEST, rollback_within=120)
        shown = stack.job(job)
        assert (shown["state"], shown["version"]) == ("RUNNING", version)
