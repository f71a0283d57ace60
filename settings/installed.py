"""Where an installed Flink lies on this machine: `penstock flink install` has put it into the cache."""

from __future__ import annotations

from pathlib import Path


def flink_folder(cache: Path, version: str) -> Path:
    """The folder of a version, whether it is installed or not."""
    return cache / "flink" / version


def flink_home(cache: Path, version: str) -> Path | None:
    """FLINK_HOME of a version (with bin, lib and opt); None when it is not installed."""
    homes = flink_folder(cache, version).glob("lib/python*/site-packages/pyflink")
    return next(iter(homes), None)


def flink_python(cache: Path, version: str) -> Path:
    """Interpreter with PyFlink of a version; it is there when the version is installed."""
    return flink_folder(cache, version) / "bin" / "python"
