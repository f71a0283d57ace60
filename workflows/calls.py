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
from core.jobs.snapshot import program
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


async def record(record_: Record, summary: str) -> c.Recorded | None:
    """Never gives up: while the database is away the job waits here."""
    recorded: c.Recorded | None = await workflow.execute_activity(
        c.RECORD,
        record_,
        result_type=c.Recorded,
        task_queue=_queue("main"),
        start_to_close_timeout=timedelta(seconds=30),
        retry_policy=_RETRY,
        summary=summary,
    )
    return recorded


async def open_attempt(argument: c.OpenAttempt) -> c.OpenedAttempt:
    """Write the attempt down. Who was there before is in `conflict` and `owner`; without either it is written. Waits
    while the database is away."""
    opened: c.OpenedAttempt | None = await workflow.execute_activity(
        c.OPEN_ATTEMPT,
        argument,
        result_type=c.OpenedAttempt,
        task_queue=_queue("main"),
        start_to_close_timeout=timedelta(seconds=30),
        retry_policy=_RETRY,
        summary=f"attempt {argument.number}, {_program(argument)}: {argument.restore_why}"[:200],
    )
    return opened or c.OpenedAttempt()  # of an earlier generation it gave nothing back


def _program(argument: c.OpenAttempt) -> str:
    return program(argument.version, argument.commit)


async def start_attempt(argument: c.StartAttempt) -> c.Started:
    """Write down, send and see run. No outcome raises: how far it came is in `Started`."""
    summary = f"start attempt {argument.number}, {_program(argument)}: {argument.restore_why}"[:200]
    return await _call(c.START_ATTEMPT, argument, c.Started, summary, limit=timedelta(hours=2))


async def build(argument: c.BuildIn, commit: str | None) -> c.Built:
    """`commit` is what it will be built from, where that is known before it is fetched."""
    summary = f"build {program(argument.version, commit)}"
    return await _call(c.BUILD, argument, c.Built, summary, limit=timedelta(hours=3), queue="build")


async def submit(argument: c.AttemptIn) -> c.Submitted:
    """Send an attempt that is written down. `state` says what became of it, UNCLEAR too."""
    return await _call(c.SUBMIT, argument, c.Submitted, f"submit attempt {argument.number}", limit=timedelta(hours=2))


async def fence(argument: c.AttemptIn) -> c.Fenced:
    """Spend its id. Neither `fenced` nor an `observation`: it cannot be told, `error` says why."""
    return await _call(
        c.FENCE,
        argument,
        c.Fenced,
        f"make sure that attempt {argument.number} cannot run later",
        limit=timedelta(minutes=15),
    )


async def await_running(argument: c.AttemptIn) -> c.Seen:
    """What was seen last when it ran, had ended, or its time was over; without an `observation` the cluster did not
    answer."""
    return await _call(
        c.AWAIT_RUNNING, argument, c.Seen, f"wait until attempt {argument.number} runs", limit=timedelta(hours=1)
    )


async def look(argument: c.AttemptIn) -> c.Seen:
    """What its cluster says now; without an `observation` it did not answer for two minutes."""
    return await _call(c.LOOK, argument, c.Seen, f"look at attempt {argument.number}", limit=timedelta(minutes=15))


async def check(argument: c.AttemptIn) -> c.Seen:
    """How it fares, and whether the database knows a newer attempt; then that is `newest`, and nothing was looked
    at."""
    return await _call(c.CHECK, argument, c.Seen, "the job's own check", limit=timedelta(minutes=5))


async def diagnose(argument: c.DiagnoseIn) -> c.Diagnosis:
    """Why it ended, and from where it can go on; `undecided` where that cannot be told."""
    return await _call(
        c.DIAGNOSE, argument, c.Diagnosis, f"why attempt {argument.number} ended", limit=timedelta(minutes=15)
    )


async def gather(argument: c.GatherIn) -> c.Gathered:
    """The job's restore points. With an `error` these are not all, or cannot be told."""
    return await _call(c.GATHER, argument, c.Gathered, "gather restore points", limit=timedelta(minutes=15))


async def stop(argument: c.TriggerIn) -> c.Stopped:
    """With a savepoint. `state` is how it was seen then, None when that could not be found out; without a `savepoint`
    none was completed."""
    return await _call(
        c.STOP, argument, c.Stopped, f"stop attempt {argument.number} with savepoint", limit=timedelta(hours=6)
    )


async def savepoint(argument: c.TriggerIn) -> c.Stopped:
    """While it runs on. Without a `savepoint` none was completed, `error` says why."""
    return await _call(
        c.SAVEPOINT, argument, c.Stopped, f"savepoint of attempt {argument.number}", limit=timedelta(hours=6)
    )


async def prove(argument: c.ProveIn) -> c.Proven:
    """Not `healthy`: `why` says what it was seen to lack; `observation` is what was seen last."""
    return await _call(
        c.PROVE, argument, c.Proven, f"wait until attempt {argument.number} is healthy", limit=timedelta(days=2)
    )


async def retain(argument: c.RetainIn) -> c.Retained:
    """What was deleted and what was left alone. With `more` it has to be called again."""
    return await _call(
        c.RETAIN, argument, c.Retained, "delete old savepoints and checkpoints", limit=timedelta(hours=2)
    )


async def rescale(argument: c.RescaleIn) -> c.Rescaled:
    """Change the task managers of a session cluster that runs. Neither `done` nor an `error`: it has to be restarted
    for that version."""
    return await _call(
        c.RESCALE,
        argument,
        c.Rescaled,
        f"scale attempt {argument.number} to version {argument.version}",
        limit=timedelta(minutes=15),
    )


async def adoptable(argument: c.AdoptIn) -> c.Adoptable:
    """With an `error` it cannot be adopted: it is not alive, or belongs to another job."""
    return await _call(
        c.ADOPTABLE, argument, c.Adoptable, f"look at Flink job {argument.flink_job_id}", limit=timedelta(minutes=15)
    )


async def cancel(argument: c.AttemptIn) -> c.Stopped:
    """`state` is the final one that was seen, None when it could not be found out."""
    return await _call(c.CANCEL, argument, c.Stopped, f"cancel attempt {argument.number}", limit=timedelta(hours=2))


async def cancel_all(argument: c.AttemptIn) -> c.Stopped:
    """Every attempt of the job. `state` None: something of it may be alive yet."""
    return await _call(
        c.CANCEL_ALL, argument, c.Stopped, "cancel every attempt that is alive", limit=timedelta(hours=2)
    )
