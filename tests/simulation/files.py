"""The disk of a run, as an fsspec file system under `sim://`: a dictionary of files with times of the virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import fsspec
from fsspec.spec import AbstractFileSystem

from core import paths


class Disk:
    """Files by path (`sim://...`). `broken` says why nothing can be read or written now; `clock` gives the seconds
    since 1970 that the file server believes in."""

    def __init__(self, clock: Callable[[], float]):
        self.files: dict[str, tuple[bytes, float]] = {}
        self.broken: str | None = None
        self.full = False
        self._clock = clock

    def write(self, path: str, data: bytes) -> None:
        if self.broken:
            raise OSError(self.broken)
        if self.full:
            raise OSError("No space left on device")
        self.files[_strip(path)] = (data, self._clock())

    def read(self, path: str) -> bytes:
        if self.broken:
            raise OSError(self.broken)
        found = self.files.get(_strip(path))
        if found is None:
            raise FileNotFoundError(path)
        return found[0]

    def exists(self, path: str) -> bool:
        if self.broken:
            raise OSError(self.broken)
        path = _strip(path)
        return path in self.files or any(p.startswith(path + "/") for p in self.files)

    def remove(self, path: str) -> None:
        path = _strip(path)
        for key in [p for p in self.files if p == path or p.startswith(path + "/")]:
            del self.files[key]


_DISK: list[Disk] = []


def use(disk: Disk) -> None:
    _DISK[:] = [disk]


def _strip(path: str) -> str:
    return path.removeprefix("sim://").strip("/")


class SimFileSystem(AbstractFileSystem):
    protocol = "sim"
    cachable = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return _strip(path)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        disk, name = _DISK[0], _strip(path)
        if not disk.exists(name):
            raise FileNotFoundError(path)
        data, at = disk.files.get(name, (b"", 0.0))
        return {"name": name, "type": "file" if name in disk.files else "directory", "size": len(data), "mtime": at}

    def modified(self, path: str) -> datetime:
        found = _DISK[0].files.get(_strip(path))
        at = (
            found[1]
            if found
            else max((t for p, (_, t) in _DISK[0].files.items() if p.startswith(_strip(path))), default=0)
        )
        return datetime.fromtimestamp(at, UTC)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        disk, root = _DISK[0], _strip(path)
        if disk.broken:
            raise OSError(disk.broken)
        found: dict[str, dict[str, Any]] = {}
        for p, (data, at) in disk.files.items():
            if p.startswith(root + "/"):
                name, _, rest = p[len(root) + 1 :].partition("/")
                size = {"type": "directory", "size": 0} if rest else {"type": "file", "size": len(data), "mtime": at}
                found[f"{root}/{name}"] = {"name": f"{root}/{name}", **size}
        return list(found.values()) if detail else sorted(found)

    def cat_file(self, path: str, **_: Any) -> bytes:
        return _DISK[0].read(path)

    def pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        _DISK[0].write(path, value)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        if _DISK[0].broken:
            raise OSError(_DISK[0].broken)

    def rm(self, path: str, recursive: bool = False, **_: Any) -> None:
        _DISK[0].remove(path)


fsspec.register_implementation("sim", SimFileSystem, clobber=True)
paths.STATE_SCHEMES = paths.STATE_SCHEMES | {"sim"}
