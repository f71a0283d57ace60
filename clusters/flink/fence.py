"""Spending the id of an attempt on a Flink job that does nothing (`docs/decisions/0014-the-fence.md`)."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

from clusters.protocol import Unclear
from core.effects import no_log
from processes.child import ProcessFailed, run, scrubbed
from settings import waits

SOURCE = Path(__file__).with_name("Fence.java")
ENTRY_CLASS = "dev.penstock.Fence"
_PREFIX = "penstock-fence-"


def name_of(flink_job_id: str) -> str:
    """The name of the job that spends an id. A program that calls its own job so fences nothing but itself."""
    return _PREFIX + flink_job_id


def is_fence(flink_job_id: str, name: str) -> bool:
    return name == name_of(flink_job_id)


async def jar(folder: Path) -> Path:
    """The jar with the fence, compiled once below `folder`. Raises `Unclear` when this machine has no Java compiler."""
    text = SOURCE.read_bytes()
    made = folder / f"penstock-fence-{hashlib.sha256(text).hexdigest()[:16]}.jar"
    if made.exists():
        return made
    compiler = _compiler()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        classes, half = Path(name, "classes"), Path(name, "fence.jar")
        command = [compiler, "--release", "8", "-Xlint:-options", "-d", str(classes), str(SOURCE)]
        try:
            await run(
                command,
                cwd=Path(name),
                env=scrubbed([]),
                tell=no_log,
                timeout=waits.COMPILE_SECONDS,
                output_limit=1_000_000,
            )
        except (ProcessFailed, OSError) as error:
            raise Unclear(f"the job that would spend its id cannot be compiled on this worker: {error}") from error
        with zipfile.ZipFile(half, "w") as archive:
            for path in sorted(classes.rglob("*.class")):
                archive.write(path, path.relative_to(classes))
        half.replace(made)
    return made


def _compiler() -> str:
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("javac", path=f"{home}/bin") if home else None
    if found := found or shutil.which("javac"):
        return found
    raise Unclear("this worker has no Java compiler (javac), which builds the job that would spend its id")
