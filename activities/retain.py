"""Deleting what is not kept any more: savepoints, what is left of those that were never completed, and checkpoints of
ended attempts."""

from __future__ import annotations

import contextlib
from datetime import timedelta

from temporalio import activity

from activities import contracts as c
from activities.checks import all_present, check_current, present
from activities.logs import Pulse, bind, heartbeats
from clusters import state_files
from clusters.protocol import Engine, Ref, Savepoints, TriggerState, TriggerStatus, Unreachable
from core.effects import EngineError
from core.jobs.observations import ENDED
from core.jobs.restore import RestorePoint
from core.jobs.retention import SETTLED_SECONDS, CheckpointFolder, folders_to_delete, to_delete
from core.jobs.snapshot import checkpoint_directory, lineage_of, savepoint_root
from core.jobs.types import traits
from core.paths import normal
from observation import points
from services import Services
from settings import clock, waits
from store import attempts, clusters, jobs
from store.tables import Attempt, Cluster, Job


class Retaining:
    def __init__(self, services: Services):
        self._services = services

    @activity.defn(name=c.RETAIN)
    async def retain(self, request: c.RetainIn) -> c.Retained:
        """Delete what `wanted.policy` does not keep: through Flink, or as files when no JobManager answers.
        What is not certain to be of no use is left alone, and said."""
        bind(job=request.job_id)
        services, result = self._services, c.Retained()
        async with heartbeats() as pulse:
            await check_current(services, request)
            with all_present():
                gathered = await points.gather(services, request.job_id)
            until = clock.monotonic() + waits.RETAIN_SECONDS
            if gathered.unread:
                result.refused.append(f"all savepoints, because not all restore points can be read: {gathered.unread}")
                return result
            async with services.database.read() as session:
                job = present(await jobs.by_id(session, request.job_id), f"job {request.job_id}")
                cluster = await clusters.get(session, job.cluster)
                in_use = await attempts.in_use(session, request.job_id)
                recent = {a.number: a for a in await attempts.recent(session, request.job_id, points.LOOK_BACK)}
            engine = services.engines.get(cluster)
            root = savepoint_root(normal(cluster.state_dir), request.job_id)
            elsewhere = {await state_files.real(path) for path in in_use}
            for point in to_delete(
                request.policy,
                gathered.points,
                clock.now(),
                in_use=in_use,
                taken_up=lineage_of(job.snapshot).taken_up,
            ):
                if clock.monotonic() > until and (result.deleted or len(result.refused) >= waits.RETAIN_TRIES):
                    result.more = bool(result.deleted)  # else the same would be tried for ever
                    return result
                if await state_files.real(point.path) in elsewhere:
                    result.refused.append(f"{point.path}: it is in use by another path to it")
                    continue
                if not is_below(point.path, root):
                    result.refused.append(f"{point.path}: it does not lie in this job's own folder")
                    continue
                # Deleting takes its time: somebody may have pinned this one while those before it went.
                async with services.database.write() as session:
                    taken = await attempts.take_away(session, request.job_id, point, clock.now())
                if not taken:
                    result.refused.append(f"{point.path}: it has come into use meanwhile")
                    continue
                try:
                    await _delete(engine, point.path, pulse)
                    result.deleted.append(point.path)
                except EngineError as error:
                    result.refused.append(f"{point.path}: {error.message}")
                    async with services.database.write() as session:
                        await attempts.add_point(session, request.job_id, point)
            await self._half_written(engine, root, recent, result, pulse)
            left = [point for point in gathered.points if point.path not in result.deleted]
            await self._checkpoints(engine, job, cluster, request, left, result, pulse, until)
        return result

    async def _checkpoints(
        self,
        engine: Engine,
        job: Job,
        cluster: Cluster,
        request: c.RetainIn,
        left: list[RestorePoint],
        result: c.Retained,
        pulse: Pulse,
        until: float,
    ) -> None:
        """Folders of checkpoints of ended attempts. `left` are the restore points that are there; none after `until`.

        Only folders directly below this job's own checkpoint folder whose name is the Flink job id of an attempt of
        this job that the cluster does not show alive.
        """
        if request.policy.keep_attempts is None or not traits(job.type).keeps_state:
            return
        services, below = self._services, checkpoint_directory(normal(cluster.state_dir), request.job_id)
        try:
            names = await state_files.names(below)
            async with services.database.read() as session:
                own = await attempts.of_flink_jobs(session, request.job_id, names)
                last = await attempts.last_number(session, request.job_id)
            if not any(a.number <= last - request.policy.keep_attempts for a in own.values()):
                return
            on_cluster = (await engine.overview()).jobs
            alive = {handle for handle, job_seen in on_cluster.items() if job_seen.state not in ENDED}
            for name, attempt in sorted(own.items(), key=lambda item: item[1].number):
                if attempt.handle in alive or attempt.number > last - request.policy.keep_attempts:
                    continue
                if result.checkpoints and clock.monotonic() > until:
                    result.more = True
                    return
                folder = CheckpointFolder(
                    attempt=attempt.number,
                    path=f"{below}/{name}",
                    ended_at=attempt.ended_at,
                    changed_at=await state_files.changed_at(f"{below}/{name}"),
                )
                if await self._may_go(folder, job, request, left, last):
                    # Said first: from then on nobody is offered what lies in it, and nobody can pin it.
                    if not await self._say_gone(folder, request):
                        result.refused.append(f"{folder.path}: something in it has come into use meanwhile")
                        continue
                    pulse.check()
                    await state_files.remove(folder.path)
                    result.checkpoints[folder.attempt] = folder.path
                    await self._say_gone(folder, request)  # who was listing them may have seen them since
        except EngineError as error:
            result.refused.append(f"checkpoints of ended attempts: {error.message}")

    async def _say_gone(self, folder: CheckpointFolder, request: c.RetainIn) -> bool:
        """False when something in it is in use by now: then nothing is said."""
        async with self._services.database.write() as session:
            await attempts.lock_points(session, request.job_id, folder.attempt)
            used = await attempts.in_use(session, request.job_id, own_source=True)
            if any(path.startswith(f"{folder.path}/") for path in used):
                return False
            await attempts.checkpoints_gone(session, request.job_id, folder.attempt, clock.now())
        return True

    async def _may_go(
        self, folder: CheckpointFolder, job: Job, request: c.RetainIn, left: list[RestorePoint], attempts_made: int
    ) -> bool:
        """Asked anew for each folder; all paths are compared as they are without symbolic links."""
        async with self._services.database.read() as session:
            in_use = await attempts.in_use(session, request.job_id, own_source=True)
        deletable = folders_to_delete(
            request.policy,
            [folder.model_copy(update={"path": await state_files.real(folder.path)})],
            [point.model_copy(update={"path": await state_files.real(point.path)}) for point in left],
            clock.now(),
            attempts=attempts_made,
            in_use={await state_files.real(path) for path in in_use},
            taken_up=lineage_of(job.snapshot).taken_up,
        )
        return bool(deletable)

    async def _half_written(
        self, engine: Engine, root: str, recent: dict[int, Attempt], result: c.Retained, pulse: Pulse
    ) -> None:
        """Folders of savepoints without `_metadata`, of which it is certain that nobody writes to them."""
        try:
            for folder in await state_files.folders(root):
                number, _, trigger = folder.path.rpartition("/")[2].partition("-")
                if not number.isdigit() or not trigger:
                    continue
                if any([await state_files.is_complete(inner.path) for inner in await state_files.folders(folder.path)]):
                    continue
                why = await self._still_written(engine, recent.get(int(number)), trigger, folder)
                if why is None:
                    pulse.check()
                    await state_files.remove(folder.path)
                    result.half_written.append(folder.path)
                elif why:
                    result.refused.append(f"{folder.path}: {why}")
        except Unreachable as error:
            result.refused.append(error.message)

    async def _still_written(
        self, engine: Engine, attempt: Attempt | None, trigger: str, folder: state_files.Folder
    ) -> str | None:
        """None when nobody writes to the folder any more; else why it is left (empty: no news)."""
        now = clock.now()
        if now - folder.changed_at < timedelta(seconds=SETTLED_SECONDS):
            return ""
        if attempt is None or attempt.ended_at is not None:
            return None  # older than the attempts that are looked at, or ended
        try:
            status = await _status(engine, Ref(attempt.flink_job_id, attempt.handle), trigger)
        except EngineError as error:
            return f"it has no _metadata, and whether it is still being written cannot be told: {error.message}"
        if status.state is TriggerState.FAILED:
            return None
        old = now - folder.changed_at > timedelta(seconds=self._services.settings.stop_timeout)
        return None if status.state is TriggerState.UNKNOWN and old else ""


def is_below(path: str, root: str) -> bool:
    """Whether `path` is `<root>/<attempt>-<trigger>/savepoint-...` and nothing else."""
    inner = path.removeprefix(root + "/").split("/")
    return path.startswith(root + "/") and len(inner) == 2 and inner[1].startswith("savepoint-") and ".." not in inner


async def _delete(engine: Engine, path: str, pulse: Pulse) -> None:
    """A savepoint is a folder that nothing else refers to, so what Flink cannot delete is deleted as files. Raises
    `Stale`."""
    pulse.check()
    if isinstance(engine, Savepoints):
        with contextlib.suppress(EngineError):
            await engine.dispose(path)
    pulse.check()
    await state_files.remove(path.rpartition("/")[0])


async def _status(engine: Engine, ref: Ref, trigger: str) -> TriggerStatus:
    if isinstance(engine, Savepoints):
        return await engine.trigger_status(ref, trigger)
    return TriggerStatus(TriggerState.UNKNOWN)
