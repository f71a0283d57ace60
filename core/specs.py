"""What a job is made of: SQL text, a Maven or Gradle project or a Python program in Git, a Flink session cluster.

A spec is user input. Everything in it that ends in a path, a process argument or a URL is checked here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)

from core.config import check_config
from core.errors import InvalidInput
from core.names import Name
from core.program_inputs import (
    NOT_FOR_JARS,
    Env,
    Files,
    JavaProperties,
    check_env,
    check_files,
    is_empty,
)

MAX_SQL = 512 * 1024
_CLASS = r"^[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*)*$"
_MODULE = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"
_SCP_URL = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:(?!/?-)[A-Za-z0-9._~/-]+$")
_HTTPS_URL = re.compile(r"^https://([^/@\s]+@)?[A-Za-z0-9.-]+(:\d{1,5})?/[^\s?#]*$")
_SSH_URL = re.compile(r"^ssh://([A-Za-z0-9._-]+@)?[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?/(?!-)[^\s?#]*$")
_REF_BAD = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|\.$|/$")

Arg = Annotated[str, StringConstraints(max_length=8192)]


def check_git_url(url: str) -> str:
    """Return `url` when it is https, ssh or a local path; raise `ValueError` otherwise.

    Whether a local path is allowed is a setting, so it is checked where the settings are known.
    """
    if len(url) > 2048 or any(ord(c) < 32 for c in url):
        raise ValueError("the Git URL is too long or has control characters")
    if "%0" in url.lower():
        raise ValueError("the Git URL has encoded control characters")
    match = _HTTPS_URL.match(url)
    if match:
        if match.group(1):
            raise ValueError(
                "the Git URL carries a user name or a token, which would end up in logs; "
                "use ssh, or a credential helper on the workers"
            )
        return url
    if _SSH_URL.match(url) or _SCP_URL.match(url):
        return url
    if (path := local_git_path(url)) is not None:
        if ".." in path.split("/"):
            raise ValueError("a local Git path may not contain ..")
        return url
    raise ValueError("the Git URL has to be https://..., ssh://..., user@host:path, or an absolute local path")


def local_git_path(url: str) -> str | None:
    """The path of a local repository (`/path` or `file:///path`), None for a remote one."""
    if url.startswith("file:///"):
        return url[len("file://") :]
    return url if url.startswith("/") else None


def check_git_ref(ref: str) -> str:
    """Return `ref` when it is a branch, tag or commit name (git-check-ref-format); raise `ValueError` otherwise."""
    if not ref or len(ref) > 255 or ref.startswith(("-", "/", ".")) or _REF_BAD.search(ref):
        raise ValueError(f"{ref[:60]!r} is not a Git branch, tag or commit")
    return ref


def check_inner_path(path: str) -> str:
    """Return `path` when it is relative and stays inside the repository; raise `ValueError` otherwise."""
    if not path or len(path) > 1024 or path.startswith(("/", "~", "-")) or "\\" in path:
        raise ValueError(f"{path[:60]!r} has to be a relative path inside the repository")
    if any(ord(c) < 32 for c in path) or ".." in path.split("/"):
        raise ValueError(f"{path[:60]!r} leads out of the repository")
    return path


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GitSource(Frozen):
    """Where the source lies. `ref` is a branch, tag or commit; each start resolves it to a commit again."""

    url: str = Field(description="https://..., ssh://..., user@host:path, or an allowed absolute local path")
    ref: str = Field(default="HEAD", description="Branch, tag or commit")
    subdirectory: str | None = Field(default=None, description="Folder inside the repository to build or run from")

    _url = field_validator("url")(staticmethod(check_git_url))
    _ref = field_validator("ref")(staticmethod(check_git_ref))

    @field_validator("subdirectory")
    @classmethod
    def _inside(cls, value: str | None) -> str | None:
        return None if value is None else check_inner_path(value)


Properties = Annotated[
    dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}$")], Arg], Field(max_length=100)
]
_TASK = r"^:?[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}){0,9}$"


class _Build(Frozen):
    """How a jar is built. `artifact` chooses among several jars: a path or a glob below the subdirectory."""

    properties: Properties = {}
    artifact: str | None = Field(default=None, description="For example `app/target/app-1.0.jar` or `app-*.jar`")

    @field_validator("artifact")
    @classmethod
    def _inside(cls, value: str | None) -> str | None:
        return None if value is None else check_inner_path(value)

    @field_validator("properties")
    @classmethod
    def _one_line(cls, value: dict[str, str]) -> dict[str, str]:
        for key, text in value.items():
            if any(ord(c) < 32 for c in text):
                raise ValueError(f"the property {key} has control characters")
        return value


class MavenBuild(_Build):
    """With Maven; with the repository's own Gradle where it has no pom and a Gradle wrapper, and nothing is set here
    that only Maven understands. `properties` are `-Dkey=value`."""

    tool: Literal["maven"] = "maven"
    profiles: list[Annotated[str, StringConstraints(pattern=r"^[!?]?[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")]] = Field(
        default=[], max_length=20
    )


class GradleBuild(_Build):
    """With the Gradle wrapper of the repository (`gradlew`). `properties` are `-Pkey=value`."""

    tool: Literal["gradle"] = "gradle"
    tasks: list[Annotated[str, StringConstraints(pattern=_TASK)]] = Field(
        default=[], max_length=20, description="By default `shadowJar` where the repository has it, else `assemble`"
    )


def _tool(build: object) -> str | None:
    """Which of them is meant: who says nothing, and names tasks, means Gradle."""
    if not isinstance(build, Mapping):
        return getattr(build, "tool", None)
    tool = build.get("tool", "gradle" if "tasks" in build else "maven")
    return tool if isinstance(tool, str) else None


BUILD_TOOLS = ("maven", "gradle")
JarBuild = Annotated[
    Annotated[MavenBuild, Tag("maven")] | Annotated[GradleBuild, Tag("gradle")],
    Discriminator(
        _tool,
        custom_error_type="build_tool",
        custom_error_message="`tool` is `maven` or `gradle`; sbt and others are not supported",
    ),
]


class _Spec(Frozen):
    parallelism: int | None = Field(default=None, ge=1, le=32768, description="Default parallelism of the job")
    config: dict[str, str] = Field(default={}, max_length=200, description="Flink configuration of this version")

    @field_validator("config")
    @classmethod
    def _config(cls, value: dict[str, str]) -> dict[str, str]:
        check_config(value, "spec.config")
        return value


def _no_nul(args: list[str]) -> list[str]:
    if any("\x00" in arg for arg in args):
        raise ValueError("an argument has a NUL character")
    return args


class Use(Frozen):
    """A library (connector or functions) of the job's project that a version is run with."""

    name: Name
    version: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,79}$")]


VARIABLE_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,79}"
VariableName = Annotated[str, StringConstraints(pattern=f"^{VARIABLE_NAME}$")]
VariableValue = Annotated[str, StringConstraints(max_length=4000, pattern=r"^[^\x00\r\n]*$")]
Variables = Annotated[dict[VariableName, VariableValue], Field(max_length=200)]
"""Of a SQL text, by name."""


class SqlSpec(_Spec):
    """One SQL text: DDL, SET, INSERTs and STATEMENT SETs. All its INSERTs run as one Flink job. Tables that are
    registered in the project need no DDL; secrets are written `${secret:name}`."""

    type: Literal["sql"]
    sql: str = Field(min_length=1, max_length=MAX_SQL)
    variables: Variables = Field(default={}, description="Values of ${NAME} in `sql`; ${NAME:-5} has a default")
    libraries: list[Use] = Field(default=[], max_length=50, description="Connectors and functions, each in a version")


class DeclaredLineage(Frozen):
    """What a program that Penstock cannot read says of itself. Names of registered tables (`orders`,
    `project.orders`), or places as the lineage of SQL jobs shows them (`kafka:topic=orders`)."""

    reads: list[Annotated[str, StringConstraints(min_length=1, max_length=500)]] = Field(default=[], max_length=200)
    writes: list[Annotated[str, StringConstraints(min_length=1, max_length=500)]] = Field(default=[], max_length=200)


Libraries = Annotated[list[Use], Field(max_length=50)]


class JarSpec(_Spec):
    """A Maven or Gradle project in Git. The program calls `execute` once. It runs in the JobManager of its cluster, and
    so has no environment, files or Java properties of its own."""

    type: Literal["jar"]
    git: GitSource
    build: JarBuild = MavenBuild()
    entry_class: Annotated[str, StringConstraints(pattern=_CLASS, max_length=500)] | None = Field(
        default=None, description="Main class; by default the one in the jar's manifest"
    )
    args: list[Arg] = Field(default=[], max_length=500, description="Secrets are written `${secret:name}`")
    libraries: Libraries = Field(
        default=[], exclude_if=is_empty, description="Jars that it runs with beside its own: connectors, dependencies"
    )
    lineage: DeclaredLineage | None = None

    _args = field_validator("args")(staticmethod(_no_nul))

    @model_validator(mode="before")
    @classmethod
    def _not_for_jars(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and (field := next((field for field in NOT_FOR_JARS if field in value), None)):
            raise ValueError(NOT_FOR_JARS[field])
        return value


class PyFlinkSpec(_Spec):
    """A Python program in Git: a file, or a module. `requirements` is a file in the repository or a list. It runs in
    the folder that `git` names, in a process on a worker; its functions in task managers have its `libraries` and its
    folder with its `files`, and not its `env`."""

    type: Literal["pyflink"]
    git: GitSource
    entry_file: str | None = Field(default=None, description="For example `jobs/word_count.py`")
    module: Annotated[str, StringConstraints(pattern=_MODULE, max_length=500)] | None = None
    requirements: str | list[Annotated[str, StringConstraints(max_length=500)]] | None = Field(
        default=None,
        description="A requirements file in the repository, or requirements such as `numpy==2.1.0`",
    )
    args: list[Arg] = Field(default=[], max_length=500)
    libraries: Libraries = Field(
        default=[], exclude_if=is_empty, description="Connectors and other jars, and Python files, each in a version"
    )
    env: Env = Field(
        default={},
        exclude_if=is_empty,
        description="Environment variables of the program; secrets are written `${secret:name}`",
        examples=[{"API_TOKEN": "${secret:api-token}"}],
    )
    files: Files = Field(
        default={},
        exclude_if=is_empty,
        description="Texts by their path, laid over the program's folder: 64 KB each, 256 KB together; secrets are "
        "written `${secret:name}`",
        examples=[{"conf/app.properties": "topic=orders\n"}],
    )
    java_properties: JavaProperties = Field(
        default={},
        exclude_if=is_empty,
        description="System properties of the JVM that plans the program; secrets are written `${secret:name}`",
    )
    lineage: DeclaredLineage | None = None

    _args = field_validator("args")(staticmethod(_no_nul))
    _env = field_validator("env")(staticmethod(check_env))

    @field_validator("files")
    @classmethod
    def _files(cls, value: dict[str, str]) -> dict[str, str]:
        for path in value:
            check_inner_path(path)
        return check_files(value)

    @field_validator("entry_file")
    @classmethod
    def _entry(cls, value: str | None) -> str | None:
        if value is not None and not value.endswith(".py"):
            raise ValueError("`entry_file` has to be a .py file")
        return None if value is None else check_inner_path(value)

    @field_validator("requirements")
    @classmethod
    def _requirements(cls, value: str | list[str] | None) -> str | list[str] | None:
        if isinstance(value, str):
            return check_inner_path(value)
        for item in value or []:
            if not re.match(r"^[A-Za-z0-9]", item) or any(ord(c) < 32 for c in item):
                raise ValueError(f"{item[:60]!r} is not a requirement (PEP 508); options are not allowed here")
        return value

    @model_validator(mode="after")
    def _one_entry(self) -> PyFlinkSpec:
        if (self.entry_file is None) == (self.module is None):
            raise ValueError("give either `entry_file` or `module`")
        if self.entry_file in self.files:
            raise ValueError("`files` cannot take the place of `entry_file`: what runs is what is in Git")
        return self


MEMORY = r"^[1-9][0-9]{0,6}[mg]$"
HOSTED_KEYS = (
    "taskmanager.numberOfTaskSlots",
    "taskmanager.resource-id",
    "jobmanager.memory.process.size",
    "taskmanager.memory.process.size",
    "jobmanager.bind-host",
    "taskmanager.host",
    "taskmanager.bind-host",
    "sql-gateway.endpoint.",
    "io.tmp.dirs",
    "web.upload.dir",
)
"""Configuration that a session cluster gets from its spec and its place; keys, and beginnings of keys."""


def is_hosted_key(key: str) -> bool:
    """Whether a key of Flink's configuration comes from a session cluster's spec, or from where it runs: then nobody
    sets it."""
    return key.startswith(HOSTED_KEYS)


class SessionClusterSpec(Frozen):
    """A Flink session cluster with a SQL gateway, run by Penstock on a cluster of kind `processes`. Once it runs, it
    is a cluster by the job's name that other jobs and SQL sessions run on."""

    type: Literal["session-cluster"]
    flink_version: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$")] | None = Field(
        default=None, description="By default that of the place it runs on", examples=["2.3.0"]
    )
    taskmanagers: int = Field(default=1, ge=1, le=100)
    slots: int = Field(default=4, ge=1, le=256, description="Task slots of each task manager")
    jobmanager_memory: Annotated[str, StringConstraints(pattern=MEMORY)] = Field(
        default="1100m", description="Memory of the whole process, `jobmanager.memory.process.size`"
    )
    taskmanager_memory: Annotated[str, StringConstraints(pattern=MEMORY)] = Field(
        default="1728m", description="Memory of the whole process, `taskmanager.memory.process.size`"
    )
    config: dict[str, str] = Field(default={}, max_length=200, description="Flink configuration of the cluster")

    @field_validator("config")
    @classmethod
    def _config(cls, value: dict[str, str]) -> dict[str, str]:
        check_config(value, "spec.config")
        if key := next((k for k in value if is_hosted_key(k)), None):
            raise InvalidInput(
                f"spec.config: {key} cannot be set here: it comes from the spec's own fields, or from where it runs.",
                code="forbidden_config_key",
                field=f"spec.config.{key}",
                remedy=f"Remove {key}.",
            )
        return value


def only_scales(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether one version of a session cluster becomes the other by starting or stopping task managers."""
    return {**old, "taskmanagers": 0} == {**new, "taskmanagers": 0}


JobType = Literal["sql", "jar", "pyflink", "session-cluster"]
JobSpec = Annotated[SqlSpec | JarSpec | PyFlinkSpec | SessionClusterSpec, Field(discriminator="type")]


def libraries_of(spec: Mapping[str, Any]) -> list[Use]:
    """Those that a stored spec is run with, whatever its type."""
    return [Use.model_validate(use) for use in spec.get("libraries") or []]


def name_of(number: int, spec: Mapping[str, Any]) -> str:
    """By which a version is known again: its number, and a digest of its specification as it is written down."""
    return f"{number}:{hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:32]}"


def names(number: int, name: str | None) -> bool:
    """Whether this is the name of a version of that number."""
    return name is not None and name.startswith(f"{number}:")


def another_version(number: int) -> str:
    """Why an attempt does not run what the one before ran, by the number of its version."""
    return (
        f"Version {number} is another one than the attempt before runs by that number: the database was restored from "
        "a backup, and a version was added anew. `resubmit` runs it, with a `restore` that says what becomes of the "
        "state."
    )


def build_key(spec: JarSpec | PyFlinkSpec, commit: str) -> str:
    """Hash of what a build depends on: the commit and the build settings. Equal keys are built once."""
    what: dict[str, object] = {"type": spec.type, "commit": commit, "subdirectory": spec.git.subdirectory}
    if isinstance(spec, JarSpec):
        what["build"] = spec.build.model_dump(mode="json")
    else:
        what["requirements"] = spec.requirements
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
