"""Installing the parts that a machine lacks: Temporal, Flink, its SQL gateway, jars from Maven.

Everything goes into the cache folder, outside the checkout. A part is complete when its marker is
there; one that was cut off at any moment is made again by the next run.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import PenstockError
from processes.missing import not_started
from settings import installed, waits

TEMPORAL_CLI = "1.5.1"  # the newest tag that `go install` takes: server 1.29.1, UI 2.42.1
TEST_SERVER = "io.temporal:temporal-test-server:1.32.0"
DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"

Say = Callable[[str], None]


class InstallFailed(PenstockError):
    def __init__(self, what: str, output: list[str], remedy: str):
        tail = "\n".join(output[-15:])
        super().__init__(f"{what} could not be installed.\n{tail}\n", code="install_failed", remedy=remedy)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One installer at a time per part; the lock falls with its process."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(folder.name + ".lock"), "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _run(command: list[str], say: Say, *, env: dict[str, str] | None = None) -> tuple[int, list[str]]:
    """The exit code and what was printed; of a program that this machine lacks 127, as a shell says it, and that."""
    lines: list[str] = []
    try:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=env,
        )
    except OSError as error:
        if missing := not_started(command[0], error):
            return 127, [missing.message]
        raise
    with started as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip():
                lines.append(line.rstrip())
                say(line)
    return process.returncode, lines


class StackParts:
    """`cache` is the folder of installed parts; `say` is told what happens, a line at a time."""

    def __init__(self, cache: Path, say: Say = lambda _: None):
        self.cache = cache
        self.say = say

    # Temporal -------------------------------------------------------------------------------

    def temporal_path(self) -> Path | None:
        """The Temporal CLI, when it is already there."""
        own = self.cache / "temporal" / TEMPORAL_CLI / "temporal"
        if own.exists():
            return own
        path = shutil.which("temporal")
        return Path(path) if path else None

    def temporal(self) -> Path:
        """The Temporal CLI; installed by the SDK's own download, or by Go where that is not to be had."""
        if path := self.temporal_path():
            return path
        folder = self.cache / "temporal" / TEMPORAL_CLI
        with _locked(folder):
            if path := self.temporal_path():
                return path
            folder.mkdir(parents=True, exist_ok=True)
            fetched = self._download_temporal(folder) or self._build_temporal(folder)
            os.replace(fetched, folder / "temporal")
            return folder / "temporal"

    def _download_temporal(self, folder: Path) -> Path | None:
        from temporalio.testing import WorkflowEnvironment

        async def fetch() -> None:
            async with asyncio.timeout(waits.DOWNLOAD_SECONDS):
                server = await WorkflowEnvironment.start_local(download_dest_dir=str(folder))
                await server.shutdown()

        self.say("asking for a ready-made Temporal CLI")
        try:
            asyncio.run(fetch())
        except Exception as error:
            self.say(f"no ready-made Temporal CLI can be downloaded here ({type(error).__name__})")
            return None
        return next((p for p in folder.glob("temporal-*") if p.is_file() and os.access(p, os.X_OK)), None)

    def _build_temporal(self, folder: Path) -> Path:
        if shutil.which("go") is None:
            raise InstallFailed(
                "The Temporal CLI",
                [],
                "Install Go, or the `temporal` command, or set PENSTOCK_TEMPORAL_ADDRESS to a running Temporal.",
            )
        bin_ = folder / "gobin"
        self.say("building the Temporal CLI with Go, about two minutes once")
        code, lines = _run(
            ["go", "install", "-v", f"github.com/temporalio/cli/cmd/temporal@v{TEMPORAL_CLI}"],
            self.say,
            env={**os.environ, "GOBIN": str(bin_)},
        )
        if code != 0:
            raise InstallFailed("The Temporal CLI", lines, "Check that the Go module proxy can be reached.")
        return bin_ / "temporal"

    # Flink ----------------------------------------------------------------------------------

    def flink_folder(self, version: str) -> Path:
        """Where a version is, or would be, installed. Raises `InstallFailed` for what is no version."""
        if not re.fullmatch(r"\d+\.\d+\.\d+", version):
            raise InstallFailed(f"Flink {version[:20]}", [], "Give a version such as 2.3.0 or 1.20.5.")
        return installed.flink_folder(self.cache, version)

    def flink_installed(self, version: str) -> bool:
        """Whether its installation came to its end. Raises `InstallFailed` for what is no version."""
        return (self.flink_folder(version) / ".complete").exists()

    def flink_versions(self) -> list[str]:
        """Those that are installed, sorted as text."""
        return sorted(p.parent.name for p in (self.cache / "flink").glob("*/.complete"))

    def flink_python(self, version: str) -> Path:
        """The interpreter with its PyFlink, whether it is installed or not."""
        return installed.flink_python(self.cache, version)

    def flink_home(self, version: str) -> Path:
        """FLINK_HOME of an installed version (with bin, lib and opt)."""
        return next((self.flink_folder(version) / "lib").glob("python*/site-packages")) / "pyflink"

    def flink(self, version: str) -> Path:
        """Install Flink with its SQL gateway, from the PyFlink distribution and Maven; returns FLINK_HOME."""
        folder = self.flink_folder(version)
        with _locked(folder):
            if not self.flink_installed(version):
                shutil.rmtree(folder, ignore_errors=True)
                self._venv(folder)
                self.say(f"downloading Flink {version}, about 350 MB")
                code, lines = _run(
                    [
                        str(folder / "bin" / "python"),
                        "-m",
                        "pip",
                        "install",
                        "--no-input",
                        "--progress-bar=off",
                        "--disable-pip-version-check",
                        f"apache-flink=={version}",
                        "setuptools<81",
                    ],
                    self.say,
                )
                if code != 0:
                    raise InstallFailed(
                        f"Flink {version}",
                        lines,
                        "apache-flink needs a Python that it has wheels for (3.11 has them for 1.20 and 2.x): "
                        "set PENSTOCK_FLINK_BASE_PYTHON to such a Python.",
                    )
                home = self.flink_home(version)
                self.say("fetching the SQL gateway")
                self._gateway(version, home / "opt")
                for script in (home / "bin").iterdir():
                    script.chmod(0o755)
                (folder / ".complete").touch()
        return self.flink_home(version)

    def _gateway(self, version: str, folder: Path) -> None:
        """The SQL gateway of this version; not every patch of 1.20 has been published with one, then that of
        the nearest earlier patch."""
        line, _, patch = version.rpartition(".")
        for number in range(int(patch), -1, -1):
            try:
                self.maven(f"org.apache.flink:flink-sql-gateway:{line}.{number}", folder)
                return
            except InstallFailed:
                if number == 0:
                    raise
                self.say(f"there is no SQL gateway {line}.{number}; trying the patch before it")

    def _venv(self, folder: Path) -> None:
        python = os.environ.get("PENSTOCK_FLINK_BASE_PYTHON", sys.executable)
        code, lines = _run([python, "-m", "venv", str(folder)], self.say)
        if code != 0:
            raise InstallFailed("A Python environment", lines, "Install the venv module of your Python.")

    # Jars -----------------------------------------------------------------------------------

    def maven(self, coordinates: str, folder: Path) -> Path:
        """Copy one artifact `group:artifact:version[:type[:classifier]]` into `folder`; returns its path."""
        parts = coordinates.split(":")
        type_ = parts[3] if len(parts) > 3 else "jar"
        suffix = f"-{parts[4]}" if len(parts) > 4 else ""
        target = folder / f"{parts[1]}-{parts[2]}{suffix}.{type_}"
        if not target.exists():
            folder.mkdir(parents=True, exist_ok=True)
            code, lines = _run(
                [
                    "mvn",
                    "-B",
                    "-ntp",
                    "-q",
                    f"{DEPENDENCY_PLUGIN}:copy",
                    f"-Dartifact={coordinates}",
                    f"-DoutputDirectory={folder}",
                    "-Dmdep.overWriteReleases=true",
                ],
                self.say,
            )
            if code != 0 or not target.exists():
                raise InstallFailed(coordinates, lines, "Check that Maven can reach its repository.")
        return target

    def test_server(self) -> Path:
        """A command that runs Temporal's time-skipping test server: `PATH PORT`."""
        folder = self.cache / "temporal-test-server" / TEST_SERVER.rpartition(":")[2]
        script = folder / "temporal-test-server"
        with _locked(folder):
            if not script.exists():
                jars = folder / "jars"
                pom = self._pom(folder, TEST_SERVER)
                code, lines = _run(
                    [
                        "mvn",
                        "-B",
                        "-ntp",
                        "-q",
                        "-f",
                        str(pom),
                        f"{DEPENDENCY_PLUGIN}:copy-dependencies",
                        f"-DoutputDirectory={jars}",
                        "-DincludeScope=runtime",
                    ],
                    self.say,
                )
                if code != 0:
                    raise InstallFailed("Temporal's test server", lines, "Check that Maven can reach its repository.")
                half = script.with_suffix(".half")
                half.write_text(f'#!/bin/sh\nexec java -cp "{jars}/*" io.temporal.testserver.TestServer "$@"\n')
                half.chmod(0o755)
                os.replace(half, script)
        return script

    @staticmethod
    def _pom(folder: Path, coordinates: str) -> Path:
        group, artifact, version = coordinates.split(":")
        folder.mkdir(parents=True, exist_ok=True)
        pom = folder / "pom.xml"
        pom.write_text(
            "<project><modelVersion>4.0.0</modelVersion><groupId>penstock</groupId><artifactId>parts</artifactId>"
            "<version>1</version><packaging>pom</packaging><dependencies><dependency>"
            f"<groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
            "</dependency></dependencies></project>"
        )
        return pom
