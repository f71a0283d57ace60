"""What is asked of the model: worlds in which the rules hold, rules taken out one by one, and where there is a hole."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.model.fence import Model, Rules, World
from tests.model.search import Result, explore

AS_THEY_ARE = Rules()


@dataclass(frozen=True)
class Case:
    name: str
    world: World
    rules: Rules = AS_THEY_ARE
    fast: World | None = None
    """A smaller bound for the fast tests."""

    def run(self) -> Result:
        model = Model(self.world, self.rules)
        return explore(model.first(), model.steps, model.invariant, model.good, rest=model.rest)

    def smaller(self) -> Case:
        """In the bound of the fast tests: one answer of the watch in flight; two attempts, where three take long."""
        return replace(self, world=replace(self.fast or self.world, looks=1))


JARS = World(senders=("inside",))
"""Programs that run inside the JobManager, without high availability."""
GATEWAY = World(senders=("outside",))
"""The SQL gateway and clients, without high availability."""
HA = World(high_availability=True)

TO_ADD = Rules(disk=True, sends_once=True)

# With the rules as they are -------------------------------------------------------------------

HOLDS = [
    Case("jars, the JobManager changes, no high availability", JARS, fast=replace(JARS, attempts=2)),
    Case(
        "jars and gateway, the JobManager does not change",
        World(changes=False, attempts=2),
        fast=World(changes=False, attempts=2, strangers=False),
    ),
    Case(
        "jars and gateway, high availability that keeps ids",
        replace(HA, attempts=2),
        fast=replace(HA, attempts=2, strangers=False),
    ),
]

_SMALL = replace(JARS, attempts=2)
_CALM = replace(_SMALL, changes=False, crashes=False)

# One rule taken out ---------------------------------------------------------------------------

WITHOUT = [
    Case("no fence: MISSING is believed of an attempt that is unclear", _CALM, Rules(fence=False)),
    Case("Rejected is a clear no, also after a send without an answer", _CALM, Rules(rejected_is_fenced=False)),
    Case(
        "a final state that is told late is dropped, and told once only",
        replace(_CALM, sends=1),
        Rules(finals_are_never_old=False, tells_every_look=False),
    ),
    Case(
        "what the watch writes is told once only",
        replace(_SMALL, crashes=False, strangers=False, sends=1),
        Rules(tells_every_look=False),
    ),
    Case("MISSING is believed of a stranger", _CALM, Rules(asks_identity=False)),
    Case(
        "a successor is started before the task managers have given up",
        replace(_SMALL, sends=1),
        Rules(waits_for_task_managers=False),
    ),
    Case(
        "the same id is sent again before the task managers have given up",
        replace(_SMALL, strangers=False),
        Rules(waits_for_task_managers=False),
    ),
    Case("an unclear attempt is believed to be over once its id is spent", _SMALL, Rules(waits_when_unclear=False)),
    Case("the task managers are waited for before the fence, not after it", _SMALL, Rules(waits_after_fence=False)),
    Case("an end that the watch tells is believed without a question", _SMALL, Rules(ends_are_asked_for=False)),
]

# Where the rules as they are do not hold ------------------------------------------------------

_LOOSE = replace(GATEWAY, attempts=2)
_ONCE = replace(_LOOSE, retries=False, crashes=False)

HOLES = [
    Case("the gateway repeats its POST at the next JobManager", _LOOSE),
    Case("the same without its retries: the id is sent twice, the JobManager changes between", replace(_ONCE, sends=2)),
    Case("the same, each id sent once: the fence is forgotten with its JobManager", _ONCE, Rules(sends_once=True)),
    Case("the same, and fenced again before the new attempt is sent", _ONCE, Rules(sends_once=True, fences_again=True)),
    Case(
        "high availability as it is by default forgets the id of a fence that was cancelled",
        replace(HA, keeps_ids=False, senders=("inside",), attempts=2),
    ),
    Case(
        "high availability runs again what was shown at its end and not stored",
        replace(HA, stores_late=True, senders=("inside",), attempts=2),
    ),
]

# What closes them -----------------------------------------------------------------------------

CLOSED = [
    Case(
        "a fence on disk, an id sent once, no retries of the gateway; no high availability",
        World(retries=False),
        TO_ADD,
    ),
    Case(
        "the same where it is the only fence",
        World(retries=False, attempts=2),
        replace(TO_ADD, fence=False),
    ),
    Case(
        "a fence on disk; high availability by default, which forgets ids and stores ends late",
        replace(HA, keeps_ids=False, stores_late=True, attempts=2),
        Rules(disk=True),
        fast=replace(HA, keeps_ids=False, stores_late=True, attempts=2, sends=1),
    ),
    Case(
        "all that sends is closed and seen to end, an id sent once, no retries; no high availability",
        World(retries=False, attempts=2),
        Rules(closes_senders=True, sends_once=True),
    ),
]
