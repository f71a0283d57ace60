"""Write requirements.lock and requirements-test.lock from the environment that this runs in.

Install `.[test]` into a fresh environment, run the tests, then run this with its interpreter.
"""

import re
import tomllib
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
X86_ONLY = ("pgserver",)


def closure(wanted: list[str]) -> dict[str, str]:
    """Names and versions of all that `wanted` leads to."""
    found: dict[tuple[str, frozenset[str]], str] = {}
    todo = [r for r in map(Requirement, wanted) if r.marker is None or r.marker.evaluate()]
    while todo:
        one = todo.pop()
        key = (re.sub(r"[-_.]+", "-", one.name).lower(), frozenset(one.extras))
        if key in found:
            continue
        found[key] = version(one.name)
        for further in map(Requirement, requires(one.name) or []):
            extras = ["", *one.extras]
            if further.marker is None or any(further.marker.evaluate({"extra": e}) for e in extras):
                todo.append(further)
    return {name: number for (name, _), number in found.items()}


def write(path: Path, heading: str, pins: dict[str, str]) -> None:
    marker = ' ; python_version < "3.13" and platform_machine == "x86_64"'
    lines = [f"{n}=={v}{marker if n in X86_ONLY else ''}" for n, v in sorted(pins.items())]
    path.write_text("\n".join([f"# {heading}", *lines, ""]))


project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
run = closure(project["dependencies"])
test = closure(project["optional-dependencies"]["test"])
write(ROOT / "requirements.lock", "What the dependencies of pyproject.toml resolve to; tried together.", run)
write(
    ROOT / "requirements-test.lock",
    "The same for the packages of the tests.",
    {name: number for name, number in test.items() if name not in run},
)
