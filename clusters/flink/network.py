"""Requests over the network, by aiohttp: of a worker that starts many jobs, httpx took a third of the processor time.

What can go wrong is told in exceptions of httpx, as by every other way to a Flink (`clusters/flink/http.py`).
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import IO, Any, TypeAlias

import aiohttp
import httpx

from settings import waits

CONNECTIONS = 40
PIECE = 256 * 1024
Files: TypeAlias = Mapping[str, tuple[str, IO[bytes], str]]
"""By the name of the field: the name of the file, the file, and its content type."""


class Response:
    """The answer of a server, read whole."""

    def __init__(self, status_code: int, body: bytes):
        self.status_code = status_code
        self._body = body

    def json(self, **how: Any) -> Any:
        """`how` is for `json.loads`. Raises `json.JSONDecodeError` or `UnicodeDecodeError`."""
        return json.loads(self._body, **how)


class Streamed:
    """An answer whose body is read piece by piece, as httpx gives it."""

    def __init__(self, answer: aiohttp.ClientResponse):
        self.status_code, self.headers = answer.status, answer.headers
        self._answer = answer

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """Pieces of at most `PIECE` bytes."""
        return aiter(self._answer.content.iter_chunked(PIECE))


@contextmanager
def _as_httpx() -> Iterator[None]:
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout(str(error)) from error
    except (aiohttp.ClientConnectorError, aiohttp.InvalidURL, UnicodeError) as error:
        # A name that no host can have (`a..b`) is found out when it is looked up.
        raise httpx.ConnectError(str(error)) from error
    except TimeoutError as error:
        raise httpx.ReadTimeout(str(error)) from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx.RemoteProtocolError(str(error)) from error


class Network:
    """A client of any server; connections are kept. `timeout` is in seconds, for each time that nothing comes."""

    def __init__(self, timeout: float):
        self._timeout = timeout
        self._made: aiohttp.ClientSession | None = None  # made in the loop that it is used in
        self._tls: ssl.SSLContext | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        files: Files | None = None,
        timeout: float | None = None,
    ) -> Response:
        """No redirect is followed. Raises `httpx.ConnectError`, `httpx.ConnectTimeout` and `httpx.PoolTimeout` when
        nothing was sent, another `httpx.HTTPError` when it may have arrived."""
        more: dict[str, Any] = {"json": json} if json is not None else {}
        if files is not None:
            more["data"] = _form(files)
        if params is not None:
            more["params"] = {key: str(value) for key, value in params.items()}
        more |= self._secured(url)
        with _as_httpx():
            limit = self._limit(timeout or self._timeout, most=2 if files is not None else 10)
            async with self._session().request(method, url, allow_redirects=False, timeout=limit, **more) as answer:
                return Response(answer.status, await answer.read())

    @asynccontextmanager
    async def stream(self, method: str, url: str) -> AsyncIterator[Streamed]:
        """Ask for an answer of any length. Raises as `request`, also while it is read."""
        with _as_httpx():
            limit = self._limit(self._timeout, most=10)
            more = self._secured(url)
            async with self._session().request(method, url, allow_redirects=False, timeout=limit, **more) as answer:
                yield Streamed(answer)

    def _secured(self, url: str) -> dict[str, Any]:
        if not url.startswith("https:"):
            return {}
        self._tls = self._tls or httpx.create_ssl_context(trust_env=False)
        return {"ssl": self._tls}

    def _session(self) -> aiohttp.ClientSession:
        if self._made is None:
            self._made = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS), cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._made

    def _limit(self, seconds: float, *, most: float) -> aiohttp.ClientTimeout:
        """A server that takes or gives a little now and then is given up after `most` times as long."""
        waiting = waits.FLINK_CONNECT_SECONDS + seconds
        return aiohttp.ClientTimeout(
            total=waiting + most * seconds, connect=waiting, sock_connect=waits.FLINK_CONNECT_SECONDS, sock_read=seconds
        )

    async def aclose(self) -> None:
        """Close its connections; a request after that opens new ones."""
        if self._made is not None:
            made, self._made = self._made, None
            await made.close()


def _form(files: Files) -> aiohttp.FormData:
    form = aiohttp.FormData()
    for field, (name, file, kind) in files.items():
        form.add_field(field, file, filename=name, content_type=kind)
    return form
