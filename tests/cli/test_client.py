"""What stands at the address of the API, and in the environment: told in words, whatever it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import settings as settings_
from cli.client import NOT_FOUND, UNREACHABLE, USAGE
from tests.whole.penstock import said


def answering(**answer: Any) -> httpx.MockTransport:
    """Whatever is asked for is answered so."""
    return httpx.MockTransport(lambda _: httpx.Response(**answer))


@pytest.mark.parametrize(
    "url", ["http://a..b", "http://xn--a", f"http://{'a' * 70}", "http://a:99999", "ftp://a", "http://[::1", "a b"]
)
def test_an_address_that_is_none(monkeypatch: pytest.MonkeyPatch, url: str):
    monkeypatch.setenv("PENSTOCK_URL", url)
    done = said("jobs", "list")
    assert done.code == USAGE, done
    assert done.err.splitlines() == [
        f"PENSTOCK_URL is {url!r}, which is no http address.",
        "Set it to where the API listens, for example http://127.0.0.1:8000.",
    ]


@pytest.mark.parametrize("body", ["{}", "[]", "null", '"items"', '{"items": [{}], "next_cursor": null}', "{"])
@pytest.mark.parametrize("words", [["jobs", "list"], ["jobs", "show", "clicks"], ["clusters", "list"], ["settings"]])
def test_something_else_answers_with_json(body: str, words: list[str]):
    stranger = answering(status_code=200, headers={"content-type": "application/json"}, text=body)
    done = said(*words, transport=stranger)
    assert done.code == UNREACHABLE, done
    assert "is no Penstock API (" in done.err
    assert "Look at PENSTOCK_URL" in done.err


@pytest.mark.parametrize("words", [["jobs", "list"], ["jobs", "log", "clicks", "1"]])
def test_something_else_answers_with_a_page(words: list[str]):
    done = said(*words, transport=answering(status_code=200, headers={"content-type": "text/html"}, text="<p>hello"))
    assert (done.code, "(HTTP 200, text/html)" in done.err) == (UNREACHABLE, True), done


def test_answers_of_penstock_are_shown_in_every_form():
    answer = {"items": [{"name": "shop", "created_at": "2026-01-01T00:00:00Z", "archived_at": None, "config": {}}]}
    api = answering(status_code=200, headers={"content-type": "application/json"}, text=json.dumps(answer))
    for form in ("table", "wide", "json", "yaml", "name"):
        done = said("projects", "list", "-o", form, transport=api)
        assert (done.code, "shop" in done.out) == (0, True), done
    problem = {"detail": "There is no job."}
    missing = answering(status_code=404, text=json.dumps(problem))
    assert said("projects", "list", transport=missing).code == NOT_FOUND


@pytest.mark.parametrize("command", ["doctor", "status", "serve"])
@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("PENSTOCK_BUILD_TIMEOUT", "abc", "PENSTOCK_BUILD_TIMEOUT has to be a number, and is 'abc'."),
        ("PENSTOCK_BUILD_ENV", "abc", "PENSTOCK_BUILD_ENV has to be JSON."),
        ("PENSTOCK_KEEP_LAST", "-1", "PENSTOCK_KEEP_LAST has to be 20 or more, and is '-1'."),
    ],
)
def test_a_setting_that_is_none(monkeypatch: pytest.MonkeyPatch, command: str, name: str, value: str, line: str):
    monkeypatch.setenv(name, value)
    settings_.settings.cache_clear()
    done = said(command)
    settings_.settings.cache_clear()
    assert done.code == USAGE, done
    assert done.err.splitlines() == [line, "It is an environment variable: set it to another value, or unset it."]


def test_a_port_of_the_local_stack_that_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PENSTOCK_FLINK_PORT", "many")
    done = said("status")
    assert (done.code, done.err.splitlines()[0]) == (
        USAGE,
        "PENSTOCK_FLINK_PORT has to be a whole number, and is 'many'.",
    )


class Broken(httpx.SyncByteStream):
    """A body of which the connection does not bring the end."""

    def __init__(self, begin: str):
        self.begin = begin

    def __iter__(self) -> Iterator[bytes]:
        yield self.begin.encode()
        raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


PERHAPS = "Perhaps it was done all the same: look before you send it again."


class TestAProxy:
    """It stands in front of the API, and says with a page of its own that it has no answer from that."""

    PAGE = "<html><h1>502 Bad Gateway</h1><hr>nginx/1.27</html>"

    @pytest.mark.parametrize(("status", "words"), [(502, "Bad Gateway"), (503, "Service Unavailable")])
    def test_the_api_behind_it_is_away(self, status: int, words: str):
        proxy = answering(status_code=status, headers={"content-type": "text/html"}, text=self.PAGE)
        done = said("jobs", "list", transport=proxy)
        assert done.code == UNREACHABLE, done
        assert done.err.splitlines() == [
            f"The Penstock API at http://127.0.0.1:8000/api/v1 does not answer what is in front of it ({status} {words}).",
            "Does it run? See the log of the API, and of the proxy.",
        ]

    def test_something_may_have_been_done(self):
        """A command whose answer the proxy did not wait for."""
        proxy = answering(status_code=504, headers={"content-type": "text/html"}, text="<h1>504 Gateway Time-out</h1>")
        assert PERHAPS in said("jobs", "pause", "clicks", transport=proxy).err
        assert PERHAPS not in said("jobs", "show", "clicks", transport=proxy).err


class TestABodyThatIsCutOff:
    @pytest.mark.parametrize("words", [["jobs", "list"], ["jobs", "log", "clicks", "1"]])
    def test_it_is_no_api_that_cannot_be_reached(self, words: list[str]):
        cut = answering(status_code=200, headers={"content-type": "text/plain"}, stream=Broken('{"items": [{"na'))
        done = said(*words, transport=cut)
        assert done.code == UNREACHABLE, done
        assert done.err.splitlines()[0] == (
            "The answer of the Penstock API at http://127.0.0.1:8000/api/v1 did not come, or not whole (peer closed "
            "connection without sending complete message body)."
        )
        assert PERHAPS not in done.err

    def test_something_may_have_been_done(self):
        cut = answering(status_code=202, stream=Broken('{"number": 1, '))
        assert PERHAPS in said("jobs", "pause", "clicks", transport=cut).err

    def test_one_that_was_never_sent_was_not(self):
        def away(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("[Errno 111] Connection refused")

        done = said("jobs", "pause", "clicks", transport=httpx.MockTransport(away))
        assert (done.code, PERHAPS in done.err) == (UNREACHABLE, False), done
        assert "cannot be reached ([Errno 111] Connection refused)." in done.err
