"""A real Gradle for a test: that of Debian where it is installed, else from where wrappers get theirs, kept in the cache."""

from __future__ import annotations

import fcntl
import os
import zipfile
from pathlib import Path

import httpx
import pytest

VERSION = "8.14.3"
DEBIANS = Path("/usr/share/gradle")
URL = f"https://services.gradle.org/distributions/gradle-{VERSION}-bin.zip"


def gradle_home(cache: Path) -> Path:
    """An unpacked distribution. Skips the test where none can be had, with the reason."""
    if given := os.environ.get("PENSTOCK_TEST_GRADLE"):
        return Path(given)
    if (DEBIANS / "bin" / "gradle").exists():
        return DEBIANS
    folder = cache / "gradle-for-tests"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            if (why := _downloaded(folder)) is not None:
                pytest.skip(f"no Gradle can be had: {why}. PENSTOCK_TEST_GRADLE names a folder with one")
            (folder / "complete").touch()
    return next(folder.glob("gradle-*/bin")).parent


def _downloaded(folder: Path) -> str | None:
    """Why not, or None."""
    try:
        with (
            httpx.stream("GET", URL, follow_redirects=True, timeout=20) as answer,
            open(folder / "gradle.zip", "wb") as file,
        ):
            answer.raise_for_status()
            for part in answer.iter_bytes():
                file.write(part)
        with zipfile.ZipFile(folder / "gradle.zip") as archive:
            archive.extractall(folder)
    except (httpx.HTTPError, zipfile.BadZipFile) as error:
        return f"services.gradle.org: {type(error).__name__}"
    finally:
        (folder / "gradle.zip").unlink(missing_ok=True)
    return None
