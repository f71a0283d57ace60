"""Building a jar: by which tool, and that tool's answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from builds import gradle, maven
from core.effects import LogSink, Rejected
from core.specs import GradleBuild, MavenBuild


@dataclass(frozen=True)
class BuildTools:
    """What each of them is run with."""

    maven: maven.MavenSettings
    gradle: gradle.GradleSettings


async def build(root: Path, folder: Path, how: MavenBuild | GradleBuild, tools: BuildTools, tell: LogSink) -> Path:
    """Build `folder` of the checkout `root`; returns the jar to run. Raises `Rejected` with the reason.

    Maven is what a spec says that says nothing: a folder that has no pom is built by Gradle where it is a project of
    that, unless the spec sets what Maven alone would understand. A folder that Maven can build never is.
    """
    if isinstance(how, GradleBuild):
        return await gradle.build(root, folder, how, tools.gradle, tell)
    if not (folder / "pom.xml").exists() and (other := _instead(folder, how)):
        tell("there is no pom.xml here, and a build of Gradle: that is used")
        return await gradle.build(root, folder, other, tools.gradle, tell)
    return await maven.build(root, folder, how, tools.maven, tell)


def _instead(folder: Path, how: MavenBuild) -> GradleBuild | None:
    """How a folder without a pom is built by Gradle; None when it is no project of Gradle's. Raises `Rejected` when
    nobody here can build it."""
    if gradle.is_project(folder):
        if how.profiles or how.properties:
            raise Rejected(
                "There is no pom.xml here, and a build of Gradle. Set build.tool to gradle; it has properties (-P) "
                "and tasks, and no profiles."
            )
        return GradleBuild(artifact=how.artifact)
    if (folder / "build.sbt").exists():
        raise Rejected(
            "This is a project of sbt, which Penstock does not build. Add a pom.xml or a Gradle wrapper to it, or "
            "publish its jar, and make the job a small Maven project that depends on it and shades it."
        )
    return None
