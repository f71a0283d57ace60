"""Faults at random: each round a person does something to some jobs, and in the middle of it parts are hurt."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from itertools import chain

from tests.faults.injuries import Injuries
from tests.faults.run import Job, Run, together
from tests.faults.verbs import Verbs

OLD = {"kill": 5, "freeze": 2, "cut": 3, "ordinary": 1}
"""Kinds that fill what the others leave, by weight."""
LEAST = 10
"""How often each other kind is done, where there are faults enough."""


def deck(kinds: Sequence[str], count: int, chance: random.Random) -> list[str]:
    """`count` kinds in the order in which they come. Each that is not among OLD comes LEAST times, or as often as the
    others when there is no room for that; OLD fills the rest."""
    new, old = [k for k in kinds if k not in OLD], [k for k in kinds if k in OLD]
    each = min(LEAST, count // (len(new) + bool(old))) if new else 0
    if not old:
        each = -(-count // len(new))
    cards = list(chain.from_iterable([kind] * each for kind in new))
    chance.shuffle(cards)
    if old and len(cards) < count:
        cards += chance.choices(old, [OLD[k] for k in old], k=count - len(cards))
    chance.shuffle(cards := cards[:count])
    return cards


class Rounds:
    def __init__(self, run: Run, kinds: Sequence[str] = ()):
        """`kinds` are those of faults and of verbs that are wanted; when none of either is named, all of them are."""
        self.run, self._random = run, run.random
        self.injuries = Injuries(run.world, run.sampler, run.verdicts, run.random)
        self.verbs = Verbs(run, run.random)
        faults = [k for k in self.injuries.kinds if k in kinds]
        verbs = [k for k in self.verbs.kinds if k in kinds]
        unknown = set(kinds) - set(faults) - set(verbs)
        if unknown:
            raise ValueError(f"there is no {', '.join(sorted(unknown))} here; there are: {', '.join(self.known())}")
        self._faults = faults or ([k for k in self.injuries.kinds if k in OLD] if verbs else list(self.injuries.kinds))
        self._verbs = verbs or [k for k in self.verbs.kinds if self.verbs.jobs_for(k)]

    def known(self) -> list[str]:
        return [*self.injuries.kinds, *self.verbs.kinds]

    def play(self, count: int, *, fewer: float = 1.0, until: float = math.inf) -> None:
        """`count` faults, about `fewer` rounds for each: when it is less than 1 some rounds have two. No round is begun
        after `until` (seconds, as of `time.monotonic`)."""
        faults, verbs = deck(self._faults, count, self._random), deck(self._verbs, count, self._random)
        number = 0
        while faults:
            if time.monotonic() > until:
                self.run.say(f"the time is over, with {len(faults)} faults left")
                break
            number += 1
            many = 2 if len(faults) > 1 and self._random.random() > fewer else 1
            chosen, faults = faults[:many], faults[many:]
            verb = verbs.pop(0) if verbs else "ordinary"
            self.run.say(f"round {number}, {len(faults)} faults left: {verb}, {' and '.join(chosen)}")
            self.play_one(verb, chosen)
            if number % 5 == 0:
                self.run.view()
                self.run.output()
            self.run.tell_broken()

    def play_one(self, verb: str, faults: Sequence[str]) -> None:
        """One round: the verb on one of its jobs, commands to some others, the faults in the middle."""
        job = self._random.choice(self.verbs.jobs_for(verb))
        others = [j for j in self.run.of("sql", "jar", "own-name", "sums") if j is not job]
        chosen = self._random.sample(others, min(len(others), self._random.randint(0, 2)))
        done: list[str] = []
        with together(self._do, [(verb, job), *(("ordinary", other) for other in chosen)]):
            for fault in faults:
                time.sleep(self._random.choice([0.0, 0.05, 0.2, 0.5, 1.0, 1.5]))
                done.append(words := self.injuries.kinds[fault]())
                self.run.faults[words] += 1
                self.run.say(f"  fault: {words}")
            over = time.time()
        for rested in list(self.run.jobs):
            self.run.rest(rested)
        for words in done:
            self.run.settled[words] = max(self.run.settled.get(words, 0.0), round(time.time() - over, 1))

    def _do(self, verb: str, job: Job) -> None:
        try:
            self.verbs.do(verb, job)
        except Exception as error:
            self.run.verdicts.check("the harness works", False, f"{verb} of {job.ref}: {error!r}"[:500])
