"""Server-sent events whose connection ends before the last of them, as where an API or a proxy is exchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cli.client import UNREACHABLE
from settings import waits
from tests.whole.penstock import Said, said

ENDED = {"number": 1, "kind": "start", "state": "SUCCEEDED", "error": None, "error_code": None, "state_verdict": None}
ANOTHER = "The connection to the Penstock API at http://127.0.0.1:8000/api/v1 breaks again and again"
GATEWAY = httpx.Response(502, headers={"content-type": "text/html"}, text="<h1>502 Bad Gateway</h1>")


def line(id_: int, text: str) -> str:
    return f"event: line\ndata: {json.dumps({'id': id_, 'text': text})}\nid: {id_}\n\n"


END = f"event: end\ndata: {json.dumps(ENDED)}\n\n"


class Stream(httpx.SyncByteStream):
    """Some text, after which the connection is closed, or reset."""

    def __init__(self, text: str, reset: bool):
        self.text, self.reset = text, reset

    def __iter__(self) -> Iterator[bytes]:
        yield self.text.encode()
        if self.reset:
            raise httpx.ReadError("Connection reset by peer")


class Api:
    """The log of a command, in `parts`: each connection brings one, the last one again and again."""

    def __init__(self, *parts: str | httpx.Response | Exception, reset: bool = False):
        self.parts, self.reset = list(parts), reset
        self.asked: list[str | None] = []
        """What the streams were asked to go on after."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/stream"):
            return httpx.Response(202 if request.method == "POST" else 200, json=ENDED)
        self.asked.append(request.headers.get("last-event-id"))
        part = self.parts.pop(0) if len(self.parts) > 1 else self.parts[0]
        if isinstance(part, Exception):
            raise part
        if isinstance(part, httpx.Response):
            return part
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Stream(part, self.reset))


def followed(api: Api, *arguments: str) -> Said:
    return said(*arguments, transport=httpx.MockTransport(api))


@pytest.fixture(autouse=True)
def time_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """By pauses, which take none of ours."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr("settings.clock.monotonic", lambda: now[0])


LOG, WAIT = ("jobs", "log", "clicks", "1", "--follow"), ("jobs", "start", "clicks", "--wait")


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("words", [LOG, WAIT])
def test_it_goes_on_where_it_was(reset: bool, words: tuple[str, ...]):
    api = Api(line(1, "building") + line(7, "sending"), ": ping\n\n", line(8, "running") + END, reset=reset)
    done = followed(api, *words)
    assert (done.code, done.err) == (0, ""), done
    assert done.out.splitlines()[:3] == ["building", "sending", "running"]
    assert api.asked == [None, "7", "7"]


@pytest.mark.parametrize("away", [GATEWAY, httpx.ConnectError("Connection refused")])
def test_the_api_is_away_for_a_moment(away: httpx.Response | Exception):
    api = Api(line(1, "building"), away, away, line(2, "running") + END)
    done = followed(api, *LOG)
    assert (done.code, done.out.splitlines(), done.err) == (0, ["building", "running"], ""), done


@pytest.mark.parametrize("after", ["", GATEWAY, httpx.ConnectError("Connection refused")])
def test_it_does_not_come_back(after: Any):
    api = Api(line(1, "building"), after)
    done = followed(api, *WAIT)
    assert (done.code, done.out.splitlines()) == (UNREACHABLE, ["building"]), done
    assert done.err.startswith(ANOTHER)
    assert done.err.endswith("goes on. Follow it again with: penstock jobs log default:clicks 1 --follow\n")
    assert len(api.asked) == 1 + waits.STREAM_SECONDS / waits.STREAM_PACE.first + 1


def test_the_first_connection_is_not_tried_again():
    api = Api(httpx.ConnectError("Connection refused"))
    done = followed(api, *LOG)
    assert (done.code, len(api.asked)) == (UNREACHABLE, 1)
    assert "cannot be reached" in done.err


def test_something_else_answers():
    api = Api(httpx.Response(200, headers={"content-type": "text/html"}, text="<p>hello"))
    done = followed(api, *LOG)
    assert (done.code, "(HTTP 200, text/html)" in done.err) == (UNREACHABLE, True), done


@pytest.mark.parametrize("data", ["{", "[]", "{}"])
def test_an_event_that_is_none(data: str):
    done = followed(Api(f"event: line\ndata: {data}\n\n{END}"), *LOG)
    assert (done.code, "is no Penstock API (" in done.err) == (UNREACHABLE, True), done
