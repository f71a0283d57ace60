"""Jars in a jar: Flink takes what lies below `lib/` of the jar that it runs out of it, puts it on the program's class
path and gives it to the task managers (`PackagedProgram.extractContainedLibraries`)."""

from __future__ import annotations

import os
import shutil
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path


def bundle(target: Path, jar: Path | None, nested: Sequence[tuple[str, Path]]) -> None:
    """Make `target` of `jar`, or of nothing, with other jars in it by their names. Equal ones have equal bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f"{target.name}.{os.getpid()}-{threading.get_ident()}.half")
    try:
        if jar is not None:
            shutil.copyfile(jar, half)
        with zipfile.ZipFile(half, "a" if jar is not None else "w") as archive:
            there = set(archive.namelist())
            for name, path in nested:
                entry = f"lib/{name}"
                if entry not in there:
                    there.add(entry)
                    with (
                        path.open("rb") as source,
                        archive.open(zipfile.ZipInfo(entry), "w", force_zip64=True) as inside,
                    ):
                        shutil.copyfileobj(source, inside)
        os.replace(half, target)
    finally:
        half.unlink(missing_ok=True)
