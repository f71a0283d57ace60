"""A list that is shown anew as it changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn

import typer
from rich.control import Control
from rich.text import Text

from cli.client import CONFLICT, NOT_FOUND, USAGE, err, out
from cli.commands import INTERRUPTED
from cli.specs import wrong

LASTING = (USAGE, NOT_FOUND, CONFLICT)
"""Exit codes of what is the same at the next look. The others are of an API that is away or ill: it comes back."""


def watched(show: Callable[[], None], interval: float) -> NoReturn:
    """Call `show` every `interval` seconds, with what it prints on a screen of its own, until somebody interrupts it. A
    look that fails is told above what was seen last; one that would fail again ends the program, and is told when the
    screen is the old one again. The first look has to succeed."""
    if not out.is_terminal:
        raise wrong("--watch needs a terminal.")
    seen, failed = _look(show)
    end = failed
    if end is None:
        try:
            end = _on_a_screen(show, interval, seen)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
    err.print(end.said, end="")
    raise typer.Exit(end.code)


class _Failed:
    """A look that failed, with its exit code and what it has printed about that."""

    def __init__(self, code: int, said: str):
        self.code, self.said = code, Text.from_ansi(said)


def _look(show: Callable[[], None]) -> tuple[Text, _Failed | None]:
    """What a look has printed, and how it failed."""
    code = 0
    with err.capture() as wrongs, out.capture() as rights:
        try:
            show()
        except typer.Exit as end:
            code = end.exit_code
    return Text.from_ansi(rights.get()), _Failed(code, wrongs.get()) if code else None


def _on_a_screen(show: Callable[[], None], interval: float, seen: Text) -> _Failed:
    at = datetime.now(UTC)
    with out.screen() as screen:  # not Live, which adds what it shows to all that is printed, and captured

        def put(*texts: Text) -> None:
            out.control(Control.home())
            screen.update(*texts)

        put(seen)
        while True:
            time.sleep(interval)
            found, failed = _look(show)
            if failed is None:
                seen, at = found, datetime.now(UTC)
                put(seen)
            elif failed.code in LASTING:
                return failed
            else:
                note = Text(f"What follows is of {at:%H:%M:%S} UTC; it is asked for again every {interval:g} s.\n")
                put(failed.said, note, seen)
