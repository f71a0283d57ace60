"""Which jar of a build is run, and which class of it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from builds.jars import check_entry_class, choose
from core.effects import Rejected

PROGRAM = b"\xca\xfe\xba\xbe\x01\x00\x04main\x01\x00\x16([Ljava/lang/String;)V"
OTHER = b"\xca\xfe\xba\xbe\x01\x00\x04open\x01\x00\x03()V"
"""Enough of a class file: what is looked for is in the constant pool."""


def jar(folder: Path, classes: dict[str, bytes], main: str | None = None) -> Path:
    path = folder / "app-1.0.jar"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\n" + (f"Main-Class: {main}\r\n" if main else "")
        )
        for name, data in classes.items():
            archive.writestr(name.replace(".", "/") + ".class", data)
    return path


CLASSES = {"com.acme.WordCount": PROGRAM, "com.acme.Clicks": PROGRAM, "com.acme.Util": OTHER, "scala.Main": PROGRAM}


@pytest.mark.parametrize("name", ["com.acme.Clicks", "org.apache.flink.client.python.PythonDriver"])
def test_one_that_is_there(tmp_path: Path, name: str):
    check_entry_class(jar(tmp_path, CLASSES), name)


def test_the_one_of_the_manifest(tmp_path: Path):
    check_entry_class(jar(tmp_path, CLASSES, main="com.acme.Clicks"), None)


@pytest.mark.parametrize(
    ("given", "main", "says"),
    [
        (
            "com.acme.WordCuont",
            None,
            "The class com.acme.WordCuont is not in the jar that was built. Set entry_class to one of: com.acme.WordCount, ",
        ),
        (
            None,
            None,
            "names no main class, and none is given. Set entry_class to one of: com.acme.Clicks, com.acme.WordCount.",
        ),
        (None, "com.acme.Gone", "The main class of the manifest, com.acme.Gone is not in the jar that was built."),
    ],
)
def test_one_that_is_not_names_those_that_are(tmp_path: Path, given: str | None, main: str | None, says: str):
    with pytest.raises(Rejected) as raised:
        check_entry_class(jar(tmp_path, CLASSES, main), given)
    assert says in raised.value.message
    assert "scala.Main" not in raised.value.message


def test_a_library_is_no_program(tmp_path: Path):
    with pytest.raises(Rejected, match="No class in it has a main method"):
        check_entry_class(jar(tmp_path, {"com.acme.Util": OTHER}), "com.acme.Util2")


def test_what_is_no_jar_at_all(tmp_path: Path):
    (tmp_path / "app.jar").write_text("<html>not found</html>")
    with pytest.raises(Rejected, match="is no jar"):
        check_entry_class(tmp_path / "app.jar", "com.acme.Clicks")


def made(folder: Path, name: str, *classes: str) -> Path:
    path = folder / "target" / name
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for one in classes:
            archive.writestr(f"{one}.class", OTHER)
    return path


def test_one_that_was_shaded_under_another_name(tmp_path: Path):
    made(tmp_path, "jobs-0.1.0-SNAPSHOT.jar", "com/acme/Clicks")
    whole = made(tmp_path, "jobs.jar", "com/acme/Clicks", "org/library/Client")
    assert choose(tmp_path, None) == whole


@pytest.mark.parametrize("other", [("com/acme/Clicks",), ("com/acme/Views", "org/library/Client")])
def test_two_of_which_neither_holds_the_other(tmp_path: Path, other: tuple[str, ...]):
    made(tmp_path, "one.jar", "com/acme/Clicks")
    made(tmp_path, "two.jar", *other)
    with pytest.raises(Rejected, match="2 jars could be meant"):
        choose(tmp_path, None)
