"""Submitting a Python program: Flink's own client in a process of its own.

The JobManager could run the program itself through its REST API in a tenth of the time, but two
submissions at once then share one Python gateway, and run with each other's environment and job id
(seen on 2.3.0; `docs/decisions/0005-pyflink-by-client.md`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypedDict
from urllib.parse import urlsplit

from clusters.flink.clients import Clients, configure, environment, java
from clusters.flink.errors import root_cause
from clusters.flink.programs import ClientStopped
from clusters.protocol import PythonProgram, Submission
from clusters.sql import NO_RETRIES
from core.effects import LogSink, Rejected
from processes.child import ProcessFailed, run
from processes.scratch import temporary
from settings import waits

CLI = "org.apache.flink.client.cli.CliFrontend"
DRIVER = "org.apache.flink.client.python.PythonDriver"
_ABORTED = "ProgramAbortException"  # from here on the client tells that Python has ended
_EXIT = re.compile(r"Python process exits with code: (-?\d+)")
OUTPUT_LIMIT = 16 * 1024 * 1024


class Limits(TypedDict):
    timeout: float
    output_limit: int


async def submit(
    home: Path, jobmanager_url: str, submission: Submission, tell: LogSink, clients: Clients | None = None
) -> None:
    """Run the program's main file against the cluster, detached. `home` is FLINK_HOME of the cluster's version on
    this machine; `clients` has one that waits, perhaps. Raises `Rejected` with Python's or Flink's own words when the
    client fails; what the cluster knows by then is another question."""
    program = submission.program
    assert isinstance(program, PythonProgram)
    driver = next(iter((home / "opt").glob("flink-python-*.jar")), None)
    if driver is None:
        raise Rejected(
            "This worker has no PyFlink for the cluster's Flink version; run `penstock flink install` on it."
        )
    limits: Limits = {"timeout": waits.PYTHON_PROGRAM_SECONDS, "output_limit": OUTPUT_LIMIT}
    config, arguments = configuration(jobmanager_url, submission, program), _arguments(driver, submission, program)
    tell(f"running {program.entry_file or program.module}")
    try:
        if (client := clients.take(home) if clients is not None else None) is not None:
            await client.run(config, arguments, tell=tell, **limits)
            return
        with temporary() as conf:
            configure(conf, config)
            env = environment(home, conf)
            await run([*java(home, CLI), *arguments], cwd=conf, env=env, tell=tell, **limits)
    except ProcessFailed as error:
        kind = ClientStopped if error.stopped else Rejected
        raise kind(why(error), stack="\n".join(error.lines), sent=error.stopped) from error
    finally:
        if clients is not None:
            clients.prepare(home)


def configuration(jobmanager_url: str, submission: Submission, program: PythonProgram) -> dict[str, str]:
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
        "python.client.executable": str(program.python),
    }


def _arguments(driver: Path, submission: Submission, program: PythonProgram) -> list[str]:
    """Of Flink's command line."""
    options = _run_options(submission)
    return ["run", "-t", "remote", "-d", *options, "-c", DRIVER, str(driver), *arguments(program)]


def _run_options(submission: Submission) -> list[str]:
    options = [f"-D$internal.pipeline.job-id={submission.ref.flink_job_id}"]
    if submission.parallelism:
        options += ["-p", str(submission.parallelism)]
    if submission.restore_path:
        options += ["-s", submission.restore_path]
        if submission.allow_non_restored_state:
            options.append("-n")
    return options


def arguments(program: PythonProgram) -> list[str]:
    """Arguments of Flink's Python driver; what follows the entry belongs to the program."""
    python = str(program.python)
    entry = ["-py", str(program.root / program.entry_file)] if program.entry_file else ["-pym", str(program.module)]
    return ["-pyclientexec", python, "-pyexec", python, "-pyfs", str(program.root), *entry, *program.args]


def why(error: ProcessFailed) -> str:
    """Python's last error when there is a traceback, else the root of Flink's stack."""
    if error.stopped:
        return f"The program had not ended: {error.message}"
    lines = [line for line in error.lines if line.strip()]
    for number in range(len(lines) - 1, -1, -1):
        if lines[number].startswith("Traceback (most recent call last)"):
            said = [line for line in lines[number:] if not line.startswith((" ", "\t", "Traceback"))]
            if said:
                return f"The program failed: {_by_java(said) or said[0][:1000]}"
    if codes := _EXIT.findall("\n".join(lines)):
        return f"The program failed: Python ended with exit code {codes[-1]}"
    return f"The program was not submitted: {root_cause(chr(10).join(lines))}" if lines else error.message


def _by_java(said: list[str]) -> str | None:
    """Flink's own words, where Python's error is only that a call of Java failed."""
    if "Py4JJavaError" not in said[0] or len(said) < 2:
        return None
    stack: list[str] = []
    for line in said[1:]:
        if _ABORTED in line:
            break
        stack.append(line.removeprefix(": "))
    return root_cause("\n".join(stack))
