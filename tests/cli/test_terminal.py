"""Questions on a real terminal, in a process of its own, with an API that is a small server."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUESTION = "Forget the secret default/password?"
CTRL_C = "\x03"
COMMAND = [sys.executable, "-P", "-m", "cli", "secrets", "delete", "password"]


class Server(ThreadingHTTPServer):
    """Notes what it is asked, and answers that it is done."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        url = f"http://127.0.0.1:{self.server_port}"
        return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PENSTOCK_URL": url, "TERM": "dumb"}


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.asked.append(f"POST {self.path}")
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"id": "of-a-shell"}'
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_DELETE(self) -> None:
        self.server.asked.append(f"DELETE {self.path}")
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def _controlled() -> None:
    """The terminal is the one of this session: Ctrl-C on it is for its processes, also where these tests run in the
    background, which a shell keeps from hearing it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def typed(server: Server, *more: str, keys: str) -> tuple[int, str]:
    """The exit code of the command, and what was on its terminal; `keys` are typed when it has asked."""
    terminal, end = pty.openpty()
    streams = {"stdin": end, "stdout": end, "stderr": end}
    process = subprocess.Popen(
        [*COMMAND, *more], **streams, env=server.environment, start_new_session=True, preexec_fn=_controlled
    )
    os.close(end)
    said, until, interrupts = "", time.monotonic() + 60, keys == CTRL_C
    try:
        while time.monotonic() < until:
            if not select.select([terminal], [], [], 1)[0]:
                if (
                    interrupts and not keys
                ):  # the first came in the moment before Python listens (it checks no signal then)
                    os.write(terminal, CTRL_C.encode())
                continue
            try:
                said += os.read(terminal, 65536).decode()
            except OSError:  # nobody has the other end any more
                break
            if keys and "[y/N]: " in said:
                os.write(terminal, keys.encode())
                keys = ""
        return process.wait(30), said
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


@pytest.mark.parametrize("keys", ["n\n", "\n"])
def test_no_and_nothing_is_done(server: Server, keys: str):
    done, said = typed(server, keys=keys)
    assert (done, QUESTION in said, "Nothing was done." in said, server.asked) == (1, True, True, []), said


def test_ctrl_c_is_a_no(server: Server):
    done, said = typed(server, keys=CTRL_C)
    assert (done != 0, QUESTION in said, server.asked) == (True, True, []), said


def test_yes(server: Server):
    done, said = typed(server, keys="y\n")
    assert (done, "Deleted." in said) == (0, True), said
    assert server.asked == ["DELETE /api/v1/projects/default/secrets/password"]


def test_who_says_yes_before_is_not_asked(server: Server):
    done, said = typed(server, "--yes", keys="")
    assert (done, QUESTION in said, len(server.asked)) == (0, False, 1), said


@pytest.mark.parametrize("how", ["the window is closed", "SIGTERM"])
def test_a_shell_that_is_ended_from_outside_ends_its_session(server: Server, tmp_path: Path, how: str):
    """Nobody else would: a session outlives its gateway and the API."""
    terminal, end = pty.openpty()
    streams = {"stdin": end, "stdout": end, "stderr": end}
    env = {**server.environment, "XDG_STATE_HOME": str(tmp_path), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    command = [sys.executable, "-P", "-m", "cli", "sql", "shell"]
    process = subprocess.Popen(command, **streams, env=env, start_new_session=True, preexec_fn=_controlled)
    os.close(end)
    said, until = "", time.monotonic() + 60
    while "default>" not in said:
        assert time.monotonic() < until, said
        if select.select([terminal], [], [], 1)[0]:
            said += os.read(terminal, 65536).decode()
    if how == "SIGTERM":
        process.terminate()
    else:
        os.close(terminal)
    try:
        process.wait(30)
    finally:
        process.kill()
    if how == "SIGTERM":
        os.close(terminal)
    assert server.asked == ["POST /api/v1/sql/sessions", "DELETE /api/v1/sql/sessions/of-a-shell"]
    assert process.returncode != 0


@pytest.mark.parametrize("stdin", [subprocess.DEVNULL, subprocess.PIPE])
def test_a_script_is_not_asked(server: Server, stdin: int):
    done = subprocess.run(COMMAND, stdin=stdin, capture_output=True, text=True, env=server.environment, check=False)
    assert (done.returncode, done.stdout, done.stderr, len(server.asked)) == (0, "Deleted.\n", "", 1)
