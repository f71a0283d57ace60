"""A real Gradle, by the wrapper that it makes for a small project: what no script in its place can tell."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from builds import gradle, maven, packaging
from core.effects import Rejected
from core.specs import GradleBuild, MavenBuild
from processes.child import scrubbed
from stack.parts import StackParts
from tests.builds.gradle_distribution import gradle_home

MAIN = "package x;\npublic class Main { public static void main(String[] a) {} }\n"
BUILD = "apply plugin: 'java'\n"


@pytest.fixture(scope="module")
def wrapped(parts: StackParts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a wrapper, whose distribution is a file."""
    home, folder = gradle_home(parts.cache), tmp_path_factory.mktemp("gradle")
    archive = shutil.make_archive(str(folder / "gradle-dist"), "zip", root_dir=home.parent, base_dir=home.name)
    root = folder / "wrapped"
    (root / "app/src/main/java/x").mkdir(parents=True)
    (root / "settings.gradle").write_text("rootProject.name = 'whole'\ninclude 'app'\n")
    (root / "build.gradle").write_text("")
    (root / "app/build.gradle").write_text(BUILD)
    (root / "app/src/main/java/x/Main.java").write_text(MAIN)
    command = ["sh", str(home / "bin" / "gradle"), "--no-daemon", "wrapper"]
    env = scrubbed([], {"GRADLE_USER_HOME": str(folder / "user-home")})
    made = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stdout + made.stderr
    properties = root / "gradle/wrapper/gradle-wrapper.properties"
    text = re.sub(r"distributionUrl=.*", lambda _: f"distributionUrl=file\\:{archive}", properties.read_text())
    properties.write_text(text)
    return root


async def build(root: Path, how: GradleBuild | None = None) -> tuple[Path | str, list[str]]:
    """The jar, or why there is none; and the log."""
    log: list[str] = []
    tools = packaging.BuildTools(
        maven=maven.MavenSettings(None, None, [], 300, 1 << 20),
        gradle=gradle.GradleSettings(root.parent / "user-home", [], 300, 1 << 20),
    )
    try:
        return await packaging.build(root, root / "app", how or MavenBuild(), tools, log.append), log  # type: ignore[arg-type]
    except Rejected as error:
        return error.message, log


async def test_a_project_below_its_wrapper_becomes_a_jar(wrapped: Path):
    jar, log = await build(wrapped)
    assert isinstance(jar, Path), (jar, log)
    assert jar.relative_to(wrapped.resolve()) == Path("app/build/libs/app.jar")
    assert "x/Main.class" in zipfile.ZipFile(jar).namelist()
    assert "$ ./gradlew -p app assemble" in log


async def test_what_it_says_when_it_fails(wrapped: Path):
    """The compiler's words first; the name of a task that nobody has; a distribution that is not there."""
    main = wrapped / "app/src/main/java/x/Main.java"
    main.write_text(MAIN.replace("{}", "{ int a }"))
    why, log = await build(wrapped)
    main.write_text(MAIN)
    assert str(why).startswith("The Gradle build failed: app/src/main/java/x/Main.java:2: error: ';' expected"), log
    why, _ = await build(wrapped, GradleBuild(tasks=["nothing"]))
    assert str(why).startswith("The Gradle build failed: Task 'nothing' not found in project ':app'"), why
    properties = wrapped / "gradle/wrapper/gradle-wrapper.properties"
    text = properties.read_text()
    properties.write_text(text.replace("gradle-dist.zip", "gone.zip"))
    why, log = await build(wrapped)
    properties.write_text(text)
    assert str(why).startswith("The Gradle build failed: the wrapper could not get its Gradle: "), log
