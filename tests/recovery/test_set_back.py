"""A workflow is set back (reset by hand, or Temporal restored from a backup) to a moment since which its job went on with
the same attempt: the database has what became of it, and the workflow goes on from there. Found by an attack: a pause
that had failed was carried out once more, and the job was shown RUNNING for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import select
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, ResetReapplyExcludeType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest

from activities import contracts as c
from core.errors import Conflict
from core.jobs.observations import EngineState, Intent, Observation
from core.jobs.snapshot import JobSnapshot
from settings import waits
from store import attempts, jobs
from store.tables import Command, Event, Job
from tests.recovery.conftest import House
from tests.workflows.conftest import is_at_rest

FAILED = EngineState.FAILED
NOT_AGAIN = (ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE,)


async def tasks(house: House, job: Job) -> list[int]:
    """The ends of the tasks of its workflow, as events that it can be set back to."""
    handle = house.services.client.get_workflow_handle(jobs.workflow_id(job))
    history = await handle.fetch_history()
    return [e.event_id for e in history.events if e.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED]


async def set_back(house: House, job: Job, event: int, *exclude: ResetReapplyExcludeType.ValueType) -> None:
    client = house.services.client
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=jobs.workflow_id(job)),
            reason="a test",
            workflow_task_finish_event_id=event,
            request_id=f"reset-{event}",
            reset_reapply_exclude_types=exclude,
        )
    )


async def snapshot(house: House, job: Job) -> JobSnapshot:
    handle = house.services.client.get_workflow_handle(jobs.workflow_id(job))
    return await handle.query("snapshot", result_type=JobSnapshot)


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    for _ in range(600):
        if await condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to that")


async def told(house: House, job: Job) -> bool:
    async with house.services.database.read() as session:
        alerts = await session.scalars(select(Event.message).where(Event.job_id == job.id, Event.kind == "alert"))
        return any("was set back" in message for message in alerts)


async def in_a_stop(house: House, job: Job, kind: str) -> Command:
    """A command that is carried out, and whose stop has no answer."""
    never = asyncio.Event()

    async def hang(_: c.TriggerIn) -> c.Stopped:
        await never.wait()
        raise AssertionError

    house.script.stops = hang
    command = await house.send(job, kind)
    await until(lambda: _is(house, command.id, "RUNNING"))
    return command


async def test_a_command_that_has_failed_is_not_carried_out_again(house: House):
    job = await house.create()
    await house.do(job, "start")
    before = (await tasks(house, job))[-1]
    house.script.stops = lambda _: c.Stopped(state=EngineState.RUNNING, error="it cannot be written", code="failed")
    paused = await house.do(job, "pause")
    assert paused.state == "FAILED"
    await set_back(house, job, before)
    await until(lambda: told(house, job))
    assert house.script.asked.count("stop") == 1
    assert (await house.command(paused.id)).error == paused.error
    assert ((await house.job(job.id)).state, (await snapshot(house, job)).state) == ("RUNNING", "RUNNING")
    del house.script.stops
    house.script.stops = house.script._stops
    assert (await house.do(job, "pause")).state == "SUCCEEDED"
    assert (await house.job(job.id)).state == "PAUSED"


async def test_nothing_is_started_that_nobody_would_know_of(house: House):
    """The restart policy was to start it again when somebody killed it."""
    job = await house.create()
    await house.do(job, "start")
    house.script.submitted = lambda _: c.Submitted(state=c.SubmitState.REJECTED, error="no slots", code="rejected")
    attempt = (await snapshot(house, job)).attempt
    seen = Observation(attempt=1, flink_job_id=attempt.flink_job_id, sequence=house.script.tick(), state=FAILED)
    handle = house.services.client.get_workflow_handle(jobs.workflow_id(job))
    await handle.signal("observed", seen)

    async def is_restarting() -> bool:
        return (await house.job(job.id)).state == "RESTARTING"

    await until(is_restarting)
    before = (await tasks(house, job))[-1]
    await house.do(job, "kill")
    await set_back(house, job, before, *NOT_AGAIN)
    await until(lambda: told(house, job))

    async def is_killed() -> bool:
        return (await snapshot(house, job)).state == "KILLED"

    await until(is_killed)
    assert "submit" not in house.script.asked[1:]
    assert (await house.job(job.id)).state == "KILLED"
    async with house.services.database.read() as session:
        assert (await attempts.recent(session, job.id, 9))[0].number == 1


@pytest.mark.parametrize("how", ["refused", "heard of"])
async def test_one_that_does_not_know_the_attempt_that_runs(house: House, how: str):
    job = await house.create()
    await house.do(job, "start")
    await house.do(job, "pause")
    before = (await tasks(house, job))[-1]
    await house.do(job, "start")
    await set_back(house, job, before, *NOT_AGAIN)
    assert (await snapshot(house, job)).state == "PAUSED"
    if how == "refused":
        with pytest.raises(Conflict, match="PAUSED"):
            await house.send(job, "savepoint")
    else:
        handle = house.services.client.get_workflow_handle(jobs.workflow_id(job))
        async with house.services.database.read() as session:
            second = (await attempts.recent(session, job.id, 1))[0].flink_job_id
        restarted = Observation(attempt=2, flink_job_id=second, sequence=house.script.tick(), state=EngineState.RUNNING)
        await handle.signal("observed", restarted)

    async def knows_it() -> bool:
        now = await snapshot(house, job)
        return now.state == "RUNNING" and now.attempts == 2

    await until(knows_it)
    assert (await house.do(job, "savepoint")).state == "SUCCEEDED"


@pytest.mark.parametrize("by_one", [False, True])
async def test_what_became_of_the_job_since_stays(house: House, by_one: bool):
    """Also where the workflow counts its next record as the database counts the last one."""
    job = await house.create()
    await house.do(job, "start")
    before = (await tasks(house, job))[-1]
    revision = (await house.job(job.id)).revision
    await house.do(job, "pause")
    if by_one:
        async with house.services.database.write() as session:
            (await session.get(Job, job.id)).revision = revision + 1
    await set_back(house, job, before, *NOT_AGAIN)
    running = await snapshot(house, job)
    assert running.state == "RUNNING"
    handle = house.services.client.get_workflow_handle(jobs.workflow_id(job))
    attempt, sequence = running.attempt.flink_job_id, house.script.tick()
    seen = Observation(attempt=1, flink_job_id=attempt, sequence=sequence, state=EngineState.FINISHED)
    await handle.signal("observed", seen)
    await until(lambda: told(house, job))

    async def is_paused() -> bool:
        return (await snapshot(house, job)).state == "PAUSED"

    await until(is_paused)
    assert (await house.job(job.id)).state == "PAUSED"
    assert (await house.do(job, "start")).state == "SUCCEEDED"
    assert (await house.job(job.id)).current_attempt == 2


async def test_one_that_comes_to_an_attempt_which_is_written_down_already(house: House):
    """It is set back to before the start, and given that once more, while the attempt is stopped for a pause: what it has
    to learn is not only that there is one, or its end is one that nobody asked for."""
    job = await house.create()
    await house.do(job, "start")
    first = (await tasks(house, job))[0]
    await in_a_stop(house, job, "pause")
    await set_back(house, job, first)
    await until(lambda: told(house, job))

    async def knows_it() -> bool:
        now = await snapshot(house, job)
        return now.state == "RUNNING" and now.stop is not None and now.stop.intent is Intent.PAUSE

    await until(knows_it)
    assert house.script.asked.count("submit") == 1
    assert (await house.job(job.id)).state == "RUNNING"


async def test_one_that_does_not_know_the_restart_it_was_in(house: House, monkeypatch: pytest.MonkeyPatch):
    """Nobody has anything to tell it: the recovery does."""
    monkeypatch.setattr(waits, "INTERRUPTED_SECONDS", 0)
    job = await house.create()
    await house.do(job, "start")
    handle = house.services.client.get_workflow_handle(jobs.workflow_id(job))
    await until(lambda: is_at_rest(handle))  # a record that is sent once more would tell it
    before = (await tasks(house, job))[-1]
    command = await in_a_stop(house, job, "restart")
    await set_back(house, job, before, *NOT_AGAIN)
    assert (await snapshot(house, job)).stop is None

    async def is_found() -> bool:  # where the workflow does not answer in time, by the next run of the recovery
        return any("set back" in one.what for one in await house.recover())

    await until(is_found)
    await until(lambda: told(house, job))
    assert (await house.ended(command.id)).error_code == "workflow_lost"
    stop = (await snapshot(house, job)).stop
    assert stop is not None
    assert stop.successor is not None


async def _is(house: House, command: str, state: str) -> bool:
    return (await house.command(command)).state == state
