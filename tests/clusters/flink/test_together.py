"""One question for all who ask at the same time, and none of them gets an older answer than it asked for."""

from __future__ import annotations

import asyncio

import pytest

from clusters.flink.together import Together


class Question:
    """`began` counts how often it was asked; each is answered when `answer` or `refuse` is called."""

    def __init__(self) -> None:
        self.began = 0
        self._waiting: list[asyncio.Future[str]] = []

    async def __call__(self) -> str:
        self.began += 1
        number = self.began
        self._waiting.append(asyncio.get_running_loop().create_future())
        return f"{await self._waiting[-1]} {number}"

    def answer(self) -> None:
        self._waiting.pop().set_result("answer")

    def refuse(self) -> None:
        self._waiting.pop().set_exception(RuntimeError("no"))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_while_one_is_answered_gets_the_next_answer():
    question = Question()
    together = Together(question)
    first = [asyncio.create_task(together.ask()) for _ in range(2)]
    await settle()
    assert question.began == 1
    later = [asyncio.create_task(together.ask()) for _ in range(3)]
    await settle()
    assert question.began == 1, "one at a time"
    question.answer()
    assert await asyncio.gather(*first) == ["answer 1"] * 2
    await settle()
    question.answer()
    assert await asyncio.gather(*later) == ["answer 2"] * 3
    assert question.began == 2
    last = asyncio.create_task(together.ask())
    await settle()
    question.answer()
    assert await last == "answer 3", "an answer is for those who waited for it"


async def test_all_are_told_a_no_and_the_next_is_asked_all_the_same():
    question = Question()
    together = Together(question)
    first = [asyncio.create_task(together.ask()) for _ in range(2)]
    await settle()
    later = asyncio.create_task(together.ask())
    await settle()
    question.refuse()
    for one in first:
        with pytest.raises(RuntimeError):
            await one
    await settle()
    question.answer()
    assert await later == "answer 2"


async def test_one_who_goes_takes_nobody_with_it():
    question = Question()
    together = Together(question)
    goes, stays = asyncio.create_task(together.ask()), asyncio.create_task(together.ask())
    await settle()
    goes.cancel()
    await settle()
    question.answer()
    assert await stays == "answer 1"
    assert goes.cancelled()
