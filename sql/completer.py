"""Flink's own completer, which knows keywords and functions, in a session that stays open while somebody types: to open
one takes longer than its answer."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from clusters.sql import SqlGateway
from core.effects import EngineError
from services import Services
from settings import waits
from store.tables import Cluster


@dataclass
class _Held:
    """One cluster's session; `expiry` closes it when nobody types any more."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    opened: tuple[SqlGateway, str] | None = None
    expiry: asyncio.TimerHandle | None = None


class Completer:
    """One session per cluster. Nothing is made in it, so that all who complete share it."""

    def __init__(self, services: Services):
        self._services = services
        self._held: dict[str, _Held] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def words(self, cluster: Cluster, statement: str) -> list[str]:
        """What may stand at the end of `statement`; nothing when Flink cannot be asked: the names that Penstock knows
        are still worth having."""
        held = self._held.setdefault(cluster.name, _Held())
        async with held.turn:
            if held.expiry is not None:
                held.expiry.cancel()
            words = await self._asked(held, cluster, statement)
            if held.opened is not None:
                loop = asyncio.get_running_loop()
                held.expiry = loop.call_later(waits.COMPLETER_KEPT_SECONDS, self._expire, held)
        return words

    async def _asked(self, held: _Held, cluster: Cluster, statement: str) -> list[str]:
        is_new = held.opened is None
        try:
            if held.opened is None:
                held.opened = await self._services.engines.compiler(cluster).open_session({})
            gateway, handle = held.opened
            return await gateway.complete(handle, statement, len(statement))
        except EngineError:
            held.opened = None  # it has gone with its gateway, or the gateway is away
            return [] if is_new else await self._asked(held, cluster, statement)

    def _expire(self, held: _Held) -> None:
        task = asyncio.create_task(_close(held))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all sessions."""
        await asyncio.gather(*map(_close, self._held.values()))


async def _close(held: _Held) -> None:
    async with held.turn:
        opened, held.opened = held.opened, None
        if held.expiry is not None:
            held.expiry.cancel()
        if opened is not None:
            with contextlib.suppress(EngineError):
                await opened[0].close(opened[1])
