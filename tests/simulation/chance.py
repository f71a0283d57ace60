"""All that is left to chance in a run: one seeded generator, asked at every boundary."""

from __future__ import annotations

from random import Random


class Chance:
    """`calm` runs lose nothing by chance. How slow and how lossy a run is, is drawn once for the whole of it: runs that
    differ as a whole find more than runs that are all a little bad."""

    def __init__(self, seed: int | str, *, calm: bool = False):
        self.random = random = Random(f"run {seed}")
        self.calm = calm
        self.slow = 0.0 if calm else random.choice([0.0, 0.0, 0.01, 0.05])
        self.loss = 0.0 if calm else random.choice([0.0, 0.0, 0.01, 0.03])
        self.slow_http = 0.0 if calm else random.choice([0.0, 0.0, 0.05, 0.25])
        self.visibility_lag = random.choice([0.0, 0.5, 2.0])
        self.notes: list[str] = []
        self.quiet = False
        """Set when everything is to be well: nothing is slow or lost by chance any more."""

    def note(self, words: str) -> None:
        self.notes.append(words)

    def _short(self) -> float:
        return 0.0005 + 0.01 * self.random.random() ** 3

    def _maybe(self, rate: float) -> bool:
        return rate > 0 and not self.quiet and self.random.random() < rate

    def rpc(self) -> float:
        return self.random.uniform(0.1, 4) if self._maybe(self.slow) else self._short()

    def rpc_lost(self, what: str) -> tuple[bool, bool]:
        """Whether a request to Temporal is lost, and whether its answer is."""
        if not self._maybe(self.loss):
            return False, False
        return (True, False) if self.random.random() < 0.5 else (False, True)

    def activity(self) -> float:
        return self.random.uniform(0.1, 8) if self._maybe(self.slow) else self._short()

    def workflow_task(self) -> float:
        return self.random.uniform(0.1, 10) if self._maybe(self.slow / 2) else self._short()

    def history_limit(self) -> int:
        return self.random.choice([40, 150, 4096, 4096])

    def frozen_polls(self) -> bool:
        """Whether a task goes to a worker that has been frozen with a poll open."""
        return self.random.random() < 0.3

    def store(self) -> float:
        return self.random.uniform(0.05, 2) if self._maybe(self.slow / 3) else self._short() / 3

    def disk(self) -> float:
        return self.random.uniform(0.05, 2) if self._maybe(self.slow / 3) else self._short() / 3

    def http(self) -> float:
        return self.random.uniform(0.2, 6) if self._maybe(self.slow_http) else self._short()

    def http_lost(self) -> str | None:
        if not self._maybe(self.loss):
            return None
        return self.random.choice(["request", "answer", "answer", "refused"])
