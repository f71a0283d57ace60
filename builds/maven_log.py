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
_HEADINGS = ("The build could not read", "The project ", "COMPILATION ERROR", "dependency: ")
"""They stand above the line with the cause."""
_EMPTY = re.compile(
    r"^Failed to execute goal (?:\S+ \(\S+\) on project \S+:"
    r"|on project (\S+): Could not resolve dependencies for project \S+)$"
)
"""So do these: of the enforcer, and of Maven 3.9, which has the dependencies on lines of their own."""
_GOAL = re.compile(r"^\[ERROR\] Failed to execute goal [\w.-]+:([\w.-]+):[\w.-]+:([\w.-]+) .*?on project (\S+): *(.*)$")
_LEVEL = re.compile(r"^\[(?:ERROR|WARNING|INFO)\]")
_RULE = re.compile(r"^Rule \d+: \S+ failed with message:$")
_TESTS = re.compile(r"^(?:Failures|Errors|Failed tests|Tests in error): *(.*)$")
_OF_COMPILER = re.compile(r"^COMPILATION ERROR ?:?$")
_UNDER = {
    "maven-enforcer-plugin": _RULE,
    "maven-surefire-plugin": _TESTS,
    "maven-failsafe-plugin": _TESTS,
    "maven-compiler-plugin": _OF_COMPILER,
}
"""By the plugin whose goal has failed: the line under which, or on which, the first of its reasons stands. What others
call an error before that, and go on, is none."""
_BANNED = "<---"


def reason(lines: Sequence[str], root: Path) -> str:
    """Why a build failed, from the last `lines` of its log: the cause first, then what else Maven calls an error. Paths
    are shown as they are below `root`. When Maven called nothing an error, the last ten lines."""
    if any(_TOO_OLD in line for line in lines):
        return "the Maven of the workers is too old: Penstock needs 3.6.3 or later."
    kept: list[str] = []
    for line in lines:
        said = _said(line, root)
        if line.startswith("[ERROR]") and said.strip("@ ") and not said.startswith(_NOT_A_CAUSE) and said not in kept:
            kept.append(said)
    if not kept:
        return "\n".join([line for line in lines if line.strip()][-10:])
    causes = (line for line in kept if not line.startswith(_HEADINGS) and not _EMPTY.match(line))
    cause = _of_goal(lines, root) or next(causes, kept[0])
    rest = [line for line in kept if line != cause]
    return "\n".join([_worded(cause, kept), *rest][:MAX_REASON_LINES])


def _said(line: str, root: Path) -> str:
    return re.sub(r"\s*-> \[Help \d+\]$", "", _LEVEL.sub("", line).strip()).replace(f"{root}/", "")


def _of_goal(lines: Sequence[str], root: Path) -> str | None:
    """The first reason of the goal that has failed, where it is known how its plugin words it."""
    failed = next((match for line in lines if (match := _GOAL.match(line))), None)
    heading = _UNDER.get(failed[1]) if failed else None
    if heading is None:
        return None
    said = [text for line in lines if (text := _said(line, root)).strip("-")]
    for at, text in enumerate(said):
        if match := heading.match(text):
            below = said[at + 1 : at + 20]
            # A rule about dependencies shows the way to each: the one that is banned stands at its end.
            shown = heading is _RULE and any(":jar:" in line for line in below[:1])
            banned = [line for line in below if _BANNED in line] if shown else []
            return next(iter((*(group for group in match.groups() if group), *banned, *below)), None)
    return None


def _worded(cause: str, kept: Sequence[str]) -> str:
    """The first line as it is shown: without what stands around the cause."""
    if match := _RESOLUTION.match(cause):
        return f"{match[2]} (a dependency of {match[1]})"
    if (match := _EMPTY.match(kept[0])) and match[1]:
        return f"{cause} (a dependency of {match[1]})"
    if match := _GOAL.match(f"[ERROR] {cause}"):
        return f"{match[4]} ({match[1]}:{match[2]} of {match[3]})"
    return cause


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
