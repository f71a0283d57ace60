"""Coverage of the tests of `make check`, as a plugin of pytest: with PENSTOCK_COVERAGE set to a folder, each process that
runs tests leaves there which lines and branches it went through, for `tests/coverage_by_package.py`.

By slipcover, whose notes in the code go away once they were reached: a tracer, which is called for each line for as long
as the tests run, takes more than three times as much on top of them (measured on 1,297 tests: 65 s of CPU, 93 s with
coverage.py's, 54 s with neither). It has no plugin for pytest of its own that knows processes of xdist.
"""

from __future__ import annotations

import json
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from slipcover import Slipcover
from slipcover.importer import FileMatcher, SlipcoverMetaPathFinder

ROOT = Path(__file__).parents[1]
SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["penstock"]["coverage"]

_slipcover: Slipcover | None = None


def pytest_load_initial_conftests() -> None:
    """Before anything of ours is imported: what was imported before is not seen."""
    global _slipcover
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    if "PENSTOCK_COVERAGE" not in os.environ or not is_worker:
        return
    sources = [str(ROOT / package) for package in SETTINGS["packages"]]
    _slipcover = Slipcover(branch=True, source=sources, exclude_also=SETTINGS["exclude_also"])
    sys.meta_path.insert(0, SlipcoverMetaPathFinder(_slipcover, FileMatcher(sources=sources)))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    if _slipcover is not None:
        path = Path(os.environ["PENSTOCK_COVERAGE"], f"{os.getpid()}.json")
        path.write_text(json.dumps(_slipcover.get_coverage()))
