"""What Flink's client says while it runs a program: told to whoever listens at the moment."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Sequence

from clusters.sql import lines_of, scrub
from core.config import HIDDEN
from core.effects import LogSink
from processes.child import MAX_LINE

_SUBMITTED = re.compile(r"Job has been submitted with JobID ([0-9a-f]{32})")
KEPT = 2000


class Output:
    """A log sink in front of `sink`, which may change: notes the ids that the client says it has submitted, and shows
    no value of a secret. `told` are these ids (a program can print anything: whose they are is another question),
    `times` how often each was named, `size` is how many characters came."""

    def __init__(self, sink: LogSink, told: set[str], secrets: Sequence[str] = ()):
        self.sink = sink
        self.told = told
        self.times: Counter[str] = Counter()
        self.size = 0
        self.last: deque[str] = deque(maxlen=KEPT)
        # A line shows a line at the most. Shorter ones are words of anything.
        self._secrets = [line for secret in secrets for line in lines_of(secret) if len(line) > 3]

    def __call__(self, line: str) -> None:
        named = _SUBMITTED.findall(line)
        self.told.update(named)
        self.times.update(named)
        self.size += len(line) + 1
        line = self._without_cut(scrub(line, self._secrets))
        self.last.append(line)
        self.sink(line)

    def _without_cut(self, line: str) -> str:
        """A line that was cut may end with the begin of a secret."""
        if len(line) < MAX_LINE - 1:
            return line
        for secret in self._secrets:
            begun = next((n for n in range(min(len(secret), len(line)), 3, -1) if line.endswith(secret[:n])), 0)
            if begun:
                return f"{line[:-begun]}{HIDDEN}"
        return line
