"""Processes that are started again when they die, and files in which their keepers say what they see."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pydantic import BaseModel

from core.errors import PenstockError
from processes import logs
from processes.supervised import Processes, Spec
from settings import waits

DEATHS = 20
"""Of parts that died, so many are told."""


class StateFile(BaseModel):
    @classmethod
    def read(cls, path: Path) -> Self | None:
        """None when there is no such file. Raises `ValidationError` for one of another shape."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None

    def write(self, path: Path) -> None:
        """In one step: nobody reads half of it. Raises `OSError`."""
        self._half(path).replace(path)

    def create(self, path: Path) -> None:
        """Write it unless it is there; of several that do so at once one wins."""
        half = self._half(path)
        with contextlib.suppress(FileExistsError):
            os.link(half, path)
        half.unlink()

    def _half(self, path: Path) -> Path:
        half = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        try:
            half.write_text(self.model_dump_json(indent=1))
        except OSError:
            with contextlib.suppress(OSError):
                half.unlink()
            raise
        return half


class PartDied(BaseModel):
    """A process that died and is started again: `at` is the moment that was seen."""

    part: str
    at: datetime
    why: str


@dataclass
class Kept:
    """A process that is started again: at once after its first death, and after longer and longer pauses while it dies
    again and again. `began` and `next` are moments of the monotonic clock, `began` 0 while it does not run; `trouble`
    is why it does not."""

    spec: Spec
    began: float = 0.0
    deaths: int = 0
    next: float = 0.0
    trouble: str = ""

    def see_to(self, processes: Processes) -> PartDied | None:
        """Start it, if it does not run and it is time to. Gives its death, once."""
        name = self.spec.name
        if processes.find(name) is not None:
            return None
        now, death = time.monotonic(), None
        if self.began:
            self.deaths = 1 if now - self.began > waits.LONG_LIFE_SECONDS else self.deaths + 1
            death = PartDied(part=name, at=datetime.now(UTC), why=logs.last_words(processes.last_words(name)))
            self.trouble = f"{name} died: {death.why}"
            self.next = now + min(waits.KEEPER_LONGEST_PAUSE_SECONDS, 2.0 ** (self.deaths - 1)) - 1
            self.began = 0.0
        if now >= self.next:
            try:
                processes.start(self.spec)
                self.began = now
            except (PenstockError, OSError) as error:
                self.trouble, self.next = f"{name}: {error}", now + waits.KEEPER_LONGEST_PAUSE_SECONDS / 2
        return death


class Due(BaseModel):
    """When a process that does not run is started again, how often it died in a row, and why."""

    at: datetime
    deaths: int
    why: str


class StackReport(StateFile):
    """What the keeper of the local stack sees: `died` are the last deaths of its parts, `due` are those that do not
    run. `jobmanager_url` tells which cluster it is."""

    jobmanager_url: str
    died: list[PartDied] = []
    due: dict[str, Due] = {}

    @staticmethod
    def path(home: Path) -> Path:
        """`home` is the data folder."""
        return home / "kept.json"
