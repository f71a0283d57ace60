"""Where our own code lies, in a checkout or installed, and how another process of it is started."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKOUT = (ROOT / "pyproject.toml").exists()
COMMAND = "bin/penstock" if CHECKOUT else "penstock"  # as a person types it


def command(module: str, *arguments: str) -> list[str]:
    """Run one of our modules. With -P the folder that somebody stands in cannot hide it: it may have an `api` too."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """What `command` needs. Installed it finds itself; PYTHONPATH would show our packages to each Python below it."""
    return {"PYTHONPATH": str(ROOT)} if CHECKOUT else {}
