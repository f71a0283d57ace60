"""Building a jar with the Gradle wrapper of a repository."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

from builds import gradle_log, jars, java
from core.effects import LogSink, Rejected
from core.specs import GradleBuild
from processes.child import ProcessFailed, run, scrubbed

SCRIPTS = ("build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts")
_SHADOW = re.compile(r"shadowJar|\.shadow\b|gradleup\.shadow|goooler\.shadow")


@dataclass(frozen=True)
class GradleSettings:
    """`timeout` in seconds, `output_limit` in bytes. `user_home` keeps distributions and dependencies."""

    user_home: Path
    build_env: list[str]
    timeout: float
    output_limit: int


def is_project(folder: Path) -> bool:
    """Whether a folder of the repository is built by Gradle: it has a build or a settings script, in Groovy or
    Kotlin."""
    return any((folder / name).exists() for name in SCRIPTS)


def wrapper(root: Path, folder: Path) -> Path | None:
    """The folder with the wrapper that builds `folder`: the nearest one above it in the checkout `root`."""
    root, folder = root.resolve(), folder.resolve()
    above = (place for place in (folder, *folder.parents) if place.is_relative_to(root))
    return next((place for place in above if (place / "gradlew").is_file()), None)


async def build(root: Path, folder: Path, how: GradleBuild, settings: GradleSettings, tell: LogSink) -> Path:
    """Run the tasks for `folder`, a project of the checkout `root`; returns the jar to run.

    Raises `Rejected` with the lines of the log that say why, the cause first.
    """
    root, folder = root.resolve(), folder.resolve()
    if not is_project(folder):
        raise Rejected(_no_project(root, folder))
    top = wrapper(root, folder)
    if top is None:
        raise Rejected("There is no gradlew in the repository. Commit the wrapper: `gradle wrapper` makes it.")
    tasks = how.tasks or (["shadowJar"] if await asyncio.to_thread(_shades, top) else ["assemble"])
    try:
        try:
            await _run(top, folder, tasks, how, settings, tell)
        except ProcessFailed as error:
            if how.tasks or tasks == ["assemble"] or gradle_log.missing_task(error.lines) != "shadowJar":
                raise
            tell("this project has no task shadowJar")
            await _run(top, folder, ["assemble"], how, settings, tell)
    except ProcessFailed as error:
        raise await java.failed("Gradle", error, gradle_log.reason(error.lines, root), settings.build_env) from error
    return jars.choose(folder, how.artifact, "build/libs")


async def _run(
    top: Path, folder: Path, tasks: list[str], how: GradleBuild, settings: GradleSettings, tell: LogSink
) -> None:
    """Raises `ProcessFailed`. What Gradle starts for a build is no process of its client's group."""
    options = ["-p", str(folder.relative_to(top))] if folder != top else []
    options += [f"-P{key}={value}" for key, value in sorted(how.properties.items())]
    tell("$ ./gradlew " + " ".join([*options, *tasks]))
    settings.user_home.mkdir(parents=True, exist_ok=True)
    await run(
        # By the shell: who commits from a system that knows no such bit has a script that is not executable.
        ["sh", "gradlew", "--no-daemon", "--console=plain", *options, *tasks],
        cwd=top,
        env=scrubbed(settings.build_env, {"GRADLE_USER_HOME": str(settings.user_home)}),
        tell=tell,
        timeout=settings.timeout,
        output_limit=settings.output_limit,
        name="gradlew",
        leaves_group=True,
    )


def _shades(top: Path) -> bool:
    """Whether a script of the build speaks of the plugin that makes jars with their dependencies."""
    scripts = [*top.rglob("*.gradle"), *top.rglob("*.gradle.kts"), *top.rglob("libs.versions.toml")]
    return any(_SHADOW.search(script.read_text(errors="replace")) for script in scripts[:500] if script.is_file())


def _no_project(root: Path, folder: Path) -> str:
    found = sorted({str(p.parent.relative_to(root)) for name in SCRIPTS[:2] for p in root.rglob(name)})[:20]
    where = "the repository" if folder == root else str(folder.relative_to(root))
    said = f"There is no {SCRIPTS[0]} in {where}. "
    return said + (f"Set git.subdirectory to one of: {', '.join(found)}." if found else "It is not a Gradle project.")
