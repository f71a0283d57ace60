"""Three cases, measured: how long it takes until a job is right again, and that nothing was lost or done twice."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from tests.faults.run import Job, Run, size_of
from tests.faults.world import OURS

LIMITS = {
    "API and workers, right after `start` was answered": 30.0,
    "API and workers, as Flink first lists the job": 30.0,
    "JobManager": 45.0,
}
"""Seconds until the job has to be right again."""


def probe(run: Run, times: int, until: float) -> None:
    """Each case `times` times in turn, on each job in turn; the figures go into the report. None is begun after `until`
    (seconds, as of `time.monotonic`)."""
    cases = dict(zip(LIMITS, (_after_start, _as_listed, _jobmanager), strict=True))
    run.times = {name: [] for name in cases}
    for number in range(times):
        for name, case in cases.items():
            if time.monotonic() > until:
                return
            job = run.jobs[number % len(run.jobs)]
            seconds = round(case(run, job), 1)
            run.times[name].append(seconds)
            run.verdicts.check("right again in time", seconds <= LIMITS[name], f"{name}: {seconds} s ({job.ref})")
            run.say(f"{name}, {number + 1} of {times}: {seconds} s ({job.name})")
            for other in run.jobs:
                run.rest(other, "RUNNING")
        run.output()
        run.tell_broken()
        for name, found in run.times.items():
            run.say(f"{name}: {min(found)} to {max(found)} s, median {statistics.median(found)} s")


def _after_start(run: Run, job: Job) -> float:
    run.prepare(job, "start")
    command = run.send_once(job, {"kind": "start"})
    return _killed(run, job, command)


def _as_listed(run: Run, job: Job) -> float:
    run.prepare(job, "start")
    before = {jid for _, jid in run.sampler.jobs}
    command = run.send_once(job, {"kind": "start"})

    def listed() -> bool:
        listing = run.world.flink.get("/jobs/overview").json()["jobs"]
        return bool({j["jid"] for j in listing} - before)

    _quickly(listed)
    return _killed(run, job, command)


def _killed(run: Run, job: Job, command: int) -> float:
    size, began = size_of(job.path), time.monotonic()
    run.world.kill(*OURS)
    _right(run, job, size)
    seconds = time.monotonic() - began
    run.end(job, command)
    return seconds


def _jobmanager(run: Run, job: Job) -> float:
    run.prepare(job, "savepoint")
    attempt = run.attempts(job)[0]["number"]
    began = time.monotonic()
    run.world.kill("jobmanager")
    # Its old tasks write on for a while: what counts is the next attempt.
    run.world.until(lambda: run.attempts(job)[0]["number"] > attempt, f"{job.ref} has another attempt")
    _right(run, job, size_of(job.path))
    return time.monotonic() - began


def _right(run: Run, job: Job, size: int) -> None:
    """Shown RUNNING, as Flink says, and writing."""

    def right() -> bool:
        shown = run.world.http.get(f"/jobs/{job.ref}").json()
        return shown["state"] == "RUNNING" and size_of(job.path) > size and run._agrees(job, shown)

    run.world.until(right, f"{job.ref} is right again")


def _quickly(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
