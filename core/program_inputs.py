"""What a program gets from outside: variables, files beside it, properties of Java; and what it cannot be given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, StringConstraints

MAX_FILES_TOTAL = 256 * 1024

EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
EnvValue = Annotated[str, StringConstraints(max_length=8192, pattern=r"^[^\x00]*$")]
Env = Annotated[dict[EnvName, EnvValue], Field(max_length=200)]

FileText = Annotated[str, StringConstraints(max_length=64 * 1024, pattern=r"^[^\x00]*$")]
Files = Annotated[dict[str, FileText], Field(max_length=50)]

PropertyName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,199}$")]
PropertyValue = Annotated[str, StringConstraints(max_length=8192, pattern=r"^[^\x00\r\n]*$")]
JavaProperties = Annotated[dict[PropertyName, PropertyValue], Field(max_length=100)]

_OURS = ("FLINK_", "PENSTOCK_", "PYFLINK_", "JAVA_", "_JAVA_", "JDK_JAVA_", "LD_", "DYLD_")
_OURS_TOO = (
    *("PATH", "HOME", "TMPDIR", "CLASSPATH"),
    *("PYTHONPATH", "PYTHONHOME", "PYTHONUNBUFFERED", "PYTHONSTARTUP"),
    *("PYTHONINSPECT", "PYTHONUSERBASE", "PYTHONPLATLIBDIR", "PYTHONEXECUTABLE"),
)

_IN_THE_JOBMANAGER = (
    "a jar's `main` runs in the JobManager of its cluster, a process that all programs of the cluster share and that "
    "was started before them"
)
_CONFIG = "as keys of your own in `config`, which `env.getConfiguration()` has"
NOT_FOR_JARS: Mapping[str, str] = {
    "env": f"`env` cannot be given to a jar: {_IN_THE_JOBMANAGER}. Give it as `args` (secrets as ${{secret:name}}), or "
    f"{_CONFIG}.",
    "java_properties": f"`java_properties` cannot be given to a jar: {_IN_THE_JOBMANAGER}. Give them as `args`, or "
    f"{_CONFIG}.",
    "files": f"`files` cannot be given to a jar: {_IN_THE_JOBMANAGER}. Put them into the jar (src/main/resources), or "
    "where the cluster can read them, with their path in `args`.",
}
"""Fields of Python programs that a jar has not, and what to do."""


def check_env(env: dict[str, str]) -> dict[str, str]:
    """Returns it as it is, for a validator of pydantic. Raises `ValueError` for a variable that changes how Flink's
    client starts."""
    for name in env:
        if name.startswith(_OURS) or name in _OURS_TOO:
            raise ValueError(
                f"`env`: {name} changes how Flink's client, its Java or its Python begins, and cannot be set; "
                "give what the program reads another name"
            )
    return env


def check_files(files: dict[str, str]) -> dict[str, str]:
    """Each path has been seen to stay inside already."""
    for path in files:
        if any(part in ("", ".") for part in path.split("/")):
            raise ValueError(f"`files`: {path[:60]!r} is no plain relative path, such as `conf/app.properties`")
    for path in files:
        if inside := next((other for other in files if other.startswith(f"{path}/")), None):
            raise ValueError(f"`files`: {path[:60]!r} cannot be a file and the folder of {inside[:60]!r}")
    if sum(len(text.encode()) for text in files.values()) > MAX_FILES_TOTAL:
        raise ValueError(f"`files` are larger than {MAX_FILES_TOTAL // 1024} KB together; keep them in the repository")
    return files


def is_empty(value: object) -> bool:
    """Of what is left out of rows and answers unless it is given: they stay as they were before there was a field."""
    return not value
