"""Interactive sessions: opened, used, closed."""

from __future__ import annotations

from api.deps import SqlRuntime
from api.rules import Caller, own_session
from api.sessions import schemas as out
from core import config as rules
from services import Services
from store import jobs, sessions
from store.tables import SqlSession


async def create(bench: SqlRuntime, body: out.NewSession) -> out.SessionOut:
    """Raises `InvalidInput`, `NotFound` for the project, the cluster or a library, and `Unreachable`."""
    return _show(await bench.sessions.create(body.project, body.cluster, body.name, body.config, body.libraries))


async def all_(services: Services, caller: Caller, project: str) -> list[out.SessionOut]:
    """The open ones of a project that the caller may see. Raises `NotFound`."""
    async with services.database.read() as session:
        await jobs.project(session, project)
        rows = await sessions.all_(session, project)
    return [_show(row) for row in rows if caller.has(row.project, row.opened_by)]


async def get(services: Services, caller: Caller, session_id: str) -> out.SessionOut:
    """Raises `NotFound`, also for who may not see it."""
    return _show(await own_session(services, caller, session_id))


async def end(services: Services, bench: SqlRuntime, caller: Caller, session_id: str) -> None:
    """Close it, and stop what runs in it. Raises `NotFound`."""
    await own_session(services, caller, session_id)
    await bench.sessions.end(session_id)


async def execute(
    services: Services, bench: SqlRuntime, caller: Caller, session_id: str, body: out.StatementBody
) -> out.StatementOut:
    """Rows at once, or the id of a preview for a query. `rebuilt` where the session had to be made again. Raises
    `NotFound`, `InvalidInput` with Flink's words, and `Conflict` while another statement of the session runs."""
    await own_session(services, caller, session_id)
    answer = await bench.sessions.execute(session_id, body.statement, body.limits, materialize=body.materialize)
    rebuilt = None
    if answer.rebuilt is not None:
        message = "The gateway had forgotten the session, or was gone: it was made again."
        if answer.rebuilt.reset:
            message += f" These settings are not in force any more: {', '.join(answer.rebuilt.reset)}."
        rebuilt = out.RebuiltOut(
            message=message,
            reset={k: rules.shown(k, v) for k, v in answer.rebuilt.reset.items()},
            lost=answer.rebuilt.lost,
        )
    return out.StatementOut(
        columns=answer.columns,
        rows=answer.rows,
        truncated=answer.truncated,
        preview=answer.run.id if answer.run else None,
        rebuilt=rebuilt,
    )


def _show(row: SqlSession) -> out.SessionOut:
    return out.SessionOut(
        id=row.id,
        project=row.project,
        cluster=row.cluster,
        name=row.name,
        config={k: rules.shown(k, v) for k, v in row.config.items()},
        libraries=row.libraries,
        setup=row.setup,
        settings={k: rules.shown(k, v) for k, v in row.settings.items()},
        gateway=row.gateway_url,
        generation=row.generation,
        created_at=row.created_at,
        used_at=row.used_at,
    )
