"""Libraries of a project: connectors, and functions in jars or Python files; named, versioned, immutable."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from core.names import Name
from core.specs import Frozen, GitSource, JarBuild, MavenBuild, check_inner_path

_COORDINATES = r"^[A-Za-z0-9_.-]+:[A-Za-z0-9_.-]+:[A-Za-z0-9][A-Za-z0-9_.-]*(:[A-Za-z0-9_.-]+)?$"
_CLASS = r"^[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*)*$"
PYTHON_FILE = r"^[A-Za-z_]\w{0,99}\.(py|zip)$"
JAR_FILE = r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,199}\.jar$"
LibraryVersion = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,79}$")]


class LibraryState(StrEnum):
    WAITING = "WAITING"  # for an upload
    FETCHING = "FETCHING"
    READY = "READY"
    FAILED = "FAILED"


class Function(Frozen):
    """A function of the library, under the name by which SQL calls it."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w{0,99}$")]
    class_: Annotated[str, StringConstraints(pattern=_CLASS, max_length=500)] = Field(
        alias="class", description="Java: the class. Python: `module.function`"
    )


class FromMaven(Frozen):
    """Jars of a Maven repository, as they are there; what they need beside is named too."""

    type: Literal["maven"]
    coordinates: list[Annotated[str, StringConstraints(pattern=_COORDINATES, max_length=300)]] = Field(
        min_length=1, max_length=20, examples=[["org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2"]]
    )


class FromGit(Frozen):
    """A Maven or Gradle project (jar), or one Python file (python) of a repository."""

    type: Literal["git"]
    git: GitSource
    build: JarBuild = MavenBuild()
    file: str | None = Field(default=None, description="Python: the file", examples=["functions/text.py"])

    @field_validator("file")
    @classmethod
    def _inside(cls, value: str | None) -> str | None:
        return None if value is None else check_inner_path(value)


class FromUpload(Frozen):
    """The content is sent afterwards."""

    type: Literal["upload"]
    file: str = Field(max_length=200, description="Name of the file; for Python it is the module", examples=["text.py"])


Source = Annotated[FromMaven | FromGit | FromUpload, Field(discriminator="type")]


class NewLibrary(Frozen):
    name: Name
    version: LibraryVersion
    kind: Literal["jar", "python"]
    source: Source
    functions: list[Function] = Field(default=[], max_length=500)
    description: str = Field(default="", max_length=4000)

    @model_validator(mode="after")
    def _fits(self) -> NewLibrary:
        source = self.source
        if isinstance(source, FromUpload) and not re.match(
            JAR_FILE if self.kind == "jar" else PYTHON_FILE, source.file
        ):
            raise ValueError(
                f"source.file: a {self.kind} library is a {'.jar' if self.kind == 'jar' else '.py or .zip'}"
            )
        if isinstance(source, FromMaven) and self.kind != "jar":
            raise ValueError("source: Python libraries come from Git or an upload")
        if isinstance(source, FromGit) and (self.kind == "python") != (source.file is not None):
            raise ValueError("source.file: Python libraries from Git name a file, jars do not")
        if isinstance(source, FromGit) and source.file and not re.match(PYTHON_FILE, source.file.rpartition("/")[2]):
            raise ValueError("source.file: a Python library is a .py or .zip")
        names = [f.name.lower() for f in self.functions]
        if len(set(names)) != len(names):
            raise ValueError("functions: two have the same name")
        return self
