"""Shapes of clusters and projects."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from api.deps import Strict
from core.config import check_config
from core.names import Name

Url = Annotated[
    str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$", max_length=500)
]
StateDir = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9+.-]*://?[A-Za-z0-9._~/@:=+-]+$", max_length=1000)]
FlinkVersion = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$")]


def _checked(config: dict[str, str] | None) -> dict[str, str] | None:
    if config is not None:
        check_config(config, "config")
    return config


class NewCluster(Strict):
    name: Name
    kind: Literal["flink-session"] = "flink-session"
    jobmanager_url: Url = Field(examples=["http://127.0.0.1:8081"])
    standby_urls: list[Url] = Field(
        default=[],
        max_length=10,
        description="REST addresses of the other JobManagers, with high availability: asked when the first is silent",
    )
    gateway_url: Url | None = Field(default=None, examples=["http://127.0.0.1:8083"], description="For SQL jobs")
    gateway_urls: list[Url] = Field(
        default=[], max_length=10, description="Further SQL gateways, taken when the one before does not answer"
    )
    flink_version: FlinkVersion = Field(examples=["2.3.0"])
    state_dir: StateDir = Field(
        examples=["file:///var/lib/flink/state"],
        description="URI of the folder for checkpoints and savepoints, for the cluster and for the workers the same",
    )
    config: dict[str, str] = Field(default={}, max_length=200, description="Flink configuration of all its jobs")

    _config = field_validator("config")(_checked)
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "staging",
                    "kind": "flink-session",
                    "jobmanager_url": "http://127.0.0.1:8081",
                    "gateway_url": "http://127.0.0.1:8083",
                    "flink_version": "2.3.0",
                    "state_dir": "file:///var/lib/flink/state",
                }
            ]
        },
    )


class ClusterPatch(Strict):
    """What is left out stays."""

    jobmanager_url: Url | None = None
    standby_urls: list[Url] | None = Field(default=None, max_length=10)
    gateway_url: Url | None = None
    gateway_urls: list[Url] | None = Field(default=None, max_length=10)
    flink_version: FlinkVersion | None = None
    config: dict[str, str] | None = Field(default=None, max_length=200)

    _config = field_validator("config")(_checked)


class ClusterHealth(BaseModel):
    reachable: bool
    last_observed_at: datetime | None
    unreachable_since: datetime | None
    why: str | None
    details: dict[str, Any] | None = Field(description="Flink version, task managers, slots, as of the last look")


class ClusterOut(BaseModel):
    name: str
    kind: str
    jobmanager_url: str
    standby_urls: list[str]
    gateway_url: str | None
    gateway_urls: list[str]
    flink_version: str
    state_dir: str
    config: dict[str, str]
    health: ClusterHealth
    created_at: datetime


class NewProject(Strict):
    name: Name
    config: dict[str, str] = Field(default={}, max_length=200, description="Flink configuration of all its jobs")

    _config = field_validator("config")(_checked)


class ProjectPatch(Strict):
    config: dict[str, str] | None = Field(default=None, max_length=200)

    _config = field_validator("config")(_checked)


class ProjectOut(BaseModel):
    name: str
    config: dict[str, str]
    created_at: datetime
