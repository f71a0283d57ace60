"""Making in a session what its project has registered: at its beginning, and for a statement that names it later."""

from __future__ import annotations

import contextlib

from clusters.protocol import Unreachable
from clusters.sql import SessionGone, SqlGateway, StatementFailed, scrub
from core.effects import Rejected, no_log
from core.errors import InvalidInput
from core.sql.script import Statement
from sql.environment import Environment

_VIEW = "CREATE VIEW"
_TABLE = ("CREATE TABLE", "CREATE DATABASE")


async def make_all(gateway: SqlGateway, handle: str, env: Environment) -> None:
    """All of an environment. A view that cannot be made is left out: that is said where it is named. Raises
    `Rejected`."""
    await gateway.prepare(handle, [s for s in env.before if not s.startswith(_VIEW)], no_log)
    for view in env.before:
        if view.startswith(_VIEW):
            with contextlib.suppress(Rejected):
                await gateway.prepare(handle, [view], no_log)


async def make_for(gateway: SqlGateway, handle: str, env: Environment, statement: Statement) -> None:
    """What a statement names and the session may not have: catalogs, and what was registered after it was made. SHOW
    CATALOGS shows the catalogs that can be made. Raises `InvalidInput` with Flink's words; where the gateway is away or
    has forgotten the session, the statement itself was not sent."""
    try:
        await _make_each(gateway, handle, env, statement)
    except (SessionGone, Unreachable) as error:
        error.sent = False
        raise


async def _make_each(gateway: SqlGateway, handle: str, env: Environment, statement: Statement) -> None:
    shows = [t.word for t in statement.tokens[:2]] == ["SHOW", "CATALOGS"]
    for made in env.catalogs:
        await _make(gateway, handle, made, env, "catalog_refused", tolerant=shows)
    for made in env.before:
        if made.startswith(_TABLE):
            with contextlib.suppress(StatementFailed):
                await gateway.execute(handle, made)
        elif made.startswith(_VIEW):
            await _make(gateway, handle, made, env, "view_refused")


async def _make(
    gateway: SqlGateway, handle: str, made: str, env: Environment, code: str, *, tolerant: bool = False
) -> None:
    try:
        await gateway.prepare(handle, [made], no_log)
    except Rejected as error:
        if not tolerant:
            raise InvalidInput(scrub(error.message, env.secrets), code=code, field="statement") from error
