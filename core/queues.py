"""Temporal task queues. Each installation has its own, so that two in one namespace never take each other's work; the
watch has one of its own, so that long activities never starve it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PREFIX = "penstock"
Kind = Literal["main", "build", "watch"]
KINDS: tuple[Kind, ...] = ("main", "build", "watch")


@dataclass(frozen=True)
class Queues:
    """`main` is where workflows run: a workflow finds the others by the name of the queue that it runs on."""

    main: str

    @property
    def build(self) -> str:
        return f"{self.main}-build"

    @property
    def watch(self) -> str:
        return f"{self.main}-watch"

    def of(self, kind: Kind) -> str:
        """By the kind of work, as workflows name it."""
        match kind:
            case "main":
                return self.main
            case "build":
                return self.build
            case "watch":
                return self.watch


def queues_of(installation: str) -> Queues:
    """`installation` is empty for a database that is older than that id."""
    return Queues(f"{PREFIX}-{installation}" if installation else PREFIX)
