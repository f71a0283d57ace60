"""How an attempt ends, and what its end means for the job. Every rule that is one is in `core`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from temporalio import workflow

from activities import contracts as c
from core.jobs import blocked
from core.jobs.condition import NO_SAVEPOINT_NEEDED, given_up, is_hopeless
from core.jobs.observations import ENDED, FINAL, EngineState, Intent, Observation, Trouble, alive, attempt_state, ended
from core.jobs.policy import AfterRestore, GiveUp, after_restore, decide
from core.jobs.restore import Basis, Missing, RestorePoint, RestoreRequest, choose
from core.jobs.snapshot import StopSnapshot, savepoint_directory
from core.jobs.states import AttemptState, CommandKind, JobState
from workflows import calls
from workflows.book import Book

SHORT = 240
LOOK_AGAIN = timedelta(seconds=60)


class Failed(Exception):
    """The command has failed. The job's state has been set already."""

    def __init__(self, message: str, code: str):
        super().__init__(message)
        self.message = message
        self.code = code


class Interrupted(Exception):
    """A kill has come in at a step that may be left."""


class Ending:
    """What is common to all steps, and how attempts are stopped and seen to end."""

    def __init__(self, book: Book):
        self.book = book
        self.interruptible = False

    @contextmanager
    def _may_leave(self) -> Iterator[None]:
        """A step that a kill may interrupt: nothing is half done when it is left."""
        if any(q.kind is CommandKind.KILL for q in self.book.s.queue):
            raise Interrupted
        self.book.flush()
        self.interruptible = True
        try:
            yield
        finally:
            self.interruptible = False

    def _in(self) -> c.AttemptIn:
        attempt = self.book.s.attempt
        assert attempt is not None
        command = self.book.command
        return c.AttemptIn(
            job_id=self.book.s.job_id,
            number=attempt.number,
            command_id=command.id if command else None,
            leader=attempt.leader,
        )

    def _live(self) -> bool:
        attempt = self.book.s.attempt
        return attempt is not None and not attempt.ended

    def since(self, generation: int) -> bool:
        """Whether this run does what is done since that generation; an earlier one did not, and is replayed so."""
        return self.book.s.generation >= generation

    def _asked_at(self, sequence: int) -> None:
        """Note when the cluster was asked. A worker whose clock was set ahead has seen nothing of the future: were that
        believed, nothing that is told until then would count."""
        if self.since(1):
            sequence = min(sequence, int(workflow.now().timestamp() * 1000))
        self.book.s.sequence = max(self.book.s.sequence, sequence)

    def _is_unresolved(self) -> bool:
        attempt = self.book.s.attempt
        return attempt is not None and not attempt.ended and attempt.unresolved

    async def _resolve(self, *, going_on: bool = False) -> bool:
        """The attempt was perhaps sent. True when it has ended, because its id is spent or because it was seen to;
        False when it is alive after all, and is followed. Raises `Failed` when it cannot be told."""
        book, s = self.book, self.book.s
        assert s.attempt is not None
        with self._may_leave():
            spent = await calls.fence(self._in())
        if spent.observation is None and not spent.fenced:
            if s.state is JobState.DEPLOYING:
                why = spent.error or "no clear answer"
                book.block(blocked.submission_unclear(s.attempt.number, s.attempt.flink_job_id, why))
                await book.write("blocked")
            raise Failed(spent.error or "It cannot be told whether it was submitted.", "submission_unresolved")
        s.attempt.unresolved = False
        if spent.observation is not None:
            if spent.observation.state not in ENDED:
                await self.observe(spent.observation)
                return False
            await self._end(spent.observation.state, going_on=going_on)
        elif spent.ran:
            s.attempt.leader = "lost"  # whoever took it, it is not the one that answers now
            await self._end(EngineState.MISSING, going_on=going_on)
        else:
            s.attempt.ended, s.stop = True, None
            why = "it was given up before it reached the cluster: its id is spent, so that it never can"
            book.note("attempt", f"attempt {s.attempt.number} never ran: {why}")
            changes = book.attempt_change(AttemptState.NOT_SUBMITTED, why)
            await book.write(f"attempt {s.attempt.number} never ran", attempts=changes)
        return True

    def _touched(self) -> None:
        s = self.book.s
        s.lineage = s.lineage.model_copy(update={"untouched": False})

    def _has_savepoint(self, point: RestorePoint) -> None:
        self._touched()
        self.book.s.retain_due = True
        self.book.note("savepoint", f"savepoint {point.path}", path=point.path)

    def _new_trigger(self) -> tuple[str, str]:
        s = self.book.s
        assert s.attempt is not None
        trigger = workflow.uuid4().hex
        return trigger, savepoint_directory(s.state_dir, s.job_id, s.attempt.number, trigger)

    async def _stop(self, intent: Intent) -> str | None:
        """Stop with savepoint; afterwards the attempt has been seen to end, or `Failed` is raised. Returns
        the path of the savepoint."""
        book, s = self.book, self.book.s
        trigger, directory = self._new_trigger()
        s.stop = StopSnapshot(intent=intent, trigger_id=trigger, directory=directory)
        wanted = c.TriggerIn(**self._in().model_dump(), trigger_id=trigger, directory=directory)
        with self._may_leave():
            stopped = await calls.stop(wanted)
        self._asked_at(stopped.sequence)
        if self.since(1):
            s.stop.at = workflow.now()
        points = [stopped.savepoint] if stopped.savepoint else []
        if points:
            self._has_savepoint(points[0])
        if stopped.state is None:
            # What was asked for stays known: when the cluster answers again, its end is understood.
            self._look_soon()
            await book.write("stop unclear", points=points)
            raise Failed(stopped.error or "It cannot be told whether it was stopped.", stopped.code or "stop_unclear")
        if stopped.state not in ENDED:
            s.stop = None
            await book.write("not stopped", points=points)
            error = f"{stopped.error or 'It was not stopped and runs on.'} {NO_SAVEPOINT_NEEDED}"
            raise Failed(error, stopped.code or "not_stopped")
        await self._end(stopped.state, savepoint=points[0].path if points else None, points=points)
        if intent is Intent.REPLACE and s.state is not JobState.PAUSED:
            raise Failed(f"It was not stopped by us, so it is not started again: {s.reason}", "ended_otherwise")
        return points[0].path if points else None

    async def _cancel(self, intent: Intent) -> None:
        s = self.book.s
        if self._is_unresolved() and await self._resolve(going_on=True):
            return
        s.stop = StopSnapshot(intent=Intent.KILL, at=workflow.now())
        self.book.flush()
        stopped = await calls.cancel(self._in())
        if stopped.state is None:
            self._look_soon()
            raise Failed(
                stopped.error or "It cannot be told whether it was cancelled.", stopped.code or "cancel_unclear"
            )
        self._asked_at(stopped.sequence)
        await self._end(stopped.state, going_on=intent is Intent.REPLACE)

    def _look_soon(self) -> None:
        """The job may go on as if nothing had been asked of it, and then nobody has anything new to tell of it."""
        if self.since(1):
            self.book.s.check_at = workflow.now() + LOOK_AGAIN

    def stop_is_open(self) -> bool:
        """Whether it is not known what became of a stop or a cancel."""
        stop = self.book.s.stop
        return self.since(1) and stop is not None and not stop.withdrawn

    async def _end(
        self,
        state: EngineState,
        *,
        savepoint: str | None = None,
        points: list[RestorePoint] | None = None,
        going_on: bool = False,
    ) -> None:
        """The attempt has been seen in a final state: what that means for the job.

        `going_on`: a successor is being started, so the job's state and policy are left alone.
        """
        book, s = self.book, self.book.s
        assert s.attempt is not None
        stop = s.stop
        why = c.Diagnosis(untouched=False, savepoint=savepoint)
        if savepoint is None:
            where = stop.directory if stop else None
            why = await calls.diagnose(c.DiagnoseIn(**self._in().model_dump(), savepoint_directory=where, state=state))
        intent = stop.intent if stop and not stop.withdrawn else None
        if why.undecided and intent is not Intent.KILL and not going_on:
            words = f"the cluster does not know it, and cannot be asked why: {why.undecided}"
            book.set(s.state, words)
            await book.write("end undecided")
            raise Failed(f"Attempt {s.attempt.number}: {words}. Nothing was started.", "cluster_unreachable")
        if not why.untouched:
            self._touched()
        cause = stop.why if stop and stop.why else why.cause
        kept = None if stop and stop.withdrawn and state is EngineState.MISSING else why.savepoint
        ending = ended(state, intent, savepoint=kept, cause=cause, lost=why.lost, stateless=s.stateless)
        trouble = stop.trouble if stop and stop.trouble else why.trouble
        s.attempt.ended, s.stop = True, None
        if ending.job in (JobState.KILLED, JobState.FINISHED):
            s.basis = Basis.DECIDE
        book.note("attempt", f"attempt {s.attempt.number} ended {ending.attempt.value}: {ending.why}")
        changes = book.attempt_change(ending.attempt, ending.why)
        number, flink_job_id = s.attempt.number, s.attempt.flink_job_id
        if going_on:
            pass
        elif state is EngineState.MISSING and why.unread and intent is Intent.PAUSE:
            book.block(blocked.savepoint_unknown(number, stop.directory if stop else None, why.unread))
        elif ending.job is JobState.PAUSED and (gone := self._nothing_to_go_on_from(kept, why)):
            book.block(blocked.lost_without_a_point(number, gone, why.points))
        elif ending.unseen:
            book.block(blocked.end_not_seen(number, flink_job_id, why.points, ha=why.ha))
        elif ending.restartable:
            self._by_policy(ending.why, trouble, why.points, stable=not (stop and stop.unstable))
        else:
            book.set(ending.job, ending.why)
        await book.write(f"attempt {number} {ending.attempt.value}", attempts=changes, points=points or [])

    def _nothing_to_go_on_from(self, savepoint: str | None, why: c.Diagnosis) -> str | None:
        """Why a start could not go on from where a job is to be paused; None when it can."""
        if savepoint is not None or self.book.s.stateless:
            return None
        found = choose(RestoreRequest(mode="newest"), why.points, self.book.s.lineage, asked=False)
        return found.why if isinstance(found, Missing) else None

    def _by_policy(
        self, why: str, trouble: Trouble | None = None, points: Sequence[RestorePoint] = (), *, stable: bool = True
    ) -> None:
        """After a failure: wait for a restart, or give up, or park. Unless `stable` its running forgives nothing."""
        book, s = self.book, self.book.s
        if self._restore_is_hopeless(why, trouble, points):
            return
        since = s.attempt.running_since if s.attempt and stable else None
        verdict = decide(s.policy, s.restarts, workflow.now(), running_since=since, random=workflow.random().random())
        if isinstance(verdict, GiveUp):
            s.restart_at = None
            book.set(JobState.FAILED, f"{why} ({verdict.why})")
            book.note("alert", f"the job failed for good: {verdict.why}", cause=why)
            return
        if verdict.number == 1:
            s.restarts = []
        s.restart_at = verdict.at
        book.set(JobState.RESTARTING, why)
        book.note(
            "restart",
            f"restart {verdict.number} of {s.policy.max_restarts} at {verdict.at:%H:%M:%S} UTC, after: {_short(why)}",
            cause=why,
            at=verdict.at.isoformat(),
        )

    def _restore_is_hopeless(self, why: str, trouble: Trouble | None, points: Sequence[RestorePoint]) -> bool:
        """Count a failure to restore; True when the job has been parked for it."""
        book, s = self.book, self.book.s
        path = s.attempt.restored_from if s.attempt else None
        if trouble is Trouble.OVERRIDDEN:
            s.restart_at = None
            book.block(blocked.overridden(why))
            return True
        if trouble is None or path is None or s.attempt is None:
            return False
        failures = s.failed_restores.get(path, 0) + 1
        s.failed_restores = {**s.failed_restores, path: failures}
        verdict = after_restore(s.policy, trouble, failures)
        if verdict is AfterRestore.BLOCK:
            s.restart_at = None
            if trouble is Trouble.UNMAPPABLE:
                book.block(blocked.does_not_map(path, why, s.attempt.version, s.attempt.before))
            else:
                book.block(blocked.restore_fails(path, failures, why, points))
            return True
        if verdict is AfterRestore.FALL_BACK:
            s.unusable = [*s.unusable, path]
            book.note("restart", f"{path} could not be restored {failures} times: going back to the point before it")
        return False

    async def observe_signal(self, seen: Observation) -> None:
        """What the watch has told. That a job is missing is believed after a second question only."""
        if seen.state is EngineState.MISSING and self._is_unresolved():
            return  # it may still be on its way: that is for who decides what becomes of it
        if self._may_be_of_an_earlier_run(seen) and self.since(1):
            there = (await calls.look(self._in())).observation
            if there is None or (there.state is EngineState.MISSING and self._is_unresolved()):
                return  # it is told again for as long as it is so
            if there.state is not EngineState.MISSING:
                seen = there
        elif seen.state is EngineState.MISSING:
            self.book.set(
                self.book.s.state, "the cluster does not know it; waiting until it is certain that nothing of it runs"
            )
            self.book.soon("missing?")
            asked = await calls.look(self._in())
            if asked.observation is None:
                if asked.why and self.since(1):
                    self.book.set(self.book.s.state, asked.why)
                    await self.book.write("unknown")
                return
            seen = asked.observation
        await self.observe(seen)

    def _may_be_of_an_earlier_run(self, seen: Observation) -> bool:
        """An id whose send had no answer is sent again; where a JobManager without high availability took the first
        one, let it fail and died, the next one takes it anew. What was told of that end is true, and says nothing of
        the run that is there now (`docs/decisions/0020-a-model-of-the-fence.md`)."""
        return seen.state in FINAL and (seen.sequence <= self.book.s.sequence or self._is_unresolved())

    async def observe(self, seen: Observation) -> None:
        """An observation that is not stale: about the current attempt, newer than what is known."""
        book, s = self.book, self.book.s
        assert s.attempt is not None
        self._asked_at(seen.sequence)
        if seen.state is not EngineState.MISSING:
            s.attempt.unresolved = False
        hopeless = s.state in (JobState.RUNNING, JobState.DEPLOYED) and is_hopeless(
            seen.restarts, s.policy.max_engine_restarts
        )
        if hopeless and seen.state not in ENDED and self.since(1):
            await self._give_up(given_up(seen.restarts or 0, seen.failure))
            return
        if seen.state in ENDED:
            await self._end(seen.state)
            return
        runs_on = seen.state is EngineState.RUNNING and self._stop_was_lost(seen)
        state, reason = alive(s.state, seen)
        if s.state is state and s.reason == reason and not runs_on:
            return
        running = state is JobState.RUNNING and s.attempt.running_since is None
        if running:
            s.attempt.running_since = workflow.now()
        s.basis = Basis.NEWEST
        book.set(state, reason)
        await book.write(
            f"attempt {seen.attempt} {seen.state.value}",
            attempts=book.attempt_change(attempt_state(seen.state), running=running),
        )

    async def _give_up(self, why: str) -> None:
        """Its engine would restart it for ever: that is a failure, and the restart policy answers it. A cancel keeps
        the checkpoints, and it has completed none that it could go on from by itself."""
        book, s = self.book, self.book.s
        s.stop = StopSnapshot(intent=Intent.ABANDON, why=why, at=workflow.now(), unstable=True)
        book.note("attempt", f"{why}; it is ended, and the restart policy goes on")
        book.flush()
        stopped = await calls.cancel(self._in())
        if stopped.state is None:
            book.set(s.state, f"{why}; it cannot be told whether it was cancelled")
            await book.write("not ended")
            return
        self._asked_at(stopped.sequence)
        await self._end(stopped.state)

    def _stop_was_lost(self, seen: Observation) -> bool:
        """A cancel or a stop whose outcome was unclear did not arrive: a later end has other causes than it. Only a
        stop may still do its work, which its savepoint tells."""
        s = self.book.s
        if s.stop is None or s.stop.withdrawn or s.stop.at is None:
            return False
        if seen.sequence <= s.stop.at.timestamp() * 1000:
            return False
        if s.stop.directory is not None:
            self.book.note("attempt", f"attempt {seen.attempt} was to be stopped, and runs on: the stop is forgotten")
            s.stop.withdrawn = True
            return True
        self.book.note("attempt", f"attempt {seen.attempt} was to be cancelled, and runs on: the cancel did not arrive")
        s.stop = None
        return True


def _short(why: str) -> str:
    first = why.splitlines()[0] if why else ""
    return first if len(first) <= SHORT else first[: SHORT - 1] + "…"
