"""`penstock jobs list --watch`."""

from __future__ import annotations

import json
import re
import time

import httpx
import pytest

from tests.whole.penstock import Said, said

RESTORED = "\x1b[?1049l"
"""What brings the screen back that was there before."""


def jobs(*states: str) -> httpx.Response:
    same = {"project": "default", "type": "sql", "cluster": "a", "version": 1, "last_observed_at": None, "labels": {}}
    same |= {"current_attempt": None, "created_at": None, "reason": "", "warning": ""}
    items = [{**same, "name": f"job-{n}", "id": str(n), "state": state} for n, state in enumerate(states)]
    return httpx.Response(200, json={"items": items, "next_cursor": None})


def problem(status: int, detail: str) -> httpx.Response:
    return httpx.Response(status, text=json.dumps({"detail": detail, "code": "x", "remedy": "Do it again."}))


def watched(monkeypatch: pytest.MonkeyPatch, *answers: httpx.Response | Exception) -> Said:
    """The list is watched, with these answers one after the other; then Ctrl-C is pressed."""
    left = list(answers)

    def answer(_: httpx.Request) -> httpx.Response:
        following = left.pop(0)
        if isinstance(following, Exception):
            raise following
        return following

    def sleep(_: float) -> None:
        if not left:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    return said("jobs", "list", "--watch", columns=80, transport=httpx.MockTransport(answer))


def frames(done: Said) -> list[str]:
    """What was on the screen, one after the other, without colours and with single spaces."""
    screen = done.out.split("\x1b[?1049h")[1].split(RESTORED)[0]
    found = [" ".join(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", frame).split()) for frame in screen.split("\x1b[H")]
    return [frame for frame, before in zip(found, ["", *found], strict=False) if frame != before]


def test_it_is_shown_anew_until_somebody_interrupts_it(monkeypatch: pytest.MonkeyPatch):
    done = watched(monkeypatch, jobs("DEPLOYING"), jobs("RUNNING", "FAILED"))
    assert (done.code, done.err) == (130, "")
    assert [re.findall("DEPLOYING|RUNNING|FAILED", frame) for frame in frames(done)] == [
        ["DEPLOYING"],
        ["RUNNING", "FAILED"],
    ]


@pytest.mark.parametrize(
    "hiccup", [problem(503, "It is away."), problem(500, "It is away."), httpx.ConnectError("It is away.")]
)
def test_a_hiccup_is_shown_and_it_goes_on(monkeypatch: pytest.MonkeyPatch, hiccup: httpx.Response | Exception):
    done = watched(monkeypatch, jobs("DEPLOYING"), hiccup, jobs("RUNNING"))
    assert (done.code, done.err) == (130, "")
    first, wrong, last = frames(done)
    words = r"It is away\..*What follows is of \d\d:\d\d:\d\d UTC; it is asked for again every 2 s\. JOB .* DEPLOYING"
    assert re.search(words, wrong), wrong
    assert ("It is away" in first, "It is away" in last, "RUNNING" in last) == (False, False, True)


def test_what_ends_it_is_told_when_the_screen_is_the_old_one(monkeypatch: pytest.MonkeyPatch):
    done = watched(monkeypatch, jobs("RUNNING"), problem(404, "There is no project shop."))
    assert (done.code, RESTORED in done.out) == (4, True)
    assert "There is no project shop." not in done.out
    assert re.sub(r"\x1b\[[0-9;]*m", "", done.err) == "There is no project shop.\nDo it again.\n"


def test_a_first_look_that_fails_is_like_any_list(monkeypatch: pytest.MonkeyPatch):
    done = watched(monkeypatch, problem(503, "It is away."))
    assert (done.code, RESTORED in done.out, "It is away." in done.err) == (3, False, True)
    done = said("jobs", "list", "--watch")
    assert (done.code, "needs a terminal" in done.err) == (2, True)
