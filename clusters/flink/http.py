"""HTTP to a Flink or a gateway: which answers are answers, and which are not."""

from __future__ import annotations

import asyncio
import json
import sys
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import httpx

from clusters.flink.errors import root_cause
from clusters.flink.network import Network
from clusters.protocol import Unreachable
from core.effects import EngineError


class Refused(EngineError):
    """An answer of the server itself that says no: `status` is the HTTP status, `stack` its full text."""

    def __init__(self, status: int, message: str, stack: str):
        super().__init__(message, stack=stack)
        self.status = status


class AnswerTooLarge(EngineError):
    """An answer of `size` bytes, None where that is not told, is more than was asked for."""

    def __init__(self, size: int | None, most: int):
        of = f"{size / 2**20:.0f} MB" if size is not None else "more"
        super().__init__(f"it has {of}, and more than {most >> 20} MB are not read through Flink's REST API")
        self.size = size


MAX_REFUSAL = 64 * 1024
Transport = httpx.AsyncBaseTransport
"""What takes a request and gives its answer in the place of the network; what it raises is httpx's."""


def new_client(timeout: float, transport: Transport | None = None) -> Network | httpx.AsyncClient:
    """What all requests to Flink go through. `timeout` is in seconds; `transport` takes the place of the network."""
    if transport is None:
        return Network(timeout)
    return httpx.AsyncClient(timeout=timeout, trust_env=False, transport=transport)


class Http:
    """A client of one server that may answer at several addresses. `what` names it in messages, for example
    `JobManager`; `in_jar` tells whether what it says no to are jars. The address that answered last is asked first."""

    def __init__(
        self,
        urls: Sequence[str],
        what: str,
        *,
        in_jar: bool | None = None,
        timeout: float = 15,
        transport: Transport | None = None,
    ):
        self._in_jar = in_jar
        self._urls = [url.rstrip("/") for url in urls]
        self._client = new_client(timeout, transport)
        self._what = what

    @property
    def url(self) -> str:
        """The address that answered last."""
        return self._urls[0]

    async def close(self) -> None:
        """Close its connections. Nothing is to be asked after that."""
        await self._client.aclose()

    def close_when_unused(self) -> None:
        """As `close`, as soon as nothing refers to this any more. Called in the loop that it is used in."""
        closing = weakref.finalize(self, _close_soon, asyncio.get_running_loop(), self._client)
        closing.atexit = False  # then the loop is gone, and the process with its connections

    async def call(self, method: str, path: str, *, exact: bool = False, **more: Any) -> Any:
        """The JSON answer; numbers with a fraction are `Decimal`s if it has to be `exact`. Raises `Unreachable` when
        there is none of a leader, `Refused` on its no.

        Another address is tried only when nothing can have happened at the one before: nothing was sent, or
        it was a GET.
        """
        sent, first = False, None
        for url in list(self._urls):
            try:
                body = await self._ask(url, method, path, exact, **more)
                if url != self._urls[0]:
                    self._urls = [url, *(u for u in self._urls if u != url)]
                return body
            except Unreachable as error:
                first, sent = first or error, sent or error.sent
                if error.sent and method != "GET":
                    break
        assert first is not None
        raise Unreachable(first.message, sent=sent) from first

    async def read(self, path: str, take: Callable[[bytes], None], *, most: int) -> int:
        """Give what stands at `path` to `take`, piece by piece; returns how many bytes that were. Raises
        `AnswerTooLarge` before the first of them, or after `most`, and as `call`."""
        total, first = 0, None

        def taken(piece: bytes) -> None:
            nonlocal total
            total += len(piece)
            if total > most:
                raise AnswerTooLarge(None, most)
            take(piece)

        for url in list(self._urls):
            try:
                await self._read(url, path, taken, most)
                return total
            except Unreachable as error:
                first = first or error
                if total:
                    break
        assert first is not None
        raise Unreachable(first.message, sent=False) from first

    async def last_of(self, path: str, last: int) -> bytes:
        """The last bytes, `last` at most, of what stands at `path`, however much that is. Raises as `call`."""
        pieces: deque[bytes] = deque()
        held = 0

        def take(piece: bytes) -> None:
            nonlocal held
            pieces.append(piece)
            held += len(piece)
            while held - len(pieces[0]) >= last:
                held -= len(pieces.popleft())

        await self.read(path, take, most=sys.maxsize)
        return b"".join(pieces)[-last:]

    async def _read(self, url: str, path: str, take: Callable[[bytes], None], most: int) -> None:
        what = f"{self._what} {url}"
        with _told(what):
            async with self._client.stream("GET", url + path) as answer:
                if answer.status_code == 200:
                    size = answer.headers.get("content-length", "")
                    if size.isdigit() and int(size) > most:
                        raise AnswerTooLarge(int(size), most)
                    async for piece in answer.aiter_bytes():
                        take(piece)
                        await asyncio.sleep(0)  # what has come already is given without a pause
                    return
                body = b""
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > MAX_REFUSAL:
                        break
        _judged(what, answer.status_code, _json(what, answer.status_code, lambda: json.loads(body)), self._in_jar)

    async def _ask(self, url: str, method: str, path: str, exact: bool, **more: Any) -> Any:
        what = f"{self._what} {url}"
        with _told(what):
            response = await self._client.request(method, url + path, **more)
        status = response.status_code
        body = _json(what, status, lambda: response.json(parse_float=Decimal) if exact else response.json())
        return _judged(what, status, body, self._in_jar)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """What goes wrong on the way is `Unreachable`, in words."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise Unreachable(f"{what} cannot be reached: {_words(error)}", sent=False) from error
    except httpx.HTTPError as error:
        raise Unreachable(f"{what} did not answer: {_words(error)}") from error


def _json(what: str, status: int, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise Unreachable(
            f"{what} answered {status} with something that is not JSON; a proxy or another server may be in its place"
        ) from None


def _judged(what: str, status: int, body: Any, in_jar: bool | None) -> Any:
    """The body of an answer, unless that is a no, or not one of a leader."""
    if status == 503 or status in (301, 302, 307, 308, 429, 502, 504):
        raise Unreachable(f"{what} has no leader at the moment (HTTP {status})")
    if status >= 400:
        stack = _errors(body)
        raise Refused(status, root_cause(stack, in_jar), stack)
    return body


Given = ParamSpec("Given")
Found = TypeVar("Found")


def reads(question: Callable[Given, Awaitable[Found]]) -> Callable[Given, Coroutine[Any, Any, Found]]:
    """Of a method that reads an answer: JSON of another shape than Flink's comes from another server in its place, so
    it raises `Unreachable`. What was sent may have arrived."""

    @wraps(question)
    async def asked(*args: Given.args, **kwargs: Given.kwargs) -> Found:
        try:
            return await question(*args, **kwargs)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise Unreachable(
                f"What was answered to {question.__name__} is no answer of a Flink ({type(error).__name__}: {error}); "
                "another server may be in its place"
            ) from error

    return asked


def answered(question: Callable[Given, Awaitable[Found]]) -> Callable[Given, Coroutine[Any, Any, Found]]:
    """Of a question about the whole cluster, which a JobManager never says no to: a no comes from a proxy in front of
    it (401, 403), or from a JobManager that cannot tell now (500 when its own parts time out). It raises
    `Unreachable`."""

    @wraps(question)
    async def asked(*args: Given.args, **kwargs: Given.kwargs) -> Found:
        try:
            return await question(*args, **kwargs)
        except Refused as error:
            raise Unreachable(
                f"The JobManager, or a proxy in front of it, refused to tell (HTTP {error.status}): {error.message}"
            ) from error

    return asked


_closing: set[asyncio.Task[None]] = set()


def _close_soon(loop: asyncio.AbstractEventLoop, client: Network | httpx.AsyncClient) -> None:
    """Whatever thread it is that has let go of it last."""

    def close() -> None:
        task = loop.create_task(client.aclose())
        _closing.add(task)
        task.add_done_callback(_closing.discard)

    if asyncio._get_running_loop() is loop:
        loop.call_soon(close)
    elif loop.is_running():
        loop.call_soon_threadsafe(close)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _errors(body: Any) -> str:
    errors = body.get("errors") if isinstance(body, dict) else None
    return "\n".join(str(e) for e in errors) if isinstance(errors, list) else json.dumps(body)[:4000]
