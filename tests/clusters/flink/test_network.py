"""The way over the network, against a server that misbehaves: what may have arrived is never taken for not sent."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import httpx
import pytest

from clusters.flink import network
from clusters.flink.http import Http, Refused
from clusters.flink.network import Network
from clusters.protocol import Unreachable
from settings import waits

Behaviour = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers each request as `behaves`; `heads` and `bodies` are what arrived, `connections` how many were made."""

    def __init__(self, behaves: Behaviour):
        self.behaves = behaves
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
                self.heads.append(head)
                self.bodies.append(body)
                await self.behaves(head, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def serving(behaves: Behaviour) -> AsyncIterator[Server]:
    made = Server(behaves)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()


@asynccontextmanager
async def client(seconds: float = 5.0) -> AsyncIterator[Network]:
    made = Network(seconds)
    try:
        yield made
    finally:
        await made.aclose()


def answer(status: str, body: bytes, *lines: str) -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", "Content-Type: application/json", *lines])
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def says(what: bytes, *, then_closes: bool = False) -> Behaviour:
    async def behave(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(what)
        if then_closes:
            writer.close()

    return behave


async def resets(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def says_nothing(*_: Any) -> None:
    await asyncio.sleep(60)


OK = says(answer("200 OK", b'{"a": [1]}'))
LOST: dict[str, Behaviour] = {
    "reset": resets,
    "closed without an answer": says(b"", then_closes=True),
    "closed in the head": says(b"HTTP/1.1 200 OK\r\nContent-Le", then_closes=True),
    "closed in the body": says(answer("200 OK", b'{"jobs": []}')[:-4], then_closes=True),
    "a chunk that is none": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", then_closes=True),
    "no HTTP": says(b"SSH-2.0-OpenSSH_9.6\r\n", then_closes=True),
    "bad compression": says(answer("200 OK", b"not gzip", "Content-Encoding: gzip")),
    "nothing": says_nothing,
    "the half, and then nothing": says(answer("200 OK", b'{"jobs": []}')[:-4]),
}


@pytest.mark.parametrize("behaves", LOST.values(), ids=LOST.keys())
async def test_what_is_not_answered_may_have_arrived(behaves: Behaviour):
    async with serving(behaves) as server:
        http = Http([server.url], "JobManager", timeout=0.2)
        with pytest.raises(Unreachable) as error:
            await http.call("POST", "/jars/x/run", json={})
        await http.close()
    assert error.value.sent
    assert len(server.heads) == 1, "it is sent once"


async def test_a_refused_connection_has_sent_nothing():
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        http = Http([f"http://127.0.0.1:{taken.getsockname()[1]}"], "JobManager")
        with pytest.raises(Unreachable) as error:
            await http.call("POST", "/jars/x/run", json={})
        await http.close()
    assert not error.value.sent


@pytest.mark.parametrize("url", ["http://nobody.invalid:8081", "http://a..b", "http://[::1", "http://127.0.0.1:99999"])
async def test_an_address_of_nobody_has_sent_nothing(url: str):
    http = Http([url], "JobManager")
    with pytest.raises(Unreachable) as error:
        await http.call("POST", "/jars/x/run", json={})
    await http.close()
    assert not error.value.sent


async def test_what_waits_for_a_connection_in_vain_has_sent_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(network, "CONNECTIONS", 1)
    monkeypatch.setattr(waits, "FLINK_CONNECT_SECONDS", 0.1)
    async with serving(says_nothing) as server, client(0.2) as here:
        first = asyncio.create_task(here.request("GET", server.url + "/jobs/overview", timeout=5))
        await asyncio.sleep(0.05)
        with pytest.raises(httpx.ConnectTimeout):
            await here.request("POST", server.url + "/jars/x/run")
        first.cancel()
        assert len(server.heads) == 1


async def test_a_connection_is_kept_and_one_that_was_closed_meanwhile_is_not_used():
    async with serving(OK) as server, client() as here:
        for _ in range(3):
            assert (await here.request("GET", server.url)).json() == {"a": [1]}
        assert server.connections == 1
        server.behaves = says(answer("200 OK", b"{}"), then_closes=True)
        await here.request("GET", server.url)
        await asyncio.sleep(0.05)
        server.behaves = OK
        assert (await here.request("POST", server.url, json={})).status_code == 200
        assert server.connections == 2


async def test_a_request_carries_what_it_was_given():
    async with serving(OK) as server, client() as here:
        await here.request("POST", server.url + "/a", json={"statement": "Ü"}, params={"maxExceptions": 1, "get": "x"})
        assert server.heads[-1].startswith(b"POST /a?maxExceptions=1&get=x HTTP/1.1\r\n")
        assert json.loads(server.bodies[-1]) == {"statement": "Ü"}
        jar = ("job.jar", BytesIO(b"PK\x03\x04"), "application/java-archive")
        await here.request("POST", server.url + "/jars/upload", files={"jarfile": jar})
        assert b'name="jarfile"; filename="job.jar"' in server.bodies[-1]
        assert b"application/java-archive" in server.bodies[-1]
        assert b"\r\n\r\nPK\x03\x04\r\n" in server.bodies[-1]
        await here.request("GET", server.url)
        assert server.bodies[-1] == b"", "and no cookie, and nothing else of the one before"


async def test_no_redirect_is_followed_and_no_cookie_kept():
    moved = answer("307 Temporary Redirect", b"{}", "Location: /elsewhere", "Set-Cookie: a=b")
    async with serving(says(moved)) as server, client() as here:
        assert (await here.request("POST", server.url, json={})).status_code == 307
        await here.request("GET", server.url)
        assert len(server.heads) == 2
        assert b"cookie" not in server.heads[-1].lower()


async def test_a_no_is_an_answer():
    async with serving(says(answer("500 Internal Server Error", b'{"errors": ["a.B: no"]}'))) as server:
        http = Http([server.url], "JobManager")
        with pytest.raises(Refused):
            await http.call("POST", "/jars/x/run", json={})
        await http.close()
