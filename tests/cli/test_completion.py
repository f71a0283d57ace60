"""Completion, with real shells on a terminal (bash; zsh and fish where they are installed), and an API that is a small
server."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
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
        elif parts.path.endswith("/clusters"):
            names = ["local", "studio"]
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


SHELLS = {"bash": ["bash", "-i"], "zsh": ["zsh", "-i"], "fish": ["fish", "-i"]}
ON_A_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)
PENSTOCK = f"""#!/bin/sh
if [ -z "$_PENSTOCK_COMPLETE" ] && [ "$1" != --install-completion ]; then
    printf '%s' "$*" > ran.half && mv ran.half ran
    exit
fi
PYTHONPATH={ROOT} exec {sys.executable} -P -m cli "$@"
"""
"""Completes as the real one does, and writes down what it would have run."""


class Shell:
    """An interactive shell on a terminal, whose home is `folder`."""

    def __init__(self, name: str, folder: Path, url: str):
        self._ran = folder / "ran"
        master, slave = pty.openpty()
        environment = {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "PENSTOCK_URL": url,
            "TERM": "xterm",
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
        }
        command = [sys.executable, "-c", ON_A_TERMINAL, *SHELLS[name]]
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=folder, start_new_session=True
        )
        os.close(slave)
        self._terminal = master

    def type(self, keys: str, until: str) -> None:
        """Type `keys`, and wait until something is shown."""
        os.write(self._terminal, keys.encode())
        said, end = "", time.monotonic() + 60
        while until not in said:
            assert time.monotonic() < end, said
            if select.select([self._terminal], [], [], 1)[0]:
                said += os.read(self._terminal, 65536).decode(errors="replace")

    def completed(self, line: str) -> str:
        """What is run when `line` is typed at a prompt, Tab and Enter: its arguments."""
        self._ran.unlink(missing_ok=True)
        self.type("echo rea''dy\n", "ready")  # the terminal echoes it with its quotes
        os.write(self._terminal, f"{line}\t\n".encode())
        end = time.monotonic() + 60
        while not self._ran.exists():
            assert time.monotonic() < end
            if select.select([self._terminal], [], [], 0.05)[0]:
                os.read(self._terminal, 65536)
        return self._ran.read_text()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)


@pytest.fixture(scope="module", params=SHELLS)
def home(request: pytest.FixtureRequest, url: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A shell, and a home in which `penstock --install-completion` was typed at its prompt."""
    name = str(request.param)
    if shutil.which(name) is None:
        pytest.skip(f"there is no {name} here: of it only what it asks and is answered is tested")
    folder = tmp_path_factory.mktemp(name)
    (folder / ".local/share/fish/generated_completions").mkdir(parents=True)  # else fish reads all manual pages first
    (folder / "penstock").write_text(PENSTOCK)
    (folder / "penstock").chmod(0o755)
    shell = Shell(name, folder, url)
    shell.type("penstock --install-completion\n", "completion installed")
    shell.end()
    return name, folder


@pytest.fixture(scope="module")
def shell(home: tuple[str, Path], url: str) -> Iterator[Shell]:
    name, folder = home
    shell = Shell(name, folder, url)
    yield shell
    shell.end()


@pytest.mark.parametrize(
    ("line", "ran"),
    [
        ("penstock jobs show team:su", "jobs show team:sums"),
        ("penstock jobs show team:orders-i", "jobs show team:orders-in"),
        ("penstock jobs show zeb", "jobs show zebra"),
        ("penstock jobs show default:zeb", "jobs show default:zebra"),
        ("penstock jobs pause team:sums --re", "jobs pause team:sums --reason"),
        ("penstock clusters show stu", "clusters show studio"),
        ("penstock jobs list --cluster stu", "jobs list --cluster studio"),
    ],
)
def test_a_real_shell(shell: Shell, line: str, ran: str):
    assert shell.completed(line).rstrip() == ran


def test_the_first_tab_in_a_shell(home: tuple[str, Path], url: str):
    """Zsh loads a completion when it is first asked for, and then that has to answer, too."""
    name, folder = home
    shell = Shell(name, folder, url)
    assert shell.completed("penstock jobs show zeb").rstrip() == "jobs show zebra"
    shell.end()


@pytest.mark.parametrize(
    ("shell", "more", "says"),
    [
        ("zsh", {}, """_arguments '*: :(("team\\\\:sums"))'"""),
        ("fish", {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}, "team:sums"),
    ],
)
def test_what_a_shell_asks_and_is_answered(url: str, shell: str, more: dict[str, str], says: str):
    asked = {"_PENSTOCK_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "penstock jobs show team:su", **more}
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PENSTOCK_URL": url, **asked}
    answer = subprocess.run([sys.executable, "-P", "-m", "cli"], env=env, capture_output=True, text=True, check=False)
    assert answer.stdout.strip() == says


def test_what_zsh_is_given_answers_as_it_is_loaded():
    env = {**os.environ, "PYTHONPATH": str(ROOT), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command = [sys.executable, "-P", "-m", "cli", "--show-completion", "zsh"]
    script = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    assert script.startswith("#compdef ")
    assert "if [[ $funcstack[1] == _penstock ]]; then\n  _penstock\n" in script


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
