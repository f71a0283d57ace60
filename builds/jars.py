"""The jars that a build has made: which one is to be run, and what is in it."""

from __future__ import annotations

import difflib
import re
import zipfile
from pathlib import Path

from builds.git import inside
from core.effects import Rejected

_SIDE = re.compile(r"-(sources|javadoc|tests|test-sources|test-javadoc)\.jar$")
_MAIN = b"([Ljava/lang/String;)V"
MAX_CLASS_BYTES = 1 << 20


def choose(folder: Path, artifact: str | None, output: str = "target") -> Path:
    """The jar of a built module. `artifact` is a path or glob below `folder`; `output` is where the tool puts jars.

    Without it: the only jar; else the only one that carries its dependencies (shaded or assembled), by its name or by
    what is in it.
    Raises `Rejected` with the candidates when that leaves none or several.
    """
    candidates = sorted(
        p
        for target in {folder / output, *folder.glob(f"**/{output}")}
        for p in target.glob("*.jar")
        if not p.name.startswith("original-") and not _SIDE.search(p.name)
    )
    if artifact:
        named = [p for p in folder.glob(artifact) if p.is_file()] or [p for p in candidates if p.match(artifact)]
        if len(named) == 1:
            return inside(folder, str(named[0].relative_to(folder)))
        if not named:
            raise Rejected(f"build.artifact {artifact!r} matches no jar. {_listed(folder, candidates)}")
        candidates = named
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        pom = " Is the packaging `pom`?" if output == "target" else ""
        raise Rejected(
            f"The build made no jar in {folder.name}/{output}.{pom} Set git.subdirectory to the module to run."
        )
    shaded = _shaded(candidates) or _holding_the_others(candidates)
    if len(shaded) == 1 and not artifact:
        return shaded[0]
    raise Rejected(
        f"{len(candidates)} jars could be meant{' by ' + repr(artifact) if artifact else ''}; "
        f"set build.artifact. {_listed(folder, candidates)}"
    )


def main_class(jar: Path) -> str | None:
    """Main class of the jar's manifest, None when it has none."""
    with _opened(jar) as archive:
        return _main_class(archive)


def _main_class(archive: zipfile.ZipFile) -> str | None:
    try:
        manifest = archive.read("META-INF/MANIFEST.MF").decode(errors="replace")
    except KeyError:
        return None
    unfolded = re.sub(r"\r?\n ", "", manifest)
    match = re.search(r"^(?:program-class|Main-Class):\s*(\S+)", unfolded, re.MULTILINE)
    return match.group(1) if match else None


def check_entry_class(jar: Path, entry_class: str | None) -> None:
    """Raise `Rejected` when `entry_class` is not in the jar, or none was given and the manifest names none; with the
    classes that have a `main`. Flink's own classes may come from the cluster."""
    with _opened(jar) as archive:
        name = entry_class or _main_class(archive)
        if name is not None and name.startswith("org.apache.flink."):
            return
        names = {n.removesuffix(".class").replace("/", ".") for n in archive.namelist() if n.endswith(".class")}
        if name is not None and name in names:
            return
        programs = _programs(archive)
    if name is None:
        said = "The manifest of the jar that was built names no main class, and none is given."
    else:
        given = "The class" if entry_class else "The main class of the manifest,"
        said = f"{given} {name} is not in the jar that was built."
    if not programs:
        raise Rejected(f"{said} No class in it has a main method.")
    close = difflib.get_close_matches(name, programs, n=10, cutoff=0.5) if name else []
    shown = [*close, *(p for p in programs if p not in close)][:10]
    more = f", and {len(programs) - len(shown)} more" if len(programs) > len(shown) else ""
    raise Rejected(f"{said} Set entry_class to one of: {', '.join(shown)}{more}.")


def _opened(jar: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(jar)
    except zipfile.BadZipFile as error:
        raise Rejected(f"What was built is no jar: {error}.") from error


def _programs(archive: zipfile.ZipFile) -> list[str]:
    """Classes with a `main` of the right signature, those of the program's own package first, as far as that can be
    told: libraries that are shaded in have some, too. By the names in the constant pool, not by reading byte code."""
    classes = []
    for entry in archive.infolist():
        if not entry.filename.endswith(".class") or entry.file_size > MAX_CLASS_BYTES or "$" in entry.filename:
            continue
        if entry.filename.startswith(("META-INF/", "org/apache/", "akka/", "com/fasterxml/", "scala/", "kotlin/")):
            continue
        data = archive.read(entry)
        if b"\x01\x00\x04main" in data and _MAIN in data:
            classes.append(entry.filename.removesuffix(".class").replace("/", "."))
    return sorted(classes)


def _shaded(candidates: list[Path]) -> list[Path]:
    """Those that were shaded (Maven keeps the `original-` beside it) or assembled with dependencies."""
    return [
        p
        for p in candidates
        if (p.parent / f"original-{p.name}").exists()
        or re.search(r"-(shaded|jar-with-dependencies|all|uber|fat)\.jar$", p.name)
    ]


def _holding_the_others(candidates: list[Path]) -> list[Path]:
    """The one that has all classes that the others have, and more: it was shaded under a name of its own (`finalName`),
    with the jar of the module beside it. Empty where there is no such."""
    classes = {}
    for path in candidates:
        with _opened(path) as archive:
            classes[path] = {name for name in archive.namelist() if name.endswith(".class")}
    return [p for p in candidates if all(classes[p] > classes[other] for other in candidates if other != p)]


def _listed(folder: Path, jars: list[Path]) -> str:
    names = ", ".join(str(p.relative_to(folder)) for p in jars[:20])
    return f"Candidates: {names}." if names else "The build made no jar."
