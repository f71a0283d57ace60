"""The API as seen from a terminal: one client, errors in words, exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import httpx
import typer
from rich.console import Console

from cli.wording import as_commands
from settings import LOOPBACK, default_home, waits
from settings.polling import poll

# Where nobody looks (a pipe, a file) lines are not folded to the width of a terminal.
UNBOUNDED = 1 << 20
out = Console(width=None if sys.stdout.isatty() else UNBOUNDED)
err = Console(stderr=True, width=None if sys.stderr.isatty() else UNBOUNDED)

# Exit codes: 0 done, 1 the command or job failed, 2 wrong usage, 3 the API cannot be reached, 4 not found, 5 conflict.
FAILED, USAGE, UNREACHABLE, NOT_FOUND, CONFLICT = 1, 2, 3, 4, 5
PREFIX = "/api/v1"
PROXY = (502, 503, 504)
"""With what a proxy answers for an API that it cannot ask, or not in time."""
PERHAPS = "Perhaps it was done all the same: look before you send it again."
MAX_PORT = 65535


def base_url() -> str:
    """`PENSTOCK_URL`, with or without /api/v1; else the local stack's. Ends the program when it is no URL."""
    given = os.environ.get("PENSTOCK_URL") or f"http://127.0.0.1:{os.environ.get('PENSTOCK_API_PORT', '8000')}"
    try:
        url = httpx.URL(given)
        url.host.encode("idna")  # as a connection would: httpx finds bad labels only then
    except (httpx.InvalidURL, UnicodeError):
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host or (url.port or 0) > MAX_PORT:
        err.print(f"PENSTOCK_URL is {given!r}, which is no http address.", style="red", markup=False, highlight=False)
        err.print("Set it to where the API listens, for example http://127.0.0.1:8000.", highlight=False)
        raise typer.Exit(USAGE)
    given = given.rstrip("/")
    return given if given.endswith(PREFIX) else given + PREFIX


def token() -> str | None:
    """`PENSTOCK_TOKEN`; else the local stack's, from `PENSTOCK_HOME`/token, which is sent to this machine only."""
    if given := os.environ.get("PENSTOCK_TOKEN", "").strip():
        if not given.isascii() or not given.isprintable():
            _say("PENSTOCK_TOKEN has characters that no token has.")
            raise typer.Exit(USAGE)
        return given
    if httpx.URL(base_url()).host not in LOOPBACK:
        return None
    try:
        return (Path(os.environ.get("PENSTOCK_HOME") or default_home()) / "token").read_text().strip() or None
    except OSError:
        return None


def _whose_token() -> str:
    """What to do after a 401."""
    if os.environ.get("PENSTOCK_TOKEN", "").strip():
        return "That is PENSTOCK_TOKEN: set it to a token of yours, or unset it to use the one of the local stack."
    if token():
        return (
            "That is the local stack's token, and another installation answers: set PENSTOCK_TOKEN, or PENSTOCK_HOME."
        )
    return "Set PENSTOCK_TOKEN to a token of yours. An administrator, or an owner of your project, makes the first one."


def authorization() -> dict[str, str]:
    """The header that says who calls; none without a token."""
    given = token()
    return {"Authorization": f"Bearer {given}"} if given else {}


def is_read_together() -> bool:
    """Whether standard output and standard error go to the same terminal, pipe or file."""
    try:
        one, other = (os.fstat(stream.fileno()) for stream in (sys.stdout, sys.stderr))
    except (OSError, ValueError):  # no files of the system
        return sys.stdout is sys.stderr
    return os.path.samestat(one, other)


class Refusal(typer.Exit):
    """The API's no, already printed; `problem` is the code of it."""

    def __init__(self, code: int, problem: str):
        super().__init__(code)
        self.problem = problem


_transport: ContextVar[httpx.BaseTransport | None] = ContextVar("transport", default=None)


@contextmanager
def carried_by(transport: httpx.BaseTransport | None) -> Iterator[None]:
    """What asks the API inside is carried by a transport; None: by the network."""
    token = _transport.set(transport)
    try:
        yield
    finally:
        _transport.reset(token)


def client(seconds: float, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """For requests to the API, `seconds` each. Without a `transport` they are carried as `carried_by` says."""
    transport = transport or _transport.get()
    return httpx.Client(
        base_url=base_url(), timeout=seconds, trust_env=False, transport=transport, headers=authorization()
    )


class Answer(dict[str, Any]):
    """An object of an answer. A field that is not there ends the program: something else than Penstock has answered."""

    def __missing__(self, field: str) -> Any:
        raise stranger(f"an answer without `{field}`")


class Api:
    def __init__(self, transport: httpx.BaseTransport | None = None) -> None:
        self._http = client(waits.CALL_SECONDS, transport)

    def call(self, method: str, path: str, **more: Any) -> Any:
        """The object that is answered, None for an empty answer. Ends the program with words and a code on an error."""
        response = self._ask(method, path, **more)
        if response.status_code == 204:
            return None
        try:
            answer = json.loads(response.text, object_hook=Answer)
        except ValueError:
            answer = None
        if not isinstance(answer, Answer):
            raise stranger(_kind(response))
        return answer

    def text(self, path: str, **more: Any) -> str:
        """A plain text, such as a log. Ends the program as `call` does."""
        response = self._ask("GET", path, **more)
        if not response.headers.get("content-type", "").startswith("text/plain"):
            raise stranger(_kind(response))
        return response.text

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise unreachable(error, changes=method != "GET") from error
        if not response.is_success:
            raise refused(response)
        return response

    def all(self, path: str, **params: Any) -> list[Any]:
        """The items of all pages of a list; parameters that are None are left out."""
        items: list[Any] = []
        cursor: str | None = None
        while True:
            given = {"limit": 200, **params, "cursor": cursor}
            page = self.call("GET", path, params={k: v for k, v in given.items() if v is not None})
            items += page["items"]
            cursor = page["next_cursor"]
            if not cursor:
                return items

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """Server-sent events as (event, data), to the last one, `end`. A connection that breaks before is made again,
        from where it was, until nothing has come for `STREAM_SECONDS`. Ends the program on an error."""
        stream, polling = _Stream(), None
        while True:
            why = "it ended too soon"
            try:
                with self._http.stream("GET", path, timeout=None, headers=stream.headers) as response:
                    if polling is not None and response.status_code in PROXY:
                        why = f"{response.status_code} {response.reason_phrase}"
                    else:
                        for event, data in stream.read(response):
                            yield event, data
                            if event == "end":
                                return
            except httpx.HTTPError as error:
                if polling is None and not stream.came:
                    raise unreachable(error) from error
                why = str(error) or type(error).__name__
            if polling is None or stream.came:
                polling, stream.came = poll(waits.STREAM_PACE, seconds=waits.STREAM_SECONDS), False
            if not polling.again_in_thread():
                _say(f"The connection to the Penstock API at {base_url()} breaks again and again ({why}).")
                raise StreamBroken(UNREACHABLE)


class StreamBroken(typer.Exit):
    """A stream of events cannot be followed any more; what it tells of goes on."""


class _Stream:
    """Server-sent events over one connection after the other. `headers` ask for what follows the last event; `came` is
    set by whatever comes, also by the API's signs of life."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.came = False

    def read(self, response: httpx.Response) -> Iterator[tuple[str, Any]]:
        """The events of a connection, until it ends. Ends the program when it is refused."""
        if not response.is_success:
            response.read()
            raise refused(response)
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            raise stranger(_kind(response))
        event, data, id_ = "message", "", ""
        for line in response.iter_lines():
            self.came = True
            name, _, value = line.partition(":")
            if name == "event":
                event = value.strip()
            elif name == "data":
                data += value.strip()
            elif name == "id":
                id_ = value.strip()
            elif not line and data:
                self.headers = {"Last-Event-ID": id_} if id_ else self.headers
                yield event, _data(data)
                event, data, id_ = "message", "", ""


def _data(text: str) -> Any:
    """Of an event: an object, or nothing."""
    try:
        data = json.loads(text, object_hook=Answer)
    except ValueError:
        data = text
    if not isinstance(data, Answer | None):
        raise stranger("an event that is no object")
    return data


def unreachable(error: httpx.HTTPError, *, changes: bool = False) -> typer.Exit:
    """Say that the API does not answer, where it was looked for, and how it is started; or that its answer was lost. A
    request that `changes` something may have been carried out then."""
    why = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        _say(f"The Penstock API at {base_url()} cannot be reached ({why}).")
        err.print("Start the local stack with `penstock up`, or set PENSTOCK_URL.")
    else:
        _say(f"The answer of the Penstock API at {base_url()} did not come, or not whole ({why}).")
        err.print(
            PERHAPS if changes else "Try again; if that stays so, see its log and that of what is in front of it."
        )
    return typer.Exit(UNREACHABLE)


def _proxied(response: httpx.Response) -> typer.Exit:
    """Say that what stands in front of the API has no answer from it."""
    said = f"{response.status_code} {response.reason_phrase}"
    _say(f"The Penstock API at {base_url()} does not answer what is in front of it ({said}).")
    err.print("Does it run? See the log of the API, and of the proxy.")
    if response.request.method != "GET" and response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
        err.print(PERHAPS)
    return typer.Exit(UNREACHABLE)


def _say(what: str) -> None:
    err.print(what, style="red", markup=False, highlight=False)


def stranger(what: str) -> typer.Exit:
    """Say that something else than Penstock answers at the API's address: `what` it has answered."""
    _say(f"What answers at {base_url()} is no Penstock API ({what}).")
    err.print("Look at PENSTOCK_URL, or what else listens on that port.")
    return typer.Exit(UNREACHABLE)


def _kind(response: httpx.Response) -> str:
    return f"HTTP {response.status_code}, {response.headers.get('content-type', 'no type')}"


def refused(response: httpx.Response) -> typer.Exit:
    """An error in words, with commands where the API names requests."""
    try:
        problem = response.json()
        detail = problem["detail"]
    except (ValueError, TypeError, KeyError):
        return _proxied(response) if response.status_code in PROXY else stranger(_kind(response))
    fields = [f"{item['field']}: {as_commands(item['message'])}" for item in problem.get("errors") or []]
    for line in fields[:20] or [as_commands(str(detail))]:  # what is wrong with fields is all that `detail` has
        _say(line)
    if response.status_code == 401:
        err.print(_whose_token(), markup=False, highlight=False)
    elif remedy := problem.get("remedy"):
        err.print(as_commands(remedy), markup=False, highlight=False)
    codes = {404: NOT_FOUND, 409: CONFLICT, 422: USAGE, 503: UNREACHABLE}
    return Refusal(codes.get(response.status_code, FAILED), str(problem.get("code")))
