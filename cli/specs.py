"""What a job is made of, from a file or from options."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from cli.client import USAGE, err

File = Annotated[
    str, typer.Option("--spec", "--file", "-f", help="Spec as a .yaml, .json or .sql file, or - for standard input")
]
OptionalFile = Annotated[
    str | None,
    typer.Option("--spec", "--file", "-f", help="Spec as a .yaml, .json or .sql file, or - for standard input"),
]
Variable = Annotated[
    list[str] | None, typer.Option("--var", help="Value of a variable ${NAME} of the SQL, NAME=value; may be repeated")
]
Profiles = Annotated[list[str] | None, typer.Option("--profile", help="With --git: Maven profile; may be repeated")]
Tasks = Annotated[list[str] | None, typer.Option("--task", help="With --git: Gradle task; may be repeated")]
BuildProperties = Annotated[
    list[str] | None,
    typer.Option("--build-property", help="With --git: key=value, -D of Maven and -P of Gradle; may be repeated"),
]
Artifact = Annotated[
    str | None,
    typer.Option(
        "--artifact", "--jar", help="With --git: which of the jars that it builds, a path or a glob in the repository"
    ),
]
Env = Annotated[
    list[str] | None,
    typer.Option(
        "--env", "-e", help="Variable of a Python program, NAME=value or NAME=${secret:name}; may be repeated"
    ),
]
AddedFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--add-file", help="Text file to lie beside a Python program, PATH or PATH=LOCAL_FILE; may be repeated"
    ),
]
JavaProperties = Annotated[
    list[str] | None,
    typer.Option("--java-property", help="Of the JVM that plans a Python program, key=value; may be repeated"),
]
Library = Annotated[list[str] | None, typer.Option("--library", "-l", help="name:version; may be repeated")]


class _Loader(yaml.SafeLoader):
    """YAML as of version 1.2, whose values are those of JSON: a date stays text, `on` and `no` are no booleans."""


_BOOL, _TIME = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_BOOL, _TIME)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|false)$"), list("tf"))


def wrong(message: str) -> typer.Exit:
    """Says what is wrong with the arguments; the exit to raise."""
    err.print(message, style="red", markup=False, highlight=False)
    return typer.Exit(USAGE)


def read(path: str) -> str:
    """The text of a file, or of standard input for `-`. Ends the program when it cannot be read."""
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise wrong(f"{path} cannot be read: {why}") from error


def parse(text: str, name: str) -> Any:
    """A value from YAML, of which JSON is a part. Ends the program when it is neither."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise wrong(f"{name} is neither YAML nor JSON: {error}") from error


def read_spec(path: str) -> Any:
    """A spec from a YAML or JSON file, `-` for standard input, or a .sql file."""
    text = read(path)
    return {"type": "sql", "sql": text} if path.endswith(".sql") else _as_texts(parse(text, path))


def _as_texts(spec: Any) -> Any:
    """What is text by its nature may be written without quotes: values of configuration, properties, variables
    (also of the environment), arguments."""
    if not isinstance(spec, dict):
        return spec
    texts = {key: _texts(spec[key]) for key in ("config", "args", "variables", "env", "java_properties") if key in spec}
    if isinstance(spec.get("build"), dict) and "properties" in spec["build"]:
        texts["build"] = {**spec["build"], "properties": _texts(spec["build"]["properties"])}
    return {**spec, **texts}


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_texts(item) for item in value]
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def pairs(items: list[str] | None, option: str = "--config", shape: str = "key=value") -> dict[str, str]:
    """`key=value` of a repeated option."""
    for item in items or []:
        if "=" not in item:
            raise wrong(f"{option} takes {shape}, not {item!r}")
    return dict(item.split("=", 1) for item in items or [])


def values(items: list[str] | None, option: str) -> dict[str, Any]:
    """`field=value` of a repeated option with values as YAML has them: numbers, true, a text, a list."""
    return {key: parse(value, f"{option} {key}") for key, value in pairs(items, option, "field=value").items()}


def uses(items: list[str] | None) -> list[dict[str, str]]:
    """Libraries in versions, as a spec has them, of a repeated `--library name:version`."""
    used = []
    for item in items or []:
        name, colon, version = item.partition(":")
        if not colon:
            raise wrong(f"--library takes name:version, not {item!r}")
        used.append({"name": name, "version": version})
    return used


def contents(items: list[str] | None) -> dict[str, str]:
    """Texts by their paths beside a program, of a repeated `--add-file PATH[=LOCAL]`. Ends the program when one cannot
    be read."""
    return {path: read(local or path) for path, _, local in (item.partition("=") for item in items or [])}


def _over(spec: dict[str, Any], given: dict[str, dict[str, str]]) -> dict[str, Any]:
    """A spec with these values over those that its fields have."""
    return {**spec, **{name: {**(spec.get(name) or {}), **values} for name, values in given.items() if values}}


def of_options(
    file: str | None,
    *,
    git: str | None,
    ref: str | None,
    subdirectory: str | None,
    entry_class: str | None,
    entry_file: str | None,
    module: str | None,
    requirements: str | None,
    arguments: list[str] | None,
    libraries: list[str] | None,
    variables: list[str] | None,
    parallelism: int | None,
    build_tool: str | None,
    profiles: list[str] | None,
    tasks: list[str] | None,
    build_properties: list[str] | None,
    artifact: str | None,
    env: list[str] | None,
    files: list[str] | None,
    java_properties: list[str] | None,
) -> dict[str, Any]:
    """A spec out of a file or a repository, with what the other options say. Ends the program when they contradict."""
    of_python = {"entry_file": entry_file, "module": module, "requirements": requirements}
    of_jar = {"--class": entry_class, "--build-tool": build_tool, "--profile": profiles, "--task": tasks}
    of_jar |= {"--build-property": build_properties, "--artifact": artifact}
    if (file is None) == (git is None):
        raise wrong("Give either --spec FILE or --git URL.")
    if file is not None:
        spec = read_spec(file)
        if not isinstance(spec, dict):
            raise wrong(f"{file} is no spec: it has to have fields, the first of them `type`.")
        needless = {"--ref": ref, "--subdirectory": subdirectory, "--arg": arguments, **of_jar}
        needless |= {f"--{name.replace('_', '-')}": value for name, value in of_python.items()}
        if extra := [option for option, value in needless.items() if value]:
            raise wrong(f"{extra[0]} goes with --git; write it into {file} instead.")
    else:
        python = any(of_python.values())
        if python and (extra := [option for option, value in of_jar.items() if value]):
            raise wrong(f"{extra[0]} is of a jar, and --entry-file, --module and --requirements are of Python.")
        where = {"url": git, "ref": ref, "subdirectory": subdirectory}
        build: dict[str, Any] = {"tool": build_tool, "profiles": profiles, "tasks": tasks, "artifact": artifact}
        build["properties"] = pairs(build_properties, "--build-property")
        given: dict[str, Any] = {"entry_class": entry_class, "args": arguments, **of_python}
        given["build"] = {k: v for k, v in build.items() if v}
        spec = {"type": "pyflink" if python else "jar", "git": {k: v for k, v in where.items() if v}}
        spec |= {k: v for k, v in given.items() if v}
    program = {"env": pairs(env, "--env"), "files": contents(files)}
    spec = _over(spec, {**program, "java_properties": pairs(java_properties, "--java-property")})
    if libraries:
        spec["libraries"] = [*spec.get("libraries", []), *uses(libraries)]
    if variables:
        spec["variables"] = spec.get("variables", {}) | pairs(variables, "--var")
    if parallelism is not None:
        spec["parallelism"] = parallelism
    return spec
