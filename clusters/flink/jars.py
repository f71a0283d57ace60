"""The small Java programs of ours: compiled once on this machine, where they are first needed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from core.effects import EngineError, ProgramTrouble, no_log
from processes.child import run, scrubbed
from settings import waits

NO_SERVICES: Mapping[str, str] = MappingProxyType({})


class NotCompiled(ProgramTrouble):
    """This machine has no Java compiler, or it failed."""


async def compiled(
    source: Path, folder: Path, *, against: Sequence[Path] = (), services: Mapping[str, str] = NO_SERVICES
) -> Path:
    """The jar of one Java file, in `folder`, which `against` what it uses is compiled; `services` are classes in it by
    what they implement, for Java's ServiceLoader. Raises `NotCompiled`."""
    made = folder / f"penstock-{source.stem.lower()}-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}.jar"
    if made.exists():
        return made
    compiler = _compiler()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        classes, half = Path(name, "classes"), Path(name, "half.jar")
        command = [compiler, "--release", "8", "-Xlint:-options", "-d", str(classes)]
        command += ["-cp", os.pathsep.join(map(str, against))] if against else []
        command.append(str(source))
        try:
            await run(
                command,
                cwd=Path(name),
                env=scrubbed([]),
                tell=no_log,
                timeout=waits.COMPILE_SECONDS,
                output_limit=1_000_000,
            )
        except (EngineError, OSError) as error:
            raise NotCompiled(f"it cannot be compiled on this worker: {error}") from error
        with zipfile.ZipFile(half, "w") as archive:
            content = {f"META-INF/services/{interface}": f"{name}\n".encode() for interface, name in services.items()}
            content |= {str(p.relative_to(classes)): p.read_bytes() for p in classes.rglob("*.class")}
            for path, data in sorted(content.items()):  # without times: the same bytes, whoever compiles it
                archive.writestr(zipfile.ZipInfo(path), data)
        half.replace(made)
    return made


async def compiled_for(
    home: Path | None, source: Path, folder: Path, *, services: Mapping[str, str] = NO_SERVICES
) -> Path:
    """The same for what uses classes of the Flink that is installed in `home`, in a folder of its version."""
    if home is None:
        raise NotCompiled("this machine has no Flink of the cluster's version; `penstock flink install` brings it")
    against = await asyncio.to_thread(lambda: sorted((home / "lib").glob("*.jar")))
    dist = next((jar for jar in against if jar.name.startswith("flink-dist-")), None)
    if dist is None:
        raise NotCompiled(f"{home / 'lib'} has no flink-dist jar")
    version = dist.stem.removeprefix("flink-dist-")
    return await compiled(source, folder / version, against=against, services=services)


def _compiler() -> str:
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("javac", path=f"{home}/bin") if home else None
    if found := found or shutil.which("javac"):
        return found
    raise NotCompiled("this worker has no Java compiler (javac)")
