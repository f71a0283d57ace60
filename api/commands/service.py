"""Commands: checked, written down, delivered. How they are read is in `reading`."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from api import hosting
from api.commands.reading import command_out
from api.commands.schemas import CommandOut, NewCommand
from api.rules import Caller
from api.versions import NewVersion
from core.access import Right
from core.errors import Conflict, InvalidInput, Unavailable
from core.jobs.commands import AskedCommand
from core.jobs.restore import Accepted, Basis, RestoreRequest, needs_decision, resolve_request
from core.jobs.snapshot import JobSnapshot
from core.jobs.states import STARTS, CommandKind, CommandState, JobState, check_allowed
from core.jobs.types import traits
from core.paths import STATE_SCHEMES, is_path, is_state_scheme, local
from core.specs import another_version
from core.sql.verdict import StateVerdict
from core.sql.verdict import objection as objection_to
from observation import points
from services import Services
from settings import clock
from sql.compiling import REMEDIES, judge
from sql.rehearsal import rehearse
from store import attempts, clusters, commands, jobs
from store.database import DatabaseUnavailable, Session, Taken
from store.tables import Cluster, Command, Job
from temporal.delivery import NO_ANSWER, deliver

RACES = 5
_NOT_COMPARED = frozenset({"version", "force", "reason", "requested_by"})
"""Fields in which a command may differ from the one that its key was used for: what `force` accepts is in `restore`."""
_TOO_LATE = frozenset({"expired", "overtaken"})
"""Why a workflow does not take a command that was written down before: it is not forgotten, it has failed."""
log = structlog.get_logger()


async def send(
    services: Services,
    caller: Caller,
    ref: str,
    new: NewCommand,
    key: str | None,
    *,
    adding: NewVersion | None = None,
    base: int | None = None,
) -> CommandOut:
    """Check a command, write it down and deliver it. The same `key` gives the same command. `adding`
    is a version that is made for it: it is written down with the command, and gone with it when the
    command is refused. `base` is the version of the job that the caller has gone by: with another one it is refused.

    When Temporal is away the command stays PENDING, and the recovery schedule delivers it. Raises `NotFound`,
    `InvalidInput` or `Conflict` when it is refused, and `Unavailable` with its number when it is written down, and what
    became of it, or that it was refused, could not be.
    """
    asked = AskedCommand.model_validate({**new.model_dump(), "requested_by": caller.name})
    await _check_rights(services, caller, ref, asked)
    before = await _before(services, ref, asked, key)
    verdict, judged, ends = None, None, False
    if before is not None:
        verdict, asked, judged = await _verdict_on(services, before, asked)
        await _rehearse(services, before, asked, adding)
        hosted = await _check_session_cluster(services, before, asked, adding)
        judged, ends = hosted.version or judged, hosted.ends
    for _ in range(RACES):
        try:
            written = await _write(services, ref, asked, key, adding, judged=judged, base=base, ends=ends)
            break
        except Taken:  # another command took the number, or the key, at the same moment
            continue
    else:
        raise Conflict("Other commands were sent to this job at the same moment.", remedy="Send it again.")
    if isinstance(written, CommandOut):
        return written
    command, job, cluster = written
    try:
        sent = await _deliver(services, command, job, cluster, adding)
    except DatabaseUnavailable as error:
        label = f"{job.project}:{job.name}"
        raise Unavailable(
            f"Command {command.number} ({command.kind}) of {label} is written down, and what became of it could not "
            f"be: {error}.",
            code="command_written",
            remedy="It has been delivered, or will be, and is carried out once: do not send another. "
            f"GET /jobs/{label}/commands/{command.number} tells what became of it.",
        ) from error
    sent.state_verdict = verdict
    return sent


async def _check_rights(services: Services, caller: Caller, ref: str, asked: AskedCommand) -> None:
    """What a command needs beyond the right to operate. Raises `Forbidden` and `NotFound`."""
    restore, adopts = asked.restore, asked.kind is CommandKind.ADOPT
    chooses = restore is not None and (restore.mode != "newest" or restore.accepted != Accepted())
    if not (asked.force or chooses or adopts):
        return
    async with services.database.read() as session:
        project = (await jobs.get(session, ref)).project
    if asked.force or chooses:
        caller.check(Right.OVERRIDE, project)
    point = restore.point if restore is not None else None
    is_foreign = point is not None and not await points.is_of_project(services, project, point)
    if adopts or is_foreign:
        caller.check(Right.ADOPT, project)


async def _deliver(
    services: Services, command: Command, job: Job, cluster: Cluster, adding: NewVersion | None
) -> CommandOut:
    """Deliver a command that is written down, and show it. Raises `Conflict` when its workflow does not take it, and
    `Unavailable` when that cannot be written down."""
    try:
        await deliver(services, job, cluster, command)
    except Conflict as error:
        try:
            return await _refused(services, command, job, adding, error)
        except DatabaseUnavailable as away:
            raise _unwritten(command, job, error, away) from away
    except NO_ANSWER as error:
        log.warning("command not delivered yet", job=job.id, command=command.number, why=str(error))
        async with services.database.write() as session:
            note = f"It could not be delivered yet ({error}); it is kept, and delivered as soon as that is possible."
            await commands.append(session, commands.scope(command.id), [(clock.now(), note)])
    return await _shown(services, command)


async def _refused(
    services: Services, command: Command, job: Job, adding: NewVersion | None, why: Conflict
) -> CommandOut:
    """Write down that its workflow does not take a command. Raises `why`, but for one that was sent long ago, and sent
    again with the same key: that one has failed, and is shown so."""
    async with services.database.write() as session:
        if why.code in _TOO_LATE:
            await commands.refuse(session, command.id, at=clock.now(), error=why.message, code=why.code)
        else:
            await commands.remove(session, command.id)
            if adding is not None and command.version is not None:
                await jobs.take_back(session, job.id, command.version)
    if why.code not in _TOO_LATE:
        raise why
    return await _shown(services, command)


def _unwritten(command: Command, job: Job, why: Conflict, away: DatabaseUnavailable) -> Unavailable:
    """The error of a command that was refused, where that could not be written down, or not be read again."""
    label = f"{job.project}:{job.name}"
    later = "The recovery sends it again as long as it has not expired, and it may be taken then: do not send another."
    return Unavailable(
        f"Command {command.number} ({command.kind}) of {label} was refused: {why.message} Nothing was done; the record "
        f"of it could not be written, or not be read: {away}.",
        code="refusal_unwritten",
        remedy=f"{'It is not carried out.' if why.code in _TOO_LATE else later} "
        f"GET /jobs/{label}/commands/{command.number} tells what became of it.",
    )


async def _shown(services: Services, command: Command) -> CommandOut:
    async with services.database.read() as session:
        return command_out(await commands.by_id(session, command.id) or command)


@dataclass(frozen=True)
class _Before:
    """What a command finds, read once. What has changed since is seen when it is written down, under the job's lock.
    `another` is the number of the version that a start or restart would run again, where that is not what ran."""

    job: Job
    known: bool
    """Whether the command's key was used before."""
    latest: int
    another: int | None


async def _before(services: Services, ref: str, asked: AskedCommand, key: str | None) -> _Before | None:
    """None for a command of which all is checked when it is written down. Raises `NotFound`, and `InvalidInput` for a
    restore point that cannot be one."""
    if asked.kind not in STARTS and asked.kind not in hosting.ENDS and asked.rollback_within is None:
        return None
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
        known = key is not None and await commands.by_key(session, job.id, key) is not None
        if asked.kind in STARTS and not known:
            await _check_point(session, job, asked.restore)
        latest = await jobs.latest_version(session, job.id) if asked.kind in STARTS else job.version
        another = None if known else await _another_version(session, job, asked)
    return _Before(job, known, latest, another)


async def _another_version(session: Session, job: Job, asked: AskedCommand) -> int | None:
    """The number of the version that a start or restart would run again, where another one by that number ran."""
    if asked.kind not in (CommandKind.START, CommandKind.RESTART) or job.current_attempt is None:
        return None
    attempt = await attempts.get(session, job.id, job.current_attempt)
    if attempt is None:
        return None
    version = await jobs.version(session, job, asked.version or job.version)
    return version.number if attempts.ran_another(attempt, version) else None


async def _verdict_on(
    services: Services, before: _Before, asked: AskedCommand
) -> tuple[StateVerdict | None, AskedCommand, int | None]:
    """Before anything is stopped or started: whether the state fits what is to run, if that is worth showing; the
    command with its restore point by the one spelling and with what `force` accepts; the version that was judged.
    Raises `Conflict` when the state does not fit, or nobody can tell, and that was not accepted."""
    if asked.kind not in STARTS or (asked.restore is not None and asked.restore.mode == "none"):
        return None, asked, None
    if asked.restore is not None:
        changes: dict[str, object] = {}
        if asked.force:
            changes = {"allow_non_restored_state": True, "accept_changed_state": True}
        if asked.restore.point is not None:
            changes["point"] = await points.named(services, asked.restore.point)
        asked = asked.model_copy(update={"restore": asked.restore.model_copy(update=changes)})
    if before.known:
        return None, asked, None
    job = before.job
    version = _version_of(job, asked, before.latest)
    if asked.restore is None and _basis(job) is Basis.FRESH:
        return None, asked, None  # it begins without state
    if asked.restore is None and needs_decision(asked.kind, _basis(job), changes_version=version != job.version):
        return None, asked, None  # refused for that
    verdict = await judge(services, job, version, asked.restore, anew=asked.kind is CommandKind.RESUBMIT)
    if verdict is None:
        return None, asked, None
    objection = objection_to(verdict, asked.restore.accepted if asked.restore else Accepted())
    if objection is not None:
        code, why = objection
        label = f"{job.project}:{job.name}"
        raise Conflict(
            {
                "state_incompatible": f"The state of {label} does not fit version {version}: {why}",
                "state_loss": f"Version {version} of {label} has no place for some of the state: {why}",
                "state_unknown": f"Whether the state fits version {version} of {label} cannot be told: {why}",
            }[code],
            code=code,
            remedy=f"Nothing was stopped. {REMEDIES[code]}",
        )
    worth_showing = (
        asked.kind is CommandKind.RESUBMIT or version != job.version or (asked.restore and asked.restore.point)
    )
    return verdict if worth_showing else None, asked, version


async def _rehearse(services: Services, before: _Before, asked: AskedCommand, adding: NewVersion | None) -> None:
    """Before what runs is stopped for another attempt: whether that would be taken. A start and a restart run what
    ran. Raises `Conflict` when not."""
    if before.another is not None:
        raise Conflict(another_version(before.another), code="would_not_start", remedy="Nothing was stopped.")
    judged = asked.kind is CommandKind.RESUBMIT and asked.restore is not None and asked.restore.mode != "none"
    if asked.kind not in (CommandKind.RESTART, CommandKind.RESUBMIT) or judged or adding is not None:
        return  # with its state it was compiled for the verdict
    job = before.job
    runs = JobState(job.state) in (JobState.RUNNING, JobState.DEPLOYED)
    if before.known or not traits(job.type).compiles or not runs or job.busy:
        return  # nothing is stopped for it, or it is refused
    number = _version_of(job, asked, before.latest)
    await rehearse(services, job, number, anew=asked.kind is CommandKind.RESUBMIT or number != job.version)


async def _check_session_cluster(
    services: Services, before: _Before, asked: AskedCommand, adding: NewVersion | None
) -> hosting.Judged:
    """Raise `Conflict` where a session cluster would end under its jobs. Other jobs, and a key that was used before,
    pass."""
    asks = asked.kind in hosting.ENDS or asked.rollback_within is not None
    if not asks or before.known or not traits(before.job.type).runs_cluster:
        return hosting.Judged()
    return await hosting.check_command(
        services, before.job, asked, adding.spec.model_dump(mode="json") if adding else None
    )


async def _write(
    services: Services,
    ref: str,
    asked: AskedCommand,
    key: str | None,
    adding: NewVersion | None = None,
    *,
    judged: int | None = None,
    base: int | None = None,
    ends: bool = False,
) -> CommandOut | tuple[Command, Job, Cluster]:
    """The command that this key was used for before, or a new one, written down. Under the lock of the job's row:
    of this and a DELETE at the same moment one is refused. It works with the version that was `judged`, where one was:
    another one may have been added since. `ends` a session cluster, on which nothing may run."""
    async with services.database.write() as session:
        job = await jobs.get(session, ref, lock=True)
        if key is not None and (known := await commands.by_key(session, job.id, key)):
            _check_same(known, asked, key)
            # Perhaps nobody has delivered it yet: the API died after it had written it down.
            waiting = known.state == CommandState.PENDING.value
            return (known, job, await clusters.get(session, job.cluster)) if waiting else command_out(known)
        if base is not None and job.version != base:
            raise Conflict(
                f"{job.project}:{job.name} got version {job.version} at this moment; this went by version {base}.",
                code="version_changed",
                remedy="Send it again.",
            )
        if adding is not None:
            spec = adding.spec.model_dump(mode="json")
            added = await jobs.add_version(session, job, spec, adding.note, clock.now())
            asked = asked.model_copy(update={"version": added.number})
        elif judged is not None:
            asked = asked.model_copy(update={"version": judged})
        asked = asked.model_copy(update={"version": await _check(session, job, asked)})
        if ends:
            await hosting.check_unused(session, job, asked.kind)
        command = await commands.add(session, job.id, asked, key, clock.now(), added_version=adding is not None)
        return command, job, await clusters.get(session, job.cluster)


def _check_same(known: Command, asked: AskedCommand, key: str) -> None:
    """Raise `InvalidInput` unless the command that `key` was used for asked for the same."""
    before = commands.asked_of(known)
    same = before.model_dump(exclude=set(_NOT_COMPARED)) == asked.model_dump(exclude=set(_NOT_COMPARED))
    if not same or (asked.version or before.version) != before.version:
        raise reused(known, key)


def reused(known: Command, key: str) -> InvalidInput:
    """The error of a key that was used for another command."""
    return InvalidInput(
        f"The Idempotency-Key {key[:80]!r} was used for another command (number {known.number}, {known.kind}).",
        code="idempotency_key_reused",
        field="Idempotency-Key",
        remedy="Use a new key for a new command.",
    )


async def _check(session: Session, job: Job, asked: AskedCommand) -> int | None:
    """The version that the command works with. Raises when the job's state or the input does not allow it."""
    label = f"{job.project}:{job.name}"
    state = JobState(job.state)
    if job.deleting_at is not None:
        raise Conflict(
            f"Job {label} is being deleted.",
            code="job_being_deleted",
            allowed=[],
            remedy="It is gone in a moment, or takes commands again, when it turns out that something of it runs.",
        )
    check_allowed(label, job.type, state, asked.kind, CommandKind(job.busy) if job.busy else None)
    field = next(asked.without_meaning(), None)
    if field is None and asked.force and asked.kind is CommandKind.KILL and not traits(job.type).runs_cluster:
        field = "force"
    if field is not None:
        raise InvalidInput(f"`{field}` has no meaning with {asked.kind.value}.", code="field_unused", field=field)
    if asked.kind is CommandKind.ADOPT or asked.kind in STARTS:
        await jobs.open_project(session, job.project)
        await hosting.check_up(session, job)
    if asked.kind is CommandKind.ADOPT:
        return await _check_adoption(session, job, asked)
    if asked.kind not in STARTS:
        return None
    version = _version_of(job, asked, await jobs.latest_version(session, job.id))
    await jobs.version(session, job, version)
    resolve_request(
        label,
        asked.kind,
        state,
        _basis(job),
        asked.restore,
        changes_version=version != job.version,
        stateless=not traits(job.type).keeps_state,
    )
    return version


def _version_of(job: Job, asked: AskedCommand, latest: int) -> int:
    """Which version a command that starts something works with."""
    follows_latest = asked.kind is CommandKind.RESUBMIT or _basis(job) is Basis.FRESH
    return asked.version or (latest if follows_latest else job.version)


def _basis(job: Job) -> Basis:
    return JobSnapshot.model_validate(job.snapshot).basis if job.snapshot else Basis.FRESH


async def _check_adoption(session: Session, job: Job, asked: AskedCommand) -> int | None:
    if asked.flink_job_id is None:
        raise InvalidInput(
            "adopt needs `flink_job_id`.",
            code="flink_job_id_missing",
            field="flink_job_id",
            remedy="GET /orphans lists Flink jobs that nobody owns.",
        )
    own = await attempts.by_flink_job(session, asked.flink_job_id)
    if own is not None and own.job_id != job.id:
        owner = await jobs.by_id(session, own.job_id)
        gone = owner is None or owner.deleted_at is not None
        whose = "a job that was deleted" if gone else "another job"
        stop = "Stop it, with a savepoint to start from if you like: GET /orphans lists it."
        raise InvalidInput(
            f"Flink job {asked.flink_job_id} is attempt {own.number} of {whose}.",
            code="not_adoptable",
            field="flink_job_id",
            remedy=stop if gone else "Adopt it there, or stop it.",
        )
    if asked.version is not None:
        await jobs.version(session, job, asked.version)
    return asked.version


async def _check_point(session: Session, job: Job, restore: RestoreRequest | None) -> None:
    if restore is None or restore.point is None:
        return
    if "\x00" in restore.point:
        raise InvalidInput("restore.point has a NUL character.", code="bad_point", field="restore.point")
    if restore.point.startswith("rp-"):
        if restore.point not in {p.id for p in await attempts.points(session, job.id)}:
            raise InvalidInput(
                f"Job {job.project}:{job.name} has no restore point {restore.point[:60]}.",
                code="restore_point_not_found",
                field="restore.point",
                remedy="GET /jobs/{id}/restore-points lists them.",
            )
    elif (
        not is_path(restore.point)
        or not is_state_scheme(restore.point)
        or (restore.point.startswith("file://") and local(restore.point) is None)
    ):
        raise InvalidInput(
            "restore.point is the id of a restore point (rp-...), an absolute path, or a URI on a file system that "
            f"keeps state ({', '.join(sorted(STATE_SCHEMES))}). A file:// path names no other machine.",
            code="bad_point",
            field="restore.point",
        )
