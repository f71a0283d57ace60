"""Files that only their owner may read, and that are made once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def made_once(file: Path, make: Callable[[], str]) -> str:
    """The text of a file, which is made (mode 0600) when it is not there. Whoever makes it at the same moment, all read
    the same."""
    try:
        return file.read_text()
    except FileNotFoundError:
        pass
    file.parent.mkdir(parents=True, exist_ok=True)
    # Written aside and linked into place, so that nobody ever reads half of it, and the first one wins.
    mine = file.with_name(f"{file.name}.{os.getpid()}")
    with open(os.open(mine, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as out:
        out.write(make())
    try:
        os.link(mine, file)
    except FileExistsError:
        pass
    finally:
        mine.unlink()
    return file.read_text()
