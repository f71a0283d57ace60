"""One question for all who ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

A = TypeVar("A")


class Together(Generic[A]):
    """A question that many ask. Who asks while it is being answered waits for the next one, which all share who came
    meanwhile: an answer is never older than the moment at which somebody asked for it."""

    def __init__(self, question: Callable[[], Awaitable[A]]):
        self._question = question
        self._asked: asyncio.Task[A] | None = None
        self._next: asyncio.Task[A] | None = None

    async def ask(self) -> A:
        """Raises what the question raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._asked))
            self._next.add_done_callback(_retrieved)
        return await asyncio.shield(self._next)

    async def _after(self, before: asyncio.Task[A] | None) -> A:
        if before is not None:
            await asyncio.wait([before])
        self._asked, self._next = self._next, None
        return await self._question()


def _retrieved(task: asyncio.Task[A]) -> None:
    """Those who asked may all have gone."""
    if not task.cancelled():
        task.exception()
