"""Building a jar with Maven, and choosing the one to run."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from builds.git import inside
from core.effects import Rejected, Tell
from core.specs import MavenBuild
from processes.child import ProcessFailed, run, scrubbed

_SIDE = re.compile(r"-(sources|javadoc|tests|test-sources|test-javadoc)\.jar$")
MAX_REASON_LINES = 25
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


@dataclass(frozen=True)
class MavenSettings:
    """`timeout` in seconds, `output_limit` in bytes."""

    settings_file: Path | None
    repository: Path | None
    build_env: list[str]
    timeout: float
    output_limit: int


async def build(root: Path, folder: Path, how: MavenBuild, settings: MavenSettings, tell: Tell) -> Path:
    """Run `mvn package` for `folder`, a module of the checkout `root`; returns the jar to run.

    A module with a parent in the same checkout is built from that parent, with the modules it needs.
    Raises `Rejected` with the lines of the log that say why.
    """
    if not (folder / "pom.xml").exists():
        poms = sorted(str(p.parent.relative_to(root)) for p in root.rglob("pom.xml"))[:20]
        where = folder.relative_to(root)
        raise Rejected(
            f"There is no pom.xml in {'the repository' if str(where) == '.' else where}. "
            + (f"Set git.subdirectory to one of: {', '.join(poms)}." if poms else "It is not a Maven project.")
        )
    reactor = _reactor_root(root.resolve(), folder.resolve())
    command = ["mvn", "-B", "-ntp", "-Dstyle.color=never", "-DskipTests"]
    if reactor != folder.resolve():
        command += ["-f", str(reactor / "pom.xml"), "-pl", str(folder.resolve().relative_to(reactor)), "-am"]
    command += _where(settings)
    if how.profiles:
        command.append("-P" + ",".join(how.profiles))
    command += [f"-D{key}={value}" for key, value in sorted(how.properties.items())]
    command.append("package")
    tell("$ mvn " + " ".join([*command[4:-1], "package"]))
    try:
        await _run(command, reactor, settings, tell)
    except ProcessFailed as error:
        raise Rejected(f"The Maven build failed: {error.message}.\n{_why(error.lines)}") from error
    return choose(folder, how.artifact)


async def fetch(coordinates: str, folder: Path, settings: MavenSettings, tell: Tell) -> Path:
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
        said = [line for line in error.lines if line.startswith("[ERROR]")][:3] or error.lines[-5:]
        raise Rejected(f"{coordinates} cannot be fetched.\n" + "\n".join(said)) from error
    found = list(folder.glob("*.jar"))
    if len(found) != 1:
        raise Rejected(f"Maven gave no jar for {coordinates}.")
    return found[0]


def _where(settings: MavenSettings) -> list[str]:
    """Options that say which settings and which local repository."""
    found = ["-s", str(settings.settings_file)] if settings.settings_file else []
    return [*found, f"-Dmaven.repo.local={settings.repository}"] if settings.repository else found


async def _run(command: list[str], cwd: Path, settings: MavenSettings, tell: Tell) -> None:
    """Raises `ProcessFailed`."""
    await run(
        command,
        cwd=cwd,
        env=scrubbed(settings.build_env),
        tell=tell,
        timeout=settings.timeout,
        output_limit=settings.output_limit,
    )


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


def _why(lines: list[str]) -> str:
    """The lines of a Maven log that say why it failed: its [ERROR] lines without the advice at the end."""
    errors = [line.removeprefix("[ERROR]").strip() for line in lines if line.startswith("[ERROR]")]
    noise = (
        "To see the full stack trace",
        "Re-run Maven",
        "For more information",
        "[Help 1]",
        "After correcting",
    )
    kept: list[str] = []
    for line in errors:
        if line and not line.startswith(noise) and line not in kept:
            kept.append(line)
    return "\n".join(kept[:MAX_REASON_LINES] or [line for line in lines if line][-10:])


def choose(folder: Path, artifact: str | None) -> Path:
    """The jar of a built module. `artifact` is a path or glob below `folder`.

    Without it: the only jar; else the only one that carries its dependencies (shaded or assembled).
    Raises `Rejected` with the candidates when that leaves none or several.
    """
    candidates = sorted(
        p
        for target in {folder / "target", *folder.glob("**/target")}
        for p in target.glob("*.jar")
        if not p.name.startswith("original-") and not _SIDE.search(p.name)
    )
    if artifact:
        wanted = [p for p in folder.glob(artifact) if p.is_file()]
        wanted = wanted or [p for p in candidates if p.match(artifact)]
        candidates_shown = candidates
        candidates = wanted
        if len(wanted) == 1:
            return inside(folder, str(wanted[0].relative_to(folder)))
        if not wanted:
            raise Rejected(f"build.artifact {artifact!r} matches no jar. {_listed(folder, candidates_shown)}")
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise Rejected(
            f"The build made no jar in {folder.name}/target. Is the packaging `pom`? "
            "Set git.subdirectory to the module to run."
        )
    shaded = _shaded(candidates)
    if len(shaded) == 1 and not artifact:
        return shaded[0]
    raise Rejected(
        f"{len(candidates)} jars could be meant{' by ' + repr(artifact) if artifact else ''}; "
        f"set build.artifact. {_listed(folder, candidates)}"
    )


def _shaded(candidates: list[Path]) -> list[Path]:
    """Those that were shaded (Maven keeps the `original-` beside it) or assembled with dependencies."""
    return [
        p
        for p in candidates
        if (p.parent / f"original-{p.name}").exists()
        or re.search(r"-(shaded|jar-with-dependencies|all|uber|fat)\.jar$", p.name)
    ]


def _listed(folder: Path, jars: list[Path]) -> str:
    names = ", ".join(str(p.relative_to(folder)) for p in jars[:20])
    return f"Candidates: {names}." if names else "The build made no jar."


def main_class(jar: Path) -> str | None:
    """Main class of the jar's manifest, None when it has none."""
    with zipfile.ZipFile(jar) as archive:
        try:
            manifest = archive.read("META-INF/MANIFEST.MF").decode(errors="replace")
        except KeyError:
            return None
    unfolded = re.sub(r"\r?\n ", "", manifest)
    match = re.search(r"^(?:program-class|Main-Class):\s*(\S+)", unfolded, re.MULTILINE)
    return match.group(1) if match else None
