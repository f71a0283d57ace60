"""Which kinds of cluster there are, and what speaks to a cluster of each."""

from __future__ import annotations

from pathlib import Path

from clusters.flink.clients import Clients
from clusters.flink.session import FlinkSession
from clusters.local.hosted import HostedClusters
from clusters.protocol import Engine
from core.errors import InvalidInput
from settings import Settings
from store.tables import Cluster

SESSION, PROCESSES = "flink-session", "processes"


class Engines:
    """One engine a cluster, made when it is first wanted, and anew when the cluster's address changes."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._made: dict[str, tuple[tuple[str | None, ...], FlinkSession]] = {}
        self._clients = Clients(settings.cache / "fence")

    def get(self, cluster: Cluster) -> Engine:
        return self.hosted(cluster) if cluster.kind == PROCESSES else self.session(cluster)

    def hosted(self, cluster: Cluster) -> HostedClusters:
        """The place as one that session clusters can be run on."""
        settings = self._settings
        root = settings.home / "clusters"
        return HostedClusters(root, cluster.jobmanager_url, settings.host, self._flink_home, settings.build_env)

    def session(self, cluster: Cluster) -> FlinkSession:
        """The same as one that SQL can be worked on. Raises `InvalidInput` when it is none."""
        if cluster.kind != SESSION:
            raise InvalidInput(
                f"{cluster.name} is of kind {cluster.kind}: it runs session clusters, not SQL.",
                code="wrong_cluster_kind",
                field="cluster",
                remedy="Use a session cluster that runs on it (GET /clusters).",
            )
        standby = tuple(cluster.standby_urls or ())
        gateways = [url for url in (cluster.gateway_url, *(cluster.gateway_urls or ())) if url]
        key = (cluster.kind, cluster.jobmanager_url, *gateways, cluster.flink_version, *standby)
        made = self._made.get(cluster.name)
        if made is None or made[0] != key:
            engine = FlinkSession(
                cluster.jobmanager_url,
                gateways,
                standby_urls=standby,
                flink_home=self._flink_home(cluster.flink_version),
                built=self._settings.cache / "fence",
                clients=self._clients,
            )
            self.forget(cluster.name)
            self._made[cluster.name] = made = (key, engine)
        made[1].expected = cluster.identity
        return made[1]

    def forget(self, name: str) -> None:
        """Of a cluster that is removed, or has another address now. Whoever uses its engine in this moment ends what it
        has begun; then the connections are closed."""
        if name in self._made:
            self._made.pop(name)[1].close_when_unused()

    def flink_python(self, version: str) -> Path:
        """Interpreter with PyFlink of an installed Flink version."""
        return self._settings.cache / "flink" / version / "bin" / "python"

    def _flink_home(self, version: str) -> Path | None:
        found = (self._settings.cache / "flink" / version).glob("lib/python*/site-packages/pyflink")
        return next(iter(found), None)

    async def close(self) -> None:
        await self._clients.close()
        for _, engine in self._made.values():
            await engine.close()
