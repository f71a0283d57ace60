"""Running a program of someone else's: no shell, a scrubbed environment, limits on time and output."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import sys
import time
import uuid
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import psutil

from core.effects import LogSink, ProgramTrouble
from processes.missing import not_started
from settings import waits

# What a build or a pip may see of our environment: how to find programs and certificates, nothing that
# may hold a secret. More can be let through by name with PENSTOCK_BUILD_ENV.
PASSED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "JAVA_HOME",
    "M2_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_FIND_LINKS",
    "GIT_SSL_CAINFO",
    "SSH_AUTH_SOCK",
)
_CREDENTIALS = re.compile(r"(://)[^/\s:@]+:[^/\s@]+@")
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
MAX_LINE = 4000
MARK = "PENSTOCK_RUN"


_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """In the child: be killed by the kernel when the worker dies, so that nothing is left behind."""
    if _libc is not None:
        _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, prctl(2)


class ProcessFailed(ProgramTrouble):
    """It ended with a status other than 0, or was `stopped` at a limit. `lines` are the last of its output."""

    def __init__(self, message: str, lines: list[str], *, stopped: bool = False):
        super().__init__(message)
        self.lines = lines
        self.stopped = stopped


def scrubbed(extra: list[str], more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a program of someone else's."""
    passed = {name: os.environ[name] for name in (*PASSED, *extra) if name in os.environ}
    return {**passed, **(more or {})}


def clean_line(line: str) -> str:
    """A line fit for a log: no colours, no credentials of a URL, not endless."""
    return _CREDENTIALS.sub(r"\1***@", _ANSI.sub("", line).rstrip())[:MAX_LINE]


async def run(
    command: list[str],
    *,
    cwd: Path | None,
    env: Mapping[str, str],
    tell: LogSink,
    timeout: float | None,
    output_limit: int | None,
    keep: int = 400,
    name: str | None = None,
    leaves_group: bool = False,
) -> list[str]:
    """Run `command` (never through a shell) in a process group of its own; returns its last lines.

    `timeout` is in seconds, `output_limit` in bytes (None is without end), `name` is what messages call it. Raises
    `ProcessFailed`, and `ProgramMissing` when this machine has no such program. When the caller is cancelled the whole
    group is killed; with `leaves_group` all that it has started, wherever they went: they are known by a variable of
    their environment.
    """
    given, mark = marked(env) if leaves_group else (env, None)
    starting = asyncio.create_task(start(command, cwd=cwd, env=given))
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:  # it is there by now, perhaps with children of its own
        await _end(await starting, mark)
        raise
    return await follow(
        process, name or command[0], tell=tell, timeout=timeout, output_limit=output_limit, keep=keep, mark=mark
    )


def marked(env: Mapping[str, str]) -> tuple[Mapping[str, str], str]:
    """`env` for a process with a mark in it, and that mark: `follow` knows by it all that the process has started."""
    mark = uuid.uuid4().hex
    return {**env, MARK: mark}, mark


async def start(
    command: list[str], *, cwd: Path | None, env: Mapping[str, str], stdin: int = asyncio.subprocess.DEVNULL
) -> asyncio.subprocess.Process:
    """A process for `follow`: in a group of its own, killed when the thread that started it ends. Raises
    `ProgramMissing` when this machine has no such program."""
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd,
            env=dict(env),
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            limit=1024 * 1024,
            preexec_fn=die_with_parent,
        )
    except OSError as error:
        if missing := not_started(command[0], error):
            raise missing from error
        raise


async def follow(
    process: asyncio.subprocess.Process,
    name: str,
    *,
    tell: LogSink,
    timeout: float | None,
    output_limit: int | None,
    keep: int = 400,
    mark: str | None = None,
) -> list[str]:
    """The second half of `run`: to the end of a process that was started. `name` is what messages call it."""
    lines: list[str] = []
    try:
        async with asyncio.timeout(timeout):
            await _to_its_end(process, _read(process, lines, tell, output_limit, keep), mark)
            code = await process.wait()
    except TimeoutError:
        raise ProcessFailed(f"{name} was stopped: it took longer than {timeout:.0f} s", lines, stopped=True) from None
    finally:
        await _end(process, mark)
    if code != 0:
        raise ProcessFailed(f"{Path(name).name} ended with status {code}", lines)
    return lines


async def _to_its_end(process: asyncio.subprocess.Process, reads: Coroutine[Any, Any, None], mark: str | None) -> None:
    """Read to the end of the output. What a process has left behind may hold that open, and ends with it, where it has
    a `mark`."""
    reading = asyncio.create_task(reads)
    try:
        while not reading.done():
            await asyncio.wait([reading], timeout=None if mark is None else waits.LEFT_BEHIND_SECONDS)
            if mark is not None and not reading.done() and process.returncode is not None:
                await asyncio.to_thread(_end_marked, mark)
        await reading
    finally:
        reading.cancel()


async def _end(process: asyncio.subprocess.Process, mark: str | None) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if mark is not None:  # before the wait, which is for the output's end too: they may hold it open
        await asyncio.shield(asyncio.to_thread(_end_marked, mark))
    with contextlib.suppress(Exception):
        await asyncio.shield(process.wait())


def _end_marked(mark: str) -> None:
    """Until none is seen twice: one that starts a program in that moment shows no environment, or starts others."""
    quiet = 0
    for _ in range(waits.LEFT_BEHIND_LOOKS):
        quiet = 0 if _kill_marked(mark) else quiet + 1
        if quiet == 2:
            return
        time.sleep(waits.LEFT_BEHIND_PAUSE_SECONDS)


def _kill_marked(mark: str) -> bool:
    """Whether there was one."""
    some = False
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark:
                process.kill()
                some = True
    return some


def cpu_seconds(pid: int) -> float:
    """What a process and those that it has started have taken of a processor; 0 when it has gone."""
    total = 0.0
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
    return total


async def _read(
    process: asyncio.subprocess.Process, lines: list[str], tell: LogSink, output_limit: int | None, keep: int
) -> None:
    assert process.stdout is not None
    size = 0
    rest = b""
    while chunk := await process.stdout.read(65536):
        size += len(chunk)
        if output_limit is not None and size > output_limit:
            raise ProcessFailed(f"it was stopped: its output is larger than {output_limit} bytes", lines, stopped=True)
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_LINE:
            whole, rest = [*whole, rest], b""
        for raw in whole:
            line = clean_line(raw.decode(errors="replace"))
            lines.append(line)
            del lines[:-keep]
            tell(line)
    if rest:
        lines.append(clean_line(rest.decode(errors="replace")))
        tell(lines[-1])
