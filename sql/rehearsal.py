"""Whether SQL could be started now: asked before what runs is stopped for it."""

from __future__ import annotations

from clusters.protocol import Unreachable
from clusters.sql import SessionGone, SqlGateway, StatementFailed, rejected
from core.config import values
from core.effects import EngineError, no_log
from core.errors import Conflict, PenstockError, TooSlow
from core.jobs.types import traits
from core.specs import SqlSpec
from core.sql.script import Statement, parse_script, runnable
from core.sql.variables import text_of
from services import Services
from services.effective import effective_config
from settings.waits import planning
from sql.compiling import explained, properties_of, ran_last
from sql.environment import Environment, as_it_was, environment, prepared_session, python_properties
from sql.validate import Trial
from store import clusters, jobs
from store.database import Session
from store.tables import Cluster, Job

_REMEDY = (
    "Nothing was stopped. Mend what it says (`jobs set` for the job's configuration, `secrets set`, or another "
    "version), and send it again; `pause` and then `start` try it all the same."
)


async def rehearse(services: Services, job: Job, number: int, *, anew: bool) -> None:
    """See that the version `number` of a job would be taken as it, its project and its secrets are now: a session of
    the gateway with its configuration, what it creates in it, and an EXPLAIN of each INSERT that is planned anew; what
    is outside of the session stays as it is. Not `anew`: with the tables and libraries that it last ran with. Of other
    types of jobs nothing is said here; nor where the gateway cannot be asked, as a restart then waits for it. Raises
    `Conflict` when it would not be."""
    if not traits(job.type).compiles:
        return
    try:
        async with services.database.read() as session:
            cluster = await clusters.get(session, job.cluster)
            env, properties, from_plan = await _made(services, session, job, cluster, number, anew=anew)
        engine = services.engines.compiler(cluster)
        named = {**properties, "pipeline.name": "rehearsal"}
        async with (
            planning(services.settings, "Asking Flink whether it takes the version"),
            prepared_session(engine, env, named) as (gateway, handle),
        ):
            script = runnable(env.script)
            trial = Trial.within(env)
            for statement in script.setup:
                await _tried(trial, gateway, handle, statement)
            if not from_plan:  # which is run as it is
                await explained(gateway, handle, script)
    except (Unreachable, SessionGone, TooSlow):
        return
    except (EngineError, PenstockError) as error:
        message = error.message if isinstance(error, EngineError) else str(error)
        raise Conflict(
            f"Version {number} of {job.project}:{job.name} would not start as it is now: {message}",
            code="would_not_start",
            remedy=_REMEDY,
        ) from error


async def _tried(trial: Trial, gateway: SqlGateway, handle: str, statement: Statement) -> None:
    try:
        await trial.run(gateway, handle, statement)
    except StatementFailed as error:
        raise rejected(statement, error, no_log) from error


async def _made(
    services: Services, session: Session, job: Job, cluster: Cluster, number: int, *, anew: bool
) -> tuple[Environment, dict[str, str], bool]:
    """The environment, the properties of its session, and whether a plan is run that is there already."""
    version = await jobs.version(session, job, number)
    project = await jobs.project(session, job.project)
    spec = SqlSpec.model_validate(version.spec)
    script = parse_script(text_of(spec))
    config = values(effective_config(job, cluster, project, version, script))
    last = None if anew else await ran_last(session, job, number)
    made_of = (last.attempt.config.get("sql") if last and last.attempt else None) or {}
    if "tables" in made_of:
        env = await as_it_was(services, session, job.project, script, made_of)
    else:
        env = await environment(
            services, session, job.project, script, uses=spec.libraries, open_secrets=True, table_options=config
        )
    properties = properties_of(env, {**config, **python_properties(services, cluster, env)}, spec.parallelism)
    return env, properties, last is not None and last.plan is not None
