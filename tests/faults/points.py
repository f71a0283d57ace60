"""Crash points: they exist only in the test build of worker and API, which wraps what is there from outside.

A point is hit at the begin and the end of every activity, before and after every effect of an engine, when an attempt is
written down, and around the delivery of a command in the API. `trace/JOB` collects the points that a job passes; a file
`armed/JOB@POINT` makes the process that passes that point kill itself with -9, once.
"""

from __future__ import annotations

import contextlib
import os
import signal
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import temporalio.client
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities import contracts as c
from activities.record import Recorder, WrittenAttempt
from clusters.registry import Engines

FOLDER = "PENSTOCK_FAULTS_DIR"
# What changes something outside of us; questions leave nothing behind.
EFFECTS = ("submit", "stop_with_savepoint", "savepoint", "cancel", "dispose", "fence")
_job: ContextVar[str | None] = ContextVar("job", default=None)


def reached(point: str, job: str | None) -> None:
    """A point of a job has been reached: write it down; die, when it is armed."""
    if job is None:
        return
    folder = Path(os.environ[FOLDER])
    with open(folder / "trace" / job, "a") as trace:
        trace.write(point + "\n")
    name = f"{job}@{point}"
    with contextlib.suppress(FileNotFoundError):
        os.rename(folder / "armed" / name, folder / "hit" / name)
        os.kill(os.getpid(), signal.SIGKILL)


class _Activities(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        name = input.fn.__name__
        job = getattr(input.args[0], "job_id", None) if input.args else None
        token = _job.set(job)
        try:
            reached(f"{name}.begin", job)
            result = await super().execute_activity(input)
            reached(f"{name}.end", job)
            return result
        finally:
            _job.reset(token)


class CrashingRecorder(Recorder):
    async def open(self, wanted: c.OpenAttempt, *, sends: bool = False) -> WrittenAttempt | c.OpenedAttempt:
        written = await super().open(wanted, sends=sends)
        reached("attempt.written", _job.get())
        return written


class CrashPoints(temporalio.client.Interceptor, Interceptor):
    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Activities(next)


class _Engine:
    def __init__(self, engine: Any):
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._engine, name)
        if name not in EFFECTS:
            return method

        async def wrapped(*args: Any, **more: Any) -> Any:
            reached(f"engine.{name}.before", _job.get())
            result = await method(*args, **more)
            reached(f"engine.{name}.after", _job.get())
            return result

        return wrapped


class CrashingEngines(Engines):
    def get(self, cluster: Any) -> Any:
        return _Engine(super().get(cluster))
