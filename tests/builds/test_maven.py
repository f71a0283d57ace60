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


async def test_a_module_that_needs_others_is_built_with_those(tmp_path: Path):
    modules = "<modules><module>app</module><module>lib</module><module>gone</module></modules></project>"
    files = {"pom.xml": ALL + modules, "app/pom.xml": NEEDS, "lib/pom.xml": LIB}
    jar, log = await build(checkout(tmp_path, files), "app")
    assert isinstance(jar, Path), jar
    assert jar.name == "app-1.jar"
    assert any(line.endswith("is built with those alone that it needs: lib") for line in log)
    assert (tmp_path / "lib/target/lib-1.jar").exists()


def test_what_a_module_needs(tmp_path: Path):
    """Step by step, also what a pom above it says; not itself, not those above it."""
    base = PARENT + "<artifactId>base</artifactId><dependencies><dependency><artifactId>app</artifactId></dependency>"
    above = ALL + "<dependencies><dependency><artifactId>log</artifactId></dependency></dependencies></project>"
    lib = LIB.replace("</project>", "<dependencies><dependency><artifactId>base</artifactId></dependency></project>")
    files = {"pom.xml": above, "app/pom.xml": NEEDS, "lib/pom.xml": lib, "base/pom.xml": f"{base}</project>"}
    files |= {"log/pom.xml": LIB.replace("lib", "log"), "other/pom.xml": LIB.replace("lib", "other")}
    checkout(tmp_path, files)
    needed = maven._siblings_needed(tmp_path, tmp_path / "app")
    assert sorted(module.name for module in needed) == ["base", "lib", "log"]


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


def test_a_link_that_the_repository_has_in_place_of_our_pom_is_not_followed(tmp_path: Path):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    root = checkout(tmp_path / "root", {"app/pom.xml": APP})
    (root / maven.ONLY_NEEDED).symlink_to(outside)
    pom = maven._pom_of(root, [root / "app"])
    assert (outside.read_text(), pom.is_symlink(), "<module>app</module>" in pom.read_text()) == ("mine", False, True)
