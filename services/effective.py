"""The configuration that a version of a job runs with, and where each key of it comes from."""

from __future__ import annotations

from core import config as rules
from core.jobs.snapshot import checkpoint_directory
from core.jobs.types import traits
from core.specs import SqlSpec
from core.sql.script import Script, parse_script
from core.sql.variables import text_of
from store.tables import Cluster, Job, Project, Version


def effective_config(
    job: Job, cluster: Cluster, project: Project, version: Version, script: Script | None = None
) -> dict[str, rules.Effective]:
    """The configuration of a version of a job on its cluster, each key with the layer it comes from. `script` is the
    version's SQL where it is parsed already."""
    spec = version.spec
    if traits(job.type).runs_cluster:
        # A cluster's own configuration: what jobs get, they get when they are started on it.
        return rules.merge(
            {
                rules.Layer.CLUSTER: cluster.config,
                rules.Layer.PROJECT: project.config,
                rules.Layer.JOB: job.config,
                rules.Layer.VERSION: dict(spec.get("config") or {}),
            }
        )
    own = dict(spec.get("config") or {})
    if spec.get("parallelism"):
        own["parallelism.default"] = str(spec["parallelism"])
    if traits(job.type).compiles:
        own |= (script or parse_script(text_of(SqlSpec.model_validate(spec)))).settings
    return rules.merge(
        {
            rules.Layer.PLATFORM: rules.PLATFORM_DEFAULTS,
            rules.Layer.CLUSTER: cluster.config,
            rules.Layer.PROJECT: project.config,
            rules.Layer.JOB: job.config,
            rules.Layer.VERSION: own,
            rules.Layer.PENSTOCK: {
                "execution.checkpointing.dir": checkpoint_directory(cluster.state_dir, job.id),
                **rules.ALWAYS,
            },
        }
    )
