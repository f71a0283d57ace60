"""The kind `processes`: a machine on which Penstock runs session clusters, each with its keeper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import StringConstraints

from clusters.kind import FLAT, Address, ClusterKind, Opening, ThisMachine
from clusters.local.hosted import HostedClusters, all_here, any_here, forget, stop_all
from core.errors import InvalidInput
from settings import Settings
from settings.installed import flink_home

_SCHEME = "host://"
HostUrl = Annotated[str, StringConstraints(pattern=r"^host://[A-Za-z0-9][A-Za-z0-9._-]{0,252}$")]
"""How the API has taken the address of a machine from the beginning, as `jobmanager_url`."""


class HostAddress(Address):
    """`host` is PENSTOCK_HOST of the workers on the machine."""

    host: Annotated[str, StringConstraints(pattern=r"^[^\s/]{1,253}$")]

    @classmethod
    def from_flat(cls, kind: str, fields: Mapping[str, Any]) -> Self:
        if unused := sorted(name for name in FLAT if name != "jobmanager_url" and fields.get(name)):
            raise InvalidInput(f"A cluster of kind {kind} has no {unused[0]}.", code="field_unused", field=unused[0])
        url = str(fields.get("jobmanager_url") or "")
        if not url.startswith(_SCHEME):
            raise InvalidInput(
                f"`jobmanager_url` of kind {kind} is {_SCHEME}NAME", code="bad_address", field="jobmanager_url"
            )
        return cls.of({"host": url.removeprefix(_SCHEME)})

    def flat(self) -> dict[str, Any]:
        return {"jobmanager_url": f"{_SCHEME}{self.host}"}

    def __str__(self) -> str:
        return self.host


def _open(address: HostAddress, how: Opening) -> HostedClusters:
    settings = how.settings
    return HostedClusters(
        _root(settings),
        address.host,
        settings.host,
        lambda version: flink_home(settings.cache, version),
        settings.build_env,
        settings.flink_start_timeout,
    )


def _root(settings: Settings) -> Path:
    return settings.home / "clusters"


KIND = ClusterKind(
    name="processes",
    summary="a machine on which Penstock runs session clusters",
    address=HostAddress,
    engine=HostedClusters,
    job_types=("session-cluster",),
    open=_open,
    default=lambda settings: HostAddress(host=settings.host),
    this_machine=ThisMachine(
        runs=lambda settings: any_here(_root(settings)),
        stop=lambda settings: stop_all(_root(settings)),
        kept=lambda settings: all_here(_root(settings)),
        forget=lambda settings, handles: forget(_root(settings), handles),
    ),
)
