"""Progress that a person can follow: a live line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from settings import waits


class Step:
    def __init__(self, console: Console, title: str):
        self._console = console
        self._title = title
        self._began = self._told = time.monotonic()
        self._status = console.status(f"{title} ...") if console.is_terminal else None

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def note(self, text: str) -> None:
        """Say what is going on now; on a terminal the line is replaced, elsewhere printed at most every 10 s."""
        text = " ".join(text.split())[:90]
        if self._status is not None:
            self._status.update(f"{self._title} [dim]{self.elapsed:.0f} s  {_plain(text)}[/dim]")
        elif time.monotonic() - self._told >= waits.QUIET_SECONDS:
            self._told = time.monotonic()
            self._console.print(f"    {self._title}: {self.elapsed:.0f} s  {_plain(text)}", highlight=False)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


@contextmanager
def step(console: Console, title: str) -> Iterator[Step]:
    """Show `title` while the block runs, then a tick with the time it took."""
    it = Step(console, title)
    if it._status is not None:
        it._status.start()
    else:
        console.print(f"  - {title} ...", highlight=False)
    try:
        yield it
    except BaseException:
        if it._status is not None:
            it._status.stop()
        console.print(f"  [red]x[/red] {title} [dim]after {it.elapsed:.1f} s[/dim]", highlight=False)
        raise
    if it._status is not None:
        it._status.stop()
    console.print(f"  [green]✓[/green] {title} [dim]{it.elapsed:.1f} s[/dim]", highlight=False)
