"""What a Maven log says: why a build failed, and what Maven passes over in silence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

MAX_REASON_LINES = 25
_PROFILE = re.compile(r'The requested profile "([^"]+)" could not be (?:de)?activated because it does not exist')
_NOT_A_CAUSE = (
    "To see the full stack trace",
    "Re-run Maven",
    "For more information",
    "[Help ",
    "After correcting",
    "mvn <args> -rf",
    "[ERROR] Some problems were encountered",
    "Some problems were encountered",
    "-> [Help",
)
_RESOLUTION = re.compile(
    r"Failed to execute goal on project (\S+): Could not resolve dependencies for project \S+: "
    r"(?:(?:The following artifacts|Failed to collect dependencies) .*?: (?=Could not |\S+ was not found))?(.*)"
)
_TOO_OLD = "Unrecognized option: -ntp"
"""Of Maven before 3.6.1. The plugin that fetches libraries needs 3.6.3."""
_REMEMBERED = "was cached in the local repository"
"""Of Maven 3.6 (`Failure to find a:b:jar:1 in https://... was cached`) and later (`This failure was cached`)."""
_HEADINGS = ("The build could not read", "The project ", "COMPILATION ERROR")
"""They stand above the line with the cause."""


def reason(lines: Sequence[str], root: Path) -> str:
    """Why a build failed, from the last `lines` of its log: the cause first, then what else Maven calls an error. Paths
    are shown as they are below `root`. When Maven called nothing an error, the last ten lines."""
    if any(_TOO_OLD in line for line in lines):
        return "the Maven of the workers is too old: Penstock needs 3.6.3 or later."
    kept: list[str] = []
    for line in lines:
        said = line.removeprefix("[ERROR]").strip()
        if not line.startswith("[ERROR]") or not said.strip("@ ") or said.startswith(_NOT_A_CAUSE):
            continue
        said = re.sub(r"\s*-> \[Help \d+\]$", "", said).replace(f"{root}/", "")
        if said not in kept:
            kept.append(said)
    if not kept:
        return "\n".join([line for line in lines if line.strip()][-10:])
    cause = next((line for line in kept if not line.startswith(_HEADINGS)), kept[0])
    kept.remove(cause)
    if match := _RESOLUTION.match(cause):
        cause = f"{match[2]} (a dependency of {match[1]})"
    return "\n".join([cause, *kept][:MAX_REASON_LINES])


def misses_remembered(lines: Iterable[str]) -> bool:
    """Whether an artifact was not even looked for, because it was not there some time ago."""
    return any(_REMEMBERED in line for line in lines)


def unreadable_projects(lines: Iterable[str]) -> bool:
    """Whether Maven gave up because it could not read a project of the checkout, perhaps another than the one to
    build."""
    return any("The build could not read" in line for line in lines)


def unknown_profiles(lines: Iterable[str]) -> list[str]:
    """Profiles that were asked for and exist nowhere: Maven goes on without them."""
    return sorted({match[1] for line in lines if (match := _PROFILE.search(line))})
