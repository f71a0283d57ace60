"""What the tests went through, package by package: lines and branches, the files with most that nobody tried, and an
exit code of 1 when a package is below its bound in pyproject.toml. Reads what `tests/covered.py` left in a folder.

    python -m tests.coverage_by_package FOLDER
"""

from __future__ import annotations

import functools
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from slipcover.slipcover import merge_coverage

from tests.covered import SETTINGS

MOST = 10


def main(folder: Path) -> int:
    files: dict[str, Any] = functools.reduce(merge_coverage, (json.loads(p.read_text()) for p in folder.iterdir()))[
        "files"
    ]
    of, missed = Counter[str](), Counter[str]()
    left: list[tuple[int, str]] = []
    for name, found in files.items():
        package = name.partition("/")[0]
        gone = len(found["missing_lines"]) + len(found["missing_branches"])
        of[package] += gone + len(found["executed_lines"]) + len(found["executed_branches"])
        missed[package] += gone
        left.append((gone, name))
    print("Lines and branches that no test went through:")
    for gone, name in sorted(left, reverse=True)[:MOST]:
        lines = " ".join(map(str, files[name]["missing_lines"][:12]))
        print(f"  {gone:4}  {name}  {lines}")
    bound: float = SETTINGS["fail_under"]
    below = []
    for package in sorted(of):
        percent = 100 * (1 - missed[package] / of[package])
        print(f"{package:<12} {percent:5.1f} % of {of[package]} lines and branches")
        if percent < bound:
            below.append(package)
    if below:
        print(f"Below {bound:g} %: {', '.join(below)}.")
    return int(bool(below))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
