"""Shapes of clusters."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from api.deps import Strict
from core.config import check_config
from core.jobs.states import JobState
from core.names import Name

Url = Annotated[
    str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$", max_length=500)
]
HostUrl = Annotated[str, StringConstraints(pattern=r"^host://[A-Za-z0-9][A-Za-z0-9._-]{0,252}$")]
StateDir = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9+.-]*://?[A-Za-z0-9._~/@:=+-]+$", max_length=1000)]
FlinkVersion = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$")]


def _checked(config: dict[str, str] | None) -> dict[str, str] | None:
    if config is not None:
        check_config(config, "config")
    return config


class NewCluster(Strict):
    name: Name
    kind: Literal["flink-session", "processes"] = Field(
        default="flink-session",
        description="flink-session: one that runs. processes: a machine on which Penstock runs session clusters",
    )
    jobmanager_url: Url | HostUrl | None = Field(
        default=None,
        examples=["http://127.0.0.1:8081"],
        description="Of kind processes: host://NAME, where NAME is PENSTOCK_HOST of the workers there; by default the "
        "API's own machine",
    )
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
    force: bool = Field(default=False, description="Also when the Flink that answers there has another name already")

    _config = field_validator("config")(_checked)

    @model_validator(mode="after")
    def _address(self) -> NewCluster:
        if self.kind == "flink-session":
            if not (self.jobmanager_url or "").startswith("http"):
                raise ValueError("`jobmanager_url` has to be the REST address of a JobManager, http(s)://HOST:PORT")
            return self
        if self.jobmanager_url is not None and not self.jobmanager_url.startswith("host://"):
            raise ValueError("`jobmanager_url` of kind processes is host://NAME")
        if self.gateway_url or self.gateway_urls or self.standby_urls:
            raise ValueError("a cluster of kind processes has neither gateways nor standby JobManagers of its own")
        return self

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
                },
                {
                    "name": "machine",
                    "kind": "processes",
                    "flink_version": "2.3.0",
                    "state_dir": "file:///var/lib/flink/state",
                },
            ]
        },
    )


class ClusterPatch(Strict):
    """What is left out stays. `identity` can only be sent as null."""

    jobmanager_url: Url | HostUrl | None = None
    standby_urls: list[Url] | None = Field(default=None, max_length=10)
    gateway_url: Url | None = None
    gateway_urls: list[Url] | None = Field(default=None, max_length=10)
    flink_version: FlinkVersion | None = None
    config: dict[str, str] | None = Field(default=None, max_length=200)
    identity: None = Field(
        default=None, description="null: take the Flink that answers next for the one that is meant, also another one"
    )
    force: bool = Field(
        default=False,
        description="Also while attempts on it have not been seen to end: the new address is of the same Flink, or "
        "nothing of the old one can run any more",
    )

    _config = field_validator("config")(_checked)


class ClusterHealth(BaseModel):
    reachable: bool
    last_observed_at: datetime | None
    unreachable_since: datetime | None
    why: str | None
    details: dict[str, Any] | None = Field(description="Flink version, task managers, slots, as of the last look")


class ManagedBy(BaseModel):
    job: str = Field(description="project:name", examples=["default:studio"])
    state: JobState


class NewScale(Strict):
    taskmanagers: int = Field(ge=1, le=100)
    force: bool = Field(default=False, description="Also when more task slots are taken than would be left")
    reason: str | None = Field(default=None, max_length=2000, description="Why, for the timeline")


class ClusterOut(BaseModel):
    name: str
    kind: str
    jobmanager_url: str
    standby_urls: list[str]
    gateway_url: str | None
    gateway_urls: list[str]
    flink_version: str
    state_dir: str
    identity: str | None = Field(
        description="What tells its Flink from any other; written down when it first answers. One that is another does "
        "not count as an answer"
    )
    config: dict[str, str]
    managed_by: ManagedBy | None = Field(description="The job that runs it, when Penstock does")
    health: ClusterHealth
    created_at: datetime
