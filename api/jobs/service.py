"""Jobs and versions: created, listed, looked at, changed, deleted."""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from temporalio.service import RPCError, RPCStatusCode

from api import hosting
from api.jobs import schemas as out
from api.rules import Caller
from api.temporal import asking
from api.versions import NewVersion
from builds import git
from core import config as rules
from core.access import Right
from core.changes import check_most, differences, merged
from core.effects import EngineError, Rejected
from core.errors import Conflict, InvalidInput
from core.jobs import messages
from core.jobs.blocked import Blocked
from core.jobs.commands import LOCAL
from core.jobs.policy import RestartPolicy
from core.jobs.restore import RestoreRequest
from core.jobs.retention import SavepointPolicy
from core.jobs.states import AttemptState, CommandKind, JobState, allowed
from core.jobs.types import traits
from core.names import is_job_id
from core.specs import GitSource, JarSpec, JobSpec, PyFlinkSpec, SqlSpec
from core.sql.lineage import Lineage
from core.sql.program_inputs import check_references
from core.sql.references import check_clear, check_script, secrets_in
from core.sql.script import parse_script
from core.sql.setting_keys import notes_on
from core.sql.variables import filled
from core.sql.verdict import StateVerdict, unknown
from observation import deletion, points
from observation.observer import Observer
from services import Services
from services.effective import effective_config
from settings import clock, waits
from settings.polling import poll
from sql.compiling import judge, plan_of
from store import attempts, clusters, commands, jobs
from store.database import Session, Taken
from store.tables import Attempt, Cluster, Job, Version
from temporal.client import tell
from temporal.delivery import policies_of

log = structlog.get_logger()
MAX_BRANCHES = 10
"""Repositories and refs that one listing asks."""


def check_spec(spec: JobSpec, services: Services) -> None:
    """What can be said of a spec before anything is started. Raises `InvalidInput`."""
    if isinstance(spec, SqlSpec):
        text = filled(spec.sql, spec.variables)
        check_script(parse_script(text))
        check_clear(spec.variables, "spec.variables")
        secrets_in(text)
    if isinstance(spec, JarSpec | PyFlinkSpec):
        try:
            git.check_local(spec.git, services.settings.git_local_roots)
        except Rejected as error:
            raise InvalidInput(error.message, code="git_path_refused", field="spec.git.url") from error
    check_references(spec)


async def create(services: Services, new: out.NewJob) -> out.JobOut:
    """Create a job with version 1. Raises `Conflict` when the name is taken, `InvalidInput` when its spec is wrong."""
    if is_job_id(new.name):
        raise InvalidInput(
            f"name: {new.name} has the form of a job's id, and would be taken for one.",
            code="name_like_an_id",
            field="name",
            remedy="Choose another name.",
        )
    check_spec(new.spec, services)
    rules.unhidden(new.config, {}, "config")
    rules.unhidden(new.spec.config, {}, "spec.config")
    async with services.database.write() as session:
        await jobs.open_project(session, new.project)
        await hosting.check_new_job(
            session,
            await clusters.get(session, new.cluster),
            name=new.name,
            type_=new.spec.type,
            takes_savepoints=new.savepoint_policy.interval is not None,
        )
        await clusters.get(session, new.cluster, hold=True)  # it is not removed before the job is there
        if await jobs.find(session, new.project, new.name):
            raise _exists(new)
        try:
            job = await jobs.add(
                session,
                new.project,
                new.name,
                new.spec.model_dump(mode="json"),
                clock.now(),
                cluster=new.cluster,
                note=new.note,
                labels=new.labels,
                policy=chosen(new.restart_policy),
                savepoints=chosen(new.savepoint_policy),
                config=new.config,
            )
        except Taken as error:
            raise _exists(new) from error
    async with services.database.read() as session:
        shown = (await show(session, [job]))[0]
    return shown.model_copy(update={"notes": notes_on([*new.config, *new.spec.config])})


def chosen(policy: RestartPolicy | SavepointPolicy) -> dict[str, Any]:
    """What is kept of a policy: only what somebody has chosen, so that a default that is changed counts."""
    return policy.model_dump(exclude_unset=True)


def _exists(new: out.NewJob) -> Conflict:
    return Conflict(
        f"There is a job {new.project}:{new.name} already.",
        code="job_exists",
        remedy="Add a version to it (POST /jobs/{id}/versions), or choose another name.",
    )


async def show(session: Session, listed: Sequence[Job]) -> list[out.JobOut]:
    """Jobs as they are shown; a fixed number of queries for any number of them."""
    current = await attempts.current(session, listed)
    rows = await clusters.by_names(session, {job.cluster for job in listed})
    latest = await jobs.latest_versions(session, [job.id for job in listed])
    return [_show(job, current.get(job.id), rows[job.cluster], latest.get(job.id, 1)) for job in listed]


def _show(job: Job, attempt: Attempt | None, cluster: Cluster, latest: int) -> out.JobOut:
    busy = CommandKind(job.busy) if job.busy else None
    open_ = attempt is not None and attempt.ended_at is None
    return out.JobOut(
        id=job.id,
        project=job.project,
        name=job.name,
        type=job.type,
        state=JobState(job.state),
        reason=job.reason,
        warning=_warning(job, attempt),
        version=job.version if attempt else latest,
        latest_version=latest,
        cluster=job.cluster,
        current_attempt=_attempt(attempt) if attempt else None,
        last_observed_at=_observed(attempt, cluster),
        unreachable_since=cluster.unreachable_since if open_ else None,
        busy=busy,
        allowed_commands=sorted(allowed(job.type, JobState(job.state), busy)) if job.deleting_at is None else [],
        deleting_at=job.deleting_at,
        blocked=_blocked(job),
        next_actions=job.actions if job.state == JobState.BLOCKED.value else [],
        restart_at=job.restart_at,
        restart_policy=RestartPolicy.model_validate(job.policy),
        savepoint_policy=SavepointPolicy.model_validate(job.savepoints or {}),
        config={k: rules.shown(k, v) for k, v in job.config.items()},
        labels=job.labels,
        created_at=job.created_at,
        updated_at=job.updated_at,
    )


def _warning(job: Job, attempt: Attempt | None) -> str | None:
    if attempt is None:
        return None
    condition = job.warning if attempt.ended_at is None else None
    return "; ".join(filter(None, (attempts.program_trouble(attempt), condition))) or None


def _blocked(job: Job) -> Blocked | None:
    blocked = (job.snapshot or {}).get("blocked") if job.state == JobState.BLOCKED.value else None
    return Blocked.model_validate(blocked) if blocked else None


def _attempt(attempt: Attempt) -> out.CurrentAttempt:
    return out.CurrentAttempt(
        number=attempt.number,
        flink_job_id=attempt.flink_job_id,
        version=attempt.version,
        commit=attempt.config.get("commit"),
        state=AttemptState(attempt.state),
        engine_state=attempt.seen,
        detail=attempt.detail,
        restored_from=attempt.restored_from,
        started_at=attempt.started_at,
        running_since=attempt.running_since,
        ended_at=attempt.ended_at,
    )


def _observed(attempt: Attempt | None, cluster: Cluster) -> datetime | None:
    """A quiet job's row is not touched by each look at its cluster: the look counts for all its jobs."""
    if attempt is None:
        return None
    own = datetime.fromtimestamp(attempt.sequence / 1000, UTC) if attempt.sequence else None
    if attempt.ended_at is not None:
        return attempt.ended_at
    return max((at for at in (own, cluster.observed_at) if at is not None), default=None)


async def search(
    services: Services, filter_: jobs.Filter, *, sort: str, limit: int, cursor: str | None
) -> tuple[list[out.JobOut], str | None]:
    """A page, with the cursor of the next, None after the last. Raises `InvalidInput` for a bad `sort` or cursor."""
    async with services.database.read() as session:
        page, following = await jobs.search(session, filter_, sort=sort, limit=limit, cursor=cursor)
        return await show(session, page), following


async def get(services: Services, observer: Observer, ref: str) -> out.JobOut:
    """One job, fresh: when its last observation is older than two seconds its cluster is asked."""
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
        shown = (await show(session, [job]))[0]
    attempt = shown.current_attempt
    if attempt is None or attempt.ended_at is not None:
        return shown
    observed_at = shown.last_observed_at
    if observed_at is not None and (clock.now() - observed_at).total_seconds() < waits.FRESH_SECONDS:
        return shown
    try:
        async with asyncio.timeout(waits.REFRESH_SECONDS):
            look = await observer.observe(job.cluster, not_older_than=waits.FRESH_SECONDS)
            if look.changed:
                await _settle(services, job)
    except TimeoutError:
        log.info("the cluster did not answer in time for a page", cluster=job.cluster)
    async with services.database.read() as session:
        return (await show(session, [await jobs.get(session, job.id)]))[0]


async def _settle(services: Services, job: Job) -> None:
    """Give the job's workflow a moment to write down what it has just been told."""
    polling = poll(waits.WRITTEN_PACE, seconds=waits.WRITTEN_SECONDS)
    while await polling.again():
        async with services.database.read() as session:
            if (await jobs.get(session, job.id)).revision != job.revision:
                return


async def patch(services: Services, ref: str, changes: out.JobPatch, *, requested_by: str = LOCAL) -> out.JobOut:
    """Change policies and labels, and tell the job's workflow; what changed is a line of the timeline. Raises
    `NotFound`, `InvalidInput`."""
    async with services.database.write() as session:
        # Under the lock under which commands are written: of one that is not there yet the workflow begins with this.
        job = await jobs.get(session, ref, lock=True)
        before = _settable(job)
        after = before | _wanted(job, changes)
        jobs.change(
            job,
            clock.now(),
            labels=after["label"],
            config=after["config"],
            policy=after["restart_policy"],
            savepoints=after["savepoint_policy"],
        )
        if changed := differences(before, _settable(job)):
            jobs.add_change(session, job.id, "; ".join(changed), requested_by, changes.reason, job.updated_at)
        has_workflow = job.revision > 0 or await commands.open_of(session, job.id) is not None
    if has_workflow:
        await _tell_policies(services, job, _wanted_policies(changes))
    async with services.database.read() as session:
        shown = (await show(session, [await jobs.get(session, job.id)]))[0]
    return shown.model_copy(update={"notes": notes_on(changes.config or {})})


def _wanted(job: Job, changes: out.JobPatch) -> dict[str, dict[str, Any]]:
    """What is changed, as it is to be. Raises `InvalidInput` for a secret that there is none of, or too many keys."""
    given: dict[str, dict[str, Any] | None] = {
        "label": changes.labels,
        "config": None if changes.config is None else rules.unhidden(changes.config, job.config, "config"),
        "restart_policy": chosen(changes.restart_policy) if changes.restart_policy is not None else None,
        "savepoint_policy": chosen(changes.savepoint_policy) if changes.savepoint_policy is not None else None,
    }
    if not changes.merge:
        return {name: values for name, values in given.items() if values is not None}
    gone = {**changes.unset.model_dump(), "label": changes.unset.labels}
    wanted = {
        name: merged(now, given[name] or {}, gone[name])
        for name, now in _settable(job).items()
        if given[name] is not None or gone[name]
    }
    for name, field, most in (("label", "labels", out.MOST_LABELS), ("config", "config", rules.MOST_KEYS)):
        check_most(wanted.get(name, ()), most, f"{job.project}:{job.name}", field)
    return wanted


def _settable(job: Job) -> dict[str, dict[str, Any]]:
    """What PATCH changes; of policies only what somebody has chosen."""
    return {
        "label": dict(job.labels),
        "config": dict(job.config),
        "restart_policy": dict(job.policy),
        "savepoint_policy": dict(job.savepoints or {}),
    }


def _wanted_policies(changes: out.JobPatch) -> set[str]:
    """The policies that a change is about."""
    return {
        name
        for name in ("restart_policy", "savepoint_policy")
        if getattr(changes, name) is not None or getattr(changes.unset, name)
    }


async def _tell_policies(services: Services, job: Job, changed: set[str]) -> None:
    """A workflow that is not there takes them from the row when it is started. Told is what the row says now: another
    change may have been faster."""
    async with services.database.read() as session:
        policy, savepoints = policies_of(await jobs.by_id(session, job.id) or job)
    handle = services.client.get_workflow_handle(jobs.workflow_id(job))
    written = f"The change of {job.project}:{job.name} is written down, and its workflow has not been told."
    remedy = "The recovery tells it within the hour. Send the same again to tell it at once: that is safe."
    with asking(written, remedy=remedy):
        try:
            if "restart_policy" in changed:
                await tell(handle, messages.POLICY, policy)
            if "savepoint_policy" in changed:
                await tell(handle, messages.SAVEPOINTS, savepoints)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise


async def delete(services: Services, observer: Observer, ref: str) -> None:
    """Delete a job of which nothing runs. Its savepoints and checkpoints stay where they are."""
    if (cluster := await deletion.delete(services, ref)) is not None:
        observer.forget(cluster)


async def add_version(services: Services, ref: str, new: NewVersion, *, requested_by: str = LOCAL) -> out.VersionOut:
    """A new version of the spec; nothing of what runs changes. Raises `NotFound`, `InvalidInput`, `Conflict`."""
    check_spec(new.spec, services)
    async with services.database.write() as session:
        job = await jobs.get(session, ref)
        if new.spec.type != job.type:
            raise InvalidInput(
                f"Job {job.project}:{job.name} is a {job.type} job; its versions are too.",
                code="type_changed",
                field="spec.type",
                remedy="Create another job.",
            )
        spec = new.spec.model_dump(mode="json")
        last = (await jobs.version(session, job, await jobs.latest_version(session, job.id))).spec
        spec["config"] = rules.unhidden(spec["config"], last.get("config") or {}, "spec.config")
        added = await jobs.add_version(session, job, spec, new.note, clock.now())
        what = f"version {added.number}"
        jobs.add_change(session, job.id, what, requested_by, new.note, added.created_at, how="added")
        return show_version(added).model_copy(update={"notes": notes_on(spec["config"])})


def show_version(version: Version, commit: str | None = None) -> out.VersionOut:
    """As a person may see it: values of secret keys of its configuration are hidden. `commit` is the one it ran with
    last."""
    spec = dict(version.spec)
    spec["config"] = {k: rules.shown(k, str(v)) for k, v in (spec.get("config") or {}).items()}
    return out.VersionOut(
        number=version.number, spec=spec, note=version.note, commit=commit, created_at=version.created_at
    )


async def verdict(services: Services, caller: Caller, ref: str, number: int, point: str | None) -> StateVerdict:
    """Whether a version can take over the state of `point`, or of the newest. Raises `NotFound`, and `Forbidden` for a
    point that is none of the project's: its plan is another one's, too."""
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
    restore = RestoreRequest(mode="newest")
    if point:
        if not await points.is_of_project(services, job.project, point):
            caller.check(Right.ADOPT, job.project)
        restore = RestoreRequest(mode="point", point=await points.named(services, point))
    judgement = await judge(services, job, number, restore)
    if judgement is not None:
        return judgement
    if traits(job.type).compiles:
        return unknown("The job has no state yet.")
    return unknown(f"Only SQL has a plan to compare; this is {job.type}.")


async def plan(services: Services, ref: str, number: int) -> out.PlanOut:
    """The compiled plan of a version, or why there is none. Raises `NotFound`."""
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
        await jobs.version(session, job, number)
    compiled, why = await plan_of(services, job, number)
    return out.PlanOut(
        version=number,
        digest=compiled.digest if compiled else None,
        why=why,
        flink_version=compiled.flink_version if compiled else None,
        lineage=Lineage.model_validate(compiled.lineage) if compiled else None,
        plan=compiled.body if compiled else None,
    )


async def versions(services: Services, ref: str, *, branches: bool) -> list[out.VersionOut]:
    """All of them, newest first. With `branches` those that have run say where their Git refs are now, or why that
    cannot be told. Raises `NotFound`."""
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
        ran = await attempts.commits(session, job.id)
        shown = [show_version(v, ran.get(v.number)) for v in await jobs.versions(session, job.id)]
    return await _with_branches(services, shown) if branches else shown


async def _with_branches(services: Services, versions: list[out.VersionOut]) -> list[out.VersionOut]:
    """The same, where those that have run say where their refs are now. Each repository and ref is asked once, the
    newest ones only: Git takes a thread for that."""
    sources = {
        v.number: GitSource.model_validate({**v.spec["git"], "subdirectory": None}) for v in versions if v.commit
    }
    asked = list(dict.fromkeys((s.url, s.ref) for s in sources.values()))[:MAX_BRANCHES]
    answers = dict(zip(asked, await asyncio.gather(*(_where(services, *pair) for pair in asked)), strict=True))

    def of(version: out.VersionOut) -> out.VersionOut:
        source = sources.get(version.number)
        answer = answers.get((source.url, source.ref)) if source else None
        return version.model_copy(update={"ref_commit": answer[0], "ref_error": answer[1]}) if answer else version

    return [of(version) for version in versions]


async def _where(services: Services, url: str, ref: str) -> tuple[str | None, str | None]:
    """The commit, or why that cannot be told."""
    source = GitSource(url=url, ref=ref)
    try:
        git.check_local(source, services.settings.git_local_roots)
        return await git.resolve(source, waits.BRANCH_SECONDS), None
    except EngineError as error:
        return None, error.message


async def version(services: Services, ref: str, number: int) -> out.VersionOut:
    """With the commit that it ran with last. Raises `NotFound` for the job and for the version."""
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
        ran = await attempts.commits(session, job.id)
        return show_version(await jobs.version(session, job, number), ran.get(number))


async def diff(services: Services, ref: str, a: int, b: int) -> out.VersionDiff:
    """From version `a` to `b`: dotted paths of the fields that differ, and a unified diff. Secrets are hidden in both,
    so that two values of one do not differ. Raises `NotFound`."""
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
        first, second = await jobs.version(session, job, a), await jobs.version(session, job, b)
    old, new = show_version(first).spec, show_version(second).spec
    keys = sorted(k for k in {*_flat(old), *_flat(new)} if _flat(old).get(k) != _flat(new).get(k))
    lines = difflib.unified_diff(_text(old), _text(new), f"version {a}", f"version {b}", lineterm="")
    return out.VersionDiff(a=a, b=b, changes=keys, diff="\n".join(lines))


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {k: v for key, item in value.items() for k, v in _flat(item, f"{path}.{key}" if path else key).items()}
    return {path: value}


def _text(spec: dict[str, Any]) -> list[str]:
    rest = {k: v for k, v in spec.items() if k != "sql"}
    lines = json.dumps(rest, indent=2, sort_keys=True, ensure_ascii=False).splitlines()
    return [*lines, *str(spec.get("sql", "")).splitlines()]


async def config(services: Services, ref: str, number: int | None) -> out.ConfigOut:
    """The configuration that a version runs with, each value with where it comes from. Raises `NotFound`."""
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
        cluster = await clusters.get(session, job.cluster)
        if number is None:
            number = job.version if job.current_attempt else await jobs.latest_version(session, job.id)
        project = await jobs.project(session, job.project)
        effective = effective_config(job, cluster, project, await jobs.version(session, job, number))
    items = [
        out.ConfigItem(key=e.key, value=rules.shown(e.key, e.value), layer=e.layer, overrides=e.overrides)
        for _, e in sorted(effective.items())
    ]
    return out.ConfigOut(version=number, items=items, notes=notes_on(item.key for item in items))
