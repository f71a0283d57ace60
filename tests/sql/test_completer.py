"""The session that completion keeps. The gateway is a double: one that loses a session at the right moment, or is away,
cannot be had on demand; that a real one completes is tested in `tests/real/test_sessions.py`."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from clusters.protocol import Unreachable
from core.effects import EngineError
from settings import waits
from sql.completer import Completer
from tests.rows import cluster_row


class Gateway:
    def __init__(self) -> None:
        self.opened, self.closed, self.hangs = 0, list[str](), False
        self.lost, self.away, self.at_once = set[str](), False, 0

    async def open_session(self, _: Any) -> tuple[Gateway, str]:
        if self.away:
            raise Unreachable("refused")
        self.opened += 1
        return self, f"s{self.opened}"

    async def complete(self, session: str, statement: str, position: int) -> list[str]:
        if self.hangs:
            await asyncio.sleep(3600)
        self.at_once += 1
        await asyncio.sleep(0.01)
        assert self.at_once == 1, "two questions to one session at once"
        self.at_once -= 1
        if self.away or session in self.lost:
            raise cast(EngineError, Unreachable("no such session"))
        return [f"{statement[:position]}ECT"]

    async def close(self, session: str) -> None:
        self.closed.append(session)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def completer(gateway: Gateway) -> Completer:
    return Completer(cast(Any, SimpleNamespace(engines=SimpleNamespace(compiler=lambda _: gateway))))


async def test_all_who_type_share_one_session(gateway: Gateway, completer: Completer):
    answers = await asyncio.gather(*(completer.words(cluster_row(), "SEL") for _ in range(5)))
    assert (answers, gateway.opened) == ([["SELECT"]] * 5, 1)
    await completer.words(cluster_row("other"), "SEL")
    assert gateway.opened == 2
    await completer.close()
    assert sorted(gateway.closed) == ["s1", "s2"]


async def test_one_that_its_gateway_has_lost_is_opened_anew(gateway: Gateway, completer: Completer):
    await completer.words(cluster_row(), "SEL")
    gateway.lost = {"s1"}
    assert (await completer.words(cluster_row(), "SEL"), gateway.opened) == (["SELECT"], 2)


async def test_without_a_gateway_there_are_no_words(gateway: Gateway, completer: Completer):
    gateway.away = True
    assert await completer.words(cluster_row(), "SEL") == []
    gateway.away = False
    assert await completer.words(cluster_row(), "SEL") == ["SELECT"]


async def test_who_types_does_not_wait_for_a_gateway_that_hangs(
    gateway: Gateway, completer: Completer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(waits, "COMPLETER_SECONDS", 0.1)
    gateway.hangs = True
    async with asyncio.timeout(20):
        answers = await asyncio.gather(*(completer.words(cluster_row(), "SEL") for _ in range(50)))
        assert answers == [[]] * 50
        gateway.hangs = False
        assert await completer.words(cluster_row(), "SEL") == [], "it is not asked for a moment"
        monkeypatch.setattr(waits, "COMPLETER_PAUSE_SECONDS", 0.0)
        other = cluster_row(jobmanager_url="http://elsewhere")
        assert await completer.words(other, "SEL") == ["SELECT"], "another place is another cluster"


async def test_it_is_closed_when_nobody_types_any_more(
    gateway: Gateway, completer: Completer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(waits, "COMPLETER_KEPT_SECONDS", 0.05)
    await completer.words(cluster_row(), "SEL")
    for _ in range(200):
        if gateway.closed:
            break
        await asyncio.sleep(0.02)
    assert gateway.closed == ["s1"]
    assert (await completer.words(cluster_row(), "SEL"), gateway.opened) == (["SELECT"], 2)
