"""The way to a Flink: what of a request arrives, when, and what of its answer comes back."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import httpx

from tests.simulation.flink import RESET, Answer
from tests.simulation.loop import NEUTRAL

if TYPE_CHECKING:
    from tests.simulation.chance import Chance
    from tests.simulation.loop import SimLoop


class Server(Protocol):
    up: bool

    def handle(self, method: str, path: str, more: Any) -> Answer | asyncio.Future[Answer]: ...


@dataclass
class Response:
    status_code: int
    body: Any

    def json(self, **how: Any) -> Any:
        """`how` is for `json.loads`, as httpx takes it."""
        if self.body is None:
            raise json.JSONDecodeError("not JSON", "<html>", 0)
        return json.loads(json.dumps(self.body), **how) if how else self.body


@dataclass
class Endpoint:
    """An address. `mode` is what becomes of requests: ok, refuse, hang, 503, html, or drop (they arrive, and are not
    answered)."""

    server: Server
    mode: str = "ok"


class Network:
    """Addresses (`http://host:port`), and who answers there."""

    def __init__(self, loop: SimLoop, chance: Chance):
        self.loop, self.chance = loop, chance
        self.endpoints: dict[str, Endpoint] = {}
        self.requests = 0

    async def ask(self, method: str, url: str, patience: float, more: dict[str, Any]) -> Response:
        """Raises what httpx raises."""
        self.requests += 1
        loop, chance = self.loop, self.chance
        scheme, _, rest = url.partition("://")
        host, _, path = rest.partition("/")
        endpoint = self.endpoints.get(f"{scheme}://{host}")
        future: asyncio.Future[Response] = loop.create_future()
        lost = chance.http_lost()

        def fail(error: Exception) -> None:
            if not future.done():
                future.set_exception(error)

        def tell(answer: Answer) -> None:
            if future.done():
                return
            if answer is RESET:
                future.set_exception(httpx.ReadError("Connection reset by peer"))
            else:
                future.set_result(Response(*answer))

        def answered(answer: Answer) -> None:
            if lost != "answer" and (endpoint is None or endpoint.mode not in ("drop", "hang")):
                loop.call_later(chance.http(), tell, answer, context=NEUTRAL)

        def arrive() -> None:
            if endpoint is None or endpoint.mode == "refuse" or not endpoint.server.up or lost == "refused":
                fail(httpx.ConnectError("All connection attempts failed"))
            elif endpoint.mode == "503":
                answered((503, {"errors": ["no upstream"]}))
            elif endpoint.mode == "html":
                answered((200, None))
            elif endpoint.mode != "hang" and lost != "request":
                value = endpoint.server.handle(method, "/" + path, more)
                if isinstance(value, asyncio.Future):
                    value.add_done_callback(lambda f: f.cancelled() or answered(f.result()), context=NEUTRAL)
                else:
                    answered(value)

        timer = loop.call_later(patience, fail, httpx.ReadTimeout(""), context=NEUTRAL)
        loop.call_later(chance.http(), arrive, context=NEUTRAL)
        try:
            return await future
        finally:
            timer.cancel()


class Transport(httpx.AsyncBaseTransport):
    """In the place of the network below a client of httpx: what is above it is as in production. A third slower than
    `Client`, by which stories are played."""

    def __init__(self, network: Network):
        self._network = network

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        patience = request.extensions.get("timeout", {}).get("read") or 15.0
        answer = await self._network.ask(
            request.method, str(request.url.copy_with(query=None)), patience, await _more(request)
        )
        if answer.body is None:
            return httpx.Response(answer.status_code, html="<html>hello</html>")
        if isinstance(answer.body, bytes):
            return httpx.Response(answer.status_code, content=answer.body)
        return httpx.Response(answer.status_code, json=answer.body)


async def _more(request: httpx.Request) -> dict[str, Any]:
    """What a request has in it, as a caller of httpx gives it."""
    body = await request.aread()
    kind = request.headers.get("content-type", "")
    if kind.startswith("multipart/"):
        name = re.search(rb'filename="([^"]*)"', body)
        return {"files": {"jarfile": (name.group(1).decode() if name else "", b"", "")}}
    return {"json": json.loads(body)} if body else {}


class Client:
    """In the place of `httpx.AsyncClient` in `clusters/flink/http.py`."""

    def __init__(self, network: Network, timeout: float):
        self._network, self._timeout = network, timeout

    async def request(self, method: str, url: str, *, timeout: float | None = None, **more: Any) -> Response:
        return await self._network.ask(method, url, timeout or self._timeout, more)

    @asynccontextmanager
    async def stream(self, method: str, url: str) -> AsyncIterator[httpx.Response]:
        answer = await self._network.ask(method, url, self._timeout, {})
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        yield httpx.Response(answer.status_code, content=body)

    async def aclose(self) -> None:
        pass
