"""Deleting savepoints that are not kept any more, and what is left of those that were never completed."""

from __future__ import annotations

import contextlib
from datetime import timedelta

from temporalio import activity

from activities import contracts as c
from activities.logs import bind, heartbeats
from core.paths import normal
from core.retention import to_delete
from core.snapshot import lineage_of, savepoint_root
from engine import files
from engine.base import Engine, EngineError, Ref, TriggerState, Unreachable
from settings import clock
from store import attempts, clusters
from store.tables import Attempt, Job
from watch import points
from watch.services import Services

SETTLED_SECONDS = 60.0  # an attempt that has just ended may still be writing


class Retaining:
    def __init__(self, services: Services):
        self._services = services

    @activity.defn(name=c.RETAIN)
    async def retain(self, wanted: c.RetainIn) -> c.Retained:
        """Delete what `wanted.policy` does not keep: through Flink, or as files when no JobManager answers.
        What is not certain to be of no use is left alone, and said."""
        bind(job=wanted.job_id)
        services, made = self._services, c.Retained()
        async with heartbeats():
            found = await points.gather(services, wanted.job_id)
            if found.unread:
                made.refused.append(f"all savepoints, because not all restore points can be read: {found.unread}")
                return made
            async with services.database.read() as session:
                job = await session.get(Job, wanted.job_id)
                assert job is not None
                cluster = await clusters.get(session, job.cluster)
                in_use = await attempts.in_use(session, wanted.job_id)
                recent = {a.number: a for a in await attempts.recent(session, wanted.job_id, points.LOOK_BACK)}
            engine = services.engines.get(cluster)
            root = savepoint_root(normal(cluster.state_dir), wanted.job_id)
            elsewhere = {await files.real(path) for path in in_use}
            for point in to_delete(
                wanted.policy,
                found.points,
                clock.now(),
                in_use=in_use,
                taken_up=lineage_of(job.snapshot).taken_up,
            ):
                if await files.real(point.path) in elsewhere:
                    made.refused.append(f"{point.path}: it is in use by another path to it")
                    continue
                if not is_below(point.path, root):
                    made.refused.append(f"{point.path}: it does not lie in this job's own folder")
                    continue
                try:
                    await _delete(engine, point.path)
                    made.deleted.append(point.path)
                except EngineError as error:
                    made.refused.append(f"{point.path}: {error.message}")
            async with services.database.write() as session:
                await attempts.gone(session, wanted.job_id, made.deleted, clock.now())
            await self._half_written(engine, root, recent, made)
        return made

    async def _half_written(self, engine: Engine, root: str, recent: dict[int, Attempt], made: c.Retained) -> None:
        """Folders of savepoints without `_metadata`, of which it is certain that nobody writes to them."""
        try:
            for folder in await files.folders(root):
                number, _, trigger = folder.path.rpartition("/")[2].partition("-")
                if not number.isdigit() or not trigger:
                    continue
                if any([await files.is_complete(inner.path) for inner in await files.folders(folder.path)]):
                    continue
                why = await self._still_written(engine, recent.get(int(number)), trigger, folder)
                if why is None:
                    await files.remove(folder.path)
                    made.half_written.append(folder.path)
                elif why:
                    made.refused.append(f"{folder.path}: {why}")
        except Unreachable as error:
            made.refused.append(error.message)

    async def _still_written(
        self, engine: Engine, attempt: Attempt | None, trigger: str, folder: files.Folder
    ) -> str | None:
        """None when nobody writes to the folder any more; else why it is left (empty: no news)."""
        now = clock.now()
        if now - folder.changed_at < timedelta(seconds=SETTLED_SECONDS):
            return ""
        if attempt is None or attempt.ended_at is not None:
            return None  # older than the attempts that are looked at, or ended
        try:
            status = await engine.trigger_status(Ref(attempt.flink_job_id, attempt.handle), trigger)
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


async def _delete(engine: Engine, path: str) -> None:
    """A savepoint is a folder that nothing else refers to, so what Flink cannot delete is deleted as files."""
    with contextlib.suppress(EngineError):
        await engine.dispose(path)
    await files.remove(path.rpartition("/")[0])
