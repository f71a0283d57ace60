"""A small Temporal, in the process: it runs the real workflow classes and the real activities, and loses neither.

What it keeps of the real one: an activity is retried after its heartbeat time-out or the time that it may take, by
whichever worker is there; what a lost or frozen worker answers late counts no more; heartbeats are throttled, and a
cancellation arrives by the next one that is sent; updates are validated and carried out once per id; signals keep
their order; nothing of a workflow moves while no worker or no server is there; continue-as-new; a workflow that is set
back to a moment before, in the middle of an activity too, by going through what happened since it waited for something
to do.

What it does not: workflow code is replayed for that only (its determinism is what `tests/workflows` checks).
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import re
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Container
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_type_hints

import pydantic_core
import temporalio.activity
import temporalio.common
import temporalio.converter
import temporalio.workflow
from pydantic import TypeAdapter
from temporalio.client import (
    ScheduleAlreadyRunningError,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import RetryPolicy, WorkflowIDConflictPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    FailureError,
    RetryState,
    TerminatedError,
    TimeoutError,
    TimeoutType,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.workflow import _context as workflow_context

from settings import clock
from settings.waits import HEARTBEAT_THROTTLE
from tests.simulation.loop import EPOCH, NEUTRAL, PROCESS, Process, SimLoop

if TYPE_CHECKING:
    from tests.simulation.chance import Chance

INSTANCE: contextvars.ContextVar[Instance | None] = contextvars.ContextVar("simulated_workflow", default=None)
setattr(SimLoop, "__temporal_workflow_runtime", property(lambda loop: INSTANCE.get()))
RUN: contextvars.ContextVar[ActivityRun | None] = contextvars.ContextVar("simulated_activity", default=None)
_Runtime = workflow_context._Runtime
TIMER_SLACK = 1e-6
KEPT = 400
"""Events of a workflow that are remembered, to be set back to."""


@cache
def _adapter(type_: Any) -> TypeAdapter[Any]:
    return TypeAdapter(type_)


def copied(value: Any, type_: Any = None) -> Any:
    """A value as it comes out at the other end of Temporal: through JSON, as `type_`."""
    raw = pydantic_core.to_json(value)
    if type_ is None or type_ is Any:
        type_ = type(value) if hasattr(type(value), "model_validate") else Any
    if raw == b"null":  # a payload of its own, which no type is asked for
        return None
    return _adapter(type_).validate_json(raw)


@cache
def _argument_types(function: Any) -> list[Any]:
    hints = get_type_hints(function)
    names = [n for n in inspect.signature(function).parameters if n != "self"]
    return [hints.get(n, Any) for n in names]


def _arguments(function: Any, args: Any) -> list[Any]:
    types = _argument_types(function)
    return [copied(a, types[i] if i < len(types) else None) for i, a in enumerate(args)]


class _ContinueAsNew(BaseException):
    def __init__(self, args: list[Any]):
        super().__init__()
        self.arguments = args


@dataclass
class Worker:
    """One worker process, with its activities by queue and by name."""

    process: Process
    activities: dict[str, dict[str, Callable[..., Any]]]


@dataclass
class ActivityRun:
    """One try of an activity on one worker."""

    activity: Activity
    worker: Worker
    attempt: int
    started_at: float
    last_beat: float
    last_sent: float = -1e9
    task: asyncio.Task[Any] | None = None
    context: Any = None


@dataclass(eq=False)
class Activity:
    """As the server knows it."""

    id: str
    name: str
    argument: Any
    queue: str
    instance: Instance
    start_to_close: float | None
    heartbeat: float | None
    policy: RetryPolicy
    scheduled_at: float
    future: asyncio.Future[Any]
    result_type: Any
    attempt: int = 0
    attempt_at: float = 0.0
    run: ActivityRun | None = None
    closed: bool = False
    cancel_requested: bool = False
    since: Parked | None = None
    number: int = 0
    """Which of those that were asked for since the workflow waited for something to do."""


@dataclass(frozen=True, eq=False)
class Event:
    """What happened to a run of a job's workflow: in which of its tasks, and when."""

    task: int
    at: datetime


@dataclass(frozen=True, eq=False)
class Parked(Event):
    """It waited for something to do: what it knew, its numbers of chance from there on, and the activities that ran."""

    snapshot: bytes
    random: Any
    running: tuple[Activity, ...]


@dataclass(frozen=True, eq=False)
class Given(Event):
    """It was told a signal or an accepted update."""

    name: str
    args: list[Any]
    update_id: str | None = None


@dataclass(frozen=True, eq=False)
class Resolved(Event):
    """It was told how an activity ended."""

    activity: Activity
    result: Any
    error: BaseException | None


@dataclass(frozen=True, eq=False)
class Fired(Event):
    """What it waited for did not come in time."""


@dataclass
class Replay:
    """What a run that was set back goes through again before it lives on: what of its history is kept, the activities
    that were under way then, what it waits for, and what is done at the end."""

    events: list[Event]
    under_way: list[Activity]
    clock: datetime
    then: list[Callable[[], None]]


class Instance(_Runtime):
    """One run of a workflow."""

    def __init__(
        self,
        server: Temporal,
        id_: str,
        name: str,
        args: list[Any],
        queue: str,
        first: str | None = None,
        replay: Replay | None = None,
    ):
        super().__init__()
        self.server = server
        self.id, self.name, self.queue = id_, name, queue
        self.run_id = str(server.uuid())
        self.first_run_id = first or self.run_id
        self.definition = server.workflows[name]
        self.arguments = args
        self.random_ = Random(server.chance.random.getrandbits(64))
        self.process = Process(id_)
        self.process.offset = server.process.offset
        self.process.frozen = not server.moves(queue)
        self.context = NEUTRAL.copy()
        self.context.run(INSTANCE.set, self)
        self.context.run(PROCESS.set, self.process)
        self.attributes: dict[str, Any] = {}
        self.closed = False
        self.status = "Running"
        self.result: asyncio.Future[Any] = server.loop.create_future()
        self.result.add_done_callback(lambda f: f.cancelled() or f.exception())
        self.events = 0
        self.suggest_after = server.chance.history_limit()
        self.inbox: list[Callable[[], None]] = []
        self.waiting_for_task = False
        self.conditions: list[tuple[Callable[[], bool], asyncio.Future[Any]]] = []
        self.handlers = 0
        self.updates: dict[str, asyncio.Future[Any]] = {}
        self.activities: set[Activity] = set()
        self.stuck: str | None = None
        self.patches: set[str] = set()
        self.started_at = server.loop.time()
        self.past = server.pasts.setdefault(id_, [])
        self.parked: Parked | None = None
        self.task = self.asked = 0
        self.main: asyncio.Task[Any] | None = None
        self.waits: tuple[asyncio.Future[Any], datetime] | None = None
        """What `main` waits for, and until when."""
        self.object: Any = None
        self.replay = replay
        if replay is None:
            self.deliver(self._begin)
        else:
            server.loop.call_later(server.chance.workflow_task(), self._replay, context=self.context)

    # Delivery -------------------------------------------------------------------------------

    def deliver(self, job: Callable[[], None]) -> None:
        """Something happened to the workflow: it is told in its next workflow task, in order."""
        self.inbox.append(job)
        self.events += 3
        if not self.waiting_for_task and self.replay is None:
            self.waiting_for_task = True
            self.server.loop.call_later(self.server.chance.workflow_task(), self._activate, context=self.context)

    def _activate(self) -> None:
        self.waiting_for_task = False
        if self.closed:
            return
        inbox, self.inbox = self.inbox, []
        self.task += 1
        for job in inbox:
            job()

    def _replay(self) -> None:
        """One task of the history after the other; after the last one, activities that were under way are dispatched
        again, and the run goes on."""
        replay = self.replay
        if self.closed or replay is None:
            return
        if self.object is None:
            self._begin()
        elif replay.events:
            self.task += 1
            first = replay.events[0]
            replay.clock = first.at
            while replay.events and replay.events[0].task == first.task:
                self._again(replay.events.pop(0), replay)
        else:
            self.replay = None
            if self.waits is not None:
                self._fire_at(*self.waits)
            for activity in replay.under_way:
                self.server.dispatch_anew(self, activity)
            for work in replay.then:
                work()
            if self.inbox and not self.waiting_for_task:
                self.waiting_for_task = True
                self._activate()
            return
        self.server.loop.call_later(1e-4, self._replay, context=self.context)

    def _again(self, event: Event, replay: Replay) -> None:
        if isinstance(event, Given):
            self.take(event)
        elif isinstance(event, Fired):
            self._fire()
        elif isinstance(event, Resolved):
            number, name = event.activity.number, event.activity.name
            same = [a for a in replay.under_way if (a.since, a.number) == (self.parked, number)]
            if not same or same[0].name != name:
                asked = [a.name for a in replay.under_way]
                self.server.troubles.append(f"workflow {self.id} is replayed without its {number}. {name}: {asked}")
                replay.events.clear()
                return
            replay.under_way.remove(same[0])
            self.activities.discard(same[0])
            self.resolve(same[0], event.result, event.error)

    def resolve(self, activity: Activity, result: Any, error: BaseException | None) -> None:
        if activity.future.done():
            return
        self.past.append(Resolved(self.task, self.now(), activity, result, error))
        if error is not None:
            activity.future.set_exception(_activity_error(activity, error))
        else:
            activity.future.set_result(copied(result, activity.result_type))

    def now(self) -> datetime:
        return self.server.now() if self.replay is None else self.replay.clock

    @property
    def typed_search_attributes(self) -> Any:
        """As a listed workflow shows them."""
        return SimpleNamespace(get=lambda key, default=None: self.attributes.get(key.name, default))

    def _begin(self) -> None:
        cls = self.definition.cls
        args = _arguments(self.definition.run_fn, self.arguments)
        takes = hasattr(cls.__init__, "__temporal_workflow_init")
        self.object = cls(*_arguments(self.definition.run_fn, self.arguments)) if takes else cls()
        self._keep()
        self.main = self.server.loop.create_task(self._main(args), context=self.context)

    async def _main(self, args: list[Any]) -> None:
        try:
            result = await self.definition.run_fn(self.object, *args)
        except _ContinueAsNew as again:
            self.server.continue_as_new(self, again.arguments)
        except (FailureError, asyncio.CancelledError) as error:
            self.server.close(self, "Canceled" if is_cancelled_exception(error) else "Failed", error=error)
        except Exception as error:
            # A defect: the workflow task fails, and is tried again for ever.
            self.stuck = f"{type(error).__name__}: {error}"
            self.server.troubles.append(f"workflow {self.id} is stuck: {self.stuck}")
            import traceback

            self.server.traces.append(traceback.format_exc())
        else:
            self.server.close(self, "Completed", result=result)

    def check_conditions(self) -> None:
        for condition, future in list(self.conditions):
            if not future.done() and self.context.run(condition):
                future.set_result(None)

    def _keep(self) -> None:
        """Note where this run could be set back to: its snapshot, if it is a job's."""
        snapshot = getattr(self.object, "_s", None)
        if snapshot is not None:
            running = tuple(sorted((a for a in self.activities if not a.cancel_requested), key=lambda a: int(a.id)))
            known = pydantic_core.to_json(snapshot)
            self.parked = Parked(self.task, self.now(), known, self.random_.getstate(), running)
            self.asked = 0
            self.past.append(self.parked)
            del self.past[:-KEPT]

    def signal(self, name: str, args: list[Any]) -> None:
        self.past.append(Given(self.task, self.now(), name, args))
        definition = self.definition.signals[name]
        self._handle(definition.fn, args)

    def take(self, given: Given) -> None:
        """What this run had taken before it was set back to now."""
        self.past.append(Given(self.task, given.at, given.name, given.args, given.update_id))
        definitions = self.definition.signals if given.update_id is None else self.definition.updates
        self._handle(definitions[given.name].fn, given.args)

    def _handle(self, function: Any, args: list[Any]) -> Any:
        answer = function(self.object, *_arguments(function, args))
        if inspect.isawaitable(answer):
            self.handlers += 1

            async def follow() -> Any:
                try:
                    return await answer
                finally:
                    self.handlers -= 1

            return self.server.loop.create_task(follow(), context=self.context)
        return answer

    def update(self, name: str, args: list[Any], update_id: str, outcome: asyncio.Future[Any]) -> None:
        """Validate and carry out an update; a refusal leaves nothing behind."""
        if outcome.done():
            return
        definition = self.definition.updates[name]
        try:
            if definition.validator is not None:
                definition.validator(self.object, *_arguments(definition.fn, args))
            self.past.append(Given(self.task, self.now(), name, args, update_id))
            answer = self._handle(definition.fn, args)
        except FailureError as error:
            outcome.set_exception(WorkflowUpdateFailedError(error))
            return
        except Exception as error:
            self.stuck = f"{type(error).__name__}: {error}"
            self.server.troubles.append(f"workflow {self.id} is stuck in an update: {self.stuck}")
            return
        if isinstance(answer, asyncio.Task):
            answer.add_done_callback(lambda task: outcome.done() or outcome.set_result(task.result()))
        else:
            outcome.set_result(answer)

    # What workflow code asks ----------------------------------------------------------------

    def workflow_all_handlers_finished(self) -> bool:
        return self.handlers == 0

    def workflow_continue_as_new(self, *args: Any, **more: Any) -> Any:
        raise _ContinueAsNew(list(args))

    def workflow_info(self) -> Any:
        return SimpleNamespace(
            workflow_id=self.id,
            run_id=self.run_id,
            workflow_type=self.name,
            task_queue=self.queue,
            namespace="default",
            attempt=1,
            is_continue_as_new_suggested=self.workflow_is_continue_as_new_suggested,
            get_current_history_length=lambda: self.events,
            start_time=self.now(),
            typed_search_attributes=self.attributes,
            _logger_details=lambda: {},
        )

    def workflow_instance(self) -> Any:
        return self.object

    def workflow_is_continue_as_new_suggested(self) -> bool:
        return self.replay is None and self.events > self.suggest_after

    def workflow_get_current_history_length(self) -> int:
        return self.events

    def workflow_is_replaying(self) -> bool:
        return False

    def workflow_is_replaying_history_events(self) -> bool:
        return False

    def workflow_is_read_only(self) -> bool:
        return False

    def workflow_patch(self, id: str, **_: Any) -> bool:
        return True

    def workflow_random(self) -> Random:
        return self.random_

    def workflow_time_ns(self) -> int:
        return int(self.now().timestamp() * 1e9)

    def workflow_upsert_search_attributes(self, attributes: Any, **_: Any) -> None:
        for change in attributes:
            self.attributes[change.key.name] = change.value

    def workflow_set_current_details(self, details: str) -> None:
        pass

    def workflow_get_current_details(self) -> str:
        return ""

    def workflow_is_failure_exception(self, err: BaseException) -> bool:
        return isinstance(err, FailureError)

    async def workflow_sleep(self, duration: float, *, summary: str | None = None, **_: Any) -> None:
        self._name("timer", summary)
        await asyncio.sleep(duration)

    def _name(self, what: str, summary: str | None) -> None:
        if self.replay is None:
            self.server.named.append((self.name, what, summary))

    async def workflow_wait_condition(
        self, fn: Callable[[], bool], *, timeout: float | None = None, timeout_summary: str | None = None, **_: Any
    ) -> None:
        if timeout is not None:
            self._name("timer", timeout_summary)
            # Where this moment may be set back to, the timer must be one that is fired again.
            assert asyncio.current_task() is self.main, "only the run itself waits with a time-out here"
            self._keep()
        if fn():
            return
        entry = (fn, self.server.loop.create_future())
        self.conditions.append(entry)
        if timeout is not None:
            self.waits = entry[1], self.now() + timedelta(seconds=timeout)
            if self.replay is None:
                self._fire_at(*self.waits)
        try:
            await entry[1]
        finally:
            self.conditions.remove(entry)
            self.events += 5
            if timeout is not None:
                self.waits = None

    def _fire_at(self, wait: asyncio.Future[Any], until: datetime) -> None:
        def fire() -> None:
            if self.waits is not None and self.waits[0] is wait and not wait.done():
                self.task += 1
                self._fire()

        left = (until - self.server.now()).total_seconds()
        timer = self.server.loop.call_later(max(0.0, left), fire, context=self.context)
        wait.add_done_callback(lambda _: timer.cancel())

    def _fire(self) -> None:
        if self.waits is not None and not self.waits[0].done():
            self.past.append(Fired(self.task, self.now()))
            self.waits[0].set_exception(builtin_timeout())

    def workflow_start_activity(self, activity: Any, *args: Any, **options: Any) -> Any:
        name = activity if isinstance(activity, str) else activity.__temporal_activity_definition.name
        self._name(name, options.get("summary"))
        made = self.server.schedule(self, name, args, options)

        async def follow() -> Any:
            try:
                return await made.future
            except asyncio.CancelledError:
                self.server.request_cancel(made)
                cause = CancelledError("Cancelled")
                raise _activity_error(made, cause) from cause

        return self.server.loop.create_task(follow())

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the simulated Temporal has no {name}")


for _name in [n for n in _Runtime.__abstractmethods__ if n not in vars(Instance)]:

    def _unknown(self: Any, *args: Any, _name: str = _name, **more: Any) -> Any:
        raise NotImplementedError(f"the simulated Temporal has no {_name}")

    setattr(Instance, _name, _unknown)
Instance.__abstractmethods__ = frozenset()


def _activity_error(activity: Activity, cause: BaseException) -> ActivityError:
    error = ActivityError(
        "Activity task failed",
        scheduled_event_id=0,
        started_event_id=0,
        identity="",
        activity_type=activity.name,
        activity_id=activity.id,
        retry_state=RetryState.NON_RETRYABLE_FAILURE,
    )
    error.__cause__ = cause
    return error


class Temporal:
    """The server, with its workers. `down` while it cannot be reached."""

    def __init__(self, loop: SimLoop, chance: Chance, workflows: list[type]):
        self.loop, self.chance = loop, chance
        self.process = Process("Temporal")
        self.workflows = {d.name: d for w in workflows if (d := temporalio.workflow._Definition.must_from_class(w))}
        self.running: dict[str, Instance] = {}
        self.closed: dict[str, Instance] = {}
        self.pasts: dict[str, list[Event]] = {}
        self.workers: list[Worker] = []
        self.waiting: dict[str, list[Activity]] = {}
        self.schedules: dict[str, Any] = {}
        self.attributes: set[str] = set()
        self.down = False
        self.back = asyncio.Event()
        self.troubles: list[str] = []
        self.traces: list[str] = []
        self.refuse_tasks: set[str] = set()
        self.on_activity: Callable[[ActivityRun, str], None] | None = None
        """Told of every try of an activity, with "begins" or "ends", before the first is done and the last is told; and
        of what `come_to` is called with in between."""
        self.named: deque[tuple[str, str, str | None]] = deque(maxlen=1000)
        """What the Temporal UI would show: of a workflow's type a timer, or an activity's name, with its summary."""
        self._ids = 0

    def uuid(self) -> uuid.UUID:
        return uuid.UUID(int=self.chance.random.getrandbits(128), version=4)

    def now(self) -> datetime:
        return datetime.fromtimestamp(EPOCH + self.loop.time() + self.process.offset, UTC)

    # What happens to it ---------------------------------------------------------------------

    def moves(self, queue: str) -> bool:
        """Whether workflows on a queue move: only while the server and a worker for them are there."""
        return not self.down and any(w.process.runs and queue in w.activities for w in self.workers)

    def _move(self) -> None:
        for instance in list(self.running.values()):
            if self.moves(instance.queue):
                if instance.process.frozen:
                    self.loop.thaw(instance.process)
            else:
                instance.process.frozen = True

    def moved(self, processes: Container[Process]) -> None:
        """These have done something: their workflows may have what they wait for."""
        for instance in list(self.running.values()):
            if instance.conditions and instance.process in processes:
                instance.check_conditions()

    def stop(self) -> None:
        self.down = True
        self.back.clear()
        self._move()

    def start(self) -> None:
        self.down = False
        self.back.set()
        self._move()

    def wipe(self) -> None:
        """All that it knew is gone."""
        for instance in list(self.running.values()):
            self._end(instance, "Wiped", None, None)
        self.running.clear()
        self.closed.clear()
        self.pasts.clear()
        self.schedules.clear()
        self.attributes.clear()
        self.waiting.clear()

    def lose(self, workflow_id: str) -> None:
        """One workflow is terminated by somebody."""
        if workflow_id in self.running:
            self.close(self.running[workflow_id], "Terminated", error=TerminatedError("terminated"))

    def set_back(self, workflow_id: str, back: int, *, again: bool) -> None:
        """A job's workflow is as it was `back` moments ago: what it was doing then it begins anew. `again`: it is given
        all that it was given since, in order, and other numbers of chance, as by a reset. Otherwise it knows nothing of
        that, and draws what it drew before, as from a backup."""
        old = self.running[workflow_id]
        past = old.past
        now = max(1, len(past) - back)
        while now < len(past) and past[now].task == past[now - 1].task:
            now += 1
        base = next((n for n in range(now - 1, -1, -1) if isinstance(past[n], Parked)), None)
        if base is None:
            return
        parked = past[base]
        assert isinstance(parked, Parked)
        known = {g.update_id for g in past[:now] if isinstance(g, Given)}
        kept, since = past[base + 1 : now], [g for g in past[now:] if isinstance(g, Given)]
        waiting = [carries for job in old.inbox if (carries := getattr(job, "signals", None))]
        self.close(old, "Terminated", error=TerminatedError("reset"))
        del past[base:]
        ended = {e.activity for e in kept if isinstance(e, Resolved)}
        of_before = [a for a in parked.running if a not in ended]
        events = [e for e in kept if not isinstance(e, Resolved) or e.activity.since is parked]
        replay = Replay(events, [], parked.at, [])
        known_then = [pydantic_core.from_json(parked.snapshot)]
        made = Instance(self, old.id, old.name, known_then, old.queue, replay=replay)
        made.attributes = old.attributes
        made.updates = {id_: outcome for id_, outcome in old.updates.items() if id_ in known and outcome.done()}
        self.running[old.id] = made
        other, made.random_ = made.random_, Random()
        made.random_.setstate(parked.random)
        replay.then += [partial(self.dispatch_anew, made, a) for a in of_before]

        def tell_again() -> None:
            made.random_ = other
            for one in since:
                if one.update_id is None:
                    self.send(made, one.name, one.args)
                else:
                    self.ask(made, one.name, one.args, one.update_id)
            for carries in waiting:
                carries(made)

        if again:
            replay.then.append(tell_again)

    def add_worker(self, worker: Worker) -> None:
        self.workers.append(worker)
        self._move()
        for queue in worker.activities:
            waiting, self.waiting[queue] = self.waiting.get(queue, []), []
            for activity in waiting:
                self._dispatch(activity)

    def changed(self) -> None:
        """A worker was killed, frozen or thawed."""
        self.workers = [w for w in self.workers if w.process.alive]
        self._move()
        if any(w.process.runs for w in self.workers):
            for queue, waiting in list(self.waiting.items()):
                self.waiting[queue] = []
                for activity in waiting:
                    self._dispatch(activity)

    # Workflows ------------------------------------------------------------------------------

    def begin(self, id_: str, name: str, args: list[Any], queue: str, attributes: Any = None) -> Instance:
        made = Instance(self, id_, name, args, queue)
        if attributes is not None:
            made.attributes = {pair.key.name: pair.value for pair in attributes}
        self.running[id_] = made
        return made

    def close(self, instance: Instance, status: str, *, result: Any = None, error: BaseException | None = None) -> None:
        if self.running.get(instance.id) is instance:
            del self.running[instance.id]
        self.closed[instance.id] = instance
        self._end(instance, status, result, error)

    def _end(self, instance: Instance, status: str, result: Any, error: BaseException | None) -> None:
        instance.closed, instance.status = True, status
        for activity in instance.activities:
            activity.closed = True
        for outcome in instance.updates.values():
            if not outcome.done():
                outcome.set_exception(RPCError("workflow execution already completed", RPCStatusCode.NOT_FOUND, b""))
        if not instance.result.done():
            if status == "Completed":
                instance.result.set_result(result)
            else:
                instance.result.set_exception(error or RPCError("not found", RPCStatusCode.NOT_FOUND, b""))
        instance.process.alive = False

    def continue_as_new(self, old: Instance, args: list[Any]) -> None:
        args = [copied(a) for a in args]
        old.closed, old.status, old.process.alive = True, "ContinuedAsNew", False
        for activity in old.activities:
            activity.closed = True
        made = Instance(self, old.id, old.name, args, old.queue, first=old.first_run_id)
        made.attributes = old.attributes
        made.result = old.result
        self.running[old.id] = made
        for job in old.inbox:  # what had not been told yet is told to the new run
            if getattr(job, "carries", None):
                job.carries(made)  # type: ignore[attr-defined]

    def send(self, instance: Instance, name: str, args: list[Any]) -> None:
        """A signal: told to the run that is there when its turn comes."""

        def to(target: Instance) -> None:
            def job() -> None:
                target.signal(name, args)

            job.carries = job.signals = to  # type: ignore[attr-defined]
            target.deliver(job)

        to(instance)

    def ask(self, instance: Instance, name: str, args: list[Any], update_id: str) -> asyncio.Future[Any]:
        """An update: its outcome, the same for the same id, unless it is told `again`."""
        known = instance.updates.get(update_id)
        if known is not None and not (known.done() and known.exception()):
            return known
        outcome: asyncio.Future[Any] = self.loop.create_future()
        outcome.add_done_callback(lambda f: f.cancelled() or f.exception())

        def to(target: Instance) -> None:
            target.updates[update_id] = outcome

            def job() -> None:
                if target.id in self.refuse_tasks:
                    target.deliver(job)  # the workflow task fails, and is tried again
                else:
                    target.update(name, args, update_id, outcome)

            job.carries = to  # type: ignore[attr-defined]
            target.deliver(job)

        to(instance)
        return outcome

    # Activities -----------------------------------------------------------------------------

    def schedule(self, instance: Instance, name: str, args: Any, options: dict[str, Any]) -> Activity:
        self._ids += 1
        policy = options.get("retry_policy") or RetryPolicy()

        def seconds(key: str) -> float | None:
            value: timedelta | None = options.get(key)
            return value.total_seconds() if value else None

        made = Activity(
            id=str(self._ids),
            name=name,
            argument=[copied(a) for a in args],
            queue=options.get("task_queue") or instance.queue,
            instance=instance,
            start_to_close=seconds("start_to_close_timeout"),
            heartbeat=seconds("heartbeat_timeout"),
            policy=policy,
            scheduled_at=self.loop.time(),
            future=self.loop.create_future(),
            result_type=options.get("result_type"),
        )
        instance.activities.add(made)
        instance.asked += 1
        made.since, made.number = instance.parked, instance.asked
        if instance.replay is not None:
            instance.replay.under_way.append(made)
        else:
            self._next_try(made, self.chance.activity())
        return made

    def dispatch_anew(self, instance: Instance, activity: Activity) -> None:
        """An activity of a run that was set back to when it was under way."""
        if activity.instance is not instance:
            activity = replace(
                activity,
                instance=instance,
                future=self.loop.create_future(),
                attempt=0,
                run=None,
                closed=False,
                cancel_requested=False,
            )
            activity.future.add_done_callback(lambda f: f.cancelled() or f.exception())
            instance.activities.add(activity)
        if not activity.closed:
            self._next_try(activity, self.chance.activity())

    def _next_try(self, activity: Activity, wait: float) -> None:
        activity.attempt += 1
        activity.run = None
        activity.attempt_at = self.loop.time() + wait
        self.loop.call_later(wait, self._dispatch, activity, context=NEUTRAL)

    def _dispatch(self, activity: Activity) -> None:
        if activity.closed or activity.run is not None:
            return
        if self.down:
            self._when_back(self._dispatch, activity)
            return
        serving = [w for w in self.workers if w.process.alive and activity.queue in w.activities]
        able = [w for w in serving if w.process.runs or self.chance.frozen_polls()]
        if not able:
            self.waiting.setdefault(activity.queue, []).append(activity)
            return
        worker = self.chance.random.choice(able)
        now = self.loop.time()
        run = ActivityRun(activity, worker, activity.attempt, started_at=now, last_beat=now)
        activity.run = run
        if activity.start_to_close:
            self.loop.call_later(activity.start_to_close, self._too_long, run, context=NEUTRAL)
        if activity.heartbeat:
            self.loop.call_later(activity.heartbeat, self._too_quiet, run, context=NEUTRAL)
        run.task = self.loop.spawn(self._carry_out(run), worker.process)

    def _when_back(self, function: Callable[..., None], *args: Any) -> None:
        async def wait() -> None:
            await self.back.wait()
            function(*args)

        self.loop.spawn(wait(), None)

    def _too_quiet(self, run: ActivityRun) -> None:
        activity = run.activity
        if activity.closed or activity.run is not run:
            return
        assert activity.heartbeat is not None
        if self.down:
            self._when_back(lambda: self.loop.call_later(1.0, self._too_quiet, run, context=NEUTRAL) and None)
            return
        left = run.last_beat + activity.heartbeat - self.loop.time()
        if left > TIMER_SLACK:
            self.loop.call_later(left, self._too_quiet, run, context=NEUTRAL)
        else:
            self._retry(
                activity,
                TimeoutError("activity Heartbeat timeout", type=TimeoutType.HEARTBEAT, last_heartbeat_details=[]),
            )

    def _too_long(self, run: ActivityRun) -> None:
        activity = run.activity
        if activity.closed or activity.run is not run:
            return
        if self.down:
            self._when_back(self._too_long, run)
            return
        self._retry(
            activity,
            TimeoutError("activity StartToClose timeout", type=TimeoutType.START_TO_CLOSE, last_heartbeat_details=[]),
        )

    def _retry(self, activity: Activity, error: BaseException) -> None:
        policy = activity.policy
        final = isinstance(error, ApplicationError) and error.non_retryable
        if (
            activity.cancel_requested
            or final
            or (policy.maximum_attempts and activity.attempt >= policy.maximum_attempts)
        ):
            self._resolve(activity, error=error)
            return
        first = policy.initial_interval.total_seconds()
        most = policy.maximum_interval.total_seconds() if policy.maximum_interval else 100 * first
        self._next_try(activity, min(most, first * policy.backoff_coefficient ** (activity.attempt - 1)))

    def _resolve(self, activity: Activity, *, result: Any = None, error: BaseException | None = None) -> None:
        activity.closed = True
        instance = activity.instance
        instance.activities.discard(activity)
        if instance.closed:
            return

        instance.deliver(lambda: instance.resolve(activity, result, error))

    def request_cancel(self, activity: Activity) -> None:
        activity.cancel_requested = True
        if activity.run is None:
            activity.closed = True

    async def _carry_out(self, run: ActivityRun) -> None:
        """In the worker: run the function, and bring its answer to the server."""
        activity = run.activity
        function = run.worker.activities[activity.queue].get(activity.name)
        if function is None:
            await self._answer(run, error=ApplicationError(f"no activity {activity.name} on this worker"))
            return
        run.context = self._activity_context(run)
        temporalio.activity._Context.set(run.context)
        clock.begins(run.context.info().started_time)  # as `worker.main` has each activity do
        RUN.set(run)
        self._came_to(run, "begins")
        try:
            argument = _arguments(function, activity.argument)
            result = await function(*argument)
        except asyncio.CancelledError:
            await self._answer(run, error=CancelledError("cancelled"))
        except ApplicationError as error:
            await self._answer(run, error=error)
        except Exception as error:
            self.chance.note(f"activity {activity.name} raised {type(error).__name__}: {error}")
            await self._answer(run, error=ApplicationError(str(error), type=type(error).__name__))
        else:
            await self._answer(run, result=result)

    def _came_to(self, run: ActivityRun, edge: str) -> None:
        if self.on_activity is not None:
            self.on_activity(run, edge)

    def _activity_context(self, run: ActivityRun) -> Any:
        activity, loop = run.activity, self.loop

        def moment(at: float) -> datetime:
            return datetime.fromtimestamp(EPOCH + at + self.process.offset, UTC)

        info = temporalio.activity.Info(
            activity_id=activity.id,
            activity_type=activity.name,
            attempt=run.attempt,
            current_attempt_scheduled_time=moment(activity.attempt_at),
            heartbeat_details=[],
            heartbeat_timeout=timedelta(seconds=activity.heartbeat) if activity.heartbeat else None,
            is_local=False,
            namespace="default",
            schedule_to_close_timeout=None,
            scheduled_time=moment(activity.scheduled_at),
            start_to_close_timeout=timedelta(seconds=activity.start_to_close) if activity.start_to_close else None,
            started_time=moment(run.started_at),
            task_queue=activity.queue,
            task_token=b"",
            workflow_id=activity.instance.id,
            workflow_namespace="default",
            workflow_run_id=activity.instance.run_id,
            workflow_type=activity.instance.name,
            priority=temporalio.common.Priority.default,
            retry_policy=activity.policy,
            activity_run_id=None,
        )

        def beat(*details: Any) -> None:
            now = loop.time()
            if activity.heartbeat and now - run.last_sent < self.throttle(activity):
                return
            run.last_sent = now
            loop.call_later(self.chance.rpc(), self._heartbeat, run, context=NEUTRAL)

        return temporalio.activity._Context(
            info=lambda: info,
            heartbeat=beat,
            cancelled_event=_Event(),
            worker_shutdown_event=_Event(),
            shield_thread_cancel_exception=None,
            payload_converter_class_or_instance=temporalio.converter.DataConverter.default.payload_converter,
            runtime_metric_meter=temporalio.common.MetricMeter.noop,
            client=None,
            cancellation_details=temporalio.activity._ActivityCancellationDetailsHolder(),
        )

    def throttle(self, activity: Activity) -> float:
        """Seconds between two heartbeats that are sent."""
        assert activity.heartbeat is not None
        most = 60.0 if activity.queue.endswith("-watch") else HEARTBEAT_THROTTLE.total_seconds()
        return min(0.8 * activity.heartbeat, most)

    def _heartbeat(self, run: ActivityRun) -> None:
        if self.down:
            return
        activity = run.activity
        if activity.closed or activity.run is not run or activity.cancel_requested:
            if run.task is not None and not run.task.done():
                if activity.cancel_requested and run.context is not None:
                    details = temporalio.activity.ActivityCancellationDetails(cancel_requested=True)
                    run.context.cancellation_details.details = details
                context = NEUTRAL.copy()
                context.run(PROCESS.set, run.worker.process)
                self.loop.call_later(self.chance.rpc(), run.task.cancel, context=context)
            return
        run.last_beat = self.loop.time()

    async def _answer(self, run: ActivityRun, *, result: Any = None, error: BaseException | None = None) -> None:
        self._came_to(run, "ends")
        await asyncio.sleep(self.chance.rpc())
        while self.down:
            await self.back.wait()
            await asyncio.sleep(self.chance.rpc())
        activity = run.activity
        if activity.closed or activity.run is not run:
            return
        if error is None:
            self._resolve(activity, result=result)
        elif isinstance(error, CancelledError):
            self._resolve(activity, error=error) if activity.cancel_requested else self._retry(activity, error)
        else:
            self._retry(activity, error)

    # Schedules ------------------------------------------------------------------------------

    def run_schedule(self, id_: str, schedule: Any, *, now: bool) -> None:
        every = schedule.spec.intervals[0].every.total_seconds()

        def fire() -> None:
            if self.schedules.get(id_) is not schedule:
                return
            if not self.down:
                action = schedule.action
                previous = getattr(schedule, "simulated_last", None)
                if previous is None or previous.closed:
                    schedule.simulated_last = self.begin(
                        f"{action.id}-{self.now():%Y-%m-%dT%H:%M:%SZ}",
                        action.workflow,
                        list(action.args),
                        action.task_queue,
                    )
            self.loop.call_later(every, fire, context=NEUTRAL)

        self.schedules[id_] = schedule
        self.loop.call_later(0.01 if now else every, fire, context=NEUTRAL)


def come_to(edge: str) -> None:
    """The activity that runs has come so far. Anything else that does is left out."""
    run = RUN.get()
    if run is not None:
        run.activity.instance.server._came_to(run, edge)


class _Event:
    """The events of an activity's context, without a thread."""

    def is_set(self) -> bool:
        return False

    def set(self) -> None:
        pass

    async def wait(self) -> None:
        await asyncio.Event().wait()

    def wait_sync(self, timeout: float | None = None) -> None:
        pass


# The client -------------------------------------------------------------------------------------

_AWAY = "tcp connect error: Connection refused"
_TYPE = re.compile(r"WorkflowType\s*=\s*'([^']*)'")
_PREFIX = re.compile(r"WorkflowId\s+STARTS_WITH\s+'([^']*)'", re.IGNORECASE)
_EQUAL = re.compile(r"(\w+)\s*=\s*'([^']*)'")


@dataclass
class SimClient:
    """What `services.client` is given. Requests take a while, may be lost on the way, and so may their answers."""

    server: Temporal
    namespace: str = "default"
    rpc_patience: float = 10.0
    operator_service: Any = field(init=False)
    service_client: Any = field(init=False)

    def __post_init__(self) -> None:
        self.operator_service = _Operator(self)

        async def check_health() -> bool:
            return bool(await self.call("health", lambda: True))

        self.service_client = SimpleNamespace(check_health=check_health)

    async def call(self, what: str, function: Callable[[], Any], *, timeout: float | None = None) -> Any:
        """Bring a request to the server, and its answer back. Raises `RPCError` when one of them was lost."""
        server, loop, chance = self.server, self.server.loop, self.server.chance
        patience = timeout or self.rpc_patience
        deadline = loop.time() + patience
        future: asyncio.Future[Any] = loop.create_future()
        future.add_done_callback(lambda f: f.cancelled() or f.exception())
        lost, unanswered = chance.rpc_lost(what)

        def answer(value: Any = None, error: BaseException | None = None) -> None:
            def tell() -> None:
                if not future.done():
                    future.set_exception(error) if error is not None else future.set_result(value)

            if not unanswered:
                loop.call_later(chance.rpc(), tell, context=NEUTRAL)

        def arrive() -> None:
            if server.down:
                left = deadline - loop.time()
                if left > 1.0:
                    loop.call_later(1.0, arrive, context=NEUTRAL)
                else:
                    answer(error=RPCError(_AWAY, RPCStatusCode.UNAVAILABLE, b""))
                return
            try:
                value = function()
            except Exception as error:
                answer(error=error)
                return
            if isinstance(value, asyncio.Future):
                value.add_done_callback(
                    lambda f: answer(error=f.exception()) if f.exception() else answer(f.result()), context=NEUTRAL
                )
            else:
                answer(value)

        if not lost:
            loop.call_later(chance.rpc(), arrive, context=NEUTRAL)
        try:
            if what == "update" and timeout is None and not (lost or unanswered):
                return await future  # the SDK asks until there is an outcome
            async with asyncio.timeout(patience):
                return await future
        except builtin_timeout as error:
            if what == "update":
                raise WorkflowUpdateRPCTimeoutOrCancelledError() from error
            raise RPCError("Timeout expired", RPCStatusCode.DEADLINE_EXCEEDED, b"") from error

    def _start(self, name: str, args: list[Any], id_: str, queue: str, policy: Any, attributes: Any) -> Instance:
        server = self.server
        known = server.running.get(id_)
        if known is not None:
            if policy is WorkflowIDConflictPolicy.USE_EXISTING:
                return known
            if policy is WorkflowIDConflictPolicy.TERMINATE_EXISTING:
                server.lose(id_)
            else:
                raise WorkflowAlreadyStartedError(id_, name)
        return server.begin(id_, name, args, queue, attributes)

    async def start_workflow(
        self, workflow: Any, arg: Any = None, *, id: str, task_queue: str, **more: Any
    ) -> SimHandle:
        name = (
            workflow if isinstance(workflow, str) else temporalio.workflow._Definition.must_from_run_fn(workflow).name
        )
        args = [] if arg is None else [copied(arg)]
        signal, told = more.get("start_signal"), [copied(a) for a in more.get("start_signal_args") or []]

        def go() -> Instance:
            instance = self._start(
                name, args, id, task_queue, more.get("id_conflict_policy"), more.get("search_attributes")
            )
            if signal is not None:
                self.server.send(instance, signal, told)
            return instance

        made = await self.call("start", go)
        return SimHandle(self, id, made, more.get("result_type"))

    async def execute_workflow(self, workflow: Any, arg: Any = None, **more: Any) -> Any:
        handle = await self.start_workflow(workflow, arg, **more)
        return await handle.result()

    async def execute_update_with_start_workflow(
        self,
        update: str,
        arg: Any = None,
        *,
        start_workflow_operation: Any,
        id: str | None = None,
        rpc_timeout: Any = None,
        **_: Any,
    ) -> Any:
        start = start_workflow_operation._start_workflow_input
        args = [copied(a) for a in start.args]
        argument = [] if arg is None else [copied(arg)]

        def go() -> Any:
            instance = self._start(
                start.workflow, args, start.id, start.task_queue, start.id_conflict_policy, start.search_attributes
            )
            return self.server.ask(instance, update, argument, id or str(self.server.uuid()))

        return await self.call("update", go, timeout=rpc_timeout.total_seconds() if rpc_timeout else None)

    def get_workflow_handle(self, id_: str, **_: Any) -> SimHandle:
        return SimHandle(self, id_, None, None)

    def _found(self, query: str) -> list[Instance]:
        type_, prefix = _TYPE.search(query), _PREFIX.search(query)
        others = [
            (k, v) for k, v in _EQUAL.findall(query) if k not in ("WorkflowType", "ExecutionStatus", "WorkflowId")
        ]
        seen = self.server.loop.time() - self.server.chance.visibility_lag
        return [
            i
            for i in self.server.running.values()
            if (type_ is None or i.name == type_.group(1))
            and (prefix is None or i.id.startswith(prefix.group(1)))
            and all((i.queue if k == "TaskQueue" else str(i.attributes.get(k))) == v for k, v in others)
            and i.started_at <= seen
        ]

    async def list_workflows(self, query: str = "", **_: Any) -> AsyncIterator[Any]:
        for instance in await self.call("list", lambda: self._found(query)):
            yield instance

    async def count_workflows(self, query: str = "", **_: Any) -> Any:
        return await self.call("count", lambda: SimpleNamespace(count=len(self._found(query))))

    async def create_schedule(self, id_: str, schedule: Any, *, trigger_immediately: bool = False, **_: Any) -> None:
        def go() -> None:
            if id_ in self.server.schedules:
                raise ScheduleAlreadyRunningError
            self.server.run_schedule(id_, schedule, now=trigger_immediately)

        await self.call("schedule", go)

    def get_schedule_handle(self, id_: str) -> Any:
        async def describe() -> Any:
            def go() -> Any:
                if id_ not in self.server.schedules:
                    raise RPCError("no such schedule", RPCStatusCode.NOT_FOUND, b"")
                return SimpleNamespace(schedule=self.server.schedules[id_])

            return await self.call("schedule", go)

        async def delete() -> None:
            await self.call("schedule", lambda: self.server.schedules.pop(id_, None))

        return SimpleNamespace(id=id_, describe=describe, delete=delete)


builtin_timeout = __builtins__["TimeoutError"] if isinstance(__builtins__, dict) else __builtins__.TimeoutError


@dataclass
class SimHandle:
    client: SimClient
    id: str
    instance: Instance | None
    result_type: Any

    @property
    def first_execution_run_id(self) -> str | None:
        return self.instance.first_run_id if self.instance is not None else None

    def _instance(self) -> Instance:
        found = self.client.server.running.get(self.id)
        if found is None:
            raise RPCError("workflow not found for ID", RPCStatusCode.NOT_FOUND, b"")
        return found

    async def signal(self, name: str, arg: Any = None, **_: Any) -> None:
        args = [] if arg is None else [copied(arg)]
        await self.client.call("signal", lambda: self.client.server.send(self._instance(), name, args))

    async def execute_update(
        self, name: str, arg: Any = None, *, id: str | None = None, rpc_timeout: Any = None, **_: Any
    ) -> Any:
        args = [] if arg is None else [copied(arg)]
        update_id = id or str(uuid.uuid4())
        return await self.client.call(
            "update",
            lambda: self.client.server.ask(self._instance(), name, args, update_id),
            timeout=rpc_timeout.total_seconds() if rpc_timeout else None,
        )

    async def cancel(self, **_: Any) -> None:
        def go() -> None:
            instance = self._instance()
            instance.deliver(lambda: instance.main and instance.main.cancel() and None)

        await self.client.call("cancel", go)

    async def terminate(self, **_: Any) -> None:
        await self.client.call("terminate", lambda: self.client.server.lose(self._instance().id))

    async def describe(self, **_: Any) -> Any:
        def go() -> Any:
            found = self.client.server.running.get(self.id) or self.client.server.closed.get(self.id)
            if found is None:
                raise RPCError("workflow not found for ID", RPCStatusCode.NOT_FOUND, b"")
            return SimpleNamespace(run_id=found.run_id, id=found.id, status=found.status)

        return await self.client.call("describe", go)

    async def query(self, name: str, *, result_type: Any = None, **_: Any) -> Any:
        def go() -> Any:
            instance = self._instance()
            return copied(instance.definition.queries[name].fn(instance.object), result_type)

        return await self.client.call("query", go)

    async def result(self, **_: Any) -> Any:
        server = self.client.server
        instance = self.instance or self._instance()
        try:
            value = await asyncio.shield(instance.result)
        except RPCError:
            raise
        except (FailureError, asyncio.CancelledError) as error:
            if not instance.result.done():
                raise
            raise WorkflowFailureError(cause=error) from error
        await asyncio.sleep(server.chance.rpc())
        return copied(value, self.result_type)


@dataclass
class _Operator:
    client: SimClient

    async def list_search_attributes(self, request: Any) -> Any:
        return await self.client.call(
            "operator", lambda: SimpleNamespace(custom_attributes=sorted(self.client.server.attributes))
        )

    async def add_search_attributes(self, request: Any) -> None:
        await self.client.call("operator", lambda: self.client.server.attributes.update(request.search_attributes))
