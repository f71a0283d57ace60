"""Restore points as files: which places are asked at all, and that what cannot be read is not taken for nothing."""

from __future__ import annotations

import asyncio
import os
import struct
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from clusters import state_files
from clusters.protocol import Unreachable
from core.jobs.restore import RestoreKind
from settings import waits
from tests.object_store import object_store


@pytest.mark.parametrize(
    "path",
    [
        "ftp://127.0.0.1:1/x",
        "http://127.0.0.1:1/x",
        "github://a:b@c/x",
        "zip:///etc/x",
        "reference:///x",
        "dir:///x",
        "simplecache::file:///x",
    ],
)
async def test_what_keeps_no_state_is_not_connected_to(path: str):
    with pytest.raises(Unreachable) as error:
        await state_files.is_complete(path)
    assert "keeps state" in error.value.message or "cannot read" in error.value.message


async def test_a_driver_that_is_not_there_is_said():
    with pytest.raises(Unreachable) as error:
        await state_files.is_complete("oss://bucket/x")
    assert "oss" in error.value.message


async def test_the_number_of_a_point_is_in_the_head_of_its_metadata(tmp_path: Path):
    (tmp_path / "_metadata").write_bytes(struct.pack(">IIq", 0x4960672D, 6, 41) + b"states")
    assert await state_files.number_of(str(tmp_path)) == 41


@pytest.mark.parametrize("content", [b"", b"short", b"something else, of some length"])
async def test_what_is_no_metadata_of_flink_tells_no_number(tmp_path: Path, content: bytes):
    (tmp_path / "_metadata").write_bytes(content)
    assert await state_files.number_of(str(tmp_path)) is None


async def test_a_number_that_cannot_be_read_is_not_none(tmp_path: Path):
    with pytest.raises(Unreachable):
        await state_files.number_of(str(tmp_path))


class TestWhatCannotBeRead:
    """A link that leads to itself cannot be read by anybody, root included: the system answers with an error that is
    not "no such file", as it does for a stale NFS handle or a failing disk."""

    @pytest.fixture
    def broken(self, tmp_path: Path) -> Path:
        os.symlink(tmp_path / "loop", tmp_path / "loop")
        return tmp_path / "loop"

    async def test_a_folder_is_not_a_folder_without_points(self, broken: Path):
        for ask in (
            state_files.scan(broken.as_uri(), RestoreKind.CHECKPOINT),
            state_files.exists(broken.as_uri()),
            state_files.folders(broken.as_uri()),
            state_files.names(broken.as_uri()),
            state_files.written(broken.as_uri()),
            state_files.changed_at(broken.as_uri()),
            state_files.remove(broken.as_uri()),
        ):
            with pytest.raises(Unreachable):
                await ask
        assert await state_files.is_folder(broken.as_uri()) is None

    async def test_a_point_is_not_half_written(self, tmp_path: Path):
        for kind, name in ((RestoreKind.CHECKPOINT, "chk-7"), (RestoreKind.SAVEPOINT, "savepoint-a")):
            folder = tmp_path / name
            folder.mkdir()
            os.symlink(folder / "_metadata", folder / "_metadata")
            with pytest.raises(Unreachable):
                await state_files.is_complete(folder.as_uri())
            with pytest.raises(Unreachable):
                await state_files.scan(tmp_path.as_uri(), kind)

    async def test_what_grows_deeper_is_not_standing_still(self, broken: Path):
        inner = broken.with_name("attempt")
        inner.mkdir()
        os.symlink(inner / "chk-1", inner / "chk-1")
        with pytest.raises(Unreachable):
            await state_files.written(f"{inner.as_uri()}/chk-1")


async def test_points_are_those_with_their_metadata(tmp_path: Path):
    for name, complete in (("chk-1", True), ("chk-2", False), ("savepoint-a", True), ("shared", True)):
        (tmp_path / name).mkdir()
        if complete:
            (tmp_path / name / "_metadata").write_bytes(b"")
    (tmp_path / "chk-3").write_bytes(b"a file")
    for kind, name in ((RestoreKind.CHECKPOINT, "chk-1"), (RestoreKind.SAVEPOINT, "savepoint-a")):
        assert [p.path for p in await state_files.scan(tmp_path.as_uri(), kind)] == [f"{tmp_path.as_uri()}/{name}"]
    for name in ("7-a/savepoint-1", "7-b/savepoint-2", "70-a/savepoint-3"):
        (tmp_path / "savepoints" / name).mkdir(parents=True)
        (tmp_path / "savepoints" / name / "_metadata").write_bytes(b"")
    of_seven = await state_files.scan(f"{tmp_path.as_uri()}/savepoints", RestoreKind.SAVEPOINT, inner="7-")
    assert [p.path.rpartition("/savepoints/")[2] for p in of_seven] == ["7-a/savepoint-1", "7-b/savepoint-2"]
    assert await state_files.scan(f"{tmp_path.as_uri()}/nothing", RestoreKind.CHECKPOINT) == []
    assert await state_files.scan(f"{tmp_path.as_uri()}/chk-3/deeper", RestoreKind.CHECKPOINT) == []


async def test_what_makes_a_point_whole_is_deleted_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Who looks in the middle finds no point whose other files have gone; what a link leads to is left alone."""
    attempt, moved = tmp_path / "attempt", tmp_path / "moved"
    for folder in (attempt / "chk-1", attempt / "chk-2", attempt / "shared", moved):
        folder.mkdir(parents=True)
        (folder / "_metadata").write_bytes(b"")
        (folder / "data").write_bytes(b"")
    (attempt / "shared" / "_metadata").unlink()
    os.symlink(moved, attempt / "chk-3")
    left: list[list[str]] = []

    def dies(self: Any, path: str) -> None:
        left.append(sorted(str(p.relative_to(attempt)) for p in attempt.rglob("*") if not p.is_dir()))
        raise OSError("the disk has gone")

    with monkeypatch.context() as patched:
        patched.setattr(LocalFileSystem, "rm_file", dies)
        with pytest.raises(Unreachable):
            await state_files.remove(attempt.as_uri())
    assert [name for name in left[0] if not name.startswith("chk-3")] == ["chk-1/data", "chk-2/data", "shared/data"]
    await state_files.remove(attempt.as_uri())
    assert (attempt.exists(), sorted(p.name for p in moved.iterdir())) == (False, ["_metadata", "data"])


async def test_a_link_to_a_point_is_the_point(tmp_path: Path):
    """Somebody has moved it, and has left the way to it."""
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / "_metadata").write_bytes(b"")
    home = tmp_path / "home"
    home.mkdir()
    os.symlink(moved, home / "chk-9")
    assert [p.path for p in await state_files.scan(home.as_uri(), RestoreKind.CHECKPOINT)] == [f"{home.as_uri()}/chk-9"]
    assert [f.path for f in await state_files.folders(home.as_uri())] == [f"{home.as_uri()}/chk-9"]
    os.symlink(home / "chk-10", home / "chk-10")
    with pytest.raises(Unreachable):
        await state_files.scan(home.as_uri(), RestoreKind.CHECKPOINT)


@pytest.mark.parametrize("scheme", ["s3", "s3a"])
async def test_what_is_found_is_spelled_as_it_was_asked_for(scheme: str):
    """As Flink tells of it: the driver's own way back would make `s3` of both."""
    with object_store() as store:
        store.put("s3://b/j/savepoints/7-t/savepoint-1/_metadata", b"x", datetime.now(UTC))
        root = f"{scheme}://b//j/savepoints/"
        found = await state_files.scan(root, RestoreKind.SAVEPOINT, inner="7-")
        assert [p.path for p in found] == [f"{scheme}://b/j/savepoints/7-t/savepoint-1"]
        assert [f.path for f in await state_files.folders(root)] == [f"{scheme}://b/j/savepoints/7-t"]
        assert await state_files.names(root) == ["7-t"]


async def test_a_folder_of_an_object_store_is_as_new_as_its_newest_file():
    with object_store() as store:
        for day, name in enumerate(("chk-1/_metadata", "shared/a", "chk-2/_metadata"), start=1):
            store.put(f"s3://b/attempt/{name}", b"x", datetime(2026, 1, day, tzinfo=UTC))
        assert await state_files.changed_at("s3://b/attempt") == datetime(2026, 1, 3, tzinfo=UTC)
        with pytest.raises(Unreachable):
            await state_files.changed_at("s3://b/nothing")


async def test_what_a_driver_lists_elsewhere_is_not_made_a_path(monkeypatch: pytest.MonkeyPatch):
    with object_store() as store:
        store.put("s3://b/j/chk-1/_metadata", b"x", datetime.now(UTC))
        for name in ("other/j/chk-1", "b/jj/chk-1"):
            monkeypatch.setattr(store, "ls", lambda *_, name=name, **__: [{"name": name, "type": "directory"}])
            monkeypatch.setattr(store, "info", lambda *_, **__: {"type": "directory"})
            monkeypatch.setattr(store, "modified", lambda *_: datetime.now(UTC))
            for ask in (state_files.scan("s3://b/j", RestoreKind.CHECKPOINT), state_files.folders("s3://b/j")):
                with pytest.raises(Unreachable) as error:
                    await ask
                assert f"has listed {name}, which does not lie in it" in error.value.message


async def test_a_file_system_that_hangs_is_one_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """To open a pipe that nobody writes to hangs, as a volume does whose server is gone."""
    monkeypatch.setattr(waits, "FILES_SECONDS", 0.2)
    point = tmp_path / "chk-1"
    point.mkdir()
    os.mkfifo(point / "_metadata")
    try:
        with pytest.raises(Unreachable, match="does its volume hang"):
            await state_files.number_of(str(point))
    finally:  # let the thread go
        os.close(os.open(point / "_metadata", os.O_RDWR | os.O_NONBLOCK))


async def test_a_look_that_goes_on_may_take_as_long_as_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Hundreds of restore points on an object store: each answer comes in time."""
    monkeypatch.setattr(waits, "FILES_SECONDS", 0.3)
    for number in range(8):
        (tmp_path / f"chk-{number}").mkdir()
        (tmp_path / f"chk-{number}" / "_metadata").touch()
    info = LocalFileSystem.info

    def slow(self: LocalFileSystem, path: str, **more: Any) -> Any:
        time.sleep(0.1 if str(path).endswith("_metadata") else 0)
        return info(self, path, **more)

    monkeypatch.setattr(LocalFileSystem, "info", slow)
    assert len(await state_files.scan(str(tmp_path), RestoreKind.CHECKPOINT)) == 8


async def test_a_file_system_that_hangs_keeps_no_threads_from_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(waits, "FILES_SECONDS", 0.2)
    monkeypatch.setattr(state_files, "AT_ONCE", 2)
    monkeypatch.setattr(state_files, "_place_of", lambda path: "hangs" if "hangs" in path else "well")
    release = threading.Event()
    monkeypatch.setattr(state_files, "_is_complete", lambda path: release.wait(60) if "hangs" in path else True)
    try:
        looks = [state_files.is_complete(f"/hangs/{n}") for n in range(5)]
        for answer in await asyncio.gather(*looks, return_exceptions=True):
            assert isinstance(answer, Unreachable)
        assert await state_files.is_complete("/well")
    finally:
        release.set()


async def test_what_a_link_leads_to_is_not_deleted(tmp_path: Path):
    mine, others = tmp_path / "mine", tmp_path / "others"
    for folder in (mine / "chk-1", others / "chk-2"):
        folder.mkdir(parents=True)
        (folder / "_metadata").touch()
    (mine / "folder").symlink_to(others)
    (mine / "chk-1" / "file").symlink_to(others / "chk-2" / "_metadata")
    await state_files.remove(str(mine))
    assert (mine.exists(), (others / "chk-2" / "_metadata").exists()) == (False, True)
