"""Jars at a JobManager: each is uploaded once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from clusters.flink.http import Refused
from clusters.flink.rest import FlinkRest
from core.effects import LogSink
from settings import waits

_JAR_GONE = ("does not exist", "NoSuchFileException", "FileNotFoundException")


class Uploads:
    """The jars that are known to be there. `check` raises `Unreachable` when another Flink answers in its place."""

    def __init__(self, rest: FlinkRest, check: Callable[[], Awaitable[None]]):
        self._rest = rest
        self._check = check
        self._locks: dict[str, asyncio.Lock] = {}
        self._jar_ids: dict[str, str] = {}

    async def run(
        self, jar: Path, name: str, body: Mapping[str, Any], tell: LogSink, *, timeout: float = waits.RUN_SECONDS
    ) -> str:
        """Run a jar by POST /jars/:id/run with `body`, for `timeout` seconds at most; it is uploaded under `name` where
        the JobManager does not have it. Gives the id of the Flink job. Raises `Refused`, `Unreachable`."""
        jar_id = await self._uploaded(jar, name, tell)
        try:
            return await self._rest.run(jar_id, body, timeout=timeout)
        except Refused as error:
            # An uploaded jar vanishes with its JobManager.
            self._jar_ids.pop(name, None)
            if not any(word in (error.stack or "") for word in _JAR_GONE):
                raise
            if jar_id in (await self._rest.jars()).values():
                raise
        return await self._rest.run(await self._uploaded(jar, name, tell), body, timeout=timeout)

    async def _uploaded(self, jar: Path, name: str, tell: LogSink) -> str:
        """The id of the uploaded jar. Flink opens every uploaded jar to list them, so it is asked once."""
        async with self._locks.setdefault(name, asyncio.Lock()):
            jar_id = self._jar_ids.get(name) or (await self._rest.jars()).get(name)
            if jar_id is None:
                tell(f"uploading {jar.name} ({jar.stat().st_size / 1e6:.1f} MB)")
                jar_id = await self._rest.upload(jar, name)
                # Another Flink knows no jar by the id that this one gave it, and so runs none by mistake, unless the
                # jar was uploaded to that one.
                await self._check()
            self._jar_ids[name] = jar_id
            return jar_id
