"""The Java that processes of Penstock are run with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path


def command(env: Mapping[str, str] | None = None) -> str:
    """`java` as Flink's scripts, Maven and Gradle find it: that of JAVA_HOME, else of the path. `env` is what is looked
    at, by default the environment of this process."""
    home = (os.environ if env is None else env).get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else "java"


def found() -> str | None:
    """Where that one is; None when there is none."""
    return shutil.which(command())
