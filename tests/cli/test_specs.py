"""Specs out of files and options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from cli import jobs, specs
from core.specs import GradleBuild, JarSpec, MavenBuild, PyFlinkSpec, SqlSpec

NONE: dict[str, Any] = dict.fromkeys(
    (
        "git",
        "ref",
        "subdirectory",
        "entry_class",
        "entry_file",
        "module",
        "requirements",
        "arguments",
        "libraries",
        "variables",
        "build_tool",
        "profiles",
        "tasks",
        "build_properties",
        "artifact",
        "env",
        "files",
        "java_properties",
    )
)


def of(file: str | None = None, **options: Any) -> dict[str, Any]:
    return specs.of_options(file, **{**NONE, "parallelism": None, **options})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("job.yaml", "type: sql\nsql: |\n  SELECT 1;\n"),
        ("job.json", '{"type": "sql", "sql": "SELECT 1;\\n"}'),
        ("job.sql", "SELECT 1;\n"),
    ],
)
def test_a_file_of_any_kind(tmp_path: Path, name: str, text: str):
    path = tmp_path / name
    path.write_text(text)
    assert of(str(path)) == {"type": "sql", "sql": "SELECT 1;\n"}


def test_values_of_yaml_are_those_of_json(tmp_path: Path):
    path = tmp_path / "job.yaml"
    path.write_text("since: 2026-01-01\nslots: 4\non: true\nno: off\n")
    assert specs.read_spec(str(path)) == {"since": "2026-01-01", "slots": 4, "on": True, "no": "off"}


def test_what_is_text_needs_no_quotes(tmp_path: Path):
    path = tmp_path / "job.yaml"
    path.write_text(
        "config: {a.b: 4, c: true, d: 1.5}\nargs: [--n, 5]\nbuild: {properties: {v: 2}}\nparallelism: 2\n"
        "env: {PORT: 9092, ON: true}\n"
    )
    assert specs.read_spec(str(path)) == {
        "config": {"a.b": "4", "c": "true", "d": "1.5"},
        "args": ["--n", "5"],
        "build": {"properties": {"v": "2"}},
        "parallelism": 2,
        "env": {"PORT": "9092", "ON": "true"},
    }


def test_a_repository():
    assert of(git="https://x.example/r.git", ref="main", entry_class="a.B", arguments=["--x", "1"]) == {
        "type": "jar",
        "git": {"url": "https://x.example/r.git", "ref": "main"},
        "entry_class": "a.B",
        "args": ["--x", "1"],
    }
    assert of(git="https://x.example/r.git", entry_file="a.py", parallelism=2) == {
        "type": "pyflink",
        "git": {"url": "https://x.example/r.git"},
        "entry_file": "a.py",
        "parallelism": 2,
    }


def test_how_a_jar_is_built():
    built = {
        "tool": "maven",
        "profiles": ["prod"],
        "properties": {"revision": "1.0"},
        "artifact": "app-*.jar",
    }
    given = {"build_tool": "maven", "profiles": ["prod"], "build_properties": ["revision=1.0"], "artifact": "app-*.jar"}
    assert of(git="https://x.example/r.git", **given)["build"] == built
    assert of(git="https://x.example/r.git", tasks=["shadowJar"])["build"] == {"tasks": ["shadowJar"]}
    assert "build" not in of(git="https://x.example/r.git")


def test_what_a_program_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "app.properties").write_text("topic=orders\n")
    (tmp_path / "other.txt").write_text("other")
    given = of(
        git="https://x.example/r.git",
        entry_file="a.py",
        env=["BROKER=b:9092", "TOKEN=${secret:token}"],
        files=["conf/app.properties", "app/other.txt=other.txt"],
        java_properties=["user.timezone=UTC"],
    )
    assert given["env"] == {"BROKER": "b:9092", "TOKEN": "${secret:token}"}
    assert given["files"] == {"conf/app.properties": "topic=orders\n", "app/other.txt": "other"}
    assert given["java_properties"] == {"user.timezone": "UTC"}


def test_what_a_program_is_given_goes_over_what_the_file_says(tmp_path: Path):
    path = tmp_path / "job.yaml"
    path.write_text("type: pyflink\ngit: {url: x}\nentry_file: a.py\nenv: {A: 1, B: 2}\n")
    assert of(str(path), env=["B=3"])["env"] == {"A": "1", "B": "3"}


def test_each_field_of_a_spec_has_an_option_or_is_named_as_one_of_the_file():
    """A field that is added later is to be thought of here."""
    fields = {name for spec in (SqlSpec, JarSpec, PyFlinkSpec) for name in spec.model_fields}
    by_option = {"type", "sql", "git", "entry_class", "entry_file", "module", "requirements", "args", "libraries"}
    by_option |= {"variables", "parallelism", "build", "env", "files", "java_properties"}
    assert fields - by_option == {"config", "lineage"}
    said_of_file = jobs.create.__doc__ or ""
    assert all(name in said_of_file for name in ("lineage", "config"))
    assert {*MavenBuild.model_fields, *GradleBuild.model_fields} == {
        "tool",
        "properties",
        "artifact",
        "profiles",
        "tasks",
    }


def test_libraries_are_added_to_those_of_the_file(tmp_path: Path):
    path = tmp_path / "job.yaml"
    path.write_text("type: sql\nsql: x\nlibraries: [{name: kafka, version: '5.0'}]\n")
    assert of(str(path), libraries=["udf:1:2"])["libraries"] == [
        {"name": "kafka", "version": "5.0"},
        {"name": "udf", "version": "1:2"},
    ]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "either --spec FILE or --git URL"),
        ({"git": "x", "entry_class": "A", "module": "m"}, "--class is of a jar"),
        ({"git": "x", "entry_file": "a.py", "artifact": "a.jar"}, "--artifact is of a jar"),
        ({"git": "x", "env": ["A"]}, "--env takes key=value, not 'A'"),
        ({"git": "x", "files": ["gone.txt"]}, "gone.txt cannot be read"),
        ({"git": "x", "libraries": ["kafka"]}, "--library takes name:version, not 'kafka'"),
    ],
)
def test_what_contradicts_itself_is_said(options: dict[str, Any], says: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(typer.Exit) as ended:
        of(**options)
    assert ended.value.exit_code == 2
    assert says in capsys.readouterr().err.replace("\n", " ")


def test_a_file_that_is_no_spec(tmp_path: Path):
    for text in ("[1, 2]", "a: b: c"):
        path = tmp_path / "job.yaml"
        path.write_text(text)
        with pytest.raises(typer.Exit):
            of(str(path))
    with pytest.raises(typer.Exit):
        of(str(tmp_path / "gone.yaml"))
    path.write_text("type: sql")
    with pytest.raises(typer.Exit):
        of(str(path), ref="main")
