"""A Hypothesis state machine over the verbs of the API and the faults of the world.

It says the same things as the stories of `tests/simulation/story.py`, and finds the same; what it adds is Hypothesis'
own way of varying and shortening a sequence. The stories are several times faster.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.simulation.story import FAULTS, MOMENTS, Moment, Step, Story, Teller, step, timed
from tests.simulation.world import World

JOBS = st.sampled_from([0, 0, 0, 1])
WAITS = st.one_of(st.floats(0, 0.1), st.floats(0.1, 6), st.floats(6, 45)).map(lambda x: round(x, 3))
RESTORES = st.sampled_from([None, "newest", "none", "point"])


class Penstock(RuleBasedStateMachine):
    """Each rule is one step of a story; the judge looks on all the time, and at rest in the end."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.created: set[int] = set()
        self.steps: list[Step] = []

    @initialize(seed=st.integers(0, 2**32), ha=st.booleans(), calm=st.booleans(), clusters=st.sampled_from([1, 1, 2]))
    def begin(self, seed: int, ha: bool, calm: bool, clusters: int) -> None:
        self.story = Story((), ha=ha, calm=calm, clusters=clusters)
        self.world = World(seed, ha=ha, calm=calm, clusters=clusters, log=True)
        self.play = self._stack.enter_context(self.world.opened())
        self.teller = Teller(self.world, self.story)
        self.play(self.teller.begin())

    def _take(self, one: Step) -> None:
        self.steps.append(one)
        self.play(self.teller.take(one))

    @rule(
        job=JOBS,
        sql=st.booleans(),
        main=st.sampled_from([0.2, 0.2, 20.0, 150.0]),
        checkpoints=st.sampled_from([5, 30]),
        operators=st.sampled_from(["count", "count,sum", "sum,double"]),
        ends_after=st.sampled_from([None, None, 40.0]),
        fails_after=st.sampled_from([None, None, 2.0]),
        savepoints=st.sampled_from([None, 30]),
    )
    def create(self, job: int, sql: bool, **more: Any) -> None:
        self.created.add(job)
        self._take(step("recreate", job, 0.0, sql=sql or None, backoff=5, **more))
        self._take(step("command", job, 0.1, kind="start", again=True))

    @precondition(lambda self: self.created)
    @rule(job=JOBS, wait=WAITS, restore=RESTORES, again=st.booleans())
    def start(self, job: int, wait: float, restore: str | None, again: bool) -> None:
        self._take(step("command", job, wait, kind="start", restore=restore, again=again))

    @precondition(lambda self: self.created)
    @rule(job=JOBS, wait=WAITS, again=st.booleans())
    def pause(self, job: int, wait: float, again: bool) -> None:
        self._take(step("command", job, wait, kind="pause", again=again))

    @precondition(lambda self: self.created)
    @rule(job=JOBS, wait=WAITS, again=st.booleans())
    def kill(self, job: int, wait: float, again: bool) -> None:
        self._take(step("command", job, wait, kind="kill", again=again))

    @precondition(lambda self: self.created)
    @rule(job=JOBS, wait=WAITS, restore=RESTORES, which=st.integers(0, 2), spelled=st.sampled_from(["", "/"]))
    def restart(self, job: int, wait: float, restore: str | None, which: int, spelled: str) -> None:
        self._take(step("command", job, wait, kind="restart", restore=restore, which=which, spelled=spelled))

    @precondition(lambda self: self.created)
    @rule(job=JOBS, wait=WAITS, restore=RESTORES, rollback=st.sampled_from([None, 40.0]))
    def resubmit(self, job: int, wait: float, restore: str | None, rollback: float | None) -> None:
        self._take(step("command", job, wait, kind="resubmit", restore=restore or "newest", rollback_within=rollback))

    @precondition(lambda self: self.created)
    @rule(job=JOBS, wait=WAITS)
    def savepoint(self, job: int, wait: float) -> None:
        self._take(step("command", job, wait, kind="savepoint"))

    @precondition(lambda self: self.created)
    @rule(job=JOBS, wait=WAITS)
    def adopt(self, job: int, wait: float) -> None:
        self._take(step("adopt", job, wait))

    @precondition(lambda self: self.created)
    @rule(job=JOBS, wait=WAITS, operators=st.sampled_from(["count", "sum,count", "double,sum"]), filtered=st.booleans())
    def version(self, job: int, wait: float, operators: str, filtered: bool) -> None:
        self._take(step("version", job, wait, operators=operators, filtered=filtered or None))

    @precondition(lambda self: self.created)
    @rule(job=JOBS, wait=WAITS, key=st.sampled_from(["policy", "savepoints", "checkpoints"]))
    def patch_job(self, job: int, wait: float, key: str) -> None:
        self._take(step("patch_job", job, wait, **{key: {"policy": 10, "savepoints": 30, "checkpoints": 5}[key]}))

    @precondition(lambda self: self.created)
    @rule(wait=WAITS, to=st.sampled_from("ab"))
    def patch_cluster(self, wait: float, to: str) -> None:
        self._take(step("patch_cluster", 0, wait, cluster="a", to=to if self.story.clusters > 1 else "a"))

    @precondition(lambda self: self.created)
    @rule(job=JOBS, wait=WAITS)
    def delete(self, job: int, wait: float) -> None:
        self._take(step("delete", job, wait))

    @precondition(lambda self: self.created)
    @rule(wait=WAITS, dry=st.booleans())
    def recover(self, wait: float, dry: bool) -> None:
        self._take(step("recover", 0, wait, dry=dry))

    @precondition(lambda self: self.created)
    @rule(job=JOBS, wait=WAITS)
    def read(self, job: int, wait: float) -> None:
        self._take(step("read", job, wait))

    @precondition(lambda self: self.created)
    @rule(most=st.sampled_from([20, 90]))
    def settle(self, most: int) -> None:
        self._take(step("settle", 0, 0.0, most=most, beside=most + 5.0))

    @precondition(lambda self: self.created)
    @rule(
        job=JOBS,
        wait=WAITS,
        kind=st.sampled_from(sorted(set(FAULTS) - {"patch_cluster"})),
        at=st.one_of(st.none(), st.builds(Moment, st.sampled_from(MOMENTS), edge=st.sampled_from(["begins", "ends"]))),
        random=st.randoms(use_true_random=False),
    )
    def fault(self, job: int, wait: float, kind: str, at: Moment | None, random: Any) -> None:
        made = FAULTS[kind](random, job, wait)
        self._take(made if at is None else timed(made, at))

    @invariant()
    def nothing_is_broken(self) -> None:
        if hasattr(self, "world") and self.world.judge.violations:
            raise AssertionError("\n".join([*self.world.log, *map(str, self.world.judge.violations)]))

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            if not self.world.judge.violations:
                self.play(self.teller.rest())
            self.nothing_is_broken()
        finally:
            self._stack.close()
