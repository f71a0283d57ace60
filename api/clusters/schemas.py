"""Shapes of clusters."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from api.deps import ConfigPatch, Strict, checked_config
from clusters.kind import FLAT, Address, Url
from clusters.registry import DEFAULT_KIND, KINDS, JobManagerUrl
from core.errors import InvalidInput
from core.jobs.states import JobState
from core.names import Name

StateDir = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9+.-]*://?[A-Za-z0-9._~/@:=+-]+$", max_length=1000)]
FlinkVersion = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$")]


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"one of: {', '.join(KINDS)}")
    return kind


KindName = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": list(KINDS)})]


class NewCluster(Strict):
    name: Name
    kind: KindName = Field(
        default=DEFAULT_KIND,
        description=". ".join(f"{kind.name}: {kind.summary}" for kind in KINDS.values()),
    )
    address: dict[str, Any] | None = Field(
        default=None,
        max_length=20,
        examples=[{"host": "worker-1"}],
        description="Where it is, in the shape of its kind (GET /cluster-kinds). flink-session: `jobmanager_url`, "
        "`standby_urls`, `gateway_url` and `gateway_urls`, which may as well be given by themselves. processes: "
        "`host`, PENSTOCK_HOST of the workers there; by default the API's own machine",
    )
    jobmanager_url: JobManagerUrl | None = Field(
        default=None,
        examples=["http://127.0.0.1:8081"],
        description="REST address of the JobManager. Of kind processes host://NAME, which is its `host`",
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

    _config = field_validator("config")(checked_config)

    @model_validator(mode="after")
    def _located(self) -> NewCluster:
        try:
            self.where()
        except InvalidInput as error:
            raise ValueError(error.message) from error
        return self

    def where(self) -> Address | None:
        """Its address, from either way to give it; None where the kind's own default is to be taken. Raises
        `InvalidInput`."""
        kind, flat = KINDS[self.kind], {name: value for name in FLAT if (value := getattr(self, name))}
        if self.address is not None and flat:
            raise InvalidInput(f"give either `address` or {', '.join(flat)}", code="bad_address", field="address")
        if self.address is not None:
            return kind.address.of(self.address)
        return kind.address.from_flat(kind.name, flat) if flat or kind.default is None else None

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


class ClusterPatch(ConfigPatch):
    """What is left out stays. `config` is replaced as a whole, or with `merge` laid over what is there by then.
    `identity` can only be sent as null."""

    address: dict[str, Any] | None = Field(
        default=None, max_length=20, description="In whole, in the shape of its kind"
    )
    jobmanager_url: JobManagerUrl | None = None
    standby_urls: list[Url] | None = Field(default=None, max_length=10)
    gateway_url: Url | None = None
    gateway_urls: list[Url] | None = Field(default=None, max_length=10)
    flink_version: FlinkVersion | None = None
    identity: None = Field(
        default=None, description="null: take the Flink that answers next for the one that is meant, also another one"
    )
    force: bool = Field(
        default=False,
        description="Also while attempts on it have not been seen to end: the new address is of the same Flink, or "
        "nothing of the old one can run any more",
    )


class KindOut(BaseModel):
    """A kind of cluster: what its address looks like, and what clusters of it can do."""

    name: str
    summary: str = Field(description="What a cluster of it is")
    is_default: bool = Field(description="A cluster that is registered without `kind` is of this one")
    address: dict[str, Any] = Field(description="JSON schema of `address`")
    has_default_address: bool = Field(description="A cluster of it may be registered without an address")
    job_types: list[str] = Field(description="Types of job that run on it")
    capabilities: list[str] = Field(description="What not every kind can do, and this one can")


class ClusterHealth(BaseModel):
    reachable: bool
    last_observed_at: datetime | None
    unreachable_since: datetime | None
    why: str | None = Field(description="Why it is not reachable, or why nothing can run on it though it is")
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
    address: dict[str, Any] = Field(description="Where it is, in the shape of its kind")
    jobmanager_url: str = Field(description="Of kind processes host://NAME; empty of kinds that have none")
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
