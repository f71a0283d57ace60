"""Periodic savepoints and what is kept of them: deleted through Flink, or as files when no JobManager answers."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.real.conftest import Stack

pytestmark = pytest.mark.real


def savepoints(stack: Stack, job: str) -> list[dict]:
    return [p for p in stack.items(job, "restore-points") if p["kind"] == "savepoint"]


def folder(stack: Stack, job: str) -> Path:
    return Path(stack.state_dir.removeprefix("file://")) / stack.job(job)["id"] / "savepoints"


def policy(stack: Stack, job: str, **wanted: object) -> None:
    assert stack.http.patch(f"/jobs/{job}", json={"savepoint_policy": wanted}).status_code == 200


def test_one_is_taken_every_interval(stack: Stack):
    job = stack.create(savepoint_policy={"interval": 10})
    stack.do(job, "start")
    stack.until(lambda: len(savepoints(stack, job)) >= 2, "two periodic savepoints")
    assert stack.job(job)["state"] == "RUNNING"
    assert len(stack.items(job, "attempts")) == 1


def test_what_somebody_stops_on_the_cluster_says_so(stack: Stack, tmp_path: Path):
    """It has not come to its end; a start can go on from there."""
    job = stack.create()
    stack.do(job, "start")
    flink_job = stack.job(job)["current_attempt"]["flink_job_id"]
    body = {"targetDirectory": tmp_path.as_uri(), "drain": False}
    assert stack.flink.post(f"/jobs/{flink_job}/stop", json=body).status_code == 202
    stack.state(job, "FINISHED")
    (taken,) = tmp_path.glob("savepoint-*")
    assert f"stopped on the cluster with savepoint {taken.as_uri()}, not by Penstock" in stack.job(job)["reason"]
    stack.do(job, "start", restore={"mode": "newest"})
    assert stack.job(job)["current_attempt"]["restored_from"] == taken.as_uri()


def test_the_last_ones_and_those_that_are_wanted_are_kept(stack: Stack):
    job = stack.create()
    stack.do(job, "start")
    for _ in range(4):
        stack.do(job, "savepoint")
    taken = savepoints(stack, job)
    oldest = taken[-1]
    assert stack.http.put(f"/jobs/{job}/restore-points/{oldest['id']}/pin").json()["kept"] is True
    half = folder(stack, job) / f"1-{'0' * 32}" / "savepoint-half"
    half.mkdir(parents=True)
    (half / "data").write_text("never completed")
    for path in (half / "data", half, half.parent):
        os.utime(path, (time.time() - 7200,) * 2)
    fresh = folder(stack, job) / f"1-{'1' * 32}" / "savepoint-now"
    fresh.mkdir(parents=True)
    policy(stack, job, keep_last=2, keep_for=0)
    stack.until(lambda: len(savepoints(stack, job)) == 3, "one is deleted")
    assert [p["id"] for p in savepoints(stack, job)] == [taken[0]["id"], taken[1]["id"], oldest["id"]]
    stack.until(lambda: not half.parent.exists(), "what was never completed is deleted")
    assert fresh.exists(), "somebody may still be writing to it"
    assert not Path(taken[2]["path"].removeprefix("file://")).parent.exists()
    stack.until(
        lambda: len([e for e in stack.items(job, "timeline") if e["message"].startswith("deleted")]) == 2,
        "its timeline tells of both",
    )
    # The one that the job was started from stays, whatever the policy, until there is a checkpoint after it.
    stack.http.delete(f"/jobs/{job}/restore-points/{oldest['id']}/pin")
    stack.do(job, "savepoint")
    stack.until(lambda: len(savepoints(stack, job)) == 2, "it is kept no longer")


def test_files_are_deleted_when_no_jobmanager_answers(stack: Stack):
    job = stack.create()
    stack.do(job, "start")
    for _ in range(2):
        stack.do(job, "savepoint")
    stack.do(job, "pause")
    stack.kill("jobmanager")
    try:
        policy(stack, job, keep_last=1, keep_for=0)
        stack.until(lambda: len([p for p in folder(stack, job).iterdir() if any(p.iterdir())]) == 1, "two are deleted")
    finally:
        stack.start("jobmanager")
    stack.do(job, "start")


def test_nothing_is_deleted_when_it_cannot_be_sure(stack: Stack):
    """The folder of its checkpoints cannot be read: then nobody knows which point is the newest."""
    job = stack.create()
    stack.do(job, "start")
    for _ in range(3):
        stack.do(job, "savepoint")
    stack.do(job, "pause")
    before = sorted(p.name for p in folder(stack, job).iterdir())
    outside = Path(stack.state_dir.removeprefix("file://")) / "elsewhere"
    (folder(stack, job) / "1-link").symlink_to(outside)  # no folder of ours
    policy(stack, job, keep_last=5, keep_for=0)
    time.sleep(3)
    assert sorted(p.name for p in folder(stack, job).iterdir()) == sorted([*before, "1-link"])
    assert stack.http.patch(f"/jobs/{job}", json={"savepoint_policy": {"keep_last": 0}}).status_code == 422
    assert stack.http.patch(f"/jobs/{job}", json={"savepoint_policy": {"interval": 1}}).status_code == 422


def test_the_newest_of_an_attempt_is_told_by_its_number_whatever_the_clock_says(stack: Stack):
    """A disk whose clock was set back by an hour after the savepoint was taken."""
    job = stack.create()
    stack.do(job, "start")
    stack.do(job, "savepoint")
    taken = savepoints(stack, job)[0]
    row = stack.job(job)
    own = Path(stack.state_dir.removeprefix("file://")) / row["id"] / "checkpoints"
    own /= row["current_attempt"]["flink_job_id"]

    def later() -> list[Path]:
        return [p for p in own.glob("chk-*/_metadata") if int(p.parent.name[4:]) > taken["number"]]

    stack.until(later, "a checkpoint after the savepoint")
    stack.do(job, "kill")
    for path in later():
        os.utime(path, (time.time() - 3600,) * 2)
    stack.do(job, "start", restore={"mode": "newest"})
    restored = stack.job(job)["current_attempt"]["restored_from"]
    assert restored.startswith(own.as_uri()), restored
    first = stack.items(job, "restore-points")
    numbers = {p["path"]: p["number"] for p in first}
    assert all(path.rpartition("/")[2] in (f"chk-{n}", taken["path"].rpartition("/")[2]) for path, n in numbers.items())
    assert numbers[taken["path"]] < numbers[restored]
    after = [p["number"] for p in first if p["attempt"] == 2]
    assert all(n > numbers[restored] for n in after), "a restored job counts on"


class Test10TheSnapshotWasDeleted:
    def delete(self, stack: Stack, path: str) -> None:
        shutil.rmtree(path.removeprefix("file://"))

    @pytest.mark.parametrize("looked_at", [False, True])
    def test_the_one_before_is_taken_and_it_is_said(self, stack: Stack, looked_at: bool):
        job = stack.create()
        stack.do(job, "start")
        stack.do(job, "savepoint")
        stack.do(job, "pause")
        newest = stack.items(job, "restore-points")[0]["path"]
        self.delete(stack, newest)
        if looked_at:  # who sees first that it has gone is not the one who restores
            assert newest not in [point["path"] for point in stack.items(job, "restore-points")]
        stack.do(job, "start")
        restored = stack.job(job)["current_attempt"]["restored_from"]
        assert restored not in (None, newest)
        told = [e["message"] for e in stack.items(job, "timeline") if e["kind"] == "alert"]
        assert any(newest in message and "gone from the disk" in message for message in told)

    def test_with_none_left_it_is_parked_not_started_empty(self, stack: Stack):
        job = stack.create()
        stack.do(job, "start")
        stack.do(job, "pause")
        for point in stack.items(job, "restore-points"):
            self.delete(stack, point["path"])
        assert stack.do(job, "start", "FAILED")["error_code"] == "no_restore_point"
        shown = stack.job(job)
        assert (shown["state"], shown["blocked"]["code"]) == ("BLOCKED", "no_restore_point")
        assert len(stack.items(job, "attempts")) == 1
        stack.do(job, "restart", restore={"mode": "none"})

    def test_the_one_in_use_is_not_deleted_by_retention(self, stack: Stack):
        """It is pinned until the attempt has a checkpoint of its own; here it never gets one."""
        job = stack.create()
        stack.do(job, "start")
        stack.do(job, "pause")
        path = stack.items(job, "restore-points")[0]["path"]
        other = stack.create()
        stack.do(other, "start", restore={"mode": "point", "point": path})
        stack.do(job, "start")
        stack.do(job, "savepoint")
        stack.do(job, "savepoint")
        policy(stack, job, keep_last=1, keep_for=0)
        stack.until(lambda: len(savepoints(stack, job)) == 2, "one is deleted")
        assert path in [p["path"] for p in savepoints(stack, job)], "another job runs from it"
        stack.do(other, "kill")


def test_checkpoints_of_ended_attempts_go_once_a_later_one_has_its_own(stack: Stack):
    job = stack.create()
    stack.do(job, "start")
    for _ in range(2):  # Flink itself deletes those of an attempt that is stopped with a savepoint
        stack.checkpointed(job)
        stack.do(job, "kill")
        stack.do(job, "start", restore={"mode": "newest"})
    stack.checkpointed(job)
    own = Path(stack.state_dir.removeprefix("file://")) / stack.job(job)["id"] / "checkpoints"
    first, second, third = (own / a["flink_job_id"] for a in reversed(stack.items(job, "attempts")))
    assert all(any(f.glob("chk-*/_metadata")) for f in (first, second, third))
    stranger = own / ("f" * 32)
    stranger.mkdir()
    for folder in (first, stranger):  # what was written just now is left alone
        for path in [*folder.rglob("*"), folder]:
            os.utime(path, (time.time() - 3600,) * 2)
    policy(stack, job, keep_attempts=1, keep_for=0, keep_last=10)
    stack.until(lambda: not first.exists(), "the folder of the first attempt is deleted")
    said = stack.until(
        lambda: [e for e in stack.items(job, "timeline") if e["kind"] == "checkpoints"], "the timeline says so"
    )
    assert [e["message"] for e in said] == [f"deleted the checkpoints of attempt 1: file://{first}"]
    assert second.exists()
    assert third.exists()
    assert stranger.exists()
    assert {p["attempt"] for p in stack.items(job, "restore-points") if p["kind"] == "checkpoint"} == {2, 3}
    stack.do(job, "restart")
    assert stack.job(job)["state"] == "RUNNING"
