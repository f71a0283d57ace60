"""Whether a statement of a session is sent a second time, and what is told of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from api.deps import SqlRuntime
from clusters.flink.gateway import RestGateway
from clusters.protocol import Unreachable
from clusters.sql import SessionGone
from core.sql.script import parse
from services import Services
from sql.completer import Completer
from sql.environment import Environment
from sql.making import make_for
from sql.run_registry import Runs
from sql.sessions import Sessions
from tests.api.conftest import client_of

URL = "http://gateway"
GONE = "org.apache.flink.table.gateway.api.utils.SqlGatewayException: Session 'x' does not exist."
DROP = "DROP TABLE hive.db.t"


class Flink:
    """Answers as a SQL gateway does. `breaks_at` is the request that goes wrong, once: the statement, or its result;
    `how` it does: `refuse` (nobody listens), `drop` (no answer), `gone` (another gateway answers at the address)."""

    def __init__(self) -> None:
        self.breaks_at = self.how = ""
        self.opened = 0
        self.sent: list[str] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        at = "result" if "/result/" in request.url.path else request.url.path.rpartition("/")[2]
        is_broken = at == self.breaks_at
        if is_broken:
            self.breaks_at = ""
            if self.how == "refuse":
                raise httpx.ConnectError("Connection refused", request=request)
            if self.how == "gone":
                return httpx.Response(404, json={"errors": ["Not found.", GONE]})
        match at:
            case "sessions":
                self.opened += 1
                return httpx.Response(200, json={"sessionHandle": f"s{self.opened}"})
            case "statements":
                self.sent.append(httpx.Response(200, content=request.content).json()["statement"])
                if is_broken:
                    raise httpx.ReadError("Connection reset", request=request)
                return httpx.Response(200, json={"operationHandle": "o"})
            case "result":
                if is_broken:
                    raise httpx.ReadError("Connection reset", request=request)
                return httpx.Response(200, json={"resultType": "EOS", "results": {"columns": [], "data": []}})
        return httpx.Response(200, json={})


@pytest.fixture
def flink() -> Flink:
    return Flink()


@pytest.fixture
async def gateway(flink: Flink) -> AsyncIterator[RestGateway]:
    made = RestGateway(URL, transport=httpx.MockTransport(flink.answer))
    yield made
    await made.http.close()


@pytest.fixture
async def http(services: Services, gateway: RestGateway) -> AsyncIterator[httpx.AsyncClient]:
    async def open_session(properties: Any) -> tuple[RestGateway, str]:
        return gateway, await gateway.open(properties)

    engine = SimpleNamespace(gateway=lambda _: gateway, open_session=open_session)
    world = replace(services, engines=cast(Any, SimpleNamespace(workbench=lambda _: engine)))
    runs = Runs()
    async with client_of(world, SqlRuntime(runs, Sessions(world, runs), Completer(world))) as client:
        yield client


async def run(http: httpx.AsyncClient, flink: Flink, statement: str, breaks_at: str, how: str) -> httpx.Response:
    id_ = (await http.post("/sql/sessions", json={})).json()["id"]
    flink.breaks_at, flink.how = breaks_at, how
    return await http.post(f"/sql/sessions/{id_}/statements", json={"statement": statement})


@pytest.mark.parametrize(
    ("breaks_at", "how"),
    [("result", "refuse"), ("result", "drop"), ("result", "gone"), ("statements", "drop")],
)
async def test_what_changes_something_is_not_sent_again(
    http: httpx.AsyncClient, flink: Flink, breaks_at: str, how: str
):
    answer = await run(http, flink, DROP, breaks_at, how)
    assert flink.sent == [DROP]
    assert (answer.status_code, answer.json()["code"]) == (503, "cluster_unreachable")
    assert answer.json()["remedy"] == "What was sent may have arrived: look when it answers."


@pytest.mark.parametrize("how", ["refuse", "gone"])
async def test_what_did_not_arrive_is_sent_to_a_session_that_is_made_again(
    http: httpx.AsyncClient, flink: Flink, how: str
):
    answer = await run(http, flink, DROP, "statements", how)
    assert (answer.status_code, flink.sent, flink.opened) == (200, [DROP], 2)


async def test_what_only_asks_is_sent_again(http: httpx.AsyncClient, flink: Flink):
    answer = await run(http, flink, "SHOW TABLES", "result", "gone")
    assert (answer.status_code, flink.sent, flink.opened) == (200, ["SHOW TABLES"] * 2, 2)


@pytest.mark.parametrize(("how", "error"), [("gone", SessionGone), ("refuse", Unreachable)])
async def test_a_question_has_sent_nothing(
    gateway: RestGateway, flink: Flink, how: str, error: type[SessionGone | Unreachable]
):
    flink.breaks_at, flink.how = "result", how
    with pytest.raises(error) as raised:
        await gateway.rows("s", "SHOW TABLES")
    assert not raised.value.sent


async def test_what_is_made_for_a_statement_is_not_the_statement(gateway: RestGateway, flink: Flink):
    """The catalog that it names was sent, to a session that is gone now."""
    env = cast(
        Environment, SimpleNamespace(catalogs=["CREATE CATALOG hive WITH ('type'='hive')"], before=[], secrets=[])
    )
    statement = parse(DROP).setup[0]
    flink.breaks_at, flink.how = "result", "gone"
    with pytest.raises(SessionGone) as raised:
        await make_for(gateway, "s", env, statement)
    assert not raised.value.sent
