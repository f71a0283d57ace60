"""Python environments for PyFlink programs: the cluster's own PyFlink below, a job's requirements above."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from pathlib import Path

from builds.artifacts import Artifacts
from core.effects import LogSink, Rejected
from processes.child import ProcessFailed, run, scrubbed

COMPLETE = ".complete"


def environment_key(flink_python: Path, requirements: str) -> str:
    """The name of an environment: the same interpreter and requirements share one."""
    return hashlib.sha256(f"{flink_python}\n{requirements}".encode()).hexdigest()[:24]


async def ensure(
    artifacts: Artifacts,
    flink_python: Path,
    requirements: str,
    *,
    build_env: list[str],
    timeout: float,
    output_limit: int,
    tell: LogSink,
) -> Path:
    """The interpreter of an environment with PyFlink and `requirements` (lines of a requirements file).

    `flink_python` is the interpreter of the installed Flink version. Without requirements it is that
    one. Equal requirements share one environment; jobs with different ones do not see each other's.
    Raises `Rejected` with pip's own words.
    """
    if not requirements.strip():
        return flink_python
    folder = artifacts.environment(environment_key(flink_python, requirements))
    python = folder / "bin" / "python"
    if (folder / COMPLETE).exists():
        tell("the Python environment with these requirements is there already")
        return python
    half = folder.with_name(f"{folder.name}.{os.getpid()}.{id(tell)}")
    shutil.rmtree(half, ignore_errors=True)
    half.parent.mkdir(parents=True, exist_ok=True)

    async def step(*command: str) -> None:
        await run(
            list(command),
            cwd=half.parent,
            env=scrubbed(build_env, {"PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}),
            tell=tell,
            timeout=timeout,
            output_limit=output_limit,
        )

    try:
        # Not activated and never moved by its scripts: only bin/python is used, so a rename is sound.
        await step(str(flink_python), "-m", "venv", "--without-pip", str(half))
        below = await asyncio.to_thread(_site_packages, flink_python.parent.parent)
        above = await asyncio.to_thread(_site_packages, half)
        (above / "penstock_pyflink.pth").write_text(f"{below}\n")
        requirements_file = half / "requirements.txt"
        requirements_file.write_text(requirements)
        tell("installing the program's requirements")
        await step(
            str(flink_python),
            "-m",
            "pip",
            "--python",
            str(half / "bin" / "python"),
            "install",
            "--progress-bar=off",
            "-r",
            str(requirements_file),
        )
        (half / COMPLETE).touch()
        try:
            os.rename(half, folder)
        except OSError:
            if not (folder / COMPLETE).exists():
                raise
    except ProcessFailed as error:
        said = [line for line in error.lines if line.startswith("ERROR")] or error.lines[-5:]
        raise Rejected("The requirements cannot be installed.\n" + "\n".join(said)) from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return python


def _site_packages(environment: Path) -> Path:
    return next((environment / "lib").glob("python*/site-packages"))
