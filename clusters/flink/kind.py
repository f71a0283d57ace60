"""The kind `flink-session`: a Flink session cluster that somebody runs, with its SQL gateways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self, cast

from pydantic import Field

from clusters.flink.clients import Clients
from clusters.flink.session import FlinkSession
from clusters.kind import FLAT, Address, ClusterKind, Opening, Url
from core.errors import InvalidInput
from settings.installed import flink_home


class RestAddress(Address):
    """REST addresses of its JobManagers, the one to ask first and the others, and of its SQL gateways likewise."""

    GATEWAYS: ClassVar[frozenset[str]] = frozenset({"gateway_url", "gateway_urls"})
    jobmanager_url: Url
    standby_urls: Annotated[list[Url], Field(max_length=10)] = []
    gateway_url: Url | None = None
    gateway_urls: Annotated[list[Url], Field(max_length=10)] = []

    @classmethod
    def from_flat(cls, kind: str, fields: Mapping[str, Any]) -> Self:
        if not str(fields.get("jobmanager_url") or "").startswith("http"):
            raise InvalidInput(
                "`jobmanager_url` has to be the REST address of a JobManager, http(s)://HOST:PORT",
                code="bad_address",
                field="jobmanager_url",
            )
        # Stored ones are as they were taken: a rule of today is no reason not to ask a cluster of yesterday.
        given = {name: fields[name] for name in FLAT if fields.get(name)}
        return cast(Self, cls.model_construct(**given))

    def flat(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in FLAT}

    @property
    def is_all_flat(self) -> bool:
        return True

    def __str__(self) -> str:
        return self.jobmanager_url


def _open(address: RestAddress, how: Opening) -> FlinkSession:
    built = how.settings.cache / "fence"
    return FlinkSession(
        address.jobmanager_url,
        [url for url in (address.gateway_url, *address.gateway_urls) if url],
        standby_urls=address.standby_urls,
        flink_home=flink_home(how.settings.cache, how.flink_version),
        built=built,
        transport=how.transport,
        clients=how.shared.get(Clients, lambda: Clients(built)),
    )


KIND = ClusterKind(
    name="flink-session",
    summary="one that runs",
    address=RestAddress,
    engine=FlinkSession,
    job_types=("sql", "jar", "pyflink"),
    open=_open,
)
