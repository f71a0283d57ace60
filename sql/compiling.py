"""The compiled plan that a version runs from: which one, and whether the state of another fits it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clusters.protocol import CompiledPlan as Body
from clusters.protocol import SqlSessions
from clusters.sql import NoPlan, SqlGateway, StatementFailed, as_set, rejected, scrub
from core.config import values
from core.effects import EngineError, Rejected, no_log
from core.errors import InvalidInput
from core.jobs.restore import RestoreRequest, newest
from core.jobs.snapshot import lineage_of
from core.jobs.types import traits
from core.specs import SqlSpec
from core.sql import lineage, verdict
from core.sql.operators import table_in
from core.sql.places import place_of_options
from core.sql.plan import NotAPlan, Plan, ids_tell, read, with_connectors
from core.sql.references import is_sensitive, options_of_created
from core.sql.script import Script, parse_script, placed, runnable
from core.sql.tokens import quoted_name
from core.sql.variables import text_of
from services import Services
from services.effective import effective_config
from settings import clock
from settings.waits import planning
from sql.environment import Environment, prepared_session, python_properties, to_run
from sql.validate import Trial, explained_tables
from store import attempts, clusters, jobs, plans
from store.database import Session
from store.tables import Attempt, Cluster, Job, PlanRow

FROM_TEXT = (
    "What made this state ran from its text, not from a compiled plan, and the text, its tables or its libraries were "
    "others."
)
REMEDIES = {
    "state_unknown": "It may be given to other operators than those that made it. Name a restore point of this job, or "
    "accept it with restore.accept_unknown_state; with restore none it starts empty.",
    "state_incompatible": "Look at GET /jobs/{id}/versions/{number}/verdict. With `force` the state of the changed "
    "operators is dropped and the rest goes on; with restore none it starts empty.",
    "state_loss": "Accept it with restore.allow_non_restored_state.",
}


def scratch_of(cluster: Cluster) -> str:
    """A folder that the gateway and every process of Penstock see."""
    return f"{cluster.state_dir.rstrip('/')}/penstock/sql"


def without_secrets(body: Body, secrets: list[str]) -> Body:
    """A plan as it may be kept: options that are secrets, and values of secrets, are hidden."""
    for table in filter(None, map(table_in, body["nodes"])):
        resolved = table.get("resolvedTable")
        if isinstance(resolved, dict) and "options" in resolved:
            resolved["options"] = {
                k: "******" if is_sensitive(k) else scrub(v, secrets) for k, v in resolved["options"].items()
            }
    return body


async def ran_like(session: Session, attempt: Attempt) -> Attempt | None:
    """The attempt that another one is to run like: the nearest one before it of which it is known what it ran."""
    like: Attempt | None = attempt
    while like is not None and (number := like.config.get("like")) is not None:
        like = await attempts.get(session, attempt.job_id, int(number))
        if like is not None and (like.config.get("sql") or like.plan):
            return like
    return None


def _is_own(base: plans.StateOrigin, like: plans.StateOrigin, path: str | None) -> bool:
    """Whether the state at `path` (None: the one that it leaves now) is what that attempt made or came from, or was
    made by the same plan."""
    if like.attempt is None:
        return False
    if path is not None and path == like.attempt.restored_from:
        return True
    if base.attempt is None:
        return False
    if (base.attempt.job_id, base.attempt.number) == (like.attempt.job_id, like.attempt.number):
        return True
    if base.plan is None or like.plan is None:
        made_of, now = base.attempt.config.get("sql"), like.attempt.config.get("sql")
        return base.plan is like.plan and made_of is not None and now is not None and made_of == now
    return base.plan.digest == like.plan.digest


def uids_say_nothing(made_by: Attempt | None, now: Mapping[str, str]) -> verdict.StateVerdict | None:
    """What speaks against comparing plans where a state is given to an attempt with the configuration `now`."""
    if made_by is None or ids_tell(attempts.effective(made_by), now):
        return None
    return verdict.unknown(
        "`table.exec.uid.generation` or `table.exec.uid.format` is set so that Flink finds the state of an operator by "
        "something else than its id in the compiled plan: which state goes to which operator cannot be told."
    )


def compared(made_by: Attempt | None, made: PlanRow, now: Mapping[str, str], new: Plan) -> verdict.Comparison:
    """What it means to give the state that an attempt made with one plan to another plan, with the configuration
    `now`."""
    if (nothing := uids_say_nothing(made_by, now)) is not None:
        return verdict.Comparison(nothing, verdict.from_one(new))
    return verdict.compare(read(made.body), new)


def goes_on(
    base: plans.StateOrigin, like: plans.StateOrigin, path: str | None
) -> verdict.Comparison | verdict.StateVerdict | None:
    """What it means to give a state to the plan of an attempt that ran before: None where it is its own."""
    if _is_own(base, like, path):
        return None
    if base.attempt is None:
        return verdict.unknown(f"It is not known what made the state of {path}.")
    if base.plan is None or like.plan is None:
        return verdict.unknown(FROM_TEXT)
    now = attempts.effective(like.attempt) if like.attempt else {}
    return compared(base.attempt, base.plan, now, read(like.plan.body))


def row_of(plan: Plan, environment: Environment, flink_version: str) -> PlanRow:
    """The row of a plan that was compiled now, with its lineage; it is not written."""
    return plans.new(plan, environment.inputs, flink_version, clock.now())


def properties_of(environment: Environment, config: Mapping[str, str], parallelism: int | None) -> dict[str, str]:
    """The configuration of the session that compiles: what the environment needs wins over `config`, and the job's
    parallelism over both."""
    properties = {**config, **environment.properties}
    if parallelism:
        properties["parallelism.default"] = str(parallelism)
    return properties


async def compiled(
    engine: SqlSessions, cluster: Cluster, environment: Environment, properties: Mapping[str, str]
) -> Plan:
    """What a script compiles to, without running any of it. Raises `Rejected` for what Flink refuses, `InvalidInput`
    for tables that may not be used, `NotAPlan` for what runs but has no plan, `Unreachable`."""
    script = runnable(environment.script)
    named = {**properties, "pipeline.name": "compile"}
    async with prepared_session(engine, environment, named) as (gateway, session):
        await gateway.set_up(session, script, no_log)
        if environment.without_plan:
            await explained(gateway, session, script)
            raise NotAPlan(environment.without_plan)
        try:
            known = options_of_created(environment.before, script)
            body = await gateway.compile(session, as_set(script.inserts), scratch_of(cluster), known)
        except (StatementFailed, NoPlan) as error:
            await explained(gateway, session, script)
            raise NotAPlan(error.message) from error
    plan = read(without_secrets(body, environment.secrets))
    environment.check(plan.reads, plan.writes)
    return with_connectors(plan)


async def explained(gateway: SqlGateway, session: str, script: Script) -> None:
    """Raises `Rejected` for the first INSERT that Flink cannot plan at all."""
    for statement in script.inserts:
        try:
            await gateway.execute(session, "EXPLAIN " + placed(statement.without_execute()))
        except StatementFailed as error:
            raise rejected(statement, error, no_log) from error


async def judge(
    services: Services, job: Job, number: int, restore: RestoreRequest | None, *, anew: bool = True
) -> verdict.StateVerdict | None:
    """Whether the state that a command would start from fits a version; None where there is no state or no SQL.

    `restore` None is what a start or restart takes by itself. Not `anew`: a version that ran last runs as it did then,
    as with start and restart. Raises `InvalidInput` when Flink refuses the version's SQL. What cannot be found out is
    UNKNOWN, with the reason.
    """
    if not traits(job.type).compiles or (restore is not None and restore.mode == "none"):
        return None
    async with services.database.read() as session:
        start = await _base(session, job, restore)
        if start is None:
            return None
        path, base = start
        if not anew and (like := await ran_last(session, job, number)) is not None:
            decided = goes_on(base, like, path)
            if decided is None:
                return verdict.StateVerdict(verdict=verdict.Verdict.COMPATIBLE, summary="It runs as it did before.")
            return decided.verdict if isinstance(decided, verdict.Comparison) else decided
        if base.attempt is None:
            return verdict.unknown("It is not known what made this state.")
        text = await text_to_run(services, session, job, number)
    if base.is_made_by(job.id, number, text.environment.inputs):
        how = "the same compiled plan" if base.plan is not None else "the same text"
        return verdict.StateVerdict(verdict=verdict.Verdict.COMPATIBLE, summary=f"It runs from {how}.")
    if base.plan is None:
        return verdict.unknown(FROM_TEXT)
    if text.environment.without_plan:
        raise _of_a_plan(number, text.environment.without_plan)
    try:
        plan = await _compile(services, text)
        return compared(base.attempt, base.plan, text.properties, plan).verdict
    except Rejected as error:
        raise InvalidInput(
            f"Flink refuses version {number}: {error.message}",
            code="sql_invalid",
            field="version",
            remedy="Add a version that is mended; nothing was stopped.",
        ) from error
    except NotAPlan as error:
        raise _of_a_plan(number, f"It cannot be compiled to one: {error}") from error
    except EngineError as error:
        return verdict.unknown(f"The SQL gateway cannot be asked: {error.message}")


def _of_a_plan(number: int, why: str) -> InvalidInput:
    """The run would refuse this state, whatever is accepted: so nothing is stopped for it."""
    return InvalidInput(
        f"Version {number} runs from its text, and the state was made by a compiled plan: it cannot go on from that. "
        f"{why}",
        code="state_of_a_plan",
        field="version",
        remedy='Nothing was stopped. To begin without state: {"mode": "none"}.',
    )


@dataclass(frozen=True)
class Text:
    """A version of a SQL job with all that it is compiled with."""

    cluster: Cluster
    environment: Environment
    properties: dict[str, str]


async def text_to_run(
    services: Services, session: Session, job: Job, number: int, made_of: Mapping[str, Any] | None = None
) -> Text:
    """As it would run now; with `made_of`, with the tables and libraries of the attempt that wrote that down."""
    version = await jobs.version(session, job, number)
    cluster = await clusters.get(session, job.cluster)
    project = await jobs.project(session, job.project)
    spec = SqlSpec.model_validate(version.spec)
    script = parse_script(text_of(spec))
    config = values(effective_config(job, cluster, project, version, script))
    env = await to_run(services, session, job.project, script, made_of or {}, uses=spec.libraries, table_options=config)
    properties = properties_of(env, {**config, **python_properties(services, cluster, env)}, spec.parallelism)
    return Text(cluster, env, properties)


async def _compile(services: Services, text: Text) -> Plan:
    """Raises what `compiled` raises, and `InvalidInput` for tables that may not be used."""
    async with planning(services.settings, "Compiling the plan of the version"):
        return await compiled(services.engines.compiler(text.cluster), text.cluster, text.environment, text.properties)


async def plan_of(services: Services, job: Job, number: int) -> tuple[PlanRow | None, str | None]:
    """The plan of a version, compiled now when it has none yet; without one, the reason."""
    async with services.database.read() as session:
        version = await jobs.version(session, job, number)
        known = await plans.get(session, version.plan)
        if known is not None or version.plan_why or not traits(job.type).compiles:
            return known, version.plan_why
        text = await text_to_run(services, session, job, number)
    try:
        plan = verdict.from_one(await _compile(services, text))
    except NotAPlan as error:
        return None, str(error)
    except (EngineError, InvalidInput) as error:
        return None, error.message
    row = row_of(plan, text.environment, text.cluster.flink_version)
    async with services.database.write() as session:
        current = await jobs.version(session, job, number)
        if current.plan is None:  # a run that began meanwhile knows better
            await plans.keep(session, row)
            await plans.compiled(session, job.id, number, row.digest, "")
    return row, None


async def tables_of(services: Services, job: Job, number: int) -> lineage.Lineage:
    """What a version without a compiled plan reads and writes, as Flink explains it. Its columns are not known. Raises
    `InvalidInput` for what Flink refuses, `EngineError` when it cannot be asked."""
    async with services.database.read() as session:
        text = await text_to_run(services, session, job, number)
    script = runnable(text.environment.script)
    reads: set[str] = set()
    writes: set[str] = set()
    engine = services.engines.compiler(text.cluster)
    async with (
        planning(services.settings, "Explaining the version"),
        prepared_session(engine, text.environment, text.properties) as (gateway, handle),
    ):
        trial = Trial.within(text.environment)
        for statement in script.setup:
            await trial.run(gateway, handle, statement)
        for statement in script.inserts:
            used = await explained_tables(gateway, handle, statement)
            reads |= set(used.reads)
            writes |= set(used.writes)
        secrets = text.environment.secrets
        uses = {full: await _use(gateway, handle, full, job.project, secrets) for full in reads | writes}
    return lineage.Lineage(reads=[uses[t] for t in sorted(reads)], writes=[uses[t] for t in sorted(writes)])


async def _use(gateway: SqlGateway, handle: str, full: str, project: str, secrets: Sequence[str]) -> lineage.TableUse:
    options = await gateway.options(handle, quoted_name(*full.split(".", 2)))
    options = {key: scrub(value, secrets) for key, value in options.items()}
    place = place_of_options(options)
    if place is None and options and "connector" not in options:  # its catalog alone knows where it is
        place = f"catalog:{project}/{full}"
    return lineage.TableUse(table=full, place=place, connector=options.get("connector"))


async def ran_last(session: Session, job: Job, number: int) -> plans.StateOrigin | None:
    """What ran last of a job, when that is the version `number` and it is known."""
    last = await attempts.get(session, job.id, job.current_attempt) if job.current_attempt else None
    if last is None or last.version != number:
        return None
    if not last.config.get("sql") and not last.plan:
        last = await ran_like(session, last)
    return plans.StateOrigin(last, await plans.get(session, last.plan)) if last else None


async def _base(
    session: Session, job: Job, restore: RestoreRequest | None
) -> tuple[str | None, plans.StateOrigin] | None:
    """(path, what made the state there): the point that is named, else the newest one, which is the current attempt's
    if it has any; it is still to be made when that is alive (path None). None where there is no state."""
    points = [attempts.as_point(row) for row in await attempts.points(session, job.id)]
    if restore is not None and restore.point is not None:
        named = next((p.path for p in points if restore.point in (p.id, p.path)), restore.point)
        return named, await plans.of_point(session, named)
    if job.current_attempt is None:
        return None
    current = await attempts.get(session, job.id, job.current_attempt)
    if current is not None and current.ended_at is None:
        return None, await plans.of_attempt(session, job.id, current.number)
    lineage = lineage_of(job.snapshot)
    point = newest([p for p in points if restore is not None or p.attempt >= lineage.first], lineage.taken_up)
    if point is None and restore is None and lineage.root is None:
        return None
    if point is None and restore is None and lineage.root is not None:
        return lineage.root, await plans.of_point(session, lineage.root)
    made_by = point.attempt if point else job.current_attempt
    return point.path if point else None, await plans.of_attempt(session, job.id, made_by)
