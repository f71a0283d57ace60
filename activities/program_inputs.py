"""What a program is given from outside: its libraries as jars and files, and texts with their secrets opened."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builds.bundles import bundle
from core.effects import Rejected
from core.errors import PenstockError
from core.specs import libraries_of
from core.sql.program_inputs import PYTHON_ARGS, names_in, opened
from core.sql.references import resolved
from services import Services
from sql.environment import ready_libraries
from store import resources
from store.tables import Library


@dataclass(frozen=True)
class Inputs:
    """`secrets` are the values that were opened; `jars` and `modules` the files of its libraries, by name."""

    args: list[str]
    env: dict[str, str]
    files: dict[str, str]
    java_properties: dict[str, str]
    jars: list[tuple[str, Path]] = field(default_factory=list)
    modules: list[Path] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)


async def inputs_of(services: Services, project: str, spec: dict[str, Any], *, in_jar: bool) -> Inputs:
    """Of a stored spec; `in_jar` a jar runs, which takes secrets in its arguments and no Python files. Raises
    `Rejected` for a secret that cannot be had or opened, or that stands in the arguments of a Python program, and for a
    library that cannot be had; it names no value."""
    args = [str(argument) for argument in spec.get("args") or []]
    env, files, properties = (dict(spec.get(name) or {}) for name in ("env", "files", "java_properties"))
    try:
        names = names_in([*env.values(), *files.values(), *properties.values(), *(args if in_jar else [])])
        if not in_jar and names_in(args):  # a version that is older than the rule
            raise Rejected(f"{PYTHON_ARGS} Add a version that does.")
        sealed, libraries, uses = {}, [], libraries_of(spec)
        if names or uses:
            async with services.database.read() as session:
                sealed = await resources.sealed(session, project, names)
                libraries = await ready_libraries(session, project, uses)
        secret = {name: services.vault.open(value) for name, value in sealed.items()}
    except PenstockError as error:
        raise Rejected(str(error)) from error
    jars, modules = _files_of(services, libraries)
    if in_jar and modules:
        python = next(library for library in libraries if library.kind != "jar")
        raise Rejected(f"The library {python.name} {python.version} has Python files, and a jar runs none.")
    return Inputs(
        args=[resolved(text, secret) for text in args],
        env=opened(env, secret),
        files=opened(files, secret),
        java_properties=opened(properties, secret),
        jars=jars,
        modules=modules,
        secrets=list(secret.values()),
    )


def _files_of(services: Services, libraries: Sequence[Library]) -> tuple[list[tuple[str, Path]], list[Path]]:
    """Jars and Python files. Raises `Rejected` for one that is not in the artifact store any more."""
    jars: list[tuple[str, Path]] = []
    modules: list[Path] = []
    for library in libraries:
        for file in library.files:
            sha256, name = str(file["sha256"]), str(file["name"])
            is_jar = library.kind == "jar"
            path = services.artifacts.jar(sha256) if is_jar else services.artifacts.python_file(sha256, name)
            if not path.exists():
                raise Rejected(
                    f"{name} of the library {library.name} {library.version} is not in the artifact store any more; "
                    "add the library again."
                )
            if is_jar:
                jars.append((f"{sha256[:16]}.jar", path))
            else:
                modules.append(path)
    return jars, modules


async def with_libraries(
    services: Services, jar: Path | None, sha256: str, jars: Sequence[tuple[str, Path]]
) -> tuple[Path, str]:
    """A jar that has others nested in it, and the hash that it is known by; `jar` None: nothing but these."""
    key = hashlib.sha256("\n".join(["libraries", sha256, *(name for name, _ in jars)]).encode()).hexdigest()
    path = services.artifacts.jar(key)
    if not path.exists():
        await asyncio.to_thread(bundle, path, jar, jars)
    return path, key
