"""What a job has printed, read from the task managers of its cluster."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from api.output.schemas import OutputOut, OutputQuery, TaskManagerOutputOut
from clusters.protocol import Outputs, Ref, TaskManagerOutput
from core.jobs.output import LastLines
from core.sql.plan import NotAPlan, print_sinks, read
from services import Services
from settings import waits
from settings.waits import within
from store import attempts, clusters, jobs, plans
from store.tables import PlanRow

SHARED = (
    "All jobs on a task manager share its stdout: lines of other jobs may be among these. A `print-identifier` in the "
    "WITH of a `print` table tells its rows apart."
)
CHOSEN = "Shown are rows with these identifiers, whichever job has printed them; of a row of several lines the first."


async def output(services: Services, ref: str, query: OutputQuery) -> OutputOut:
    """Raises `NotFound`, `Unreachable`, `TooSlow`."""
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
        attempt = await attempts.get(session, job.id, job.current_attempt) if job.current_attempt else None
        plan = await plans.get(session, attempt.plan) if attempt else None
        cluster = await clusters.get(session, attempt.cluster if attempt else job.cluster)
    answer = OutputOut(attempt=None, flink_job_id=None, identifiers=[], items=[], notes=[])
    if attempt is None:
        answer.notes.append("The job has not run yet.")
        return answer
    answer.attempt, answer.flink_job_id = attempt.number, attempt.flink_job_id
    engine = services.engines.get(cluster)
    if not isinstance(engine, Outputs):
        answer.notes.append(f"What is printed on clusters of the kind {cluster.kind} cannot be read.")
        return answer
    answer.identifiers = [] if query.everything else sorted(query.identifier or identifiers_of(plan))
    remedy = "The task managers, or what they have printed, may be too large; look at their files."
    async with within(waits.OUTPUT_SECONDS, "Reading what was printed", code="output_too_slow", remedy=remedy):
        read_from = await engine.outputs(
            Ref(attempt.flink_job_id, attempt.handle), partial(LastLines, query.lines, answer.identifiers)
        )
    answer.items = [_shown(one) for one in read_from or []]
    answer.notes += notes(answer.identifiers, read_from)
    return answer


def identifiers_of(row: PlanRow | None) -> Collection[str]:
    """Of the `print` tables of a plan, if each has one; else rows of the others would be left out."""
    try:
        sinks = print_sinks(read(row.body)) if row is not None else []
    except NotAPlan:
        return []
    return set(sinks) if all(sinks) else []


def notes(identifiers: Collection[str], found: list[TaskManagerOutput] | None) -> list[str]:
    """What a reader has to know of the lines, or why there are none. `found` is what the engine gave: None where it
    does not know the attempt. Without `identifiers` the rows of other jobs on the same task managers are among them."""
    if found is None:
        return ["Its cluster does not know the attempt any more; on which task managers it ran cannot be told."]
    if not found:
        return ["No task of it runs on a task manager, or ever has."]
    return [CHOSEN if identifiers else SHARED]


def _shown(one: TaskManagerOutput) -> TaskManagerOutputOut:
    return TaskManagerOutputOut(
        taskmanager=one.id, host=one.host, lines=one.lines, left_out=one.left_out, size=one.size, why=one.why
    )
