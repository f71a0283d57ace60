"""What of a statement was perhaps sent."""

from __future__ import annotations

from typing import Any

import pytest

from clusters.flink.gateway import RestGateway
from clusters.protocol import Unreachable


async def test_a_statement_whose_result_cannot_be_asked_for_was_sent(monkeypatch: pytest.MonkeyPatch):
    gateway = RestGateway("http://127.0.0.1:1")

    async def call(method: str, path: str, **_: Any) -> Any:
        if method == "POST":
            return {"operationHandle": "o"}
        raise Unreachable("connection refused", sent=False)

    monkeypatch.setattr(gateway.http, "call", call)
    with pytest.raises(Unreachable) as error:
        await gateway.execute("s", "INSERT INTO t SELECT 1")
    assert error.value.sent
    await gateway.http.close()


async def test_a_statement_that_could_not_be_sent_was_not(monkeypatch: pytest.MonkeyPatch):
    gateway = RestGateway("http://127.0.0.1:1")
    with pytest.raises(Unreachable) as error:
        await gateway.execute("s", "INSERT INTO t SELECT 1")
    assert not error.value.sent
    await gateway.http.close()
