"""Restore points as files: is `_metadata` there, what lies in an attempt's folder.

fsspec reads any file system that has a driver installed (file, hdfs, s3, gs, ...). Its `exists`, `glob` and `find` take
every error for "there is nothing": a folder that could not be read for a moment would be a folder without restore
points. So only `info` and `ls` are used here, which raise what they meet.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import fsspec

from clusters.protocol import PointSeen, Unreachable
from core import paths
from core.jobs.restore import RestoreKind
from core.paths import STATE_SCHEMES, WITH_FOLDERS, normal, of_point
from settings import waits

T = TypeVar("T")
AT_ONCE = 16
"""Looks at one file system: those at one that hangs take no threads from the others."""
_HEAD = struct.Struct(">IIq")  # magic, version of the format, number of the checkpoint
_MAGIC = 0x4960672D


_HERE = threading.local()


class _FileSystem:
    """A mounted volume, a bucket, a name node. It has threads of its own, so that one that hangs takes none from
    others."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="state-files")
        self.answers = 0


class _Look:
    """What a thread does at a file system."""

    def __init__(self, place: _FileSystem):
        self.place = place
        self.has_begun = False
        self.answers = 0

    def work(self, function: Callable[..., T], *args: Any) -> T:
        self.has_begun = True
        _HERE.look = self
        try:
            return function(*args)
        finally:
            _HERE.look = None


_FILE_SYSTEMS: dict[str, _FileSystem] = {}


async def _in_thread(path: str, function: Callable[..., T], *args: Any) -> T:
    """What `function` gives, which reads or writes at `path`. A file system may hang instead of failing (a mounted
    volume whose server is gone): after `FILES_SECONDS` without an answer, to this look or, while it waits for its turn,
    to any, it raises `Unreachable`, and the thread is left to itself."""
    place = _FILE_SYSTEMS.setdefault(_place_of(path), _FileSystem())
    look = _Look(place)
    looking = asyncio.get_running_loop().run_in_executor(place.threads, look.work, function, *args)
    own, all_ = 0, place.answers
    try:
        while not (await asyncio.wait([looking], timeout=waits.FILES_SECONDS))[0]:
            if look.answers == own if look.has_begun else place.answers == all_:
                raise Unreachable(
                    f"{path} has not been read or written for {waits.FILES_SECONDS:.0f} s: does its volume hang?"
                )
            own, all_ = look.answers, place.answers
        return looking.result()
    finally:
        looking.cancel()


def _answered() -> None:
    """A file system has answered the look of this thread."""
    look: _Look | None = getattr(_HERE, "look", None)
    if look is not None:
        look.answers += 1
        look.place.answers += 1


def _place_of(path: str) -> str:
    """The file system that a path is on, as far as its name tells: two folders deep on this machine, where volumes are
    mounted."""
    scheme, is_uri, rest = normal(path).partition("://")
    if not is_uri:  # an id, or nonsense
        return ""
    return "/".join([scheme, *rest.split("/")[: 3 if scheme == "file" else 1]])


def _open(path: str) -> tuple[Any, str]:
    one = normal(path)
    if one.startswith("file://") and paths.local(one) is None:
        raise Unreachable(f"{path} names another machine; Flink reads file:// paths on its own only.")
    if not paths.is_state_scheme(one):
        raise Unreachable(
            f"{path[:200]} is not on a file system that keeps state ({', '.join(sorted(STATE_SCHEMES))})."
        )
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(one)
        return found
    except Exception as error:  # a driver may connect, and fail as it likes
        raise Unreachable(f"This worker cannot read {path.split('://')[0]}:// paths: {error}") from error


@contextlib.contextmanager
def _files(path: str, what: str = "read", *, at: str | None = None) -> Iterator[tuple[Any, str]]:
    """The file system of a path, and what that calls the path, or the one it is looked for `at`. Whatever goes wrong is
    `Unreachable`: `path` cannot be read, or `what` else is done."""
    files, local = _open(at or path)
    try:
        files.invalidate_cache()
        yield files, local
    except Unreachable:
        raise
    except Exception as error:
        raise Unreachable(f"{path} cannot be {what}: {type(error).__name__}: {error}") from error


def _spelled(asked: str, local: str, name: str) -> str:
    """The path of what a driver calls `name`, in the spelling of the folder that was `asked` for and that the driver
    calls `local`. A driver's own way back from a name to a path forgets what Flink's paths have: `s3a` becomes `s3`,
    the name node of `hdfs` and the account of `abfss` are gone. Then one restore point would be two."""
    root, inner = local.strip("/"), str(name).strip("/")
    below = f"{root}/" if root else ""
    if not inner.startswith(below) or inner == root:
        raise Unreachable(f"The driver that reads {asked} has listed {name}, which does not lie in it.")
    return normal(f"{normal(asked)}/{inner.removeprefix(below)}")


def _info(files: Any, path: str) -> dict[str, Any] | None:
    """What lies at `path`; None when nothing does."""
    try:
        found: dict[str, Any] = files.info(path)
        return found
    except (FileNotFoundError, NotADirectoryError):
        return None
    finally:
        _answered()


def _below(files: Any, folder: str) -> list[dict[str, Any]]:
    """What lies directly in a folder; nothing when it is not there."""
    try:
        found = files.ls(folder, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    finally:
        _answered()
    # An object store may keep an object in the place of the folder itself.
    return [item for item in found if item["name"].rstrip("/") != folder.rstrip("/")]


def _is_folder(files: Any, item: dict[str, Any]) -> bool:
    """Also where it is a link to one: somebody has moved a restore point, and has left the way to it."""
    found = _info(files, item["name"]) if item.get("islink") else item
    return found is not None and bool(found["type"] == "directory")


def _files_below(files: Any, folder: str, depth: int | None = None) -> Iterator[dict[str, Any]]:
    """The files in a folder and in the folders below it, at most `depth` deep."""
    for item in _below(files, folder):
        if item["type"] != "directory":
            yield item
        elif depth is None or depth > 1:
            yield from _files_below(files, item["name"], depth and depth - 1)


async def exists(path: str) -> bool:
    """Whether there is something at `path`, or below it. Raises `Unreachable`."""

    def work() -> bool:
        with _files(path) as (files, local):
            return _info(files, local) is not None

    return await _in_thread(path, work)


async def is_complete(path: str) -> bool:
    """Whether `path` is a completed restore point: its `_metadata` is there. Raises `Unreachable`."""
    return await _in_thread(path, _is_complete, path)


def _is_complete(path: str) -> bool:
    with _files(path, at=of_point(path)) as (files, local):
        return _info(files, f"{local}/_metadata") is not None


async def number_of(path: str) -> int | None:
    """Flink's number of a completed restore point, which the head of its `_metadata` tells; None where it does not.
    Raises `Unreachable`.

    Checkpoints and savepoints of one job share a counter, and a job that was restored goes on from the number of the
    point it came from. The head is the same in all versions (Flink's `Checkpoints` and `MetadataSerializer`s;
    looked at in files of 1.20.5 and 2.3.0).
    """

    def work() -> int | None:
        with _files(path, at=of_point(path)) as (files, local):
            try:
                magic, _, number = _HEAD.unpack_from(files.cat_file(f"{local}/_metadata", start=0, end=_HEAD.size))
            except struct.error:
                return None
        return int(number) if magic == _MAGIC else None

    return await _in_thread(path, work)


async def real(path: str) -> str:
    """The path without symbolic links, where it lies on this machine; other paths, and those that cannot be followed,
    as they are."""
    here = paths.local(path)
    if here is None:
        return of_point(path)
    try:
        return of_point(await _in_thread(path, os.path.realpath, here))
    except (OSError, ValueError, Unreachable):
        return of_point(path)


async def scan(folder: str, kind: RestoreKind, *, inner: str | None = None) -> list[PointSeen]:
    """Completed restore points below `folder` (`chk-N/_metadata`, `savepoint-*/_metadata`), with the time
    at which `_metadata`, the last file of each, was written. With `inner` those in the folders of `folder` whose names
    begin so. Raises `Unreachable`."""
    return await _in_thread(folder, _scan, folder, kind, inner)


def _scan(folder: str, kind: RestoreKind, inner: str | None) -> list[PointSeen]:
    prefix = "chk-" if kind is RestoreKind.CHECKPOINT else "savepoint-"
    with _files(folder) as (files, local):
        places = [local] if inner is None else _folders_in(files, local, inner)
        found = [point for place in places for point in _folders_in(files, place, prefix)]
        seen = ((point, _info(files, f"{point}/_metadata")) for point in found)
        return [
            PointSeen(kind, _spelled(folder, local, point), _time(files, metadata))
            for point, metadata in seen
            if metadata is not None
        ]


def _folders_in(files: Any, folder: str, prefix: str) -> list[str]:
    found = ((str(item["name"]).rstrip("/"), item) for item in _below(files, folder))
    return sorted(
        path for path, item in found if path.rpartition("/")[2].startswith(prefix) and _is_folder(files, item)
    )


def _time(files: Any, item: dict[str, Any]) -> datetime:
    """When what has been listed was written; it is asked for where the driver has not said so."""
    if isinstance(at := item.get("LastModified"), datetime):
        return at
    mtime = item.get("mtime")
    return datetime.fromtimestamp(mtime, UTC) if isinstance(mtime, float) else _written(files, item["name"])


def _written(files: Any, path: str) -> datetime:
    at: datetime = files.modified(path)
    _answered()
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Folder:
    """`changed_at` is when something in it was last written."""

    path: str
    changed_at: datetime


async def folders(path: str) -> list[Folder]:
    """The folders directly below `path`; none when it is not there. Raises `Unreachable`."""
    return await _in_thread(path, _folders, path)


def _folders(path: str) -> list[Folder]:
    with _files(path) as (files, local):
        found = [item for item in _below(files, local) if _is_folder(files, item)]
        return [Folder(_spelled(path, local, f["name"]), _last_change(files, f["name"])) for f in found]


async def is_folder(path: str) -> bool | None:
    """Whether a folder is there; None where that cannot be told: an object store has no empty ones."""
    if normal(path).partition("://")[0] not in WITH_FOLDERS:
        return None

    def work() -> bool:
        files, local = _open(path)
        found = _info(files, local)
        return found is not None and bool(found["type"] == "directory")

    try:
        return await _in_thread(path, work)
    except Exception:  # `Unreachable`, or a driver that fails as it likes
        return None


async def names(path: str) -> list[str]:
    """The names of the folders directly below `path`, links not among them; none when it is not there. Raises
    `Unreachable`."""

    def work() -> list[str]:
        with _files(path) as (files, local):
            return sorted(
                str(f["name"]).rstrip("/").rpartition("/")[2]
                for f in _below(files, local)
                if f["type"] == "directory" and not f.get("islink")
            )

    return await _in_thread(path, work)


async def changed_at(folder: str) -> datetime:
    """When anything in a folder was last written. Raises `Unreachable`."""

    def work() -> datetime:
        with _files(folder) as (files, local):
            return _last_change(files, local)

    return await _in_thread(folder, work)


def _last_change(files: Any, folder: str) -> datetime:
    times = [_time(files, item) for item in _files_below(files, folder)]
    # An object store keeps no time of a folder: there it is nothing but its files.
    with contextlib.suppress(IsADirectoryError, KeyError):
        times.append(_written(files, folder))
    return max(times)


async def written(path: str) -> dict[str, str]:
    """What lies below `path`, two folders deep, with a word for each file that changes when it is written to; empty
    when there is no such folder. Raises `Unreachable`."""
    return await _in_thread(path, _written_below, path)


def _written_below(path: str) -> dict[str, str]:
    with _files(path) as (files, local):
        return {
            item["name"]: f"{item.get('size')} {item.get('mtime') or item.get('LastModified')}"
            for item in _files_below(files, local, 2)
        }


async def read(path: str) -> str:
    """The text of a file. Raises `Unreachable`."""

    def work() -> str:
        with _files(path) as (files, local):
            return str(files.cat_file(local).decode())

    return await _in_thread(path, work)


async def write(path: str, text: str) -> None:
    """Write a file whole. Raises `Unreachable`."""

    def work() -> None:
        with _files(path, "written") as (files, local):
            files.pipe_file(local, text.encode())

    await _in_thread(path, work)


async def make_folder(path: str) -> None:
    """Make a folder; fine when it is there. Raises `Unreachable`."""

    def work() -> None:
        with _files(path, "made") as (files, local):
            files.makedirs(local, exist_ok=True)

    await _in_thread(path, work)


async def remove(path: str) -> None:
    """Delete a folder with all that is in it; fine when it is not there. Restore points in it are none from the first
    moment on: a part of one would be taken for a whole one. Raises `Unreachable`."""
    await _in_thread(path, _remove, path)


def _own_files(files: Any, item: dict[str, Any]) -> Iterator[str]:
    """The names of the files in what has been listed, and nothing behind a link."""
    if item.get("islink"):
        return
    if item["type"] != "directory":
        yield item["name"]
        return
    for inner in _below(files, item["name"]):
        yield from _own_files(files, inner)


def _remove(path: str) -> None:
    with _files(path, "deleted") as (files, local), contextlib.suppress(FileNotFoundError):
        if (folder := _info(files, local)) is None:
            return
        inner = [item for item in _below(files, local) if item["type"] == "directory" and not item.get("islink")]
        for place in (local, *(item["name"] for item in inner)):  # what a link leads to is not ours to delete
            if _info(files, f"{place}/_metadata") is not None:
                files.rm(f"{place}/_metadata")
                _answered()
        if normal(path).partition(":")[0] in WITH_FOLDERS:  # one by one: each is an answer, however many there are
            for name in _own_files(files, folder):
                files.rm_file(name)
                _answered()
        files.rm(local, recursive=True)
