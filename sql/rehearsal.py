"""Whether SQL could be started now: asked before what runs is stopped for it."""

from __future__ import annotations

from clusters.protocol import Unreachable
from clusters.sql import SessionGone, SqlGateway, StatementFailed, rejected
from core.effects import EngineError, no_log
from core.errors import Conflict, PenstockError, TooSlow
from core.sql.script import Statement, runnable
from services import Services
from settings.waits import planning
from sql.compiling import explained, ran_last, text_to_run
from sql.environment import prepared_session
from sql.validate import Trial
from store.tables import Job

_REMEDY = (
    "Nothing was stopped. Mend what it says (`jobs set` for the job's configuration, `secrets set`, or another "
    "version), and send it again; `pause` and then `start` try it all the same."
)


async def rehearse(services: Services, job: Job, number: int, *, anew: bool) -> None:
    """See that the version `number` of a job would be taken as it, its project and its secrets are now: a session of
    the gateway with its configuration, what it creates in it, and an EXPLAIN of each INSERT that is planned anew; what
    is outside of the session stays as it is. Not `anew`: with the tables and libraries that it last ran with. Nothing
    is said where the gateway cannot be asked, as a restart then waits for it. Raises `Conflict` when it would not
    be."""
    try:
        async with services.database.read() as session:
            last = None if anew else await ran_last(session, job, number)
            made_of = last.attempt.config.get("sql") if last and last.attempt else None
            text = await text_to_run(services, session, job, number, made_of)
        engine = services.engines.compiler(text.cluster)
        named = {**text.properties, "pipeline.name": "rehearsal"}
        async with (
            planning(services.settings, "Asking Flink whether it takes the version"),
            prepared_session(engine, text.environment, named) as (gateway, handle),
        ):
            script = runnable(text.environment.script)
            trial = Trial.within(text.environment)
            for statement in script.setup:
                await _tried(trial, gateway, handle, statement)
            if last is None or last.plan is None:  # else that is run as it is
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
