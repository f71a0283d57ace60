"""Session clusters that Penstock runs: what may be created, stopped and scaled, while jobs are on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from store.tables import Cluster, Command, Job

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


@dataclass(frozen=True)
class Judged:
    """`version` is the one of a resubmit that it was judged by. `ends` the cluster, which `check_unused` has to allow
    once more in the transaction that writes the command."""

    version: int | None = None
    ends: bool = False


async def check_command(
    services: Services, job: Job, new: CommandFields, adding: dict[str, Any] | None = None
) -> Judged:
    """A session cluster does not end while jobs run on it, unless that is asked for with `force`. `adding` is the spec
    of a version that the command brings along. Raises `Conflict`."""
    if new.rollback_within is not None:
        raise InvalidInput(
            "A session cluster has no state to go back to.", code="field_unused", field="rollback_within"
        )
    if new.kind not in ENDS or new.force:
        return Judged()
    async with services.database.read() as session:
        row = await clusters.managed_by(session, job.id)
        old = (await jobs.version(session, job, job.version)).spec
        latest = new.version or await jobs.latest_version(session, job.id)
        new_spec = adding or (await jobs.version(session, job, latest)).spec
    judged = latest if new.kind is CommandKind.RESUBMIT and adding is None else None
    if row is None or not _scales(job, new.kind, old, new_spec):
        return Judged(judged, ends=True)
    await check_slots(services, row, int(new_spec["taskmanagers"]) * int(new_spec["slots"]))
    return Judged(judged)


async def check_unused(session: Session, job: Job, kind: CommandKind) -> None:
    """Raise `Conflict` when jobs run on the session cluster of `job`, or are about to. Under the lock of the cluster's
    row, which the start of a job on it holds (`check_up`): of that and this one is refused."""
    row = await clusters.managed_by(session, job.id)
    if row is None:
        return
    await clusters.lock(session, row.name)
    if on_it := await jobs.working_on(session, row.name):
        raise _in_use(row.name, on_it, f"{kind.value} would end them")


async def check_up(session: Session, job: Job) -> None:
    """Raise `Conflict` when the session cluster that a job is to start on is one that Penstock has stopped, and that
    nobody has begun to start: it would be waited for in vain; or one that is being stopped."""
    cluster = await clusters.get(session, job.cluster)
    if cluster.managed_by is None:
        return
    await clusters.held(session, cluster.name)
    keeper = (await clusters.keepers(session, [cluster])).get(cluster.managed_by)
    if keeper is None:
        return
    name, open_ = f"{keeper.project}:{keeper.name}", await commands.open_of(session, keeper.id)
    if open_ is not None and await _ends(session, keeper, open_):
        raise Conflict(
            f"{job.project}:{job.name} runs on the cluster {cluster.name}, which is being stopped: command "
            f"{open_.number} of {name} is a {open_.kind}.",
            code="cluster_stopping",
            remedy=f"Send this again when that has ended, and {name} is RUNNING.",
        )
    if JobState(keeper.state) not in _DOWN or open_ is not None:
        return
    raise Conflict(
        f"{job.project}:{job.name} runs on the cluster {cluster.name}, which is not up: {name} is {keeper.state}.",
        code="cluster_stopped",
        remedy=f"Start that first: POST /jobs/{name}/commands, kind start.",
    )


async def _ends(session: Session, keeper: Job, command: Command) -> bool:
    """Whether a command ends the session cluster that `keeper` runs now. One that is down is being brought back."""
    kind = CommandKind(command.kind)
    if kind is CommandKind.KILL:
        return True
    if kind not in ENDS or JobState(keeper.state) not in _UP:
        return False
    if command.version is None:
        return True
    old, new = [(await jobs.version(session, keeper, n)).spec for n in (keeper.version, command.version)]
    return not _scales(keeper, kind, old, new)


def _scales(keeper: Job, kind: CommandKind, old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether a command with the spec `new` changes the cluster that `keeper` runs as it runs."""
    return kind is CommandKind.RESUBMIT and JobState(keeper.state) in _UP and only_scales(old, new)


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
