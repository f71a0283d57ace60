"""Flink's own completer, which knows keywords and functions, in a session that stays open while somebody types: to open
one takes longer than its answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, field

from clusters.registry import address_of
from clusters.sql import SqlGateway
from core.effects import EngineError
from services import Services
from settings import clock, waits
from store.tables import Cluster

_Key = tuple[str, str, str]
"""The name of a cluster, its version of Flink and where it is found."""


@dataclass
class _Held:
    """One cluster's session; `expiry` closes it when nobody types any more."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    opened: tuple[SqlGateway, str] | None = None
    expiry: asyncio.TimerHandle | None = None
    asked_again_at: float = 0.0


class Completer:
    """One session per cluster. Nothing is made in it, so that all who complete share it."""

    def __init__(self, services: Services):
        self._services = services
        self._held: dict[_Key, _Held] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def words(self, cluster: Cluster, statement: str) -> list[str]:
        """What may stand at the end of `statement`; nothing when Flink cannot be asked: the names that Penstock knows
        are still worth having."""
        key = (cluster.name, cluster.flink_version, address_of(cluster).model_dump_json())
        held = self._held.setdefault(key, _Held())
        if clock.monotonic() < held.asked_again_at:
            return []
        has_begun = False
        try:
            async with asyncio.timeout(waits.COMPLETER_SECONDS), held.turn:
                has_begun = True
                if held.expiry is not None:
                    held.expiry.cancel()
                try:
                    return await self._asked(held, cluster, statement)
                finally:
                    self._expire_later(key, held)
        except TimeoutError:  # who types waits for no gateway that hangs
            if has_begun:
                held.asked_again_at = clock.monotonic() + waits.COMPLETER_PAUSE_SECONDS
            return []

    async def _asked(self, held: _Held, cluster: Cluster, statement: str) -> list[str]:
        is_new = held.opened is None
        try:
            if held.opened is None:
                held.opened = await self._services.engines.compiler(cluster).open_session({})
            gateway, handle = held.opened
            return await gateway.complete(handle, statement, len(statement))
        except EngineError:
            # It has gone with its gateway, the gateway is away, or has something against the text.
            opened, held.opened = held.opened, None
            if opened is not None:
                self._begin(_close(opened))
            return [] if is_new else await self._asked(held, cluster, statement)

    def _expire_later(self, key: _Key, held: _Held) -> None:
        held.expiry = asyncio.get_running_loop().call_later(waits.COMPLETER_KEPT_SECONDS, self._expire, key, held)

    def _expire(self, key: _Key, held: _Held) -> None:
        if self._held.get(key) is held:
            del self._held[key]
        if held.opened is not None:
            self._begin(_close(held.opened))

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all sessions."""
        for key, held in list(self._held.items()):
            if held.expiry is not None:
                held.expiry.cancel()
            self._expire(key, held)
        await asyncio.gather(*self._closing)


async def _close(opened: tuple[SqlGateway, str]) -> None:
    gateway, session = opened
    with contextlib.suppress(EngineError, TimeoutError):
        async with asyncio.timeout(waits.COMPLETER_SECONDS):
            await gateway.close(session)
