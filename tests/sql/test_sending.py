"""How a query of a preview is sent to the gateway."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

from clusters.sql import Result
from sql.runs import Run
from sql.streams import Limits, Stream


class _Gateway:
    def __init__(self) -> None:
        self.config: dict[str, str] = {}

    async def start(self, _: str, __: str, config: Mapping[str, str]) -> str:
        self.config = dict(config)
        return "operation"

    async def page(self, *_: Any) -> Result:
        return cast(Result, SimpleNamespace(ready=True))


async def test_the_gateway_does_not_send_it_again():
    """It would arrive when nobody looks for it any more: behind the lease of its preview."""
    gateway, stream = _Gateway(), Stream("", "SELECT 1")
    nothing = cast(Any, None)
    run = Run(nothing, nothing, cast(Any, gateway), "s", [stream], Limits(), secrets=[], materialize=False)
    await run._send(stream, "default")
    assert gateway.config["rest.retry.max-attempts"] == "0"
    assert gateway.config["$internal.pipeline.job-id"] == stream.flink_job_id
