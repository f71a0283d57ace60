"""What was begun for a request is undone when it is refused or cut off in the middle."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from clusters.flink.gateway import StatementFailed
from core.errors import InvalidInput, NotFound
from core.sql.script import parse
from services import Services
from sql.previews import RunRequest, start
from sql.run_registry import Runs
from sql.sessions import Sessions
from sql.streams import Limits
from store import sessions as rows
from tests.api.test_parsing import PLAIN, Engine, Gateway
from tests.api.test_parsing import world as world


class Held(Gateway):
    """Does not answer once it is told to hang, and refuses once it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs_at = self.refuses_at = ""
        self.hanging = asyncio.Event()
        self.closed: list[str] = []

    async def _asked(self, what: str) -> None:
        if what == self.hangs_at:
            self.hanging.set()
            await asyncio.Event().wait()
        if what == self.refuses_at:
            raise StatementFailed("no", stack="no")

    async def execute(self, session: str, statement: str, **_: Any) -> Any:
        await self._asked("execute")
        return await super().execute(session, statement)

    async def start(self, session: str, statement: str, config: object = None) -> str:
        await self._asked("start")
        return await super().start(session, statement, config)

    async def prepare(self, session: str, before: list[str], tell: object) -> None:
        await self._asked("prepare")

    async def close(self, handle: str) -> None:
        self.closed.append(handle)


@pytest.fixture
def gateway(world: Services) -> Held:
    engine = cast(Engine, world.engines.workbench(cast(Any, None)))
    engine.only = Held()
    return engine.only


async def cut_off(gateway: Held, coroutine: Any) -> None:
    asking = asyncio.create_task(coroutine)
    async with asyncio.timeout(10):
        await gateway.hanging.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


@pytest.mark.parametrize("at", ["prepare", "execute", "start"])
@pytest.mark.parametrize("how", ["hangs_at", "refuses_at"])
async def test_a_preview(world: Services, gateway: Held, at: str, how: str):
    world.settings.plan_timeout = 30
    setattr(gateway, how, at)
    runs, request = Runs(), RunRequest(project="default", cluster="local", script=parse(PLAIN + "SELECT 1"))
    if how == "hangs_at":
        await cut_off(gateway, start(world, runs, request))
    else:
        with pytest.raises((InvalidInput, StatementFailed)):
            await start(world, runs, request)
    assert runs._runs == {}
    async with asyncio.timeout(10):
        while not gateway.closed:
            await asyncio.sleep(0.01)
    assert gateway.closed == ["handle"]


@pytest.mark.parametrize("how", ["hangs_at", "refuses_at"])
async def test_a_session_that_is_being_made(world: Services, gateway: Held, how: str):
    setattr(gateway, how, "prepare")
    sessions = Sessions(world, Runs())
    making = sessions.create("default", "local", "", {}, [])
    if how == "hangs_at":
        await cut_off(gateway, making)
    else:
        with pytest.raises(StatementFailed):
            await making
    async with world.database.read() as session:
        assert list(await rows.all_(session, "default")) == []


async def test_a_query_of_a_session(world: Services, gateway: Held):
    runs = Runs()
    sessions = Sessions(world, runs)
    row = await sessions.create("default", "local", "", {}, [])
    async with world.database.write() as session:
        (await rows.get(session, row.id)).gateway_url = Gateway.url
    gateway.refuses_at = "start"
    with pytest.raises(InvalidInput):
        await sessions.execute(row.id, "SELECT 1", Limits())
    assert runs._runs == {}
    await sessions.end(row.id)
    with pytest.raises(NotFound):
        await sessions.execute(row.id, "SELECT 1", Limits())
