"""Completion, with a real bash on a terminal, and an API that is a small server."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from cli.completion import complete_jobs, joined

ROOT = Path(__file__).parents[2]
JOBS = {"default": [f"job-{n:04}" for n in range(450)] + ["zebra"], "team": ["orders-in", "orders-out", "sums"]}
PAGE = 200


class Api(BaseHTTPRequestHandler):
    """Lists of projects and jobs, in pages, as the API gives them."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        given = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path.endswith("/projects"):
            names = list(JOBS)
        else:
            names = [name for name in JOBS.get(given["project"], []) if given.get("text", "") in name]
        begin = int(given.get("cursor", "0"))
        more = str(begin + PAGE) if begin + PAGE < len(names) else None
        page = {"items": [{"name": name} for name in names[begin : begin + PAGE]], "next_cursor": more}
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(page).encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def bash(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bash]:
    folder = tmp_path_factory.mktemp("bash")
    command = folder / "penstock"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -P -m cli "$@"\n')
    command.chmod(0o755)
    shell = Bash(folder, url)
    yield shell
    shell.end()


class Bash:
    """An interactive bash with the completion that `penstock --show-completion` prints."""

    def __init__(self, folder: Path, url: str):
        master, slave = pty.openpty()
        environment = {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "PENSTOCK_URL": url,
            "TERM": "dumb",
            "HOME": str(folder),
        }
        command = ["bash", "--norc", "--noprofile", "-i"]
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=folder, start_new_session=True
        )
        os.close(slave)
        self._terminal = master
        self.type("PS1='> '; bind 'set enable-bracketed-paste off'\n")
        self.type("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION=1 penstock --show-completion bash > it; . ./it\n")
        self.type("echo rea''dy\n", "ready\r\n> ")  # before the prompt it is the terminal that echoes

    def type(self, keys: str, until: str | None = None) -> str:
        """What is on the terminal once `keys` were typed and `until` was shown."""
        os.write(self._terminal, keys.encode())
        said, end = "", time.monotonic() + 60
        while until is not None and until not in said:
            assert time.monotonic() < end, said
            if select.select([self._terminal], [], [], 1)[0]:
                said += os.read(self._terminal, 65536).decode()
        return said

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("penstock jobs show team:su", "penstock jobs show team:sums "),
        ("penstock jobs show team:orders-i", "penstock jobs show team:orders-in "),
        ("penstock jobs show zeb", "penstock jobs show zebra "),
        ("penstock jobs show default:zeb", "penstock jobs show default:zebra "),
        ("penstock jobs pause team:sums --re", "penstock jobs pause team:sums --reason "),
    ],
)
def test_a_real_bash(bash: Bash, line: str, shown: str):
    assert f"{shown}|" in bash.type(f"{line}\t|\x15", "|")


def test_all_jobs_are_on_offer(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PENSTOCK_URL", url)
    assert complete_jobs("") == [*JOBS["default"], *(f"{p}:{name}" for p, names in JOBS.items() for name in names)]
    assert complete_jobs("job-04") == [f"job-04{n:02}" for n in range(50)]
    assert complete_jobs("te") == ["team:orders-in", "team:orders-out", "team:sums"]
    assert complete_jobs("team:orders") == ["team:orders-in", "team:orders-out"]
    assert complete_jobs("nobody:x") == []
    monkeypatch.setenv("PENSTOCK_URL", "http://127.0.0.1:1")
    assert complete_jobs("z") == []


@pytest.mark.parametrize(
    ("words", "at", "found"),
    [
        (["penstock", "jobs", "show", "team", ":", "or"], 5, (["penstock", "jobs", "show", "team:or"], 3, "team:")),
        (["penstock", "jobs", "show", "team", ":"], 4, (["penstock", "jobs", "show", "team:"], 3, "team:")),
        (["penstock", "show", "team", ":", ""], 4, (["penstock", "show", "team:", ""], 3, "")),
        (["penstock", "show", "team:or"], 2, (["penstock", "show", "team:or"], 2, "")),
        (["penstock", "show", "a", ":", "b", "--re"], 5, (["penstock", "show", "a:b", "--re"], 3, "")),
        (["penstock", "show", "a", ":", "b", "more"], 2, (["penstock", "show", "a"], 2, "")),
        (["penstock", "jo"], 1, (["penstock", "jo"], 1, "")),
    ],
)
def test_words_that_bash_takes_apart(words: list[str], at: int, found: tuple[list[str], int, str]):
    assert joined(words, at) == found
