"""Clusters: registered, looked at, changed, forgotten, scaled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from api import hosting
from api.clusters import addresses
from api.clusters.schemas import ClusterHealth, ClusterOut, ClusterPatch, KindOut, ManagedBy, NewCluster, NewScale
from api.commands import service as command_service
from api.commands.reading import command_out
from api.commands.schemas import CommandOut, NewCommand
from api.rules import Caller
from api.versions import NewVersion
from clusters.kind import FLAT, Address
from clusters.protocol import CAPABILITIES
from clusters.registry import DEFAULT_KIND, KINDS, address_of, columns_of, flat_of, kind_of
from core import config as rules
from core.access import Right
from core.changes import changed_config, differences
from core.errors import Conflict, InvalidInput, NotFound
from core.jobs.commands import LOCAL
from core.jobs.states import CommandKind, JobState
from observation.observer import Observer
from processes.kept import StackReport
from services import Services
from settings import clock, waits
from store import attempts, clusters, commands, jobs, previews
from store.acting import visible_projects
from store.tables import Cluster, Job
from temporal.delivery import NO_ANSWER, start_watch, stop_watch

log = structlog.get_logger()


async def all_(services: Services) -> list[ClusterOut]:
    """By name; without those that were removed or whose job was deleted. No cluster is asked."""
    async with services.database.read() as session:
        rows = await clusters.all_(session)
        keepers = await clusters.keepers(session, rows)
        return [_show(row, services.settings.home, keepers) for row in rows]


def kinds() -> list[KindOut]:
    """What kinds of cluster there are, and what each of them can do."""
    return [
        KindOut(
            name=kind.name,
            summary=kind.summary,
            is_default=kind.name == DEFAULT_KIND,
            address=kind.address.model_json_schema(),
            has_default_address=kind.default is not None,
            job_types=list(kind.job_types),
            capabilities=[capability.__name__ for capability in CAPABILITIES if kind.can(capability)],
        )
        for kind in KINDS.values()
    ]


async def create(services: Services, new: NewCluster) -> ClusterOut:
    """Raises `Conflict`, also (`cluster_known`) when the Flink that answers there is a cluster already, under another
    name."""
    kind = KINDS[new.kind]
    address = new.where() or (kind.default(services.settings) if kind.default else None)
    if address is None:
        raise InvalidInput(f"A cluster of kind {kind.name} needs an address.", code="bad_address", field="address")
    answers = await addresses.who_answers(services, kind, address, new.flink_version)
    async with services.database.write() as session:
        before = await clusters.find(session, new.name)
        if before is not None and not await clusters.is_left(session, before):
            raise Conflict(f"There is a cluster {new.name} already.", code="cluster_exists", remedy="PATCH it.")
        for leader in answers:
            same = await clusters.same_flink(session, leader.cluster, leader.identity, besides=new.name)
            if same is not None and not new.force:
                raise Conflict(
                    f"The Flink that answers at {address} is the cluster {same.name} already.",
                    code="cluster_known",
                    remedy=f"Use {same.name}, or change it: PATCH /clusters/{same.name}. With `force` it gets a second "
                    "name all the same.",
                )
        row = await clusters.add(
            session,
            new.name,
            new.kind,
            columns_of(address),
            clock.now(),
            flink_version=new.flink_version,
            state_dir=new.state_dir,
            config=new.config,
            identity=answers[0].cluster if answers else None,
        )
    try:
        await start_watch(services, new.name)
    except NO_ANSWER as error:  # the recovery schedule starts it
        log.warning("the watch is not started yet", cluster=new.name, why=str(error))
    return _show(row, services.settings.home)


async def get(services: Services, observer: Observer, name: str) -> ClusterOut:
    """With its health: it is asked, unless that was done within two seconds."""
    async with services.database.read() as session:
        row = await clusters.get(session, name)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(waits.REFRESH_SECONDS):
            await observer.observe(row.name, not_older_than=waits.FRESH_SECONDS)
    async with services.database.read() as session:
        row = await clusters.get(session, name)
        return _show(row, services.settings.home, await clusters.keepers(session, [row]))


async def patch(services: Services, name: str, changes: ClusterPatch, *, requested_by: str = LOCAL) -> ClusterOut:
    """`changes` are those of PATCH, as the route describes them. Raises `Conflict` and `InvalidInput`."""
    given = changes.model_dump(exclude_unset=True)
    force = bool(given.pop("force", False))
    merge, unset = bool(given.pop("merge", False)), list(given.pop("unset", []))
    # null says that it has none where that can be, and nothing elsewhere.
    given = {k: v for k, v in given.items() if v is not None or k in ("gateway_url", "identity")}
    if unset:
        given.setdefault("config", {})
    async with services.database.read() as session:
        row = await clusters.get(session, name)
        keepers = await clusters.keepers(session, [row])
        open_ = await attempts.open_on(session, name)
    if keepers and given.keys() - {"config"}:
        raise Conflict(
            f"{name} is run by Penstock, which sets everything of it but `config`.",
            code="cluster_managed",
            remedy="Give its job another version.",
        )
    address = _changed_address(row, given)
    forgets = "identity" in given
    another = await addresses.is_another(services, row, address, open_, forgets=forgets, force=force)
    async with services.database.write() as session:
        row = await clusters.get(session, name, lock=True)
        if given.keys() - {"config", "flink_version"} and not force:
            addresses.check_still(row, open_, await attempts.open_on(session, name))
        if "config" in given:
            whose = f"The cluster {name}"
            given["config"] = changed_config(row.config, given["config"], unset, merge=merge, whose=whose)
            if changed := differences({"config": row.config}, {"config": given["config"]}):
                words = f"cluster {name}: {'; '.join(changed)}, from the next attempt on"
                await jobs.add_change_of_all(session, jobs.of_cluster(name), words, requested_by, clock.now())
        if address is not None:
            given = {k: v for k, v in given.items() if k not in (*FLAT, "address")} | columns_of(address)
        clusters.change(row, given | ({"identity": None} if another else {}))
    return _show(row, services.settings.home, keepers)


def _changed_address(row: Cluster, given: Mapping[str, Any]) -> Address | None:
    """What the address becomes; None when it is not changed. Raises `InvalidInput` when it is none of that kind."""
    kind, flat = kind_of(row), {name: given[name] for name in FLAT if name in given}
    if "address" in given and flat:
        raise InvalidInput(f"Give either address or {', '.join(flat)}.", code="bad_address", field="address")
    if "address" in given:
        return kind.address.of(given["address"])
    return kind.address.from_flat(kind.name, flat_of(row) | flat) if flat else None


async def forget(services: Services, observer: Observer, name: str) -> None:
    """Raises `Conflict` when something is on it."""
    async with services.database.write() as session:
        row = await clusters.get(session, name, lock=True)
        if await clusters.keepers(session, [row]):
            raise Conflict(
                f"{name} is run by a job of Penstock.", code="cluster_managed", remedy="Stop and delete that job."
            )
        if count := await clusters.jobs_on(session, name):
            raise Conflict(
                f"{count} jobs are on the cluster {name}.", code="cluster_in_use", remedy="Delete those jobs first."
            )
        if open_ := await attempts.open_on(session, name):
            raise Conflict(
                f"{len(open_)} attempts on the cluster {name} have not been seen to end.", code="cluster_in_use"
            )
        if looked_at := await previews.running(session, name, clock.now()):
            raise Conflict(
                f"{looked_at} previews run on the cluster {name}.",
                code="cluster_in_use",
                remedy="Stop them, or wait until they have ended.",
            )
        await clusters.remove(session, row, clock.now())
    observer.forget(name)
    services.engines.forget(name)
    await stop_watch(services, name)


async def scale(services: Services, caller: Caller, name: str, new: NewScale, key: str | None) -> CommandOut:
    """`key` is an Idempotency-Key. Raises `Forbidden`, and what sending a command raises."""
    async with services.database.read() as session:
        row = await clusters.get(session, name)
        if row.managed_by is not None and (keeper := await jobs.by_id(session, row.managed_by)) is not None:
            words = f"The cluster {name} is run by a job of another project."
            caller.check(Right.OPERATE, keeper.project, NotFound(words, code="cluster_of_others"))
        job = await hosting.manager_of(session, row)
        version, latest = await jobs.version(session, job, job.version), await jobs.latest_version(session, job.id)
        known = await commands.by_key(session, job.id, key) if key else None
        before = await jobs.version(session, job, known.version) if known and known.version else None
    if known is not None:
        # Of one that has failed before anything took it, its version is gone.
        another = before is not None and before.spec.get("taskmanagers") != new.taskmanagers
        if known.kind != CommandKind.RESUBMIT or another:
            raise command_service.reused(known, str(key))
        return command_out(known)
    spec = {**version.spec, "taskmanagers": new.taskmanagers}
    command = NewCommand(kind=CommandKind.RESUBMIT, version=job.version, force=new.force, reason=new.reason)
    adding = None
    if spec != version.spec or job.version != latest:
        note = f"scaled to {new.taskmanagers} task managers"
        adding = NewVersion.model_validate({"spec": spec, "note": note})
        command = command.model_copy(update={"version": None})
    return await command_service.send(services, caller, job.id, command, key, adding=adding, base=job.version)


def _without_slots(row: Cluster, keeper: Job | None, home: Path) -> str | None:
    """What is wrong with a cluster that answers, and on which nothing can run."""
    if (row.health or {}).get("slots_total") != 0:
        return None
    kept = f"; {keeper.project}:{keeper.name} is {keeper.state}: {keeper.reason}" if keeper else _of_stack(row, home)
    return f"Its JobManager answers, and no task manager has registered{kept}"


def _of_stack(row: Cluster, home: Path) -> str:
    """What the keeper of the local stack says of its task manager, if `row` is that; without its last words, in which
    there may be a secret."""
    report = StackReport.read(StackReport.path(home))
    due = report.due.get("taskmanager") if report and report.jobmanager_url == row.jobmanager_url else None
    if due is None:
        return ""
    times = f" ({due.deaths} times in a row)" if due.deaths > 1 else ""
    return f"; taskmanager died{times}, and is started again at {due.at:%H:%M:%S} UTC: `penstock status` says why"


def _show(row: Cluster, home: Path, keepers: Mapping[str, Job] | None = None) -> ClusterOut:
    keeper = (keepers or {}).get(row.managed_by or "")
    visible = visible_projects()
    is_others = keeper is not None and visible is not None and keeper.project not in visible
    return ClusterOut(
        name=row.name,
        kind=row.kind,
        address=address_of(row).model_dump(mode="json"),
        jobmanager_url=row.jobmanager_url,
        standby_urls=row.standby_urls,
        gateway_url=row.gateway_url,
        gateway_urls=row.gateway_urls,
        flink_version=row.flink_version,
        state_dir=row.state_dir,
        identity=row.identity,
        config={k: rules.shown(k, v) for k, v in row.config.items()},
        managed_by=ManagedBy(
            job="of another project" if is_others else f"{keeper.project}:{keeper.name}", state=JobState(keeper.state)
        )
        if keeper
        else None,
        health=ClusterHealth(
            reachable=row.observed_at is not None and row.unreachable_since is None,
            last_observed_at=row.observed_at,
            unreachable_since=row.unreachable_since,
            why=row.unreachable_why
            if row.unreachable_since
            else _without_slots(row, None if is_others else keeper, home),
            details=row.health,
        ),
        created_at=row.created_at,
    )
