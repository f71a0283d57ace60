"""Submitting a Python program: Flink's own client in a process of its own.

The JobManager could run the program itself through its REST API in a tenth of the time, but two
submissions at once then share one Python gateway, and run with each other's environment and job id
(seen on 2.3.0; `docs/decisions/0005-pyflink-by-client.md`).

The client's process and the job are two things: a program that waits for its job goes on beside it (`attended.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from clusters.flink.added_jars import absent
from clusters.flink.attended import Look, Running
from clusters.flink.clients import Clients, configure, environment, java
from clusters.flink.output import KEPT, Output
from clusters.flink.programs import ClientStopped
from clusters.flink.python_errors import why
from clusters.protocol import PythonProgram, Ref, Submission, Unreachable
from clusters.sql import NO_RETRIES
from core.effects import Rejected
from core.jobs.observations import ENDED, EngineState
from processes.child import ProcessFailed, cpu_seconds, follow, marked, start
from processes.scratch import temporary
from settings import clock, waits

CLI = "org.apache.flink.client.cli.CliFrontend"
DRIVER = "org.apache.flink.client.python.PythonDriver"
BEGIN = Path(__file__).with_name("begin.py")
BEGUN = "begin.sh"
BEGINS = f'#!/bin/sh\nexec /bin/sh "$FLINK_CONF_DIR/{BEGUN}" "$@"\n'
OUTPUT_LIMIT = 16 * 1024 * 1024
BUSY = 0.1
"""The share of a core that a program takes which does not wait: it may plan its next job, on a machine that is busy."""


async def submit(
    home: Path, jobmanager_url: str, submission: Submission, output: Output, clients: Clients | None, look: Look
) -> Running | None:
    """Run the program's main file against the cluster, detached. `home` is FLINK_HOME of the cluster's version on
    this machine; `clients` has one that waits, perhaps. Gives the client where it goes on although its job is alive:
    it is the caller's. Raises `Rejected` with Python's or Flink's own words when the client fails; what the cluster
    knows by then is another question."""
    program = submission.program
    assert isinstance(program, PythonProgram)
    driver = next(iter((home / "opt").glob("flink-python-*.jar")), None)
    if driver is None:
        raise Rejected(
            "This worker has no PyFlink for the cluster's Flink version; run `penstock flink install` on it."
        )
    output(f"running {program.entry_file or program.module}")
    started: list[int] = []
    going = _run(home, jobmanager_url, submission, program, driver, output, clients, started.append)
    running = Running(asyncio.create_task(going), output, lambda: sum(map(cpu_seconds, started)))
    goes_on = False
    try:
        followed = submission.aftermath is not None and clients is not None
        goes_on = await _goes_on(running, submission.ref, look if followed else None)
        return running if goes_on else None
    except ProcessFailed as error:
        error.lines = list(output.last)
        kind = ClientStopped if error.stopped else Rejected
        raise kind(why(error), stack="\n".join(error.lines), sent=error.stopped) from error
    finally:
        if not goes_on:
            await running.stop()
        if clients is not None:
            clients.prepare(home)


async def _goes_on(running: Running, ref: Ref, look: Look | None) -> bool:
    """Until the client has ended (False), or goes on while its job is alive (True). Without `look` it has to end.
    Raises `ProcessFailed`."""
    until, alive_since = clock.monotonic() + waits.PYTHON_PROGRAM_SECONDS, None
    size, said_at = 0, 0.0
    cpu, measured_at = running.cpu(), clock.monotonic()
    while True:
        await asyncio.wait([running.task], timeout=waits.PROGRAM_LOOK_SECONDS)
        if running.task.done():
            running.task.result()
            return False
        if look is not None and ref.flink_job_id in running.output.told:
            now, used = clock.monotonic(), running.cpu()
            is_busy = used - cpu >= BUSY * (now - measured_at)
            cpu, measured_at = used, now
            alive_since = (alive_since or now) if await _is_alive(look, ref) else None
            if size != running.output.size or is_busy:  # it works, or tells why it fails: more may come of it soon
                size, said_at = running.output.size, now
            if alive_since is not None and (
                now - max(alive_since, said_at) >= waits.PROGRAM_GOES_ON_SECONDS
                or now - alive_since >= waits.PROGRAM_TALKS_SECONDS
            ):
                return True
        if clock.monotonic() > until:
            raise _stopped(f"it took longer than {waits.PYTHON_PROGRAM_SECONDS:.0f} s")
        if running.output.size > OUTPUT_LIMIT:
            raise _stopped(f"its output is larger than {OUTPUT_LIMIT} bytes")


async def _is_alive(look: Look, ref: Ref) -> bool:
    try:
        state = (await look(ref)).state
    except Unreachable:
        return False
    return state not in ENDED and state is not EngineState.MISSING


def _stopped(reason: str) -> ProcessFailed:
    return ProcessFailed(f"java was stopped: {reason}", [], stopped=True)


async def _run(
    home: Path,
    jobmanager_url: str,
    submission: Submission,
    program: PythonProgram,
    driver: Path,
    output: Output,
    clients: Clients | None,
    started: Callable[[int], None],
) -> None:
    """The client's whole life; `started` is told its pid. Raises `ProcessFailed`."""
    with contextlib.ExitStack() as stack:
        root = await asyncio.to_thread(_copied, program, stack.enter_context(temporary()))
        for jar in await asyncio.to_thread(absent, root, program.entry_file):
            output(
                f"The program adds {jar}, and there is no such file on this machine: Flink's client may wait in vain. "
                "Register it as a library of the project, and name it under `libraries` in its place."
            )
        # One that waits has its environment and its properties already.
        waits_for_us = clients is not None and not program.env and not program.java_properties
        client = clients.take(home) if clients is not None and waits_for_us else None
        conf = client.conf if client is not None else stack.enter_context(temporary())
        python = await asyncio.to_thread(_beginning, conf, program.python, root, clients.built if clients else conf)
        config = configuration(jobmanager_url, submission, program, python)
        arguments = _arguments(driver, submission, program, root, python)
        if client is not None:
            started(client.process.pid)
            await client.run(config, arguments, tell=output, timeout=None, output_limit=None)
            return
        configure(conf, config)
        env, mark = marked({**environment(home, conf), **program.env})
        command = [*_with_properties(java(home, CLI), conf, program.java_properties), *arguments]
        process = await start(command, cwd=conf, env=env)
        started(process.pid)
        await follow(process, "java", tell=output, timeout=None, output_limit=None, keep=KEPT, mark=mark)


def _copied(program: PythonProgram, folder: Path) -> Path:
    """The program in a folder of its own below `folder`, with its files laid over it: what it writes there is for
    nobody else. Raises `Rejected`."""
    root = folder / program.root.name
    try:
        shutil.copytree(program.root, root, symlinks=True)
    except OSError as error:  # shutil.Error, too
        raise Rejected(f"The program cannot be copied to where it runs: {error}", sent=False) from error
    for name, text in program.files.items():
        path = root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.parent.resolve().is_relative_to(root.resolve()):
                raise Rejected(
                    f"The file {name} would lie outside of the program's folder: {path.parent.name} is a link."
                )
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            path.write_text(text)
        except OSError as error:
            raise Rejected(f"The file {name} cannot be laid beside the program: {error.strerror}.") from error
    return root


def _beginning(conf: Path, python: Path, root: Path, built: Path) -> Path:
    """What the client starts in place of `python`: the same, in the program's folder, and ended with the client. It
    lies in `built`, is the same for all, and reads what is to be run: temporary folders may be mounted noexec."""
    words = " ".join(shlex.quote(str(word)) for word in (python, "-I", "-S", BEGIN, root))
    (conf / BEGUN).write_text(f'exec {words} "$@"\n')
    path = built / f"penstock-begin-{hashlib.sha256(BEGINS.encode()).hexdigest()[:16]}"
    if not path.exists():
        built.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=built) as name:
            half = Path(name, "half")
            half.write_text(BEGINS)
            half.chmod(0o755)
            half.replace(path)
    return path


def _with_properties(command: list[str], conf: Path, properties: Mapping[str, str]) -> list[str]:
    """Java's own argument file, for the same reason as the configuration's."""
    if not properties:
        return command
    path = conf / "properties"
    path.touch(mode=0o600)
    path.write_text(
        "".join(json.dumps(f"-D{key}={value}", ensure_ascii=False) + "\n" for key, value in properties.items())
    )
    return [command[0], f"@{path}", *command[1:]]


def configuration(jobmanager_url: str, submission: Submission, program: PythonProgram, python: Path) -> dict[str, str]:
    """`python` starts the program, `program.python` its functions in the task managers."""
    address = urlsplit(jobmanager_url)
    port = address.port or (443 if address.scheme == "https" else 80)
    return {
        **submission.config,
        "rest.address": address.hostname or "",
        "rest.port": str(port),
        **NO_RETRIES,
        "$internal.pipeline.job-id": submission.ref.flink_job_id,
        "pipeline.name": submission.name,
        "python.executable": str(program.python),
        "python.client.executable": str(python),
    }


def _arguments(driver: Path, submission: Submission, program: PythonProgram, root: Path, python: Path) -> list[str]:
    """Of Flink's command line. The jar that it is given goes to the cluster with all that is nested in it."""
    options = _run_options(submission)
    jar = str(program.jar or driver)
    return ["run", "-t", "remote", "-d", *options, "-c", DRIVER, jar, *arguments(program, root, python)]


def _run_options(submission: Submission) -> list[str]:
    options = [f"-D$internal.pipeline.job-id={submission.ref.flink_job_id}"]
    if submission.parallelism:
        options += ["-p", str(submission.parallelism)]
    if submission.restore_path:
        options += ["-s", submission.restore_path]
        if submission.allow_non_restored_state:
            options.append("-n")
    return options


def arguments(program: PythonProgram, root: Path, python: Path) -> list[str]:
    """Arguments of Flink's Python driver; what follows the entry belongs to the program."""
    entry = ["-py", str(root / program.entry_file)] if program.entry_file else ["-pym", str(program.module)]
    files = ",".join(map(str, (root, *program.modules)))
    return ["-pyclientexec", str(python), "-pyexec", str(program.python), "-pyfs", files, *entry, *program.args]
