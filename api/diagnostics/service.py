"""What a cluster tells of a job that fares ill: its exceptions, and logs. All raise `NotFound` for a job, or an
attempt, that is not there."""

from __future__ import annotations

from collections.abc import Callable

from api.commands import reading
from api.diagnostics.schemas import ExceptionOut, Exceptions, JobLogs, LogOut
from clusters.protocol import Engine, Failures, Logs, Ref
from core.effects import EngineError
from core.errors import NotFound
from services import Services
from services.hidden import scrubber
from settings import waits
from settings.waits import within
from store import attempts, clusters, commands, jobs
from store.tables import Attempt, Job

COMMANDS = 20
"""The last commands whose logs are listed."""
MOST = 4_000_000
"""Bytes of a log that are read, from its end."""
_COMMAND, _FILE = "command-", "log"
_SLOW = "The cluster is slow to answer. Try again."


async def exceptions(services: Services, ref: str, number: int | None) -> Exceptions:
    """Of attempt `number`, by default the last, newest first, without values of secrets. Where there are none `note`
    says why: it has never run, or its cluster is away or does not tell."""
    job, attempt = await _attempt(services, ref, number)
    if attempt is None:
        return Exceptions(items=[], attempt=None, note="It has never run.")
    engine = await _engine(services, attempt)
    told, note = None, f"{attempt.cluster} does not know attempt {attempt.number} any more."
    if engine is not None and isinstance(engine, Failures):
        try:
            async with within(waits.GATHER_SECONDS, "Asking for exceptions", code="cluster_too_slow", remedy=_SLOW):
                told = await engine.failures(_ref(attempt))
        except EngineError as error:
            note = f"{attempt.cluster} could not be asked: {error.message}"
    else:
        note = f"{attempt.cluster} does not tell of exceptions."
    if told is not None:
        scrubbed = await _scrubber(services, job)
        items = [
            ExceptionOut(
                at=failure.at,
                message=scrubbed(failure.message),
                task=failure.task,
                place=failure.place,
                taskmanager=failure.taskmanager,
                stack=scrubbed(failure.stack),
            )
            for failure in told
        ]
        return Exceptions(items=items, attempt=attempt.number, note=None)
    items = []
    if attempt.ended_at is not None and attempt.why_ended:
        why = (await _scrubber(services, job))(attempt.why_ended)
        seen = ExceptionOut(
            at=attempt.ended_at, message=why.split("\n")[0], task=None, place=None, taskmanager=None, stack=why
        )
        items = [seen]
        note += " This is what Penstock has seen of its end."
    return Exceptions(items=items, attempt=attempt.number, note=note)


async def logs(services: Services, ref: str, number: int | None) -> JobLogs:
    """Logs of the job's last commands, and of the parts of the cluster that attempt `number` (by default the last) is
    or was on. Where the cluster gives none `note` says why."""
    job, attempt = await _attempt(services, ref, number)
    async with services.database.read() as session:
        rows, _ = await commands.page(session, job.id, limit=COMMANDS, cursor=None)
    items = [
        LogOut(
            part=f"{_COMMAND}{row.number}",
            file=_FILE,
            what=f"{row.kind}, {row.state}",
            size=None,
            changed_at=row.finished_at or row.started_at,
        )
        for row in rows
    ]
    if attempt is None:
        return JobLogs(items=items, note="It has never run: its cluster has no log of it.")
    engine = await _engine(services, attempt)
    if engine is None or not isinstance(engine, Logs):
        return JobLogs(items=items, note=f"Logs of {attempt.cluster} cannot be read from here.")
    try:
        async with within(waits.GATHER_SECONDS, "Asking for logs", code="cluster_too_slow", remedy=_SLOW):
            told = await engine.logs(_ref(attempt))
    except EngineError as error:
        return JobLogs(items=items, note=f"{attempt.cluster} could not be asked for its logs: {error.message}")
    here = f"attempt {attempt.number}"
    for log in told:
        what = here if log.of_attempt else attempt.cluster
        items.append(LogOut(part=log.part, file=log.file, what=what, size=log.size, changed_at=log.changed_at))
    return JobLogs(items=items, note=None)


async def log(services: Services, ref: str, part: str, file: str, *, attempt: int | None, lines: int) -> str:
    """The last `lines` of one log. Raises `NotFound` when there is none, `Unreachable` when it cannot be asked for."""
    job, row = await _attempt(services, ref, attempt)
    number = part.removeprefix(_COMMAND)
    if part.startswith(_COMMAND) and number.isascii() and number.isdigit() and file == _FILE:
        written = await reading.lines(services, job.id, int(number))
        return "".join(f"{line.at:%Y-%m-%dT%H:%M:%S}Z {line.text}\n" for line in written[-lines:])
    engine = await _engine(services, row) if row else None
    body = None
    if row is not None and engine is not None and isinstance(engine, Logs):
        async with within(waits.GATHER_SECONDS, "Reading the log", code="cluster_too_slow", remedy=_SLOW):
            body = await engine.log(_ref(row), part, file, last=MOST)
    if body is None:
        raise NotFound(
            f"{job.project}:{job.name} has no log {part}/{file}.",
            code="log_not_found",
            remedy=f"GET /jobs/{job.project}:{job.name}/logs lists those that there are.",
        )
    if len(body) == MOST:
        body = body.partition(b"\n")[2]  # the rest of a line may have the rest of a secret
    text = (await _scrubber(services, job))(body.decode(errors="replace"))
    return "".join(text.splitlines(keepends=True)[-lines:])


async def _attempt(services: Services, ref: str, number: int | None) -> tuple[Job, Attempt | None]:
    """The attempt by its number; the last, None when there is none, without."""
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
        wanted = number or job.current_attempt
        row = await attempts.get(session, job.id, wanted) if wanted else None
    if number is not None and row is None:
        raise NotFound(f"Job {job.project}:{job.name} has no attempt {number}.", code="attempt_not_found")
    return job, row


async def _engine(services: Services, attempt: Attempt) -> Engine | None:
    """What speaks to the cluster of an attempt; None when that has been removed."""
    async with services.database.read() as session:
        row = await clusters.find(session, attempt.cluster)
        if row is None or await clusters.is_left(session, row):
            return None
        return services.engines.get(row)


def _ref(attempt: Attempt) -> Ref:
    return Ref(attempt.flink_job_id, attempt.handle)


async def _scrubber(services: Services, job: Job) -> Callable[[str], str]:
    async with services.database.read() as session:
        return await scrubber(services, session, [job.project])
