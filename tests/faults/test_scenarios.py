"""The scenarios that a control plane must survive, those that need a process to die at a certain step.

The others: 4 in tests/activities/test_stop.py (a real Flink cannot be made to do it), 7 in
tests/real/test_unknown.py and test_high_availability.py, 8 in tests/real/test_forgotten.py, 9 in
tests/real/test_commands.py and tests/workflows/test_job.py, 10 in tests/real/test_savepoints.py.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.faults.run import Job, Run

pytestmark = pytest.mark.real


def crash(run: Run, job: Job, kind: str, point: str) -> None:
    before = len(run.verdicts.broken)
    run.crash_at(job, kind, point, 0)
    assert run.verdicts.broken[before:] == []


def attempts(run: Run, job: Job) -> list[dict]:
    return run.world.get(f"/jobs/{job.ref}/attempts", limit=500)["items"]


def savepoints(run: Run, job: Job) -> list[Path]:
    return sorted((run.world.state / job.id / "savepoints").glob("*/savepoint-*"))


def test_1_the_worker_dies_between_the_submission_and_its_record(run: Run):
    for job in run.jobs[:2]:
        before = len(attempts(run, job))
        crash(run, job, "start", "engine.submit.after")
        assert len(attempts(run, job)) == before + 1


def test_2_the_jobmanager_is_lost_before_the_retry(run: Run):
    """The worker dies with the submission's answer; the attempt runs, and completes checkpoints; then its
    JobManager dies. To send it again under its id would take it back to where it began."""
    job = run.jobs[0]
    run.prepare(job, "start")
    name = f"{job.id}@engine.submit.after"
    (run.world.faults / "armed" / name).touch()
    command = run.send(job, {"kind": "start"})
    assert command is not None
    run.world.until(lambda: (run.world.faults / "hit" / name).exists(), "the worker died")
    (run.world.faults / "hit" / name).unlink()
    attempt = attempts(run, job)[0]
    own = run.world.state / job.id / "checkpoints" / attempt["flink_job_id"]
    run.world.until(lambda: list(own.glob("chk-*/_metadata")), "it has completed a checkpoint", 30)
    run.world.kill("jobmanager", 0)
    run.end(job, command["number"])
    run.rest(job, "RUNNING")
    now = attempts(run, job)
    assert now[0]["flink_job_id"] != attempt["flink_job_id"]
    assert f"/checkpoints/{attempt['flink_job_id']}/chk-" in now[0]["restored_from"]
    assert len({a["flink_job_id"] for a in now}) == len(now), "no id is used twice"


def test_3_the_worker_dies_between_the_savepoint_and_its_record(run: Run):
    for point in ("engine.stop_with_savepoint.after", "stop_with_savepoint.end"):
        job = run.jobs[1]
        run.prepare(job, "pause")
        before = savepoints(run, job)
        crash(run, job, "pause", point)
        assert len(savepoints(run, job)) == len(before) + 1, "one was asked for, and one was taken"


def test_5_the_trigger_is_forgotten_before_the_retry(run: Run):
    """This Flink forgets triggers after three seconds; the retry comes after twelve."""
    job = run.jobs[2]
    run.prepare(job, "savepoint")
    before = savepoints(run, job)
    crash(run, job, "savepoint", "engine.savepoint.after")
    assert len(savepoints(run, job)) == len(before) + 1


def test_6_the_jobmanager_dies_in_the_middle_of_a_stop(run: Run):
    job = run.jobs[3]
    run.prepare(job, "pause")
    command = run.send(job, {"kind": "pause"})
    assert command is not None
    time.sleep(0.1)
    run.world.kill("jobmanager", 1)
    run.end(job, command["number"])
    shown = run.rest(job)
    if shown["state"] != "RUNNING":
        run.do(job, {"kind": "start"} if shown["state"] == "PAUSED" else dict(shown["next_actions"][0]))
    run.rest(job, "RUNNING")
    restored = attempts(run, job)[0]["restored_from"]
    assert (Path(restored.removeprefix("file://")) / "_metadata").exists()
    for other in run.jobs:
        run.rest(other)


def test_the_judge_has_nothing_to_say(run: Run):
    """After all of that: what the jobs wrote, what Flink showed, and what is left behind."""
    run.view()
    run.output()
    assert run.report()["broken"] == []
