"""What is too much is refused before it is read."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from api import limits

LIMIT = 1000


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_BODY", LIMIT)


@pytest.mark.parametrize("size", [LIMIT + 1, 50 * LIMIT])
async def test_a_body_that_says_how_long_it_is(http: httpx.AsyncClient, size: int):
    answer = await http.post("/jobs", content=b"x" * size, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_one_that_does_not(http: httpx.AsyncClient):
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 100
            yield b"x" * 100

    answer = await http.post("/jobs", content=chunks(), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert sent <= 2 * LIMIT


async def test_one_that_is_not_longer(http: httpx.AsyncClient):
    body = b'{"name": "x"}'
    answer = await http.post(
        "/jobs", content=body + b" " * (LIMIT - len(body)), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
