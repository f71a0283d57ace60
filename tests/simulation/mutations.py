"""Each mend taken out again, one at a time: the simulation has to find what it mended.

`python -m tests.simulation --mutations` shows for each the seed, the seconds until it was found, and the story. A
mutation is what the code did before, as small as it can be said; it is put in for the whole process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mutation:
    """`finding` is the number that the hole had when it was found by hand; `put_in` takes its mend out."""

    finding: str
    what: str
    put_in: Callable[[], None]


def believe_missing_at_once() -> None:
    """Finding 2: no id is spent; that the JobManager does not know an attempt counts as that it never will."""
    from clusters.flink.session import FlinkSession
    from clusters.protocol import Ref

    async def fence(self: FlinkSession, ref: Ref) -> bool:
        return ref.handle not in (await self.overview()).jobs

    FlinkSession.fence = fence  # type: ignore[method-assign]


def _told_once() -> None:
    from core.jobs.observations import Observation
    from observation.observer import Told

    def is_due(self: Told, row: Any, seen: Observation) -> bool:
        return seen.state.value != row["seen"]

    Told.is_due = is_due  # type: ignore[method-assign,assignment]


def final_states_go_stale() -> None:
    """Finding 4: a final state that an older question was answered is dropped, and told once."""
    import workflows.job
    from core.jobs.observations import Observation

    def is_stale(seen: Observation, *, attempt: Any, flink_job_id: Any, last_sequence: int) -> bool:
        return seen.attempt != attempt or seen.flink_job_id != flink_job_id or seen.sequence <= last_sequence

    def newer(waiting: Observation | None, seen: Observation) -> bool:
        return waiting is None or (seen.attempt, seen.sequence) > (waiting.attempt, waiting.sequence)

    workflows.job.is_stale = is_stale  # type: ignore[attr-defined]
    workflows.job.newer = newer  # type: ignore[attr-defined]
    _told_once()


def delete_without_a_lock() -> None:
    """Finding 9: DELETE reads the row, ends the workflow and writes the row, and nothing keeps a command out."""
    from sqlalchemy import update

    import observation.deletion
    from core.errors import Conflict
    from core.jobs.states import DELETABLE, JobState
    from services import Services
    from settings import clock
    from store import jobs
    from store.tables import Job
    from temporal.delivery import retire

    async def delete(services: Services, ref: str) -> None:
        async with services.database.read() as session:
            job = await jobs.get(session, ref)
        if JobState(job.state) not in DELETABLE:
            raise Conflict(f"Job {job.name} is {job.state}.", code="job_not_deletable")
        await retire(services, job)
        async with services.database.write() as session:
            await session.execute(update(Job).where(Job.id == job.id).values(deleted_at=clock.now()))

    observation.deletion.delete = delete


def a_kill_waits_for_a_submission() -> None:
    """Finding 10b: a submission cannot be left."""
    from activities import contracts as c
    from workflows import calls
    from workflows.deployment import Deployment

    async def start(self: Deployment, opening: c.OpenAttempt, patience: float | None) -> c.Started:
        return await calls.start_attempt(c.StartAttempt(**dict(opening), patience=patience))

    Deployment._start = start  # type: ignore[method-assign]


def a_row_that_is_there_was_never_sent() -> None:
    """Decision 23: a try of a start that finds the row takes it for its own: what the try before has sent is not asked for."""
    import dataclasses

    from activities import contracts as c
    from activities.record import Recorder, WrittenAttempt

    opened = Recorder.open

    async def open_(self: Recorder, wanted: c.OpenAttempt, *, sends: bool = False) -> WrittenAttempt | c.OpenedAttempt:
        written = await opened(self, wanted, sends=sends)
        return written if isinstance(written, c.OpenedAttempt) else dataclasses.replace(written, is_new=True)

    Recorder.open = open_  # type: ignore[method-assign]


def a_diagnosis_waits_for_ever() -> None:
    """Finding 10a: why an attempt is missing is asked until the cluster answers."""
    from activities.observe import Observing
    from clusters.protocol import Engine
    from core.jobs.observations import Lost

    bounded = Observing._lost

    async def lost(self: Observing, engine: Engine, took_it: str | None) -> tuple[Lost | None, bool, str | None]:
        while True:
            found = await bounded(self, engine, took_it)
            if found[0] is not None:
                return found

    Observing._lost = lost  # type: ignore[method-assign]


def time_begins_anew_with_every_try() -> None:
    """Finding 10c: the time-out of a submission or a stop counts from the try, not from when it was asked for."""
    import activities.looking
    import activities.stop
    import activities.submit
    from settings import clock

    def deadline_of(seconds: float) -> float:
        return clock.monotonic() + seconds

    for module in (activities.looking, activities.stop, activities.submit):
        module.deadline_of = deadline_of  # type: ignore[attr-defined]


def a_kill_looks_at_one_attempt_only() -> None:
    """Finding 11: the kill of a job that is parked because another attempt of it is alive cancels nothing."""
    from activities import contracts as c
    from activities.stop import Stopper
    from core.jobs.observations import EngineState
    from settings.clock import now_ms

    async def cancel_all(self: Stopper, wanted: c.AttemptIn) -> c.Stopped:
        return c.Stopped(state=EngineState.CANCELED, sequence=now_ms())

    _as_activity(Stopper, "cancel_all", cancel_all)


def a_lost_signal_counts_as_told() -> None:
    """Finding 12: what could not be told is written down as told."""
    from observation.observer import Told

    _told_once()
    Told.not_sent = lambda self, row: None  # type: ignore[method-assign,assignment]


def a_failed_pause_is_remembered() -> None:
    """Finding 14: a stop that failed decides what a loss of the cluster means, however much later."""
    from core.jobs.observations import Observation
    from workflows.observations import Observations

    original = Observations._stop_was_lost

    def stop_was_lost(self: Observations, observation: Observation) -> bool:
        stop = self._context.snapshot.stop
        return False if stop is not None and stop.directory is not None else original(self, observation)

    Observations._stop_was_lost = stop_was_lost  # type: ignore[method-assign]


def newest_by_the_clock() -> None:
    """Finding 16: the newest restore point is the one whose file has the latest time, of whichever attempt."""
    import core.jobs.restore

    core.jobs.restore._age_among = lambda _, __: lambda p: (p.completed_at, p.attempt)  # type: ignore[assignment,return-value]


def newest_of_an_attempt_by_the_clock() -> None:
    """Found by the simulation: within an attempt the newest restore point is the one with the latest time."""
    import core.jobs.restore

    core.jobs.restore._age_among = lambda _, __: lambda p: (p.attempt, p.completed_at)  # type: ignore[assignment,return-value]


def _as_activity(owner: type, name: str, function: Any) -> None:
    definition = getattr(owner, name).__temporal_activity_definition
    setattr(function, "__temporal_activity_definition", definition)
    setattr(owner, name, function)


def an_end_for_a_successor_stands_for_itself() -> None:
    """What was cancelled or stopped for another attempt, and is seen to end when its command has failed, was killed or
    paused."""
    from workflows.endings import AttemptEndings

    AttemptEndings._never_made = lambda self, stop, *, going_on: (None, None)  # type: ignore[method-assign]


def a_lost_restart_is_given_up() -> None:
    """A restart whose workflow was lost in the middle of it leaves its job where it was."""
    from core.jobs.snapshot import JobSnapshot

    JobSnapshot.was_to_go_on = lambda self: False  # type: ignore[method-assign]


def what_ran_unseen_is_no_state() -> None:
    """A job whose first start failed begins empty, also where its attempt ran, and nobody was told."""
    from core.jobs.restore import Basis
    from workflows.endings import AttemptEndings

    original = AttemptEndings.end

    async def end(self: AttemptEndings, *args: Any, **more: Any) -> None:
        snapshot = self._context.snapshot
        was_fresh = snapshot.basis is Basis.FRESH
        await original(self, *args, **more)
        if was_fresh and snapshot.basis is Basis.NEWEST:
            snapshot.basis = Basis.FRESH

    AttemptEndings.end = end  # type: ignore[method-assign]


def a_stop_is_written_down_beside_it() -> None:
    """What is told to end is written down while it is told, and only where something else is to be written."""
    from workflows.context import JobContext

    async def intends(self: JobContext, stop: Any) -> None:
        self.snapshot.stop = stop
        self.journal.flush()

    JobContext.intends = intends  # type: ignore[method-assign]


def what_is_newer_is_ignored() -> None:
    """A workflow that was set back goes on from what it knows, whatever the database has."""
    from core.jobs.records import Record
    from workflows import calls
    from workflows.journal import Journal

    async def send(self: Journal, record: Record, summary: str, **_: Any) -> None:
        await calls.record(record, summary)

    Journal.send = send  # type: ignore[method-assign]


def what_is_newer_is_heard_of_late() -> None:
    """A workflow that was set back starts, asks for savepoints and has success before its records are answered."""
    from workflows.context import JobContext

    async def see_newest(self: JobContext, *, write: bool = False) -> None:
        return

    JobContext.see_newest = see_newest  # type: ignore[method-assign]


def what_is_newer_is_not_told_with_an_attempt() -> None:
    """A workflow that has come to an attempt which is written down already knows nothing of what became of it."""
    from activities import observe, record

    for module in (observe, record):
        told = module.forgotten

        async def forgotten(*args: Any, told: Any = told) -> Any:
            return (await told(*args)).model_copy(update={"newer": None})

        module.forgotten = forgotten


def a_step_of_before_is_carried_out() -> None:
    """A stop, a savepoint or a cancellation does not ask whether its job has gone on since it was asked for."""
    from activities import fence, hosting, retain, stop, submit

    async def check_current(*_: Any) -> None:
        return

    for module in (fence, hosting, retain, stop, submit):
        module.check_current = check_current  # type: ignore[attr-defined]


def what_has_ended_is_sent_again() -> None:
    """A submission looks at its attempt's id only, and not at whether the job has gone on."""
    from activities.record import Recorder

    opens = Recorder.open

    async def open_(self: Recorder, request: Any, *, sends: bool = False) -> Any:
        return await opens(self, request)

    Recorder.open = open_  # type: ignore[method-assign]


def a_cancel_is_never_late() -> None:
    """Finding 32: a job that is seen running after its cancel had no answer was not cancelled, and never will be."""
    from core.jobs.observations import Observation
    from workflows.observations import Observations

    was_lost = Observations._stop_was_lost

    def _stop_was_lost(self: Observations, observation: Observation) -> bool:
        lost = was_lost(self, observation)
        stop = self._context.snapshot.stop
        if lost and stop is not None and stop.directory is None:
            self._context.snapshot.stop = None
        return lost

    Observations._stop_was_lost = _stop_was_lost  # type: ignore[method-assign]


def by_the_clock_of_the_worker() -> None:
    """What a worker sees is ordered by its own clock."""
    from datetime import datetime

    from settings import clock

    def begins(at: datetime) -> None:
        pass

    clock.begins = begins


MUTATIONS = {
    m.put_in.__name__: m
    for m in (
        Mutation("2", "no fence: MISSING is believed while a send is unresolved", believe_missing_at_once),
        Mutation("4", "a final state can be stale, and is told once", final_states_go_stale),
        Mutation("9", "DELETE takes no lock and looks at no command", delete_without_a_lock),
        Mutation(
            "10a", "the diagnosis of a missing attempt waits for the cluster for ever", a_diagnosis_waits_for_ever
        ),
        Mutation("10b", "a kill does not interrupt a submission", a_kill_waits_for_a_submission),
        Mutation("23", "a second try of a start asks nothing first", a_row_that_is_there_was_never_sent),
        Mutation("10c", "time-outs begin anew with every try of an activity", time_begins_anew_with_every_try),
        Mutation("11", "a kill ends the current attempt only", a_kill_looks_at_one_attempt_only),
        Mutation("12", "a signal that was lost counts as told", a_lost_signal_counts_as_told),
        Mutation("14", "a pause that failed is remembered without limit", a_failed_pause_is_remembered),
        Mutation("16", "the newest point by the clock, across attempts", newest_by_the_clock),
        Mutation("24", "an end for a successor stands for itself", an_end_for_a_successor_stands_for_itself),
        Mutation("25", "a restart whose workflow was lost is given up", a_lost_restart_is_given_up),
        Mutation("26", "what ran unseen before its start had failed is no state", what_ran_unseen_is_no_state),
        Mutation("27", "a stop is written down while it is sent", a_stop_is_written_down_beside_it),
        Mutation("28", "a workflow that was set back goes on from what it knows", what_is_newer_is_ignored),
        Mutation("28b", "a workflow that was set back has success before it knows", what_is_newer_is_heard_of_late),
        Mutation(
            "28c",
            "a workflow that was set back hears of a newer attempt, and of no stop",
            what_is_newer_is_not_told_with_an_attempt,
        ),
        Mutation("29", "a step of a workflow that was set back is carried out", a_step_of_before_is_carried_out),
        Mutation("30", "a start that was set back into is sent again", what_has_ended_is_sent_again),
        Mutation("16b", "the newest point of an attempt by the clock", newest_of_an_attempt_by_the_clock),
        Mutation("31", "what a worker sees is ordered by its own clock", by_the_clock_of_the_worker),
        Mutation("32", "a cancel that was not answered is never late", a_cancel_is_never_late),
    )
}


def put_in(name: str) -> None:
    MUTATIONS[name].put_in()
