"""Seeing Flink jobs that nobody owns. Costs nothing beside the look that the watch takes anyway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime

import structlog

from clusters.protocol import JobSeen, Overview, Ref
from core.effects import EngineError
from core.jobs.blocked import adopt
from core.jobs.observations import ENDED
from core.jobs.states import AttemptState
from store import attempts, orphans, previews
from store.database import Database, Session
from store.tables import Attempt, Job

log = structlog.get_logger()

StartedBy = Callable[[Collection[str]], Awaitable[Mapping[str, str]]]
"""`SharedByPrograms.started_by`."""


class OrphanWatch:
    """A job counts as an orphan when two looks in a row show it alive without an owner: between one look's
    question and its rows an attempt may have been opened."""

    def __init__(self, database: Database):
        self._database = database
        self._suspects: dict[str, set[str]] = {}
        self._reported: dict[str, set[str]] = {}
        self._given_up: dict[str, set[str]] = {}

    async def look(
        self, cluster: str, overview: Overview, owned: set[str], now: datetime, started_by: StartedBy | None = None
    ) -> list[Ref]:
        """`owned` are Flink job ids. Returns attempts that were given up before they had reached the cluster, and are
        alive all the same: nobody can want them to run on."""
        alive = {seen.ref.flink_job_id: seen for seen in overview.jobs.values() if seen.state not in ENDED}
        alive = {id_: seen for id_, seen in alive.items() if id_ not in owned}
        if cluster not in self._reported:
            async with self._database.read() as session:
                self._reported[cluster] = {o.flink_job_id for o in await orphans.all_(session, cluster)}
                known = await orphans.owners(session, self._reported[cluster])
            self._given_up[cluster] = {
                id_ for id_, (attempt, _) in known.items() if attempt.state == AttemptState.NOT_SUBMITTED
            }
        reported = self._reported[cluster]
        new = {id_ for id_ in alive if id_ in self._suspects.get(cluster, set()) and id_ not in reported}
        gone = reported - alive.keys()
        gone |= await self._owned_by_now(reported - gone)
        self._suspects[cluster] = set(alive)
        given_up = self._given_up.setdefault(cluster, set())
        if new or gone:
            origins = await _origins(started_by, new)
            given_up.update(await self._write(cluster, {id_: alive[id_] for id_ in new}, origins, gone, now))
        given_up.intersection_update(alive)
        return [alive[id_].ref for id_ in sorted(given_up)]

    async def _owned_by_now(self, flink_job_ids: set[str]) -> set[str]:
        """Those that are an open attempt on another cluster of ours, which is the same Flink: adopted there."""
        if not flink_job_ids:
            return set()
        async with self._database.read() as session:
            return set(await orphans.open_owners(session, flink_job_ids))

    async def _write(
        self,
        cluster: str,
        new: Mapping[str, JobSeen],
        origins: Mapping[str, str],
        gone: set[str],
        now: datetime,
    ) -> list[str]:
        # One Flink may be two clusters of ours: what is an attempt or a preview on the other one is no orphan here.
        async with self._database.read() as session:
            owners = await orphans.owners(session, {*new, *origins.values()})
            elsewhere = await previews.known(session, new.keys())
            owned = elsewhere | {id_ for id_ in new if id_ in owners and orphans.is_open(*owners[id_])}
        if not gone and not new.keys() - owned:
            return []
        given_up: list[str] = []
        async with self._database.write() as session:
            owners = await orphans.owners(session, {*new, *origins.values()})
            open_ = {id_ for id_ in new if id_ in owners and orphans.is_open(*owners[id_])}
            open_ |= elsewhere
            # A program that is being submitted: who submits it deals with what it starts.
            open_ |= {id_ for id_, origin in origins.items() if origin in owners and _is_being_sent(*owners[origin])}
            for id_, stray in new.items():
                if id_ in open_:
                    continue
                attempt, job = owners.get(id_, (None, None))
                detail, program = stray.detail, id_ not in owners and origins.get(id_) in owners
                if program:
                    attempt, job = owners[origins[id_]]
                    whose = f"{job.project}:{job.name}, attempt {attempt.number}"
                    detail = f"started by the program of {whose}, beside its job; {stray.detail}"
                elif attempt is not None and attempt.state == AttemptState.NOT_SUBMITTED:
                    given_up.append(id_)
                if await orphans.report(session, cluster, id_, stray.name, detail, attempt, now):
                    log.warning("a Flink job that nobody owns", cluster=cluster, flink_job=id_, name=stray.name)
                    if attempt is not None and job is not None and job.deleted_at is None:
                        _alert(session, id_, job, attempt, cluster, now, program=program)
            if gone:
                await orphans.gone(session, cluster, gone, now)
        self._reported[cluster] = (self._reported[cluster] | (new.keys() - open_)) - gone
        return given_up


async def _origins(started_by: StartedBy | None, flink_job_ids: Collection[str]) -> Mapping[str, str]:
    try:
        return await started_by(flink_job_ids) if flink_job_ids and started_by else {}
    except EngineError:
        return {}


def _is_being_sent(attempt: Attempt, job: Job) -> bool:
    return orphans.is_open(attempt, job) and attempt.state == AttemptState.RECORDED


def _alert(
    session: Session, id_: str, job: Job, attempt: Attempt, cluster: str, now: datetime, *, program: bool
) -> None:
    """`program`: it is not the attempt itself, but was started by the attempt's program."""
    actions: list[dict[str, object]] = [{"stop": f"/clusters/{cluster}/orphans/{id_}/stop"}]
    if program:
        message = (
            f"the program of attempt {attempt.number} has started a second Flink job, {id_}, on {cluster}: nobody "
            "pauses, restarts or restores it; stop it, and have the program submit one job"
        )
    elif attempt.state == AttemptState.NOT_SUBMITTED:
        message = (
            f"attempt {attempt.number}, which was given up before it had reached {cluster}, is alive there all the "
            "same: it is cancelled"
        )
    else:
        message = (
            f"attempt {attempt.number}, which was seen to end ({attempt.state}), is alive on {cluster}: adopt it, "
            "or stop it"
        )
        actions.insert(0, adopt(id_))
    attempts.add_event(
        session,
        f"{job.id}/orphan/{id_}/{now.isoformat()}",
        job.id,
        kind="alert",
        message=message,
        attempt=attempt.number,
        at=now,
        data={"actions": actions},
    )
