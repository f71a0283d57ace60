"""Disks of a limited size that can be filled: a tmpfs at the folder (needs root, and leave to mount)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

FILLER = "filler"


class Disk:
    """`folder` on a disk of its own, of `size` megabytes; raises `OSError` where nothing may be mounted."""

    def __init__(self, folder: Path, size: int):
        self.folder, self._size = folder, size
        folder.mkdir(parents=True, exist_ok=True)
        options = f"size={size}m,mode=1777"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "penstock-faults", str(folder)], capture_output=True, text=True
        )
        if done.returncode != 0:
            raise OSError(f"no disk of its own at {folder}: {done.stderr.strip()}")

    def fill(self) -> None:
        """Until the next byte is refused with ENOSPC."""
        with open(self.folder / FILLER, "ab") as filler:
            for step in (64, 16, 4, 1):  # megabytes
                while self._grow(filler.fileno(), step * 1024 * 1024):
                    pass
            while self._grow(filler.fileno(), 4096):
                pass

    def _grow(self, number: int, by: int) -> bool:
        at = os.fstat(number).st_size
        if at >= self._size * 1024 * 1024:
            return False
        try:
            os.posix_fallocate(number, at, by)
        except OSError:
            return False
        return True

    def free(self) -> None:
        (self.folder / FILLER).unlink(missing_ok=True)

    def remove(self) -> None:
        self.free()
        subprocess.run(["umount", "--lazy", str(self.folder)], capture_output=True)


def can_mount(folder: Path) -> bool:
    """Whether a disk can be made here at all."""
    try:
        Disk(folder, 1).remove()
    except OSError:
        return False
    return True
