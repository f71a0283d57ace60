"""Which Flink jobs a program has started: all of them, not the one that was asked for alone.

What Flink does with a program that submits twice although `$internal.pipeline.job-id` is set (seen on both):

- 2.3.0: the nth job of one environment gets the id with n added to each half; `/jars/:id/run` refuses the second
  one of an environment ("Cannot have more than 1 ..."), a client does not, and no configuration makes it do so.
  A second environment begins with the same id again, and is refused as a duplicate.
- 1.20.5: a client gives each job the same id, and the second is refused as a duplicate. `/jars/:id/run` refuses
  the second one of an environment; a second environment is answered with the first job, without a word.

In each case the first job runs. So each send of a program carries a mark in the global job parameters of the jobs
that it starts (`execution-config.user-config` of GET /jobs/:id/config), which tells the attempt and the send.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from clusters.flink.http import Refused
from clusters.flink.output import Output
from clusters.flink.rest import UNKNOWN, FlinkRest
from clusters.protocol import (
    SEVERAL_JOBS,
    JarProgram,
    JobSeen,
    Overview,
    ProgramFailed,
    PythonProgram,
    Ref,
    Submission,
    Unclear,
    Unreachable,
)
from core.effects import EngineError, LogSink, Rejected
from core.names import follows
from settings import waits
from settings.polling import poll

KEY = "pipeline.global-job-parameters"
ATTEMPT, SEND = "penstock.attempt", "penstock.send"
SLACK = timedelta(minutes=1)  # how far the JobManager's clock may be set back while a program runs
REMEMBERED, ASKED, ASKED_AT_ONCE = 20_000, 50, 20
ADVICE = "put its INSERTs into one StatementSet, or call execute() once"
_TWICE = (
    "Cannot have more than",
    "DuplicateJobSubmissionException",
    "DuplicateApplicationSubmissionException",
)
_BY_PROGRAM = ("ProgramInvocationException", "ProgramAbortException", *_TWICE)


@dataclass(frozen=True)
class Mark:
    """`attempt` is the Flink job id of the attempt, `send` names one send of it."""

    attempt: str
    send: str


class ClientStopped(Rejected):
    """Flink's client was stopped at a limit: its program had not ended, and may have started its job."""


def marked(config: Mapping[str, str], mark: Mark) -> dict[str, str]:
    """`config` with the mark beside the global job parameters that it has, in either of Flink's two spellings."""
    given = config.get(KEY, "").strip()
    if given.startswith("{") and given.endswith("}"):
        inside = given[1:-1].strip().rstrip(",")
        ours = f"{ATTEMPT}: '{mark.attempt}', {SEND}: '{mark.send}'"
        return {**config, KEY: f"{{{inside}, {ours}}}" if inside else f"{{{ours}}}"}
    ours = f"{ATTEMPT}:{mark.attempt},{SEND}:{mark.send}"
    return {**config, KEY: f"{given},{ours}" if given else ours}


class Marks:
    """Reads marks, of each job once: they never change."""

    def __init__(self, rest: FlinkRest):
        self._rest = rest
        self._known: dict[str, Mark | None] = {}

    async def of(self, job_id: str, *, seconds: float = waits.INITIALIZING_SECONDS) -> Mark | None:
        """None when the job carries none, is unknown, or does not say: one that Flink initializes is waited for, so
        many seconds."""
        if job_id in self._known:
            return self._known[job_id]
        polling = poll(waits.INITIALIZING_PACE, seconds=seconds)
        while (found := await self._rest.user_config(job_id)) is None:
            if not await polling.again():
                return None
        if found is UNKNOWN:
            return None
        mark = Mark(found[ATTEMPT], found.get(SEND, "")) if ATTEMPT in found else None
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[job_id] = mark
        return mark

    async def others(
        self, attempt: str, jobs: Mapping[str, JobSeen], before: Collection[str] | None = None
    ) -> list[str]:
        """Jobs that the program of an attempt has started besides the one with the attempt's id. Asked are those that
        began with that one or later, and those that were not there `before`."""
        first = jobs.get(attempt)
        since = first.started_at - SLACK if first is not None and first.started_at is not None else None
        suspects = [
            job_id
            for job_id, seen in jobs.items()
            if job_id != attempt
            and (
                (before is not None and job_id not in before)
                or (since and (seen.started_at is None or seen.started_at >= since))
            )
        ]
        at_once = asyncio.Semaphore(ASKED_AT_ONCE)

        async def ask(job_id: str) -> Mark | None:
            async with at_once:
                return await self.of(job_id)

        marks = await asyncio.gather(*map(ask, suspects))
        its_own = {job_id for job_id, mark in zip(suspects, marks, strict=True) if mark and mark.attempt == attempt}
        return sorted(its_own | {job_id for job_id in jobs if follows(attempt, job_id)})

    async def started_by(self, job_ids: Collection[str]) -> dict[str, str]:
        """Of these jobs, those with a mark, with the attempt that it names. Some of many are not asked."""
        asked = list(job_ids)[:ASKED]
        marks = await asyncio.gather(*(self.of(job_id, seconds=waits.INITIALIZING_SHORT_SECONDS) for job_id in asked))
        return {job_id: mark.attempt for job_id, mark in zip(asked, marks, strict=True) if mark is not None}


class Sending:
    """One send of a program: `submission` is what to send, marked. What came of it is judged afterwards."""

    def __init__(self, submission: Submission, marks: Marks, overview: Callable[[], Awaitable[Overview]]):
        self.mark = Mark(submission.ref.flink_job_id, uuid.uuid4().hex[:8])
        self._is_program = isinstance(submission.program, JarProgram | PythonProgram)
        config = marked(submission.config, self.mark) if self._is_program else submission.config
        self.submission = replace(submission, config=config)
        self._marks, self._overview = marks, overview
        self._told: set[str] = set()
        self._before: Collection[str] = frozenset()

    async def begin(self) -> None:
        """Right before it is sent. Raises `Unreachable`."""
        if self._is_program:
            try:
                self._before = (await self._overview()).jobs.keys()
            except Unreachable as error:
                raise Unreachable(error.message, sent=False) from error

    def listening(self, tell: LogSink, secrets: Sequence[str]) -> Output:
        """`tell`, that also notes the ids which Flink's client says it has submitted, and shows no secret."""
        return Output(tell, self._told, secrets)

    async def ended_well(self) -> None:
        """After a clear yes. Raises `ProgramFailed` when there is more than one job, `Rejected` when there is none,
        `Unclear` when the cluster cannot be asked."""
        if not self._is_program:
            return
        ours = self.mark.attempt
        with asking_after("It was submitted"):
            jobs = (await self._overview()).jobs
            others = await self._marks.others(ours, jobs, self._before)
        if others:
            raise several(ours, jobs, others)
        python = isinstance(self.submission.program, PythonProgram)
        if python and ours not in jobs and ours not in self._told:
            raise Rejected("The program ended well, and has not started a Flink job: does it call execute()?")

    async def failed(self, error: EngineError) -> None:
        """After a no. Raises `ProgramFailed` when this send has started jobs all the same, `Unclear` when the
        cluster cannot be asked."""
        if not self._is_program:
            return
        ours = self.mark.attempt
        with asking_after(error.message):
            jobs = (await self._overview()).jobs
            others = await self._marks.others(ours, jobs, self._before)
            started = ours in jobs and await self._has_started(error)
        if others or (started and any(word in _words(error) for word in _TWICE)):
            raise several(ours, jobs, others, stack=error.stack) from error
        if started:
            why = error.message if isinstance(error, Rejected) else f"The program failed: {error.message}"
            raise ProgramFailed(why, jobs=_refs(ours), code="program_failed", stack=error.stack) from error

    async def _has_started(self, error: EngineError) -> bool:
        """Whether the job under our id is of this send, not of one before."""
        if isinstance(error, ClientStopped):
            return False  # the program waits for its job; that is no failure of it
        if isinstance(error, Refused) and not any(word in _words(error) for word in _BY_PROGRAM):
            return False  # trouble of the JobManager's own, after it had taken the job
        if self.mark.attempt in self._told:
            return True
        mark = await self._marks.of(self.mark.attempt)
        # A program that sets global job parameters of its own takes the mark away.
        return mark.send == self.mark.send if mark is not None else not self.submission.maybe_sent


@contextmanager
def asking_after(what: str) -> Iterator[None]:
    """What has become of a send is asked. Raises `Unclear` where nobody answers: `what` came before that, in words."""
    try:
        yield
    except Unreachable as error:
        raise Unclear(f"{what}; then {error.message}") from error


def own_id(flink_job_id: str) -> ProgramFailed:
    """The failure of a program whose job runs under `flink_job_id`, which it has chosen itself: Penstock finds jobs by
    the id that it gave."""
    return ProgramFailed(
        f"The program gives its Flink job an id of its own ({flink_job_id}), under which Penstock would not find it: "
        "take `$internal.pipeline.job-id` out of its configuration.",
        jobs=_refs(flink_job_id),
        code="own_job_id",
    )


def several(ours: str, known: Collection[str], others: Collection[str], stack: str | None = None) -> ProgramFailed:
    """The job under the attempt's id, if the cluster has it among those that are `known`, and others."""
    jobs = _refs(*([ours] if ours in known else []), *others)
    return ProgramFailed(
        f"The program submits more than one Flink job: {ADVICE}.", jobs=jobs, code=SEVERAL_JOBS, stack=stack
    )


def _refs(*flink_job_ids: str) -> list[Ref]:
    return [Ref(id_, id_) for id_ in flink_job_ids]


def _words(error: EngineError) -> str:
    return f"{error.message}\n{error.stack or ''}"
