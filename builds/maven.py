"""Building a jar with Maven."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from builds import jars, java, maven_log
from core.effects import LogSink, Rejected
from core.specs import MavenBuild
from processes.child import ProcessFailed, run, scrubbed

_DEPENDENCY = re.compile(r"<dependency>(.*?)</dependency>", re.DOTALL)
_ARTIFACT = re.compile(r"<artifactId>\s*([^<\s]+)\s*</artifactId>")
_INNER = re.compile(r"<(parent|dependencies|dependencyManagement|build|profiles|reporting)>.*?</\1>", re.DOTALL)
_PROFILE_ID = re.compile(r"<profile>\s*(?:<!--.*?-->\s*)*<id>\s*([^<\s]+)\s*</id>", re.DOTALL)
ONLY_NEEDED = "penstock-only-needed.xml"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


@dataclass(frozen=True)
class MavenSettings:
    """`timeout` in seconds, `output_limit` in bytes."""

    settings_file: Path | None
    repository: Path | None
    build_env: list[str]
    timeout: float
    output_limit: int


async def build(root: Path, folder: Path, how: MavenBuild, settings: MavenSettings, tell: LogSink) -> Path:
    """Run `mvn package` for `folder`, a module of the checkout `root`; returns the jar to run.

    A module with a parent in the same checkout is built from that parent, with the modules it needs. When Maven cannot
    read one of the others, it is built with those alone that it needs. Raises `Rejected` with the lines of
    the log that say why, the cause first; also for a profile that exists nowhere, which Maven would pass over.
    """
    if not (folder / "pom.xml").exists():
        poms = sorted(str(p.parent.relative_to(root)) for p in root.rglob("pom.xml"))[:20]
        where = folder.relative_to(root)
        of_gradle = sorted({str(p.parent.relative_to(root)) for p in root.rglob("build.gradle*")})[:20]
        said = f"There is no pom.xml in {'the repository' if str(where) == '.' else where}. "
        said += f"Set git.subdirectory to one of: {', '.join([*poms, *of_gradle])}." if poms or of_gradle else ""
        raise Rejected(said if poms or of_gradle else f"{said}It is no project of Maven or Gradle.")
    root, folder = root.resolve(), folder.resolve()
    reactor = _reactor_root(root, folder)
    try:
        lines = await _package(reactor, folder, how, settings, tell)
    except ProcessFailed as error:
        if reactor == folder or not maven_log.unreadable_projects(error.lines):
            raise await _failed(error, root, settings) from error
        needed = await asyncio.to_thread(_siblings_needed, reactor, folder)
        names = ", ".join(str(module.relative_to(reactor)) for module in needed)
        tell(
            "Maven cannot read all modules of the repository; this one "
            + (
                f"is built with those alone that it needs: {names}"
                if needed
                else "needs none of them and is built alone"
            )
        )
        pom = _pom_of(reactor, [folder, *needed]) if needed else None
        try:
            lines = await _package(reactor if needed else folder, folder, how, settings, tell, pom)
        except ProcessFailed as alone:
            without = f"(Built {f'with {names} ' if needed else ''}alone, for Maven cannot read all modules.)"
            raise await _failed(alone, root, settings, without) from alone
    if unknown := maven_log.unknown_profiles(lines):
        known = await asyncio.to_thread(_profiles, reactor, folder)
        raise Rejected(
            f"No pom has the profile {', '.join(unknown)}. "
            + (f"build.profiles can be: {', '.join(known)}." if known else "There are no profiles in this repository.")
        )
    return jars.choose(folder, how.artifact)


def _pom_of(reactor: Path, modules: list[Path]) -> Path:
    """A pom that has these modules, in the checkout, so that Maven resolves one from the other."""
    listed = "".join(f"<module>{escape(str(module.relative_to(reactor)))}</module>" for module in modules)
    pom = reactor / ONLY_NEEDED
    pom.unlink(missing_ok=True)  # the repository may have a link there, which leads out of it
    pom.write_text(
        "<project><modelVersion>4.0.0</modelVersion><groupId>penstock</groupId><artifactId>only-needed</artifactId>"
        f"<version>1</version><packaging>pom</packaging><modules>{listed}</modules></project>"
    )
    return pom


async def _package(
    reactor: Path, folder: Path, how: MavenBuild, settings: MavenSettings, tell: LogSink, pom: Path | None = None
) -> list[str]:
    """The last lines of the log. `pom` is the one that has the modules, by default the reactor's own. Raises
    `ProcessFailed`."""
    command = ["mvn", "-B", "-ntp", "-Dstyle.color=never", "-DskipTests"]
    if reactor != folder:
        command += ["-f", str(pom or reactor / "pom.xml"), "-pl", str(folder.relative_to(reactor)), "-am"]
    command += _where(settings)
    if how.profiles:
        command.append("-P" + ",".join(how.profiles))
    command += [f"-D{key}={value}" for key, value in sorted(how.properties.items())]
    command.append("package")
    tell("$ mvn " + " ".join([*command[4:-1], "package"]))
    return await _run(command, reactor, settings, tell)


async def _failed(error: ProcessFailed, root: Path, settings: MavenSettings, more: str = "") -> Rejected:
    why = maven_log.reason(error.lines, root) or error.message
    return await java.failed("Maven", error, why, settings.build_env, more)


def _siblings_needed(reactor: Path, folder: Path) -> list[Path]:
    """Other modules in the same checkout that the module, a pom above it, or one of these modules in turn names as a
    dependency. Names of artifacts alone are compared: one too many is built, too."""
    texts = {pom: _text(pom) for pom in sorted(reactor.rglob("pom.xml"))}
    modules = {name: pom.parent for pom, text in texts.items() if (name := _artifact(text))}
    needed: dict[Path, None] = {}
    looking = [folder]
    while looking:
        for pom in _poms_above(reactor, looking.pop()):
            named = {name for part in _DEPENDENCY.findall(texts.get(pom, "")) for name in _ARTIFACT.findall(part)}
            new = [modules[name] for name in sorted(named & modules.keys()) if modules[name] not in needed]
            new = [module for module in new if module != folder and module / "pom.xml" != pom]
            needed |= dict.fromkeys(new)
            looking += new
    return list(needed)


def _artifact(pom: str) -> str | None:
    """The artifact that a pom is of."""
    match = _ARTIFACT.search(_INNER.sub("", pom))
    return match[1] if match else None


def _profiles(reactor: Path, folder: Path) -> list[str]:
    return sorted({name for pom in _poms_above(reactor, folder) for name in _PROFILE_ID.findall(_text(pom))})


def _poms_above(reactor: Path, folder: Path) -> list[Path]:
    """Where the module's pom and those above it stand, as far as the reactor's."""
    return [place / "pom.xml" for place in (folder, *folder.parents) if place.is_relative_to(reactor)]


def _text(pom: Path) -> str:
    return pom.read_text(errors="replace") if pom.exists() else ""


async def fetch(coordinates: str, folder: Path, settings: MavenSettings, tell: LogSink) -> Path:
    """One jar of a Maven repository (`group:artifact:version[:classifier]`), into an empty `folder`.

    Raises `Rejected` with Maven's own words.
    """
    group, artifact, version, *classifier = coordinates.split(":")
    wanted = ":".join([group, artifact, version, "jar", *classifier])
    command = ["mvn", "-B", "-ntp", "-Dstyle.color=never", *_where(settings)]
    command += [COPY, f"-Dartifact={wanted}", f"-DoutputDirectory={folder}", "-Dmdep.overWriteReleases=true"]
    tell(f"fetching {coordinates}")
    try:
        await _run(command, folder, settings, tell)
    except ProcessFailed as error:
        why = await java.explained(maven_log.reason(error.lines, folder), error.lines, settings.build_env)
        said = why.splitlines()[:3]
        raise Rejected(f"{coordinates} cannot be fetched: " + "\n".join(said)) from error
    jars = list(folder.glob("*.jar"))
    if len(jars) != 1:
        raise Rejected(f"Maven gave no jar for {coordinates}.")
    return jars[0]


def _where(settings: MavenSettings) -> list[str]:
    """Options that say which settings and which local repository."""
    options = ["-s", str(settings.settings_file)] if settings.settings_file else []
    return [*options, f"-Dmaven.repo.local={settings.repository}"] if settings.repository else options


async def _run(command: list[str], cwd: Path, settings: MavenSettings, tell: LogSink) -> list[str]:
    """The last lines of the log. When Maven remembers that an artifact was not to be had, it is asked to look again:
    somebody may have published it since. Raises `ProcessFailed`."""

    async def once(command: list[str]) -> list[str]:
        return await run(
            command,
            cwd=cwd,
            env=scrubbed(settings.build_env),
            tell=tell,
            timeout=settings.timeout,
            output_limit=settings.output_limit,
        )

    try:
        return await once(command)
    except ProcessFailed as error:
        if error.stopped or not maven_log.misses_remembered(error.lines):
            raise
        tell("an artifact was not to be had some time ago; the repositories are asked again (mvn -U)")
        return await once([command[0], "-U", *command[1:]])


def _reactor_root(root: Path, folder: Path) -> Path:
    """The outermost folder above `folder` whose pom lists, step by step, the way down to it as modules."""
    reactor = here = folder
    while here != root:
        above = here.parent
        pom = above / "pom.xml"
        if pom.exists():
            modules = re.findall(r"<module>\s*([^<\s]+)\s*</module>", pom.read_text(errors="replace"))
            if not any((above / module).resolve() in (reactor, reactor / "pom.xml") for module in modules):
                break
            reactor = above
        here = above
    return reactor
