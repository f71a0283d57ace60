"""What of a repository a Python program is run from: a file or a module that has to be there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from builds.git import inside
from core.effects import Rejected
from core.near import nearest


def check_entry_file(source: Path, relative: str) -> None:
    """Raises `Rejected` with the files that could be meant, and `GitFailed` for one outside of `source`."""
    _check_file("entry_file", source, relative, "*.py")


def check_requirements(source: Path, relative: str) -> None:
    """The same of a file of requirements."""
    _check_file("requirements", source, relative, "*.txt")


def _check_file(field: str, source: Path, relative: str, pattern: str) -> None:
    if (source / relative).is_file():
        inside(source, relative)
        return
    names = [str(path) for path in _files(source, pattern)]
    raise Rejected(_said(f"{relative} is not a file in the repository.", field, nearest(relative, names)))


def check_module(source: Path, module: str) -> None:
    """Raises `Rejected` with the modules that could be meant."""
    path = source.joinpath(*module.split("."))
    if path.with_suffix(".py").exists() or (path / "__init__.py").exists() or (path / "__main__.py").exists():
        return
    parts = [
        path.parts[:-1] if path.name in ("__init__.py", "__main__.py") else path.with_suffix("").parts
        for path in _files(source, "*.py")
    ]
    names = {".".join(part) for part in parts if part and all(word.isidentifier() for word in part)}
    close = nearest(module, names, separator=".")
    raise Rejected(_said(f"The module {module} is not in the repository.", "module", close))


def _said(what: str, field: str, names: list[str]) -> str:
    if not names:
        return f"{what} There is none to choose of: set git.subdirectory to the folder that it is in."
    return f"{what} Set {field} to one of: {', '.join(names)}; or git.subdirectory to another folder."


def _files(source: Path, pattern: str) -> Iterator[Path]:
    """Files below `source`, as paths from there, but for those in hidden folders."""
    for path in source.rglob(pattern):
        relative = path.relative_to(source)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            yield relative
