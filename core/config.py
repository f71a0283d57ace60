"""Flink configuration in five layers, and the keys that are Penstock's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from core.errors import InvalidInput
from core.names import SECRET_OPENS


class Layer(StrEnum):
    """Upper overrides lower; in order from the lowest."""

    PLATFORM = "platform"
    CLUSTER = "cluster"
    PROJECT = "project"
    JOB = "job"
    VERSION = "version"
    PENSTOCK = "penstock"  # what Penstock itself sets for an attempt; nobody overrides it


class Effective(BaseModel):
    """One key with its value and the layer it came from; `overrides` are the layers below that set it too."""

    model_config = ConfigDict(frozen=True)
    key: str
    value: str
    layer: Layer
    overrides: list[Layer] = []


PLATFORM_DEFAULTS: dict[str, str] = {
    "execution.checkpointing.interval": "30 s",
    "execution.checkpointing.num-retained": "3",
    "execution.checkpointing.timeout": "10 min",
}

_NO_CHANGELOG = (
    "restore points are never claimed, and the first checkpoint after such a restore has to be a full one, which the "
    "changelog state backend cannot make: the job would restart for ever"
)

ALWAYS: dict[str, str] = {
    "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
    "execution.checkpointing.create-subdir": "true",
    "state.changelog.enabled": "false",
}
"""What each attempt is given, beside its own folder: the cluster's own configuration may say otherwise. These names go
before their older ones in all versions (1.20.5, 2.3.0)."""

# Keys that decide where an attempt's state lies, which id it has and where it runs. Were a user to set
# one, Penstock would look for state in the wrong place or start a job under an id it does not know.
OWNED: dict[str, str] = {
    "$internal.pipeline.job-id": "Penstock chooses the Flink job id of each attempt",
    "pipeline.name": "Flink shows the job under its Penstock name",
    "execution.checkpointing.externalized-checkpoint-retention": "checkpoints are always retained",
    "execution.checkpointing.dir": "Penstock chooses the checkpoint directory of each job",
    "execution.checkpointing.savepoint-dir": "Penstock chooses the savepoint directory of each job",
    "state.checkpoints.dir": "Penstock chooses the checkpoint directory of each job",
    "state.savepoints.dir": "Penstock chooses the savepoint directory of each job",
    "state.checkpoints.create-subdir": "Penstock finds a checkpoint by the attempt's own folder",
    "execution.checkpointing.create-subdir": "Penstock finds a checkpoint by the attempt's own folder",
    "state.changelog.enabled": _NO_CHANGELOG,
    "state.backend.changelog.enabled": _NO_CHANGELOG,
    "execution.state-recovery.path": "use `restore` in the command",
    "execution.state-recovery.ignore-unclaimed-state": "use `restore.allow_non_restored_state` in the command",
    "execution.state-recovery.claim-mode": "restore points are never claimed, so that they stay usable",
    "execution.savepoint.path": "use `restore` in the command",
    "execution.savepoint.ignore-unclaimed-state": "use `restore.allow_non_restored_state` in the command",
    "execution.savepoint-restore-mode": "restore points are never claimed, so that they stay usable",
    "execution.savepoint.restore-mode": "restore points are never claimed, so that they stay usable",
    "execution.target": "the job's cluster decides where it runs",
    "execution.attached": "Penstock submits detached",
    "execution.shutdown-on-attached-exit": "Penstock submits detached",
    "table.dml-sync": "an INSERT that is waited for would never return on a stream",
    "pipeline.jars": "jars come from the job's artifact and its libraries",
    "pipeline.classpaths": "jars come from the job's artifact and its libraries",
    "python.client.executable": "the job's own Python environment is used",
    "python.executable": "the job's own Python environment is used",
}
_LIBRARIES = (
    "Register the jar as a library of the project (POST /projects/{project}/libraries), and name it under `libraries` "
    "of the spec."
)
REMEDIES: dict[str, str] = {"pipeline.jars": _LIBRARIES, "pipeline.classpaths": _LIBRARIES}
"""What to do in place of setting a key of ours, where removing it is not all."""
OWNED_PREFIXES: dict[str, str] = {
    "$internal.": "internal keys of Flink are not for jobs",
    "rest.": "the cluster's address is a property of the cluster",
    "jobmanager.rpc.": "the cluster's address is a property of the cluster",
    "high-availability": "high availability is a property of the cluster",
    "security.": "security is a property of the cluster",
    "env.": "environment of the processes is a property of the cluster",
}

_KEY = re.compile(r"^[A-Za-z0-9$][A-Za-z0-9$._-]{0,254}$")
_SECRET = re.compile(r"password|secret|token|passwd|api[-_.]?key|credential|private[-_.]?key", re.IGNORECASE)
MAX_VALUE = 8192
MOST_KEYS = 200
"""Of one layer."""


def check_key(key: str, field: str) -> None:
    """Raise `InvalidInput` when `key` is no configuration key, or one of Penstock's own."""
    if not _KEY.match(key) and not key.startswith("$internal."):
        raise InvalidInput(f"{field}: {key[:80]!r} is not a configuration key.", code="bad_config_key", field=field)
    why = OWNED.get(key)
    if why is None:
        why = next((w for prefix, w in OWNED_PREFIXES.items() if key.startswith(prefix)), None)
    if why is not None:
        raise InvalidInput(
            f"{field}: {key} cannot be set here: {why}.",
            code="forbidden_config_key",
            field=f"{field}.{key}",
            remedy=REMEDIES.get(key, f"Remove {key}."),
        )


def check_config(config: Mapping[str, str], field: str) -> None:
    """Raise `InvalidInput` for a key that `check_key` refuses, or a value that is too long or has a NUL character."""
    for key, value in config.items():
        check_key(key, field)
        if "\x00" in value or len(value) > MAX_VALUE:
            raise InvalidInput(
                f"{field}: the value of {key} has a NUL character or more than {MAX_VALUE} characters.",
                code="bad_config_value",
                field=f"{field}.{key}",
            )


def check_new_config(config: Mapping[str, str], field: str) -> None:
    """The same of what somebody gives now: a reference to a secret would go to Flink as it is written."""
    check_config(config, field)
    if key := next((key for key, value in config.items() if SECRET_OPENS in value), None):
        raise InvalidInput(
            f"{field}: {key} refers to a secret, and a configuration has none put in.",
            code="secret_misplaced",
            field=f"{field}.{key}",
            remedy=SECRETS_OF_CONFIG,
        )


def is_secret(key: str) -> bool:
    """Whether a value under this key is hidden wherever it is shown."""
    return _SECRET.search(key) is not None


HIDDEN = "******"
SECRETS_OF_CONFIG = (
    "In a SQL script write SET 'key' = '${secret:name}'. Elsewhere give the value itself: that of a key with a word "
    "like password or secret in it is hidden wherever it is shown."
)


def shown(key: str, value: str) -> str:
    """The value as a person may see it."""
    return HIDDEN if is_secret(key) else value


def unhidden(given: Mapping[str, str], now: Mapping[str, str], field: str) -> dict[str, str]:
    """`given` with the values of `now` where somebody sends back what he was shown. Raises `InvalidInput` when there is
    none: a secret would be replaced by its asterisks."""
    if missing := [key for key, value in given.items() if value == HIDDEN and key not in now]:
        raise InvalidInput(
            f"{field}: {missing[0]} is {HIDDEN}, which is how secrets are shown, and there is no value of it to keep.",
            code="hidden_value",
            field=f"{field}.{missing[0]}",
            remedy="Give the value itself, or leave the key out.",
        )
    return {key: str(now[key]) if value == HIDDEN else value for key, value in given.items()}


def merge(layers: Mapping[Layer, Mapping[str, str]]) -> dict[str, Effective]:
    """The effective configuration: for each key the highest layer that sets it."""
    result: dict[str, Effective] = {}
    for layer in Layer:
        for key, value in layers.get(layer, {}).items():
            below = result.get(key)
            overrides = [*below.overrides, below.layer] if below else []
            result[key] = Effective(key=key, value=str(value), layer=layer, overrides=overrides)
    return result


def values(effective: Mapping[str, Effective]) -> dict[str, str]:
    """Each key with its effective value, as Flink takes them: without the layers."""
    return {key: item.value for key, item in effective.items()}
