"""The SQL shell as a person has it: in a terminal, at a session of a real gateway, with queries that run on Flink."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.sql.script import parse
from settings.code import ROOT
from tests.real.conftest import Stack

pytestmark = pytest.mark.real

SRC = (
    "CREATE TABLE numbers (id BIGINT, name STRING) WITH ('connector' = 'datagen', 'rows-per-second' = '4', "
    "'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '1000000');"
)
SNK = "CREATE TABLE nowhere (id BIGINT) WITH ('connector' = 'blackhole');"
SECONDS = 90.0
ENTER, TAB, CTRL_C, CTRL_D = "\r", "\t", "\x03", "\x04"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()=>][0-9A-B]?|\x1b\][^\x07]*\x07")


class Terminal:
    """A command in a terminal of its own: what is typed, and what is on the screen since."""

    def __init__(self, *arguments: str, env: dict[str, str]):
        self.screen, end = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        streams = {"stdin": end, "stdout": end, "stderr": end}
        command = [sys.executable, "-P", "-m", "cli", *arguments]
        self.process = subprocess.Popen(command, **streams, env=env, start_new_session=True, preexec_fn=_controlled)
        os.close(end)
        self.shown = ""

    def type(self, keys: str) -> None:
        self.shown = ""
        os.write(self.screen, keys.encode())

    def shows(self, words: str) -> str:
        """Wait for words, as a regular expression; all that was shown since the last keys."""
        limit = time.monotonic() + SECONDS
        while not re.search(words, self.shown):
            assert self._read() or self.process.poll() is None, f"it ended: {self.shown}"
            assert time.monotonic() < limit, f"it does not show {words}: {self.shown}"
        return self.shown

    def ends(self) -> int:
        limit = time.monotonic() + SECONDS
        while self.process.poll() is None and time.monotonic() < limit:
            self._read()
        return self.process.wait(1)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.screen)

    def _read(self) -> bool:
        if not select.select([self.screen], [], [], 0.2)[0]:
            return False
        try:
            self.shown += ESCAPES.sub("", os.read(self.screen, 65536).decode(errors="replace"))
        except OSError:  # nobody has the other end any more
            return False
        return True


def _controlled() -> None:
    """The terminal is the one of this session: Ctrl-C on it is for its processes."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def shell(stack: Stack, tmp_path: Path) -> Iterator[Terminal]:
    env = {
        **os.environ,
        "PENSTOCK_URL": stack.local.api_url,
        "PENSTOCK_HOME": str(stack.local.settings.home),
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm",
        "PROMPT_TOOLKIT_NO_CPR": "1",  # nobody here answers where the cursor is
        "XDG_STATE_HOME": str(tmp_path),
    }
    terminal = Terminal("sql", "shell", env=env)
    try:
        yield terminal
    finally:
        terminal.close()


def test_an_evening_at_the_prompt(stack: Stack, shell: Terminal):
    shell.shows(r"default>")
    (session,) = (s["id"] for s in stack.http.get("/sql/sessions").json()["items"] if s["name"] == "shell")

    for statement in (SRC, SNK):
        shell.type(statement + ENTER)
        shell.shows(r"OK\s")
    shell.type("\\d" + ENTER)
    assert {"numbers", "nowhere"} <= set(shell.shows(r"numbers\s+default>").split())
    shell.type("\\d numbers" + ENTER)
    assert "BIGINT" in shell.shows(r"name\s+STRING[^\n]*\s+default>")
    shell.type("\\d+ nowhere" + ENTER)
    shell.shows(r"'connector' = 'blackhole'")

    # A query that never ends: rows come while it runs.
    shell.type("SELECT id FROM numb" + TAB)
    shell.shows(r"ers")
    shell.type(" WHERE id > 2;" + ENTER)
    shell.shows(r"\+I 3\s")
    (query,) = stack.flink_running()
    shell.shows(r"\+I 9\s")
    assert query["jid"] in {job["jid"] for job in stack.flink_running()}
    shell.type(CTRL_C)
    shell.shows(r"stopped[\s\S]*default>")
    stack.until(lambda: query["jid"] not in {job["jid"] for job in stack.flink_running()}, "its Flink job has ended")

    # The session is as it was, and what was tried in it becomes a job.
    shell.type("SET 'execution.checkpointing.interval' = '1 s';" + ENTER)
    shell.shows(r"OK\s")
    shell.type("INSERT INTO nowhere\rSELECT id FROM numbers;" + ENTER)
    shell.shows(r"Checked and kept")
    name = f"tried-{uuid.uuid4().hex[:8]}"
    shell.type(f"\\job {name}" + ENTER)
    shell.shows(rf"default:{name} is there")
    spec = stack.http.get(f"/jobs/default:{name}/versions/1").json()["spec"]
    assert [piece.split()[0] for piece in parse(spec["sql"]).pieces()] == ["SET", "CREATE", "CREATE", "INSERT"]
    stack.do(f"default:{name}", "start")
    stack.checkpointed(f"default:{name}")
    stack.do(f"default:{name}", "kill")

    shell.type("SELECT nothing FROM numbers;" + ENTER)
    shell.shows(r"Column 'nothing' not found[\s\S]*default>")
    shell.type(CTRL_D)
    assert shell.ends() == 0
    assert stack.http.get(f"/sql/sessions/{session}").status_code == 404
