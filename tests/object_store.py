"""An object store in memory with the driver's habits of s3fs: of two protocols it gives paths back by the first, and it
has no folders without files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, ClassVar

import fsspec
from fsspec.registry import _registry
from fsspec.spec import AbstractFileSystem


class ObjectStore(AbstractFileSystem):  # type: ignore[misc]
    """Objects by name (`bucket/key`), with the moments at which they were written."""

    protocol = ("s3", "s3a")
    cachable = False
    objects: ClassVar[dict[str, tuple[bytes, datetime]]] = {}

    @classmethod
    def put(cls, path: str, data: bytes, at: datetime) -> None:
        cls.objects[cls._strip_protocol(path)] = data, at

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        root, found = self._strip_protocol(path), {}
        for key, (data, _at) in self.objects.items():
            if key.startswith(root + "/"):
                name, _, rest = key.removeprefix(root + "/").partition("/")
                kind = {"type": "directory", "size": 0} if rest else {"type": "file", "size": len(data)}
                found[name] = {"name": f"{root}/{name}", **kind}
        return list(found.values()) if detail else [item["name"] for item in found.values()]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        name = self._strip_protocol(path)
        if name in self.objects:
            return {"name": name, "type": "file", "size": len(self.objects[name][0])}
        if self.ls(name):
            return {"name": name, "type": "directory", "size": 0}
        raise FileNotFoundError(path)

    def modified(self, path: str) -> datetime:
        if (name := self._strip_protocol(path)) not in self.objects:
            raise IsADirectoryError
        return self.objects[name][1]

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        return self.objects[self._strip_protocol(path)][0][start:end]

    def rm(self, path: str, recursive: bool = False, **_: Any) -> None:
        name = self._strip_protocol(path)
        for key in [k for k in self.objects if k == name or k.startswith(name + "/")]:
            del self.objects[key]


@contextmanager
def object_store() -> Iterator[type[ObjectStore]]:
    """It is what `s3://` and `s3a://` are, as long as the block runs."""
    before = {name: _registry[name] for name in ObjectStore.protocol if name in _registry}
    ObjectStore.objects.clear()
    for name in ObjectStore.protocol:
        fsspec.register_implementation(name, ObjectStore, clobber=True)
    try:
        yield ObjectStore
    finally:
        for name in ObjectStore.protocol:
            del _registry[name]
        _registry.update(before)
