"""What the tests went through, package by package: lines and branches, the files with most that nobody tried, and an
exit code of 1 when a package is below `fail_under` of pyproject.toml."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from coverage import Coverage

MOST = 10


def main() -> int:
    coverage = Coverage()
    coverage.load()
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        coverage.json_report(outfile=report.name)
        files: dict[str, Any] = json.loads(Path(report.name).read_text())["files"]
    of, missed = Counter[str](), Counter[str]()
    left: list[tuple[int, str]] = []
    for name, found in files.items():
        summary, package = found["summary"], name.partition("/")[0]
        all_ = summary["num_statements"] + summary["num_branches"]
        gone = all_ - summary["covered_lines"] - summary["covered_branches"]
        of[package] += all_
        missed[package] += gone
        left.append((gone, name))
    print("Lines and branches that no test went through:")
    for gone, name in sorted(left, reverse=True)[:MOST]:
        lines = " ".join(map(str, files[name]["missing_lines"][:12]))
        print(f"  {gone:4}  {name}  {lines}")
    bound = float(coverage.get_option("report:fail_under") or 0)
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
    sys.exit(main())
