"""A real Gradle for a test, kept in the cache: from where wrappers get theirs, else made of Debian's packages."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
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
            reasons = []
            for way in (_downloaded, _of_debian):
                if (why := way(folder)) is None:
                    break
                reasons.append(why)
            else:
                pytest.skip(f"no Gradle can be had: {'; '.join(reasons)}. PENSTOCK_TEST_GRADLE names a folder with one")
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


def _of_debian(folder: Path) -> str | None:
    """Why not, or None. Its packages are unpacked, not installed: its Gradle 4.4 is mended for the Java of its release."""
    debs, root = folder / "debs", folder / "root"
    shutil.rmtree(debs, ignore_errors=True)
    debs.mkdir()
    try:
        plan = subprocess.run(
            ["apt-get", "install", "-s", "--no-install-recommends", "gradle"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        names = [name for name in re.findall(r"^Inst (\S+)", plan, re.MULTILINE) if not re.search(r"-j(re|dk)", name)]
        subprocess.run(["apt-get", "download", *names], cwd=debs, capture_output=True, check=True, timeout=300)
        for deb in debs.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(deb), str(root)], check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"Debian's package: {type(error).__name__}"
    source = root / "usr/share/gradle"
    if not source.exists():
        return "Debian's package: it is not in there"
    for path in source.rglob("*"):
        target = folder / "gradle-of-debian" / path.relative_to(source)
        if not path.is_dir() and (real := _there(path, root)) is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(real, target)
    shutil.rmtree(debs)
    shutil.rmtree(root)
    return None


def _there(path: Path, root: Path) -> Path | None:
    """Where a link of a package leads to: below `root` as if that were /, else to what this machine has installed."""
    for _ in range(20):
        if not path.is_symlink():
            break
        inside = path.relative_to(root) if path.is_relative_to(root) else path.relative_to("/")
        led = Path(os.path.normpath(Path("/") / inside.parent / path.readlink()))
        below = root / led.relative_to("/")
        path = below if below.is_symlink() or below.exists() else led
    return path if path.exists() else None
