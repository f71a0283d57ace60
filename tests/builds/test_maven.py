"""A real Maven, on projects that need nothing of a repository before they fail, or next to nothing."""

from __future__ import annotations

from pathlib import Path

from builds import maven
from core.effects import Rejected
from core.specs import MavenBuild

SETTINGS = maven.MavenSettings(settings_file=None, repository=None, build_env=[], timeout=300, output_limit=1 << 24)
HEAD = "<project><modelVersion>4.0.0</modelVersion>"
PARENT = f"{HEAD}<parent><groupId>x</groupId><artifactId>all</artifactId><version>1</version></parent>"
ALL = f"{HEAD}<groupId>x</groupId><artifactId>all</artifactId><version>1</version><packaging>pom</packaging>"
APP = f"{PARENT}<artifactId>app</artifactId></project>"
NEEDS = (
    f"{PARENT}<artifactId>app</artifactId><dependencies><dependency><groupId>x</groupId><artifactId>lib</artifactId>"
)
NEEDS += "<version>1</version></dependency></dependencies></project>"
LIB = f"{PARENT}<artifactId>lib</artifactId></project>"
MISSING = f"{HEAD}<groupId>no.such.place</groupId><artifactId>a</artifactId><version>1</version>"
MISSING += "<dependencies><dependency><groupId>no.such.place</groupId><artifactId>nothing</artifactId>"
MISSING += "<version>1</version></dependency></dependencies></project>"


def checkout(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


async def build(root: Path, folder: str, **how: object) -> tuple[Path | str, list[str]]:
    """The jar, or why there is none; and the log."""
    log: list[str] = []
    try:
        return await maven.build(root, root / folder, MavenBuild.model_validate(how), SETTINGS, log.append), log
    except Rejected as error:
        return error.message, log


async def test_a_module_that_cannot_be_read_and_is_not_needed_does_not_matter(tmp_path: Path):
    modules = "<modules><module>app</module><module>gone</module></modules></project>"
    jar, log = await build(checkout(tmp_path, {"pom.xml": ALL + modules, "app/pom.xml": APP}), "app")
    assert isinstance(jar, Path), jar
    assert jar.name == "app-1.jar"
    assert any("built alone" in line for line in log)


async def test_a_module_that_needs_others_is_not_built_without_them(tmp_path: Path):
    """Alone it would be built with whatever a repository has by the name of the other."""
    modules = "<modules><module>app</module><module>lib</module><module>gone</module></modules></project>"
    files = {"pom.xml": ALL + modules, "app/pom.xml": NEEDS, "lib/pom.xml": LIB}
    why, log = await build(checkout(tmp_path, files), "app")
    assert isinstance(why, str)
    assert why.startswith("The Maven build failed: Child module gone of pom.xml does not exist")
    assert "needs others of the repository: lib" in why
    assert sum(line.startswith("$ mvn") for line in log) == 1


async def test_a_profile_that_nobody_has_is_a_mistake(tmp_path: Path):
    profile = "<profiles><profile><id>fast</id></profile></profiles></project>"
    root = checkout(tmp_path, {"pom.xml": ALL.replace("pom</packaging>", "jar</packaging>") + profile})
    why, _ = await build(root, "", profiles=["quick", "fast"])
    assert why == "No pom has the profile quick. build.profiles can be: fast."


async def test_an_artifact_that_was_not_to_be_had_is_asked_for_again(tmp_path: Path):
    root = checkout(tmp_path, {"pom.xml": MISSING})
    why, _ = await build(root, "")
    assert "no.such.place:nothing:jar:1" in str(why)
    why, log = await build(root, "")
    assert any("asked again (mvn -U)" in line for line in log)
    assert "no.such.place:nothing:jar:1" in str(why).splitlines()[0]
    assert "cached" not in str(why)
