"""A machine that lacks a program which builds need: said at once, with its name, the machine and what to install."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from builds import git, gradle, maven, packaging, pyenv
from builds.artifacts import Artifacts
from clusters.flink.jars import NotCompiled, compiled
from core.effects import Rejected
from core.specs import GitSource, GradleBuild, MavenBuild
from processes.child import run
from stack.parts import InstallFailed, StackParts

HERE = socket.gethostname()
SHELL = ("sh", "env", "dirname", "basename", "uname", "cat", "ls", "expr", "tr", "sed", "readlink", "mkdir")
POM = "<project><modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>a</artifactId><version>1</version></project>"
# The end of the script that `gradle wrapper` writes, where it looks for Java.
GRADLEW = """\
if ! command -v java >/dev/null 2>&1; then
  echo
  echo "ERROR: JAVA_HOME is not set and no 'java' command could be found in your PATH."
  echo
  echo "Please set the JAVA_HOME variable in your environment to match the"
  echo "location of your Java installation."
  exit 1
fi >&2
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with what scripts use, and without Maven, Java and Git."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in SHELL:
        (folder / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


def tools(root: Path) -> packaging.BuildTools:
    return packaging.BuildTools(
        maven=maven.MavenSettings(None, None, [], 60, 1 << 20),
        gradle=gradle.GradleSettings(root / "gradle-home", [], 60, 1 << 20),
    )


async def why(root: Path, how: MavenBuild | GradleBuild, tmp_path: Path) -> str:
    with pytest.raises(Rejected) as refused:
        await packaging.build(root, root, how, tools(tmp_path), lambda _: None)
    return refused.value.message


async def test_no_maven(path: Path, tmp_path: Path):
    """The error went through everybody: it was tried five times, and then "ended from outside"."""
    root = tmp_path / "r"
    root.mkdir()
    (root / "pom.xml").write_text(POM)
    said = await why(root, MavenBuild(), tmp_path)
    assert said.startswith(f"The program mvn was not found on the machine {HERE}. Install Maven")
    with pytest.raises(Rejected, match=f"mvn was not found on the machine {HERE}"):
        await maven.fetch("a:b:1", tmp_path, tools(tmp_path).maven, lambda _: None)


async def test_no_java_for_maven(path: Path, tmp_path: Path):
    """Maven's own script, which looks for Java and finds none."""
    found = shutil.which("mvn", path=os.defpath + ":/usr/bin:/usr/local/bin")
    if found is None:
        pytest.skip("no Maven on this machine")
    (path / "mvn").symlink_to(Path(found).resolve())
    root = tmp_path / "r"
    root.mkdir()
    (root / "pom.xml").write_text(POM)
    said = await why(root, MavenBuild(), tmp_path)
    first, *rest = said.splitlines()
    assert first.startswith(
        f"The Maven build failed: The program java was not found on the machine {HERE}. Install a JDK"
    )
    assert any("JAVA_HOME" in line for line in rest)


async def test_no_java_for_gradle(path: Path, tmp_path: Path):
    root = tmp_path / "r"
    root.mkdir()
    (root / "build.gradle").write_text("")
    (root / "gradlew").write_text(GRADLEW)
    said = await why(root, GradleBuild(), tmp_path)
    assert said.startswith(
        f"The Gradle build failed: The program java was not found on the machine {HERE}. Install a JDK"
    )


async def test_a_java_home_without_java(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JAVA_HOME", "/nowhere/jdk")
    root = tmp_path / "r"
    root.mkdir()
    (root / "build.gradle").write_text("")
    (root / "gradlew").write_text("echo 'ERROR: JAVA_HOME is set to an invalid directory: /nowhere/jdk'; exit 1")
    said = await why(root, GradleBuild(), tmp_path)
    assert said.startswith(
        f"The Gradle build failed: The program /nowhere/jdk/bin/java was not found on the machine {HERE}."
    )
    assert "JAVA_HOME" in said


def test_no_maven_for_the_parts_of_the_local_stack(path: Path, tmp_path: Path):
    with pytest.raises(InstallFailed, match=f"mvn was not found on the machine {HERE}"):
        StackParts(tmp_path).maven("a:b:1", tmp_path / "jars")


async def test_one_that_is_there_and_cannot_be_run(path: Path, tmp_path: Path):
    (path / "mvn").write_text("#!/bin/sh\n")
    root = tmp_path / "r"
    root.mkdir()
    (root / "pom.xml").write_text(POM)
    said = await why(root, MavenBuild(), tmp_path)
    assert said.startswith(f"The program mvn cannot be run on the machine {HERE}: Permission denied.")


async def test_a_folder_that_is_not_there_is_no_missing_program(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        await run(["sh"], cwd=tmp_path / "no", env={}, tell=lambda _: None, timeout=5, output_limit=None)


async def test_no_python(tmp_path: Path):
    python = tmp_path / "flink" / "bin" / "python"
    with pytest.raises(Rejected, match=rf"The program {python} was not found on the machine {HERE}\. .*flink install"):
        await pyenv.ensure(
            Artifacts(tmp_path), python, "x", build_env=[], timeout=5, output_limit=1 << 20, tell=lambda _: None
        )


async def test_no_git(path: Path, tmp_path: Path):
    source = GitSource(url=str(tmp_path))
    words = f"The program git was not found on the machine {HERE}. Install Git"
    with pytest.raises(Rejected, match=words):
        await git.resolve(source)
    with pytest.raises(Rejected, match=words):
        await git.checkout(source, "a" * 40, tmp_path / "target", lambda _: None)


def test_without_git_a_worker_begins_all_the_same(path: Path):
    """Most of what it does needs none."""
    env = {"PATH": str(path), "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    done = subprocess.run([sys.executable, "-c", "import builds.git"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


async def test_no_compiler_is_still_told_as_that(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("clusters.flink.jars._compiler", lambda: "javac")
    (tmp_path / "A.java").write_text("class A {}")
    with pytest.raises(NotCompiled, match="javac was not found"):
        await compiled(tmp_path / "A.java", tmp_path / "made")
