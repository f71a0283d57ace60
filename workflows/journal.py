"""The journal of a job's workflow: its snapshot, and the one way in which a change of it is written down."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from temporalio import workflow
from temporalio.common import SearchAttributeKey

from core import search
from core.jobs.blocked import Blocked, without_state
from core.jobs.commands import CommandRequest
from core.jobs.records import AttemptChange, CommandChange, JobChange, NewEvent, NewPoint, Record
from core.jobs.restore import RestorePoint
from core.jobs.snapshot import JobSnapshot, known_to
from core.jobs.states import COMMAND_ENDED, AttemptState, CommandState, JobState
from workflows import calls

WAS_SET_BACK = (
    "The workflow of this job was set back (reset, or Temporal was restored from a backup), and goes on from what the "
    "database has"
)
_STATE = SearchAttributeKey.for_keyword(search.STATE)


class CommandEnd(NamedTuple):
    """What a record says of the command that is being carried out."""

    state: CommandState
    error: str | None = None
    code: str | None = None


class Journal:
    """Keeps a job's snapshot, and writes down what has changed of it: one record a step, in order."""

    def __init__(self, snapshot: JobSnapshot):
        self.snapshot = snapshot
        self.command: CommandRequest | None = None
        self._events: list[NewEvent] = []
        self._attempts: list[AttemptChange] = []
        # A job's workflow is begun with the search attribute of its state; what becomes of a later one that continues
        # as new is not looked into.
        is_new = snapshot.generation >= 2 and snapshot.state is JobState.CREATED
        self._displayed: str | None = snapshot.state.value if is_new else None
        self._begun = False
        self._writing: set[asyncio.Task[None]] = set()
        self.newer: JobSnapshot | None = None
        """What the database has of the job, where this workflow is behind it: it was set back."""

    def note(self, kind: str, message: str, **data: Any) -> None:
        """A line for the timeline, written with the next record."""
        self._events.append(
            NewEvent(
                key=f"{self.snapshot.job_id}/{workflow.uuid4().hex}",
                at=workflow.now(),
                kind=kind,
                message=message,
                attempt=self.snapshot.attempt.number if self.snapshot.attempt else None,
                command=self.command.number if self.command else None,
                data=data,
            )
        )

    def begin(self, command: CommandRequest) -> None:
        """A command is being carried out: said with the next record, or by `flush`."""
        self.command = self.snapshot.command = command
        self._begun = True
        why = f": {command.reason}" if command.reason else ""
        message = f"{command.kind.value} (command {command.number}), requested by {command.requested_by}{why}"
        self.note("command", message, requested_by=command.requested_by)

    def flush(self) -> None:
        """Before a step that may take long: write down what has not been written yet."""
        if self.has_unwritten():
            self.write_in_background(f"{self.command.kind.value} goes on" if self.command else "goes on")

    def has_unwritten(self) -> bool:
        """Whether something is to be said with the next record."""
        return bool(self._begun or self._events or self._attempts)

    def owe(self, changes: list[AttemptChange]) -> None:
        """What is to be said of the current attempt with the next record, in the place of what was owed before."""
        self._attempts = changes

    async def write_owed(self, summary: str) -> None:
        """Write down what has not been written yet, if there is anything."""
        if self.has_unwritten():
            await self.write(summary)

    def set_state(self, state: JobState, reason: str = "") -> None:
        """The job is in `state` from now on, for `reason`. A change is a line of the timeline."""
        if state is not self.snapshot.state:
            self.note("state", f"{self.snapshot.state.value} → {state.value}" + (f": {reason}" if reason else ""))
        self.snapshot.state, self.snapshot.reason, self.snapshot.blocked = state, reason, None

    def block(self, blocked: Blocked) -> None:
        """Park the job: with the reason, the evidence and the next safe actions."""
        self.set_state(JobState.BLOCKED, blocked.why)
        if self.snapshot.stateless:
            blocked = without_state(blocked)
        self.snapshot.blocked = blocked
        self.note(
            "alert", f"blocked: {blocked.why}", code=blocked.code, evidence=blocked.evidence, actions=blocked.actions
        )

    def attempt_change(
        self, state: AttemptState, why: str | None = None, *, running: bool = False
    ) -> list[AttemptChange]:
        """What a record says of the current attempt: its state, `why` it ended, that it is `running` since now."""
        attempt = self.snapshot.attempt
        if attempt is None:
            return []
        return [AttemptChange(number=attempt.number, state=state, at=workflow.now(), why=why, running=running)]

    def record(
        self,
        *,
        command: CommandEnd | None = None,
        attempts: list[AttemptChange] | None = None,
        points: list[RestorePoint] | None = None,
        pin: str | None = None,
    ) -> Record:
        """The record of what has changed since the last one, with what is said of the command, of attempts, of restore
        points that have completed; `pin` is the path of the one in use from now on, "" for none."""
        s = self.snapshot
        s.revision += 1
        if command is None and self._begun:
            command = CommandEnd(CommandState.RUNNING)
        self._begun = False
        ended = command is not None and command.state in COMMAND_ENDED
        if ended:
            s.command = s.ended_for = None
        changes = []
        if command is not None and self.command is not None:
            changes = [
                CommandChange(
                    id=self.command.id,
                    state=command.state,
                    at=workflow.now(),
                    error=command.error,
                    error_code=command.code,
                    attempt=s.attempt.number if s.attempt else None,
                )
            ]
        events, self._events = self._events, []
        owed, self._attempts = self._attempts, []
        return Record(
            job_id=s.job_id,
            job=JobChange(
                revision=s.revision,
                state=s.state,
                reason=s.reason,
                version=s.version,
                current_attempt=s.attempt.number if s.attempt else None,
                busy=self.command.kind.value if self.command and not ended else None,
                restart_at=s.restart_at,
                actions=s.blocked.actions if s.blocked else [],
                snapshot=s.model_dump(mode="json"),
            ),
            commands=changes,
            attempts=[*owed, *(attempts or [])],
            events=events,
            points=[NewPoint(**p.model_dump(exclude={"id"})) for p in points or []],
            pin=pin,
        )

    async def write(self, summary: str, **changes: Any) -> None:
        """Write down all that has changed since the last record; `changes` are arguments of `record`."""
        record = self.record(**changes)
        self.display()
        await self.send_in_turn(record, summary)

    async def send_in_turn(self, record: Record, summary: str) -> None:
        """Have a record written down behind those before it, unless one of them has shown that this workflow was set
        back: of what it says then nothing is kept."""
        if not await self.is_set_back():
            await self.send(record, summary)

    async def is_set_back(self) -> bool:
        """Whether the database has newer records than those of this workflow, as far as its own have been answered."""
        if workflow.patched("one-record-after-the-other"):
            await self.written()
        return self.newer is not None

    async def send(self, record: Record, summary: str) -> None:
        """Have a record written down."""
        recorded = await calls.record(record, summary)
        if recorded is None or record.job is None:
            return
        # A newer one of this run's own is no news.
        if recorded.newer.revision > self.snapshot.revision or recorded.newer.revision == record.job.revision:
            self.newer = recorded.newer

    def write_in_background(self, summary: str, **changes: Any) -> None:
        """Like `write`, but the work does not wait for it. Revisions keep the order right."""
        record = self.record(**changes)
        self.display()
        if self.newer is not None:
            return
        task = asyncio.create_task(self.send(record, summary))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def tell_set_back(self, newer: JobSnapshot) -> None:
        """Write down that this workflow was set back, and that the commands which it has carried out since, and `newer`
        does not know, have failed."""
        self._events, self.command = [], None
        self.note("alert", f"{WAS_SET_BACK}. Lines right before this one may repeat what was so before.")
        events, self._events = self._events, []
        failed = [
            CommandChange(
                id=id_,
                state=CommandState.FAILED,
                at=workflow.now(),
                error=f"{WAS_SET_BACK}. Look at the job, and send the command again if it is still wanted.",
                error_code="set_back",
            )
            for id_ in self.snapshot.handled
            if id_ not in known_to(newer)
        ]
        await self.send(Record(job_id=self.snapshot.job_id, events=events, commands=failed), "set back")

    async def written(self) -> None:
        """Wait for the records that are still being written."""
        while self._writing:
            await asyncio.gather(*self._writing)
            # Since Python 3.12 that does not wait where all are done: then their callbacks have not run either.
            self._writing -= {task for task in self._writing if task.done()}

    def display(self) -> None:
        """Tell the Temporal UI: search attribute and current details."""
        s = self.snapshot
        if self._displayed != s.state.value:
            self._displayed = s.state.value
            workflow.upsert_search_attributes([_STATE.value_set(s.state.value)])
        lines = [
            f"**{s.state.value}** {s.reason}",
            f"{s.attempt.program if s.attempt else f'version {s.version}'}, cluster {s.cluster}",
        ]
        if s.attempt:
            lines.append(f"attempt {s.attempt.number}, Flink job `{s.attempt.flink_job_id}`")
        if self.command:
            lines.append(f"carrying out command {self.command.number}: {self.command.kind.value}")
        if s.restart_at:
            lines.append(f"next restart at {s.restart_at:%Y-%m-%d %H:%M:%S} UTC")
        workflow.set_current_details("\n\n".join(lines))
