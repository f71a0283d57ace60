"""Commands: checked, written down, delivered."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import structlog

from api import hosting
from api.commands.schemas import CommandOut, LogLineOut, NewCommand
from api.versions import NewVersion
from core.errors import Conflict, InvalidInput, Unavailable
from core.jobs.restore import Accepted, Basis, RestoreRequest, needs_decision, resolve_request
from core.jobs.snapshot import JobSnapshot
from core.jobs.states import COMMAND_ENDED, CommandKind, CommandState, JobState, check_allowed
from core.jobs.types import traits
from core.paths import STATE_SCHEMES, is_path, is_state_scheme, local
from core.sql.verdict import StateVerdict
from core.sql.verdict import objection as objection_to
from observation import points
from services import Services
from settings import clock, waits
from sql.compiling import REMEDIES, judge
from store import attempts, clusters, commands, jobs
from store.database import DatabaseUnavailable, Session, Taken
from store.tables import Cluster, Command, Job
from temporal.delivery import NO_ANSWER, deliver

_STARTS = (CommandKind.START, CommandKind.RESTART, CommandKind.RESUBMIT)
_FIELDS = {
    "restore": _STARTS,
    "version": (*_STARTS, CommandKind.ADOPT),
    "rollback_within": (CommandKind.RESUBMIT,),
    "flink_job_id": (CommandKind.ADOPT,),
}
RACES = 5
log = structlog.get_logger()


async def send(
    services: Services, ref: str, new: NewCommand, key: str | None, *, adding: NewVersion | None = None
) -> CommandOut:
    """Check a command, write it down and deliver it. The same `key` gives the same command. `adding` is a version that
    is made for it: it is written down with the command, and gone with it when the command is refused.

    When Temporal is away the command stays PENDING, and the recovery schedule delivers it. Raises `Unavailable` with
    its number when it is written down, and what became of it could not be.
    """
    found, new = await _judged(services, ref, new, key)
    await _hosted(services, ref, new, key, adding)
    for _ in range(RACES):
        try:
            written = await _write(services, ref, new, key, adding)
            break
        except Taken:  # another command took the number, or the key, at the same moment
            continue
    else:
        raise Conflict("Other commands were sent to this job at the same moment.", remedy="Send it again.")
    if isinstance(written, CommandOut):
        return written
    command, job, cluster = written
    try:
        shown = await _bring(services, command, job, cluster, adding)
    except DatabaseUnavailable as error:
        label = f"{job.project}:{job.name}"
        raise Unavailable(
            f"Command {command.number} ({command.kind}) of {label} is written down, and what became of it could not "
            f"be: {error}.",
            code="command_written",
            remedy="It has been delivered, or will be, and is carried out once: do not send another. "
            f"GET /jobs/{label}/commands/{command.number} tells what became of it.",
        ) from error
    shown.state_verdict = found
    return shown


async def _bring(
    services: Services, command: Command, job: Job, cluster: Cluster, adding: NewVersion | None
) -> CommandOut:
    """Deliver a command that is written down, and show it. Raises `Conflict` when its workflow does not take it."""
    try:
        await deliver(services, job, cluster, command)
    except Conflict as error:
        async with services.database.write() as session:
            if error.code == "expired":  # it was sent long ago, and sent again with the same key
                await commands.refuse(session, command.id, at=clock.now(), error=error.message, code=error.code)
            else:
                await commands.remove(session, command.id)
                if adding is not None and command.version is not None:
                    await jobs.take_back(session, job.id, command.version)
        if error.code != "expired":
            raise
    except NO_ANSWER as error:
        log.warning("command not delivered yet", job=job.id, command=command.number, why=str(error))
        async with services.database.write() as session:
            note = f"It could not be delivered yet ({error}); it is kept, and delivered as soon as that is possible."
            await commands.append(session, commands.scope(command.id), [(clock.now(), note)])
    async with services.database.read() as session:
        return show(await commands.by_id(session, command.id) or command)


async def _judged(
    services: Services, ref: str, new: NewCommand, key: str | None
) -> tuple[StateVerdict | None, NewCommand]:
    """Before anything is stopped or started: whether the state fits what is to run. Raises `Conflict` when it does
    not, or nobody can tell, and that was not accepted. `force` accepts that state is dropped."""
    if new.kind not in _STARTS or (new.restore is not None and new.restore.mode == "none"):
        return None, new
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
        known = key is not None and await commands.by_key(session, job.id, key)
        if not known:
            await _check_point(session, job, new.restore)
        latest = await jobs.latest_version(session, job.id)
    if new.restore is not None:
        taken: dict[str, object] = {}
        if new.force:
            taken = {"allow_non_restored_state": True, "accept_changed_state": True}
        if new.restore.point is not None:
            taken["point"] = await points.named(services, new.restore.point)
        new = new.model_copy(update={"restore": new.restore.model_copy(update=taken)})
    if known:
        return None, new
    version = new.version or (latest if new.kind is CommandKind.RESUBMIT else job.version)
    if new.restore is None and needs_decision(new.kind, _basis(job), changes_version=version != job.version):
        return None, new  # refused for that
    found = await judge(services, job, version, new.restore, anew=new.kind is CommandKind.RESUBMIT)
    if found is None:
        return None, new
    objection = objection_to(found, new.restore.accepted if new.restore else Accepted())
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
    shown = new.kind is CommandKind.RESUBMIT or version != job.version or (new.restore and new.restore.point)
    return found if shown else None, new


async def _hosted(
    services: Services, ref: str, new: NewCommand, key: str | None, adding: NewVersion | None = None
) -> None:
    if new.kind not in hosting.ENDS and new.rollback_within is None:
        return
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
        if not traits(job.type).runs_cluster:
            return
        known = key is not None and await commands.by_key(session, job.id, key)
    if not known:
        await hosting.check_command(services, job, new, adding.spec.model_dump(mode="json") if adding else None)


async def _write(
    services: Services, ref: str, new: NewCommand, key: str | None, adding: NewVersion | None = None
) -> CommandOut | tuple[Command, Job, Cluster]:
    """The command that this key was used for before, or a new one, written down. Under the lock of the job's row:
    of this and a DELETE at the same moment one is refused."""
    async with services.database.write() as session:
        job = await jobs.get(session, ref, lock=True)
        if key is not None and (known := await commands.by_key(session, job.id, key)):
            shown = _same(known, new, key)
            # Perhaps nobody has delivered it yet: the API died after it had written it down.
            waiting = known.state == CommandState.PENDING.value
            return (known, job, await clusters.get(session, job.cluster)) if waiting else shown
        if adding is not None:
            spec = adding.spec.model_dump(mode="json")
            made = await jobs.add_version(session, job, spec, adding.note, clock.now())
            new = new.model_copy(update={"version": made.number})
        version = await _check(session, job, new)
        command = Command(
            id=str(uuid.uuid4()),
            job_id=job.id,
            number=await commands.next_number(session, job.id),
            kind=new.kind.value,
            state=CommandState.PENDING.value,
            restore=new.restore.model_dump() if new.restore else None,
            version=version,
            rollback_within=new.rollback_within,
            flink_job_id=new.flink_job_id,
            reason=new.reason,
            idempotency_key=key,
            created_at=clock.now(),
        )
        session.add(command)
        await session.flush()
        return command, job, await clusters.get(session, job.cluster)


def _same(known: Command, new: NewCommand, key: str) -> CommandOut:
    asked = new.restore
    before = RestoreRequest.model_validate(known.restore) if known.restore else None
    same = (known.kind, before, known.rollback_within, known.flink_job_id) == (
        new.kind.value,
        asked,
        new.rollback_within,
        new.flink_job_id,
    )
    if not same or (new.version or known.version) != known.version:
        raise reused(known, key)
    return show(known)


def reused(known: Command, key: str) -> InvalidInput:
    return InvalidInput(
        f"The Idempotency-Key {key[:80]!r} was used for another command (number {known.number}, {known.kind}).",
        code="idempotency_key_reused",
        field="Idempotency-Key",
        remedy="Use a new key for a new command.",
    )


async def _check(session: Session, job: Job, new: NewCommand) -> int | None:
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
    check_allowed(label, job.type, state, new.kind, CommandKind(job.busy) if job.busy else None)
    for field in (f for f, kinds in _FIELDS.items() if new.kind not in kinds and getattr(new, f) is not None):
        raise InvalidInput(f"`{field}` has no meaning with {new.kind.value}.", code="field_unused", field=field)
    if new.force and new.kind not in _STARTS and not (traits(job.type).runs_cluster and new.kind is CommandKind.KILL):
        raise InvalidInput(f"`force` has no meaning with {new.kind.value}.", code="field_unused", field="force")
    if new.kind is CommandKind.ADOPT:
        return await _check_adoption(session, job, new)
    if new.kind not in _STARTS:
        return None
    basis = _basis(job)
    latest = await jobs.latest_version(session, job.id)
    follows_latest = new.kind is CommandKind.RESUBMIT or basis is Basis.FRESH
    version = new.version or (latest if follows_latest else job.version)
    await jobs.version(session, job, version)
    resolve_request(
        label,
        new.kind,
        state,
        basis,
        new.restore,
        changes_version=version != job.version,
        stateless=not traits(job.type).keeps_state,
    )
    return version


def _basis(job: Job) -> Basis:
    return JobSnapshot.model_validate(job.snapshot).basis if job.snapshot else Basis.FRESH


async def _check_adoption(session: Session, job: Job, new: NewCommand) -> int | None:
    if new.flink_job_id is None:
        raise InvalidInput(
            "adopt needs `flink_job_id`.",
            code="flink_job_id_missing",
            field="flink_job_id",
            remedy="GET /orphans lists Flink jobs that nobody owns.",
        )
    own = await attempts.by_flink_job(session, new.flink_job_id)
    if own is not None and own.job_id != job.id:
        raise InvalidInput(
            f"Flink job {new.flink_job_id} is attempt {own.number} of another job.",
            code="not_adoptable",
            field="flink_job_id",
            remedy="Adopt it there, or stop it.",
        )
    if new.version is not None:
        await jobs.version(session, job, new.version)
    return new.version


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


def show(command: Command) -> CommandOut:
    return CommandOut(
        id=command.id,
        number=command.number,
        kind=CommandKind(command.kind),
        state=CommandState(command.state),
        error=command.error,
        error_code=command.error_code,
        restore=RestoreRequest.model_validate(command.restore) if command.restore else None,
        version=command.version,
        rollback_within=command.rollback_within,
        flink_job_id=command.flink_job_id,
        reason=command.reason,
        attempt=command.attempt,
        created_at=command.created_at,
        started_at=command.started_at,
        finished_at=command.finished_at,
    )


async def page(services: Services, ref: str, *, limit: int, cursor: str | None) -> tuple[list[CommandOut], str | None]:
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
        found, following = await commands.page(session, job.id, limit=limit, cursor=cursor)
        return [show(c) for c in found], following


async def get(services: Services, ref: str, number: int) -> CommandOut:
    async with services.database.read() as session:
        return show(await commands.get(session, await jobs.get(session, ref), number))


async def lines(services: Services, ref: str, number: int) -> list[LogLineOut]:
    """The whole log of a command."""
    return [line async for line in follow(services, await command_id(services, ref, number), wait=False)]


async def command_id(services: Services, ref: str, number: int) -> str:
    async with services.database.read() as session:
        command = await commands.get(session, await jobs.get(session, ref), number)
        return command.id


async def follow(services: Services, command_id: str, *, wait: bool, after: int = 0) -> AsyncIterator[LogLineOut]:
    """Log lines in order, from after line `after`; with `wait` until the command has ended."""
    while True:
        async with services.database.read() as session:
            command = await commands.by_id(session, command_id)
            rows = await commands.lines(session, commands.scope(command_id), after=after)
        for row in rows:
            after = row.id
            yield LogLineOut(id=row.id, at=row.at, text=row.text)
        if rows:
            continue
        if not wait or command is None or CommandState(command.state) in COMMAND_ENDED:
            return
        await asyncio.sleep(waits.FOLLOW_SECONDS)


async def ended(services: Services, command_id: str) -> CommandOut | None:
    async with services.database.read() as session:
        command = await commands.by_id(session, command_id)
        return show(command) if command else None
