"""Shapes of jobs, versions and their configuration."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from api.deps import Strict, checked_config
from core.config import MOST_KEYS, Layer
from core.jobs.blocked import Blocked
from core.jobs.policy import RestartPolicy
from core.jobs.retention import SavepointPolicy
from core.jobs.states import AttemptState, CommandKind, JobState
from core.names import Name
from core.specs import JobSpec
from core.sql.lineage import Lineage

Label = Annotated[str, StringConstraints(max_length=200)]
LabelKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,99}$")]
MOST_LABELS = 50
Labels = Annotated[dict[LabelKey, Label], Field(max_length=MOST_LABELS)]

SQL_EXAMPLE = (
    "CREATE TABLE clicks (id BIGINT, at TIMESTAMP(3)) WITH ('connector' = 'datagen', 'rows-per-second' = '5');\n"
    "CREATE TABLE seen (id BIGINT, at TIMESTAMP(3)) WITH ('connector' = 'blackhole');\n"
    "INSERT INTO seen SELECT id, at FROM clicks;"
)


class NewJob(Strict):
    project: Name = "default"
    name: Name = Field(examples=["clicks"])
    cluster: Name = "local"
    spec: JobSpec
    restart_policy: RestartPolicy = RestartPolicy()
    savepoint_policy: SavepointPolicy = SavepointPolicy()
    config: dict[str, str] = Field(default={}, max_length=MOST_KEYS, description="Flink configuration of all versions")
    labels: Labels = {}
    note: str = Field(default="", max_length=2000, description="Note on version 1")

    _config = field_validator("config")(checked_config)
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "project": "default",
                    "name": "clicks",
                    "cluster": "local",
                    "spec": {"type": "sql", "sql": SQL_EXAMPLE},
                },
                {
                    "name": "word-count",
                    "spec": {
                        "type": "jar",
                        "git": {
                            "url": "https://git.example.com/team/jobs.git",
                            "ref": "main",
                            "subdirectory": "word-count",
                        },
                        "build": {"tool": "maven"},
                        "entry_class": "com.example.WordCount",
                        "args": ["--rate", "10"],
                    },
                },
                {
                    "name": "scores",
                    "spec": {
                        "type": "pyflink",
                        "git": {"url": "https://git.example.com/team/scores.git"},
                        "entry_file": "scores.py",
                        "requirements": "requirements.txt",
                        "libraries": [{"name": "kafka", "version": "5.0.0"}],
                        "env": {"API_TOKEN": "${secret:api-token}"},
                        "files": {"conf/app.properties": "topic=scores\n"},
                    },
                },
                {
                    "name": "studio",
                    "cluster": "machine",
                    "spec": {"type": "session-cluster", "taskmanagers": 2, "slots": 4},
                },
            ]
        },
    )


class KeysOfJob(Strict):
    """Keys of what a PATCH changes. One that is not there is passed over."""

    labels: list[str] = Field(default=[], max_length=200)
    config: list[str] = Field(default=[], max_length=200)
    restart_policy: list[str] = Field(default=[], max_length=200, description="Fields that follow the default again")
    savepoint_policy: list[str] = Field(default=[], max_length=200, description="Fields that follow the default again")


class JobPatch(Strict):
    """What is left out stays. `labels`, `config` and each policy are replaced as a whole, or with `merge` laid over
    what is there. `config` counts from the next attempt on, its `table.*` options from the next resubmit on: they are
    in the compiled plan. A field of a policy that is not given follows the default (GET /settings), also one that is
    changed later."""

    merge: bool = Field(
        default=False, description="Keys and fields that are not given stay as they are, whoever has set them"
    )
    unset: KeysOfJob = Field(default=KeysOfJob(), description="Goes with `merge`: what is taken away")
    labels: Labels | None = None
    restart_policy: RestartPolicy | None = None
    savepoint_policy: SavepointPolicy | None = None
    config: dict[str, str] | None = Field(default=None, max_length=MOST_KEYS)
    reason: str | None = Field(default=None, max_length=2000, description="Why, for the timeline")

    _config = field_validator("config")(checked_config)

    @model_validator(mode="after")
    def _only_with_merge(self) -> Self:
        if self.unset != KeysOfJob() and not self.merge:
            raise ValueError("`unset` goes with `merge`: without it, what is to go is left out")
        return self


class CurrentAttempt(BaseModel):
    number: int
    flink_job_id: str
    version: int
    commit: str | None = Field(description="The Git commit that it runs, for jar and pyflink")
    state: AttemptState
    engine_state: str | None = Field(
        description="While it lives, what the cluster said last: STARTING, RUNNING, RECOVERING, ..."
    )
    detail: str | None
    restored_from: str | None
    started_at: datetime
    running_since: datetime | None
    ended_at: datetime | None


class JobOut(BaseModel):
    id: str
    project: str
    name: str
    type: str
    state: JobState
    reason: str = Field(description="Why it is in this state; empty when there is nothing to say")
    warning: str | None = Field(
        description="What is wrong with it although it runs: Flink restarts it again and again, or its checkpoints do "
        "not complete. Or although it runs or has finished: its program failed, or started a second Flink job, which "
        "was cancelled"
    )
    version: int = Field(description="Version of the current attempt, else the latest")
    latest_version: int
    cluster: str
    current_attempt: CurrentAttempt | None
    last_observed_at: datetime | None = Field(description="When its cluster last told of it")
    unreachable_since: datetime | None = Field(description="Since when its cluster cannot be asked; null when it can")
    busy: CommandKind | None = Field(description="The command that is being carried out now")
    allowed_commands: list[CommandKind]
    deleting_at: datetime | None = Field(default=None, description="Since when it is being deleted")
    blocked: Blocked | None = Field(description="When BLOCKED: the reason, and what was seen")
    next_actions: list[dict[str, Any]] = Field(description="When BLOCKED: safe commands, ready to be sent")
    restart_at: datetime | None = Field(description="When RESTARTING: the next restart")
    restart_policy: RestartPolicy
    savepoint_policy: SavepointPolicy
    config: dict[str, str]
    labels: dict[str, str]
    created_at: datetime
    updated_at: datetime
    notes: list[str] = Field(
        default=[], description="Where its configuration was given: keys in it that are likely to be mistyped"
    )


class VersionOut(BaseModel):
    number: int
    spec: dict[str, Any]
    note: str
    commit: str | None = Field(
        default=None, description="The Git commit that it ran with last, for jar and pyflink: its `ref` may be a branch"
    )
    ref_commit: str | None = Field(
        default=None, description="With `branches`: the commit that its `ref` names now; `resubmit` takes that one"
    )
    ref_error: str | None = Field(default=None, description="With `branches`: why that cannot be told")
    created_at: datetime
    notes: list[str] = Field(
        default=[], description="Where it was added: keys of its configuration that are likely to be mistyped"
    )


class PlanOut(BaseModel):
    version: int
    digest: str | None
    why: str | None = Field(description="Why there is none")
    flink_version: str | None = Field(description="Of the Flink that compiled it")
    lineage: Lineage | None
    plan: dict[str, Any] | None = Field(description="Flink's compiled plan; secrets are hidden")


class VersionDiff(BaseModel):
    a: int
    b: int
    changes: list[str] = Field(description="Changed fields of the spec, as dotted paths", examples=[["sql", "config"]])
    diff: str = Field(description="Unified diff of the two specs, the SQL text line by line")


class ConfigItem(BaseModel):
    key: str
    value: str
    layer: Layer
    overrides: list[Layer]


class ConfigOut(BaseModel):
    version: int
    items: list[ConfigItem]
    notes: list[str] = Field(description="Keys that are likely to be mistyped")
