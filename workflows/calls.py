"""Calls of activities: queue, time-outs, retries and the summary that the Temporal UI shows, in one place.

Activities that talk to a cluster give back what they found, also when that is a failure; what they raise
is a crash of theirs, and is tried again. Times are bounded inside them by settings; those here are the
outer fence.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from pydantic import BaseModel
from temporalio import workflow
from temporalio.common import RetryPolicy

from activities import contracts as c
from core.jobs.records import Record
from core.queues import Kind, Queues

T = TypeVar("T", bound=BaseModel)

_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30))
_HEARTBEAT = timedelta(seconds=12)


def _queue(kind: Kind) -> str:
    """Of the installation that the workflow belongs to: it runs on its main queue."""
    return Queues(workflow.info().task_queue).of(kind)


async def _call(
    name: str, argument: BaseModel, result: type[T], summary: str, *, limit: timedelta, queue: Kind = "main"
) -> T:
    answer: T = await workflow.execute_activity(
        name,
        argument,
        result_type=result,
        task_queue=_queue(queue),
        start_to_close_timeout=limit,
        heartbeat_timeout=_HEARTBEAT,
        retry_policy=_RETRY,
        summary=summary,
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
    )
    return answer


async def heavy(name: str, argument: BaseModel, result: type[T], summary: str) -> T:
    """A build or a fetch, the whole work of a workflow of its own: given up after five tries. When it is cancelled
    it is waited for until it has ended."""
    answer: T = await workflow.execute_activity(
        name,
        argument,
        result_type=result,
        task_queue=_queue("build"),
        start_to_close_timeout=timedelta(hours=3),
        heartbeat_timeout=_HEARTBEAT,
        retry_policy=RetryPolicy(maximum_attempts=5),
        summary=summary,
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )
    return answer


async def record(record_: Record, summary: str) -> None:
    """Never gives up: while the database is away the job waits here."""
    await workflow.execute_activity(
        c.RECORD,
        record_,
        task_queue=_queue("main"),
        start_to_close_timeout=timedelta(seconds=30),
        retry_policy=_RETRY,
        summary=summary,
    )


async def open_attempt(wanted: c.OpenAttempt) -> c.Opened:
    opened: c.Opened | None = await workflow.execute_activity(
        c.OPEN_ATTEMPT,
        wanted,
        result_type=c.Opened,
        task_queue=_queue("main"),
        start_to_close_timeout=timedelta(seconds=30),
        retry_policy=_RETRY,
        summary=f"attempt {wanted.number}, version {wanted.version}: {wanted.restore_why}"[:200],
    )
    return opened or c.Opened()  # of an earlier generation it gave nothing back


async def build(wanted: c.BuildIn) -> c.Built:
    return await _call(
        c.BUILD, wanted, c.Built, f"build version {wanted.version}", limit=timedelta(hours=3), queue="build"
    )


async def submit(wanted: c.AttemptIn) -> c.Submitted:
    return await _call(c.SUBMIT, wanted, c.Submitted, f"submit attempt {wanted.number}", limit=timedelta(hours=2))


async def fence(wanted: c.AttemptIn) -> c.Fenced:
    return await _call(
        c.FENCE,
        wanted,
        c.Fenced,
        f"make sure that attempt {wanted.number} cannot run later",
        limit=timedelta(minutes=15),
    )


async def await_running(wanted: c.AttemptIn) -> c.Seen:
    return await _call(
        c.AWAIT_RUNNING, wanted, c.Seen, f"wait until attempt {wanted.number} runs", limit=timedelta(hours=1)
    )


async def look(wanted: c.AttemptIn) -> c.Seen:
    return await _call(c.LOOK, wanted, c.Seen, f"look at attempt {wanted.number}", limit=timedelta(minutes=15))


async def check(wanted: c.AttemptIn) -> c.Seen:
    return await _call("check", wanted, c.Seen, "the job's own check", limit=timedelta(minutes=5))


async def diagnose(wanted: c.DiagnoseIn) -> c.Diagnosis:
    return await _call(
        c.DIAGNOSE, wanted, c.Diagnosis, f"why attempt {wanted.number} ended", limit=timedelta(minutes=15)
    )


async def gather(wanted: c.GatherIn) -> c.Gathered:
    return await _call(c.GATHER, wanted, c.Gathered, "gather restore points", limit=timedelta(minutes=15))


async def stop(wanted: c.TriggerIn) -> c.Stopped:
    return await _call(
        c.STOP, wanted, c.Stopped, f"stop attempt {wanted.number} with savepoint", limit=timedelta(hours=6)
    )


async def savepoint(wanted: c.TriggerIn) -> c.Stopped:
    return await _call(
        c.SAVEPOINT, wanted, c.Stopped, f"savepoint of attempt {wanted.number}", limit=timedelta(hours=6)
    )


async def prove(wanted: c.ProveIn) -> c.Proven:
    return await _call(
        c.PROVE, wanted, c.Proven, f"wait until attempt {wanted.number} is healthy", limit=timedelta(days=2)
    )


async def retain(wanted: c.RetainIn) -> c.Retained:
    return await _call(c.RETAIN, wanted, c.Retained, "delete old savepoints and checkpoints", limit=timedelta(hours=2))


async def rescale(wanted: c.RescaleIn) -> c.Rescaled:
    return await _call(
        c.RESCALE,
        wanted,
        c.Rescaled,
        f"scale attempt {wanted.number} to version {wanted.version}",
        limit=timedelta(minutes=15),
    )


async def adoptable(wanted: c.AdoptIn) -> c.Adoptable:
    return await _call(
        c.ADOPTABLE, wanted, c.Adoptable, f"look at Flink job {wanted.flink_job_id}", limit=timedelta(minutes=15)
    )


async def cancel(wanted: c.AttemptIn) -> c.Stopped:
    return await _call(c.CANCEL, wanted, c.Stopped, f"cancel attempt {wanted.number}", limit=timedelta(hours=2))


async def cancel_all(wanted: c.AttemptIn) -> c.Stopped:
    return await _call(c.CANCEL_ALL, wanted, c.Stopped, "cancel every attempt that is alive", limit=timedelta(hours=2))
