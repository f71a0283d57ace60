"""The engine of a cluster whose row has changed: another takes its place, and it is closed when nobody uses it."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import httpx
import pytest

from clusters.flink import http
from services import Engines
from settings import Settings
from store.tables import Cluster
from tests.store.test_store import T0


def row(**more: Any) -> Cluster:
    given: dict[str, Any] = {
        "name": "c",
        "kind": "flink-session",
        "jobmanager_url": "http://a",
        "flink_version": "2.3.0",
        "state_dir": "s",
        "gateway_url": "http://g",
        "config": {},
        "created_at": T0,
        **more,
    }
    return Cluster(**given)


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[httpx.AsyncClient]:
    made: list[httpx.AsyncClient] = []
    gc.freeze()  # what there is already: to look at all of it takes longer than the tests

    def new_client(*_: Any) -> httpx.AsyncClient:
        made.append(httpx.AsyncClient())
        return made[-1]

    monkeypatch.setattr(http, "new_client", new_client)
    return made


async def closed(clients: list[httpx.AsyncClient]) -> list[bool]:
    gc.collect()
    for _ in range(5):
        await asyncio.sleep(0)
    return [client.is_closed for client in clients]


async def test_the_same_row_has_the_same_engine(clients: list[httpx.AsyncClient]):
    engines = Engines(Settings())
    assert engines.get(row()) is engines.get(row())
    assert await closed(clients) == [False, False]
    await engines.close()
    assert await closed(clients) == [True, True]


async def test_one_that_was_replaced_is_closed(clients: list[httpx.AsyncClient]):
    engines = Engines(Settings())
    engines.get(row())
    engines.get(row(jobmanager_url="http://b"))
    assert await closed(clients) == [True, True, False, False]


async def test_but_not_while_somebody_uses_it(clients: list[httpx.AsyncClient]):
    engines = Engines(Settings())
    used = engines.get(row())
    gateway = engines.workbench(row()).gateway("http://g")
    engines.get(row(jobmanager_url="http://b"))
    assert await closed(clients) == [False, False, False, False]
    del used
    assert await closed(clients) == [True, False, False, False], "a session is open on its gateway"
    del gateway
    assert await closed(clients) == [True, True, False, False]


async def test_nor_in_the_middle_of_a_question(clients: list[httpx.AsyncClient], monkeypatch: pytest.MonkeyPatch):
    answered, asked = asyncio.Event(), asyncio.Event()

    async def request(_: httpx.AsyncClient, *__: Any, **___: Any) -> httpx.Response:
        asked.set()
        await answered.wait()
        return httpx.Response(200, json={"jobs": []})

    monkeypatch.setattr(httpx.AsyncClient, "request", request)
    engines = Engines(Settings())
    question = asyncio.create_task(engines.get(row()).overview())
    await asked.wait()
    engines.forget("c")
    assert (await closed(clients))[0] is False
    answered.set()
    assert (await question).jobs == {}
    del question
    assert await closed(clients) == [True, True]


async def test_one_of_a_cluster_that_is_removed(clients: list[httpx.AsyncClient]):
    engines = Engines(Settings())
    engines.get(row())
    engines.forget("c")
    engines.forget("c")
    engines.forget("never made")
    assert await closed(clients) == [True, True]
