"""Why a Gradle build failed, as its log says it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

MAX_REASON_LINES = 25
_COMPILER = re.compile(r"^(?:\S+\.(?:java|scala|groovy):\d+: error: |e: |error: )")
_WRONG = "* What went wrong:"
_CAUSE = re.compile(r"^(\s*)> (.*)$")
_NO_TASK = re.compile(r"Task '([^']+)' not found in ")
_WRAPPER = re.compile(r'^Exception in thread "main" (?:java\.lang\.RuntimeException: )?(.*)$')
NO_JAR = "GradleWrapperMain"


def reason(lines: Sequence[str], root: Path) -> str:
    """From the last `lines` of a log: the cause first, then what else Gradle says of it. Paths are shown as they are
    below `root`. Where Gradle never began, why its wrapper ended; else the last ten lines."""
    glued = re.compile(rf"^(?::[\w-]+)+(?={re.escape(str(root))}/)")  # Gradle 4 ends no line after a task's name
    lines = [glued.sub("", line) for line in lines]
    compiler = [line for line in lines if _COMPILER.match(line)]
    told = _told(lines)
    if not told and (wrapper := [m[1] for line in lines if (m := _WRAPPER.match(line))]):
        return (
            f"the wrapper could not get its Gradle: {wrapper[0]}. The distribution is named in "
            "gradle/wrapper/gradle-wrapper.properties; a proxy can be set in gradle.properties of the folder that "
            "PENSTOCK_GRADLE_USER_HOME of the workers names."
        )
    if not told and any(NO_JAR in line for line in lines):
        return "gradle/wrapper/gradle-wrapper.jar cannot be used. Commit it: `gradle wrapper` makes it."
    if compiler:
        kept = compiler[:10] + told
    elif told:
        cause = max(told, key=_depth)  # the first of the deepest
        kept = [cause, *(line for line in told if line is not cause)]
    else:
        kept = [line for line in lines if line.strip()][-10:]
    cleaned = [re.sub(r"^> ", "", line.strip()).replace(f"{root}/", "") for line in kept]
    return "\n".join(list(dict.fromkeys(cleaned))[:MAX_REASON_LINES])


def missing_task(lines: Sequence[str]) -> str | None:
    """The task that no project of the build has, where the build failed for that."""
    return next((match[1] for line in _told(lines) if (match := _NO_TASK.search(line))), None)


def _told(lines: Sequence[str]) -> list[str]:
    """What stands under `What went wrong`."""
    told: list[str] = []
    inside = False
    for line in lines:
        if line.startswith(_WRONG):
            inside = True
        elif line.startswith("* "):
            inside = False
        elif inside and line.strip():
            told.append(line)
    return told


def _depth(line: str) -> int:
    match = _CAUSE.match(line)
    return len(match[1]) + 1 if match else 0
