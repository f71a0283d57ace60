"""Artifacts: what was built, kept under the hash of its content.

The folder has to be the same for all workers, and for PyFlink also readable under the same path by the
cluster: on a laptop it is, elsewhere it is a shared volume.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processes.scratch import sweep, temporary


class Artifacts:
    def __init__(self, root: Path):
        self.root = root

    def jar(self, sha256: str) -> Path:
        """Where a jar lies, by the hash of its content, whether it is there or not."""
        return self.root / "jars" / sha256[:2] / f"{sha256}.jar"

    def python_file(self, sha256: str, name: str) -> Path:
        """A Python library. Its file keeps its name, which is that of the module."""
        return self.root / "python" / sha256 / name

    def put_python(self, source: Path, name: str) -> tuple[str, int]:
        """Keep a copy of a .py or .zip under `name`; returns its sha256 and its size in bytes."""
        digest = hash_file(source)
        target = self.python_file(digest, name)
        if not target.exists():
            _copy(source, target)
        return digest, target.stat().st_size

    def program(self, key: str) -> Path:
        """Folder of a Python program, by build key."""
        return self.root / "programs" / key

    def environment(self, key: str) -> Path:
        """Folder of a Python environment, by the hash of its requirements and Flink version."""
        return self.root / "environments" / key

    def put_jar(self, source: Path) -> tuple[str, int]:
        """Keep a copy of `source`; returns its sha256 and its size in bytes."""
        digest = hash_file(source)
        target = self.jar(digest)
        if not target.exists():
            _copy(source, target)
        return digest, target.stat().st_size

    def put_program(self, source: Path, key: str) -> Path:
        """Keep a copy of the folder `source`, without its .git; links that lead out of it are left out."""
        target = self.program(key)
        if not target.exists():
            with self.scratch() as folder:
                half = folder / "program"
                shutil.copytree(source, half, symlinks=False, ignore=_ignore(source), ignore_dangling_symlinks=True)
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.rename(half, target)
                except OSError:
                    if not target.exists():  # someone else was faster with the same content
                        raise
        return target

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A temporary folder on the same file system, gone at the end."""
        parent = self.root / "tmp"
        parent.mkdir(parents=True, exist_ok=True)
        with temporary(parent) as folder:
            yield folder

    def sweep(self) -> None:
        """Delete what workers of this machine that were killed have left behind."""
        sweep(self.root / "tmp")
        sweep()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f"{target.name}.{os.getpid()}-{threading.get_ident()}.half")
    shutil.copyfile(source, half)
    os.replace(half, target)


def _ignore(source: Path):  # type: ignore[no-untyped-def]
    root = source.resolve()

    def ignore(folder: str, names: list[str]) -> set[str]:
        return {n for n in names if n == ".git" or not (Path(folder) / n).resolve().is_relative_to(root)}

    return ignore


def hash_file(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal, read in pieces."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
