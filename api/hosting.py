"""Session clusters that Penstock runs: what may be created, stopped and scaled, while jobs are on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clusters.protocol import HostsClusters
from clusters.registry import KINDS, kind_of
from core.effects import EngineError
from core.errors import Conflict, InvalidInput
from core.jobs.commands import CommandFields
from core.jobs.states import CommandKind, JobState
from core.jobs.types import traits
from core.specs import only_scales
from services import Services
from store import clusters, commands, jobs
from store.database import Session
from store.tables import Cluster, Job

ENDS = (CommandKind.KILL, CommandKind.RESTART, CommandKind.RESUBMIT)
_UP = (JobState.RUNNING, JobState.DEPLOYED)
_DOWN = (JobState.CREATED, JobState.DEPLOY_FAILED, JobState.KILLED, JobState.FINISHED, JobState.FAILED)


async def check_new_job(session: Session, cluster: Cluster, *, name: str, type_: str, takes_savepoints: bool) -> None:
    """Whether a new job of this `name` and `type_` may be made on `cluster`. `takes_savepoints`: its policy asks for
    savepoints. Raise `InvalidInput` when the job cannot run on this kind of cluster, `Conflict` when the name of a
    session cluster is taken."""
    if cluster.managed_by is not None:
        # Under its lock: of this and a DELETE of the job that runs the cluster one is refused.
        keeper = await jobs.by_id(session, cluster.managed_by, lock=True)
        if keeper is not None and keeper.deleting_at is not None and keeper.deleted_at is None:
            raise Conflict(
                f"The job that runs {cluster.name} is being deleted.",
                code="cluster_being_deleted",
                remedy="Choose another cluster (GET /clusters), or try again when that job has stayed after all.",
            )
    await _check_kind(session, type_, cluster)
    if not traits(type_).runs_cluster:
        return
    if takes_savepoints:
        raise InvalidInput(
            "A session cluster has no savepoints; its jobs have.",
            code="field_unused",
            field="savepoint_policy.interval",
        )
    row = await clusters.find(session, name)
    if (row is not None and not await clusters.is_left(session, row)) or await jobs.of_type(session, type_, name):
        raise Conflict(
            f"There is a cluster {name} already, or a job that will make one.",
            code="cluster_exists",
            remedy="Choose another name: the cluster is called as the job, in all projects.",
        )


async def _check_kind(session: Session, type_: str, cluster: Cluster) -> None:
    kind = kind_of(cluster)
    if type_ in kind.job_types:
        return
    kinds = [other.name for other in KINDS.values() if type_ in other.job_types]
    places = [row.name for row in await clusters.all_(session) if row.kind in kinds]
    if kind.can(HostsClusters):
        remedy = "Start a session cluster on it, and give the job that one."
    elif places:
        remedy = f"Send one of: {', '.join(places)}."
    else:
        remedy = f"Register one: POST /clusters, kind {' or '.join(kinds)}."
    raise InvalidInput(
        f"{cluster.name} is of kind {kind.name}, on which no {type_} runs: that needs kind {' or '.join(kinds)}.",
        code="wrong_cluster_kind",
        field="cluster",
        remedy=remedy,
    )


async def check_command(
    services: Services, job: Job, new: CommandFields, adding: dict[str, Any] | None = None
) -> int | None:
    """A session cluster does not end while jobs run on it, unless that is asked for with `force`. `adding` is the spec
    of a version that the command brings along. Returns the version of a resubmit that it was judged by. Raises
    `Conflict`."""
    if new.rollback_within is not None:
        raise InvalidInput(
            "A session cluster has no state to go back to.", code="field_unused", field="rollback_within"
        )
    if new.kind not in ENDS or new.force:
        return None
    async with services.database.read() as session:
        row = await clusters.managed_by(session, job.id)
        on_it = await clusters.live_jobs_on(session, row.name) if row else []
        old = (await jobs.version(session, job, job.version)).spec
        latest = new.version or await jobs.latest_version(session, job.id)
        new_spec = adding or (await jobs.version(session, job, latest)).spec
    judged = latest if new.kind is CommandKind.RESUBMIT and adding is None else None
    if row is None:
        return judged
    if new.kind is CommandKind.RESUBMIT and JobState(job.state) in _UP and only_scales(old, new_spec):
        await check_slots(services, row, int(new_spec["taskmanagers"]) * int(new_spec["slots"]))
    elif on_it:
        raise _in_use(row.name, on_it, f"{new.kind.value} would end them")
    return judged


async def check_up(session: Session, job: Job) -> None:
    """Raise `Conflict` when the session cluster that a job is to start on is one that Penstock has stopped, and that
    nobody has begun to start: it would be waited for in vain."""
    cluster = await clusters.get(session, job.cluster)
    keeper = (await clusters.keepers(session, [cluster])).get(cluster.managed_by or "")
    if keeper is None or JobState(keeper.state) not in _DOWN or await commands.open_of(session, keeper.id) is not None:
        return
    name = f"{keeper.project}:{keeper.name}"
    raise Conflict(
        f"{job.project}:{job.name} runs on the cluster {cluster.name}, which is not up: {name} is {keeper.state}.",
        code="cluster_stopped",
        remedy=f"Start that first: POST /jobs/{name}/commands, kind start.",
    )


async def check_slots(services: Services, cluster: Cluster, left: int) -> None:
    """Raise `Conflict` when more slots of a running cluster are taken than would be `left`."""
    try:
        health = await services.engines.get(cluster).health()
    except EngineError as error:
        raise Conflict(
            f"It cannot be told how many slots of {cluster.name} are taken: {error.message}",
            code="cluster_unreachable",
            remedy="Try again, or send `force`: Flink restarts tasks that lose their slot.",
        ) from error
    taken = (health.slots_total or 0) - (health.slots_available or 0)
    if taken > left:
        raise Conflict(
            f"{taken} task slots of {cluster.name} are taken, and {left} would be left.",
            code="slots_in_use",
            remedy="Pause jobs on it first. With `force` Flink restarts those tasks, and waits for slots.",
        )


def _in_use(name: str, on_it: Sequence[Job], what: str) -> Conflict:
    words = ", ".join(f"{j.project}:{j.name} ({j.state})" for j in on_it[:5])
    more = f" and {len(on_it) - 5} more" if len(on_it) > 5 else ""
    return Conflict(
        f"Jobs run on the cluster {name}, and {what}: {words}{more}.",
        code="cluster_in_use",
        remedy="Pause them first. With `force` they are lost with it, and restarted by their policies once it is back.",
    )


async def manager_of(session: Session, cluster: Cluster) -> Job:
    """The job that runs a cluster. Raises `Conflict` when Penstock does not run it, or it is not up."""
    job = (await clusters.keepers(session, [cluster])).get(cluster.managed_by or "")
    if job is None:
        raise Conflict(
            f"{cluster.name} is not run by Penstock.",
            code="cluster_not_managed",
            remedy="Start and stop it where it was started." if not kind_of(cluster).can(HostsClusters) else None,
        )
    if JobState(job.state) not in _UP:
        raise Conflict(
            f"{cluster.name} is not up: {job.project}:{job.name} is {job.state}.",
            code="cluster_not_up",
            remedy=f"Start it first: POST /jobs/{job.project}:{job.name}/commands.",
        )
    return job
