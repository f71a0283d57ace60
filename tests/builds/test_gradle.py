"""Builds by a Gradle wrapper. The wrapper here is a script that says what Gradle 7 says, and makes jars: what Gradle
itself does is not tried; how it is called, what is made of its log, and what is killed is."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psutil
import pytest

from builds import gradle, maven, packaging
from core.effects import Rejected
from core.specs import GradleBuild, MavenBuild

JAR = "mkdir -p $folder/build/libs; echo jar > $folder/build/libs/app-1.jar"
WRAPPER = """\
echo "$@ home=$GRADLE_USER_HOME" >> called
folder=.; [ "$3" = -p ] && folder=$4
"""


def tools(root: Path, timeout: float = 60) -> packaging.BuildTools:
    return packaging.BuildTools(
        maven=maven.MavenSettings(None, None, [], timeout, 1 << 20),
        gradle=gradle.GradleSettings(root.parent / "gradle-home", [], timeout, 1 << 20),
    )


def repository(root: Path, script: str = JAR, build: str = "apply plugin: 'java'", folder: str = ".") -> Path:
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / "build.gradle").write_text(build)
    (root / "gradlew").write_text(WRAPPER + script)  # not executable, as from a system that knows no such bit
    return root


async def build(
    root: Path, folder: str = ".", how: MavenBuild | GradleBuild | None = None, **more: float
) -> tuple[str, list[str]]:
    """Name of the jar, or why there is none; and the log."""
    log: list[str] = []
    try:
        jar = await packaging.build(root, root / folder, how or MavenBuild(), tools(root, **more), log.append)
    except Rejected as error:
        return error.message, log
    return str(jar.relative_to(root.resolve())), log


def called(root: Path) -> list[str]:
    return (root / "called").read_text().splitlines()


async def test_a_repository_without_a_pom_is_built_with_its_wrapper(tmp_path: Path):
    root = repository(tmp_path / "r")
    jar, log = await build(root)
    assert jar == "build/libs/app-1.jar"
    home = tmp_path / "gradle-home"
    assert called(root) == [f"--no-daemon --console=plain assemble home={home}"]
    assert log == ["there is no pom.xml here, and a build of Gradle: that is used", "$ ./gradlew assemble"]


async def test_a_pom_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = repository(tmp_path / "r")
    (root / "pom.xml").write_text("<project/>")
    (tmp_path / "mvn").write_text("#!/bin/sh\nmkdir target; echo jar > target/of-maven.jar\n")
    (tmp_path / "mvn").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert (await build(root))[0] == "target/of-maven.jar"
    assert (await build(root, how=GradleBuild()))[0] == "build/libs/app-1.jar"


async def test_a_project_below_the_wrapper(tmp_path: Path):
    root = repository(tmp_path / "r", folder="jobs/clicks")
    how = GradleBuild(tasks=[":jobs:clicks:fat"], properties={"flink": "2.3; rm -rf x"})
    jar, _ = await build(root, "jobs/clicks", how)
    assert jar == "jobs/clicks/build/libs/app-1.jar"
    expected = "--no-daemon --console=plain -p jobs/clicks -Pflink=2.3; rm -rf x :jobs:clicks:fat home="
    assert called(root)[0].startswith(expected)


@pytest.mark.parametrize("plugin", ["com.github.johnrengelman.shadow", "com.gradleup.shadow"])
async def test_a_jar_with_its_dependencies_where_the_build_makes_one(tmp_path: Path, plugin: str):
    shaded = f"{JAR}; echo jar > $folder/build/libs/app-1-all.jar"
    root = repository(tmp_path / "r", shaded, build=f"plugins {{ id '{plugin}' }}")
    jar, _ = await build(root)
    assert jar == "build/libs/app-1-all.jar"
    assert called(root)[0].startswith("--no-daemon --console=plain shadowJar ")


NO_TASK = """
case "$@" in *shadowJar*)
echo "FAILURE: Build failed with an exception."
echo "* What went wrong:"
echo "Task 'shadowJar' not found in root project 'r'."
echo "* Try:"
exit 1;; esac
"""


async def test_a_project_that_makes_none_beside_others_that_do(tmp_path: Path):
    root = repository(tmp_path / "r", NO_TASK + JAR, build="id 'com.gradleup.shadow' version '8.3.5' apply false")
    assert (await build(root))[0] == "build/libs/app-1.jar"
    assert [line.split()[2] for line in called(root)] == ["shadowJar", "assemble"]
    why, _ = await build(root, how=GradleBuild(tasks=["shadowJar"]))
    assert why == "The Gradle build failed: Task 'shadowJar' not found in root project 'r'."


async def test_what_cannot_be_built(tmp_path: Path):
    root = repository(tmp_path / "r", folder="jobs/clicks")
    assert (await build(root, how=GradleBuild()))[0].endswith("Set git.subdirectory to one of: jobs/clicks.")
    assert (await build(root))[0].endswith("no pom.xml in the repository. Set git.subdirectory to one of: jobs/clicks.")
    assert "Set build.tool to gradle" in (await build(root, "jobs/clicks", MavenBuild(profiles=["a"])))[0]
    (root / "gradlew").unlink()
    assert (await build(root, "jobs/clicks"))[0].startswith("There is no gradlew in the repository.")
    (root / "build.sbt").write_text("")
    assert (await build(root))[0].startswith("This is a project of sbt, which Penstock does not build.")


async def test_its_java(tmp_path: Path):
    said = "* What went wrong:\\nExecution failed for task :compileJava.\\n> error: invalid source release: 99\\n* Try:"
    root = repository(tmp_path / "r", f'printf "{said}"; exit 1')
    why, _ = await build(root)
    assert why.startswith("The Gradle build failed: It is to be compiled for Java 99, and the workers have Java ")
    assert "invalid source release: 99\nExecution failed" in why


async def test_what_it_prints_while_it_goes_well_is_no_reason(tmp_path: Path):
    said = (
        "warning: error: release version 99 not supported by x\\n* What went wrong:\\nThere is no such task.\\n* Try:"
    )
    why, _ = await build(repository(tmp_path / "r", f'printf "{said}"; exit 1'))
    assert why == "The Gradle build failed: There is no such task."
    too_old = "Caused by: BUG! Unsupported class file major version 165\\n* What went wrong:\\nSomething.\\n* Try:"
    why, _ = await build(repository(tmp_path / "s", f'printf "{too_old}"; exit 1'))
    assert "too old for Java 121" in why, "of a stack it is one"


LEAVES = "setsid sleep 600 & echo $! > left; sleep 600"
"""As Gradle does: its daemon is no child of the client's group."""


async def test_what_a_build_started_ends_with_it(tmp_path: Path):
    root = repository(tmp_path / "r", LEAVES)
    task = asyncio.create_task(build(root))
    while not (root / "left").exists() or not (root / "left").read_text().strip():
        await asyncio.sleep(0.02)
    left = int((root / "left").read_text())
    assert psutil.pid_exists(left)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(left)


async def test_one_that_takes_too_long_is_stopped(tmp_path: Path):
    root = repository(tmp_path / "r", LEAVES)
    why, _ = await build(root, timeout=0.5)
    assert why.startswith("The Gradle build failed: gradlew was stopped: it took longer than 0 s")
    await gone(int((root / "left").read_text()))


async def gone(pid: int) -> None:
    for _ in range(200):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        await asyncio.sleep(0.02)
    os.kill(pid, 9)
    raise AssertionError(f"process {pid} is left")
