"""Jars in a jar."""

from __future__ import annotations

import zipfile
from pathlib import Path

from builds.bundles import bundle


def made(path: Path, **entries: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in entries.items():
            archive.writestr(name, text)
    return path


def test_a_jar_keeps_what_it_has(tmp_path: Path):
    jar, library = made(tmp_path / "a.jar", Main="code"), made(tmp_path / "b.jar", Sink="other")
    bundle(tmp_path / "x" / "both.jar", jar, [("b.jar", library)])
    with zipfile.ZipFile(tmp_path / "x" / "both.jar") as archive:
        assert archive.read("Main") == b"code"
        assert archive.read("lib/b.jar") == library.read_bytes()


def test_libraries_alone_once_each(tmp_path: Path):
    library = made(tmp_path / "b.jar", Sink="other")
    for name in ("one.jar", "two.jar"):
        bundle(tmp_path / name, None, [("b.jar", library), ("b.jar", library)])
    assert (tmp_path / "one.jar").read_bytes() == (tmp_path / "two.jar").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.jar") as archive:
        assert archive.namelist() == ["lib/b.jar"]
    assert {path.name for path in tmp_path.iterdir()} == {"b.jar", "one.jar", "two.jar"}
