"""What programs have printed: the last lines of a task manager's stdout, which all jobs on it share.

The `print` connector writes a line per row: `+I[1, a]`; with several subtasks `2> +I[1, a]`; with a `print-identifier`
`mine> +I[1, a]`, or `mine:2> +I[1, a]` (`PrintSinkOutputWriter`; 1.20 and 2.3).
"""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Collection

MAX_LINES = 5000
MAX_LINE = 10_000
"""Characters of a line; what is longer is cut."""


class LastLines:
    """The last `many` lines of a text that comes in pieces; with `identifiers` only rows that sinks with one of these
    as their `print-identifier` have printed. Memory is bounded, however long the text is."""

    def __init__(self, many: int, identifiers: Collection[str] = ()):
        self._lines: deque[str] = deque(maxlen=many)
        names = "|".join(re.escape(name) for name in sorted(identifiers))
        self._is_wanted = re.compile(rf"(?:{names})(?::\d+)?> " if identifiers else "")
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._cut = False
        self.seen = 0
        """Lines that were wanted, the last ones among them."""

    def feed(self, piece: bytes) -> None:
        """Take the next bytes; a character or a line may be cut anywhere."""
        first, *lines = self._decoder.decode(piece).split("\n")
        self._grow(first)
        for line in lines:
            self._end()
            self._grow(line)

    def _grow(self, part: str) -> None:
        room = MAX_LINE - len(self._rest)
        self._rest += part[:room]
        self._cut = self._cut or len(part) > room

    def _end(self) -> None:
        if self._is_wanted.match(self._rest):
            self.seen += 1
            self._lines.append(self._rest.removesuffix("\r") + ("..." if self._cut else ""))
        self._rest, self._cut = "", False

    def lines(self) -> list[str]:
        """Called once, at the end: the last line may lack its line end."""
        if self._rest:
            self._end()
        return list(self._lines)
