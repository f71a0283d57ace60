"""Whether a cluster may be given another address, while attempts on it have not been seen to end.

What is at the new address may be another Flink: it knows none of the attempts, and they would be started there beside
themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from clusters.kind import Address, ClusterKind
from clusters.protocol import Identified, Leader
from clusters.registry import address_of, kind_of
from core.effects import EngineError
from core.errors import Conflict
from core.jobs.states import AttemptState
from services import Services
from settings import waits
from store.tables import Cluster

_ON_THEIR_WAY = (AttemptState.RECORDED, AttemptState.UNKNOWN)
OpenAttempts = Sequence[Mapping[str, Any]]


async def who_answers(services: Services, kind: ClusterKind, address: Address, flink_version: str) -> list[Leader]:
    """Who leads where a cluster of this kind is to be; none where nobody answers, or the kind does not tell."""
    if not kind.can(Identified):
        return []
    engine = services.engines.open(kind, address, flink_version)
    try:
        return await engine.leaders() if isinstance(engine, Identified) else []
    finally:
        await engine.close()


async def is_another(
    services: Services, row: Cluster, address: Address | None, open_: OpenAttempts, *, forgets: bool, force: bool
) -> bool:
    """Whether the cluster may be another Flink with this `address` (None: the one that it has): then its identity is
    written down anew, as when it `forgets` which one it was.

    `open_` are rows of `attempts.open_on`. Raises `Conflict`, when one of them could be lost sight of by that.
    """
    before = address_of(row)
    changed = before.differences(address) if address is not None else frozenset()
    if forgets and open_ and not force:
        raise _in_use(row, open_, "another Flink would be taken for theirs", _ACCEPT)
    another = forgets
    if address is not None and changed - before.GATEWAYS and not await _is_the_same(services, row, address):
        if open_ and not force:
            await _check_old_address(services, row, open_)
        another = True
    if changed & before.GATEWAYS and open_ and not force:
        raise _in_use(row, open_, "a gateway of another Flink would start their next attempts there", _GATEWAY)
    return another


async def _is_the_same(services: Services, row: Cluster, address: Address) -> bool:
    """Whether the new address is another one of the same Flink. Where nobody answers is looked at again by whoever
    asks it later; one at the least has to."""
    answers = await who_answers(services, kind_of(row), address, row.flink_version)
    return row.identity is not None and bool(answers) and all(leader.cluster == row.identity for leader in answers)


async def _check_old_address(services: Services, row: Cluster, open_: OpenAttempts) -> None:
    engine = services.engines.get(row)
    try:
        async with asyncio.timeout(waits.ADDRESS_SECONDS):
            overview = await engine.overview()
            await engine.leader()
    except (EngineError, TimeoutError) as error:
        words = error.message if isinstance(error, EngineError) else "it does not answer in time"
        raise _in_use(row, open_, f"its old address cannot tell whether they run there ({words})", _GONE) from error
    if known := [attempt for attempt in open_ if attempt["handle"] in overview.jobs]:
        raise _in_use(row, known, "they are on the Flink at its old address", _ALIVE)
    if sent := [attempt for attempt in open_ if attempt["state"] in _ON_THEIR_WAY]:
        raise _in_use(row, sent, "they may be on their way to the Flink at its old address", _UNSEEN)


_ALIVE = "Pause or kill them first; one that has just ended is written down within seconds: then send it again."
_UNSEEN = "Wait until they run, or kill them first: a kill makes sure that what was sent never runs."
_GONE = (
    "Bring the old address back, or make sure that nothing of that cluster can run any more and send it with `force`: "
    "jobs that the new one does not know are restarted there."
)
_ACCEPT = (
    "Pause or kill them first. With `force`, when it is their Flink all the same (its ports or folders have changed), "
    "or when nothing of the old one can run any more."
)
_GATEWAY = "Send it with `force` when that gateway submits to the same Flink, or pause them first."


def _in_use(row: Cluster, open_: OpenAttempts, what: str, remedy: str) -> Conflict:
    names = sorted({f"{attempt['project']}:{attempt['name']}" for attempt in open_})
    words = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return Conflict(
        f"Attempts on the cluster {row.name} have not been seen to end, and {what}: {words}. Nothing was changed.",
        code="cluster_in_use",
        remedy=remedy,
    )


def check_still(row: Cluster, before: OpenAttempts, now: OpenAttempts) -> None:
    """Raise `Conflict` when an attempt has been opened on the cluster since it was looked at."""
    handles = {attempt["handle"] for attempt in before}
    if new := [attempt for attempt in now if attempt["handle"] not in handles]:
        raise _in_use(row, new, "they have just been started", "Send it again.")
