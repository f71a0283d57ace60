"""The Java that builds are run with."""

from __future__ import annotations

import re

from core.effects import EngineError, Rejected
from core.java import mismatch, none_found
from processes import java
from processes.child import ProcessFailed, run, scrubbed
from processes.missing import not_found
from settings import waits

_VERSION = re.compile(r'version "(?:1\.)?(\d+)')
_SAYS_WHY = ("Caused by: ", "Detected JDK ")
"""Beginnings of lines that belong to the cause and are not always called an error: of a stack, and of the enforcer.
What else a build prints while it goes well is no reason for its end."""


async def explained(why: str, lines: list[str], build_env: list[str]) -> str:
    """`why` a build failed; when that is its Java, with which one it needs and which one is there in front."""
    if none_found("\n".join(lines)) and await here(build_env) is None:
        return f"{not_found(java.command(scrubbed(build_env))).message}\n{why}"
    said = "\n".join([why, *(line for line in lines if line.strip().startswith(_SAYS_WHY))])
    if mismatch(said) is None and mismatch(said, 1) is None:
        return why
    known = mismatch(said, await here(build_env))
    return f"{known}\n{why}" if known else why


async def failed(tool: str, error: ProcessFailed, why: str, build_env: list[str], more: str = "") -> Rejected:
    """What is said of a build by `tool` that failed: `why`, with the Java where that is it, and `more` below."""
    if error.stopped:
        return Rejected(f"The {tool} build failed: {error.sentence}\n" + "\n".join(error.lines[-10:]))
    said = await explained(why, error.lines, build_env)
    return Rejected(f"The {tool} build failed: {said}" + (f"\n{more}" if more else ""))


async def here(build_env: list[str]) -> int | None:
    """The major version of the Java that a build is run with: JAVA_HOME, else the path. None when there is none."""
    env = scrubbed(build_env)
    try:
        lines = await run(
            [java.command(env), "-version"],
            cwd=None,
            env=env,
            tell=lambda _: None,
            timeout=waits.VERSION_SECONDS,
            output_limit=1 << 16,
        )
    except (EngineError, OSError):
        return None
    match = _VERSION.search("\n".join(lines))
    return int(match[1]) if match else None
