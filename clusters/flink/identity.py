"""Which Flink it is that answers, by its configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_DURATION = re.compile(r"^(\d+)\s*(ms|s|min|h)?[a-z]*$")
_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
_FOLDERS = ("-Dlog.file=", "-Dlog4j.configuration=", "-Dlog4j.configurationFile=")


def named_cluster(config: Mapping[str, str]) -> str | None:
    """What a cluster that is known to somebody else is called there: its id on Kubernetes or YARN, or where its
    JobManagers meet with high availability. They may have any address."""
    for key in ("kubernetes.cluster-id", "yarn.application.id"):
        if config.get(key):
            return " ".join([key, config.get("kubernetes.namespace", ""), config[key]]).replace("  ", " ")
    kind = config.get("high-availability.type", config.get("high-availability", "NONE"))
    if kind.lower() in ("none", ""):
        return None
    keys = ("cluster-id", "storageDir", "zookeeper.quorum", "zookeeper.path.root")
    return " ".join(["high availability", kind, *(v for k in keys if (v := config.get(f"high-availability.{k}")))])


def cluster_identity(config: Mapping[str, str], options: Sequence[str]) -> str | None:
    """What stays the same when a cluster's JobManager is started again, and differs for another Flink.

    Seen on 2.3.0: a JobManager that is started again shows the same configuration but for `web.tmpdir` and
    `blob.server.port`, and the same options of its JVM, in which start scripts name the folders of its log and its
    configuration. Two Flinks that have all of that in common cannot be told apart.
    """
    if named := named_cluster(config):
        return named
    if "jobmanager.rpc.address" not in config:
        return None
    where = f"{config['jobmanager.rpc.address']}:{config.get('jobmanager.rpc.port', '6123')}"
    web = f"{config.get('rest.address', '')}:{config.get('rest.port', '8081')}"
    found = {_folder(option) for option in options if option.startswith(_FOLDERS)}
    return ", ".join([f"JobManager {where}", f"web {web}", *(f"folder {folder}" for folder in sorted(found))])


def _folder(option: str) -> str:
    return option.partition("=")[2].removeprefix("file:").rpartition("/")[0]


def seconds(text: str | None, default: float) -> float:
    """A duration as Flink's configuration has it (`20 s`, `20000`, `1 min`) in seconds."""
    match = _DURATION.match((text or "").strip().lower())
    return int(match.group(1)) * _UNITS[match.group(2) or "ms"] if match else default
