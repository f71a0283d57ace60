"""Which kinds of cluster there are, where a cluster is, and what speaks to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from clusters.flink import kind as flink_session
from clusters.kind import FLAT, Address, ClusterKind, KeptHere, Opening, Shared, Url
from clusters.local import kind as processes
from clusters.protocol import Checkpoints, Engine, HostsClusters, Identified, SqlSessions, SqlWorkbench, Unreachable
from core.errors import InvalidInput
from settings import Settings

if TYPE_CHECKING:  # the command line takes its kinds from here, and has no database
    from store.tables import Cluster

KINDS: Mapping[str, ClusterKind] = {kind.name: kind for kind in (flink_session.KIND, processes.KIND)}
DEFAULT_KIND = flink_session.KIND.name
JobManagerUrl: TypeAlias = Url | processes.HostUrl
"""What the API's field `jobmanager_url` takes, of all kinds together."""


def kind_of(cluster: Cluster) -> ClusterKind:
    """Raises `Unreachable` when a later version has registered it: this one cannot ask it."""
    kind = KINDS.get(cluster.kind)
    if kind is None:
        raise Unreachable(f"{cluster.name} is of kind {cluster.kind}, which this version does not know.", sent=False)
    return kind


def address_of(cluster: Cluster) -> Address:
    """Where a cluster is, by its row. Raises `InvalidInput`."""
    kind = kind_of(cluster)
    if cluster.address:
        return kind.address.of(cluster.address)
    return kind.address.from_flat(kind.name, flat_of(cluster))


def flat_of(cluster: Cluster) -> dict[str, Any]:
    """The fields `FLAT` of a row."""
    return {name: getattr(cluster, name) for name in FLAT}


def columns_of(address: Address) -> dict[str, Any]:
    """How an address is written into a row. The flat fields are what processes of the version before read."""
    empty: dict[str, Any] = {"jobmanager_url": "", "standby_urls": [], "gateway_url": None, "gateway_urls": []}
    return {**empty, **address.flat(), "address": {} if address.is_all_flat else address.model_dump(mode="json")}


class Engines:
    """One engine per cluster, made when it is first wanted, and anew when the cluster's address changes. `transport`
    takes the place of the network."""

    def __init__(self, settings: Settings, *, transport: Any = None):
        self._settings, self._transport = settings, transport
        self._made: dict[str, tuple[tuple[str, Address, str], Engine]] = {}
        self._shared = Shared()

    def get(self, cluster: Cluster) -> Engine:
        """What speaks to a cluster; what it can do beside `Engine` is asked of it."""
        address = address_of(cluster)
        key = (cluster.kind, address, cluster.flink_version)
        made = self._made.get(cluster.name)
        if made is None or made[0] != key:
            engine = self.open(kind_of(cluster), address, cluster.flink_version)
            self.forget(cluster.name)
            self._made[cluster.name] = made = (key, engine)
        if isinstance(made[1], Identified):
            made[1].expect(cluster.identity)
        if isinstance(made[1], Checkpoints):
            made[1].keeps_state_in(cluster.state_dir)
        return made[1]

    def open(self, kind: ClusterKind, address: Address, flink_version: str) -> Engine:
        """An engine for an address that is no cluster's yet; whoever asks for it closes it."""
        return kind.open(address, Opening(self._settings, flink_version, self._transport, self._shared))

    def compiler(self, cluster: Cluster) -> SqlSessions:
        """Where SQL that is to run on a cluster is validated and compiled: its own gateways. A kind without any would
        name another cluster here. Raises `InvalidInput` when there is none."""
        engine = self.get(cluster)
        if not isinstance(engine, SqlSessions):
            raise _no_sql(cluster)
        return engine

    def workbench(self, cluster: Cluster) -> SqlWorkbench:
        """The cluster as one on which queries of a session run. Raises `InvalidInput` when it is none."""
        engine = self.get(cluster)
        if not isinstance(engine, SqlWorkbench):
            raise _no_sql(cluster)
        return engine

    def names(self) -> set[str]:
        """Of the clusters that there are engines for."""
        return set(self._made)

    def forget(self, name: str) -> None:
        """Of a cluster that is removed, or has another address now. Whoever uses its engine in this moment ends what it
        has begun; then the connections are closed."""
        if name in self._made:
            self._made.pop(name)[1].close_when_unused()

    async def close(self) -> None:
        """Let go of all connections."""
        await self._shared.close()
        for _, engine in self._made.values():
            await engine.close()


def runs_here(settings: Settings) -> bool:
    """Whether any kind keeps something running on this machine."""
    return any(kind.this_machine.runs(settings) for kind in KINDS.values() if kind.this_machine)


def stop_here(settings: Settings) -> int:
    """Stop what all kinds keep running on this machine, not for good. Returns how much there was."""
    return sum(kind.this_machine.stop(settings) for kind in KINDS.values() if kind.this_machine)


def kept_here(settings: Settings) -> list[KeptHere]:
    """What all kinds keep on this machine, attempt by attempt."""
    return [kept for kind in KINDS.values() if kind.this_machine for kept in kind.this_machine.kept(settings)]


def forget_here(settings: Settings, handles: Collection[str]) -> None:
    """Delete what is left on this machine of attempts that have ended, and that nobody asks for any more."""
    for kind in KINDS.values():
        if kind.this_machine:
            kind.this_machine.forget(settings, handles)


def _no_sql(cluster: Cluster) -> InvalidInput:
    others = "a session cluster that runs on it" if kind_of(cluster).can(HostsClusters) else "another one"
    return InvalidInput(
        f"{cluster.name} is of kind {cluster.kind}, which has no SQL gateway.",
        code="wrong_cluster_kind",
        field="cluster",
        remedy=f"Use {others} (GET /clusters).",
    )
