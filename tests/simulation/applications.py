"""A kind of cluster whose handles are no Flink job ids, as those of a resource manager: an attempt is known by the id of
an application. Behind it is the simulated Flink; what differs is all that tells the two ids apart."""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any
from unittest import mock

from clusters import registry
from clusters.flink.session import FlinkSession
from clusters.kind import Opening
from clusters.protocol import (
    CAPABILITIES,
    Checkpoints,
    Engine,
    Failures,
    HostsClusters,
    Identified,
    JobSeen,
    Logs,
    Outputs,
    Overview,
    ProgramFailed,
    Ref,
    Savepoints,
    SharedByPrograms,
    SqlWorkbench,
    Submission,
)
from core.effects import LogSink

NOBODY = Ref("0" * 32, "0" * 32)


@dataclass
class ResourceManager:
    """Which application each Flink job of a cluster is. It never gives an id twice, also for the same Flink job."""

    handles: dict[str, str] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new(self) -> str:
        return f"application_{next(self.numbers):04}"

    def ref(self, flink_job_id: str) -> Ref:
        """Of one that is there: what was not started by `take` gets an id when it is first seen."""
        return Ref(flink_job_id, self.handles.setdefault(flink_job_id, self.new()))

    def take(self, ref: Ref) -> None:
        assert self.handles.setdefault(ref.flink_job_id, ref.handle) == ref.handle, "one job, two applications"

    def inner(self, ref: Ref) -> Ref:
        """As the Flink behind it knows that: a handle that is not the job's is nobody's."""
        own = self.handles.get(ref.flink_job_id) == ref.handle
        return Ref(ref.flink_job_id, ref.flink_job_id) if own else NOBODY


class Applications(SqlWorkbench, Savepoints, Checkpoints, Failures, Logs, Outputs, SharedByPrograms, Identified):
    """What has a `ref` and is not here is asked of `flink` with the ref of that, and all else as it is."""

    def __init__(self, flink: FlinkSession, manager: ResourceManager):
        self.flink, self.manager = flink, manager

    async def reserve(self, flink_job_id: str) -> str:
        return self.manager.new()

    async def ref_of(self, flink_job_id: str) -> Ref | None:
        found = await self.flink.overview()
        return self.manager.ref(flink_job_id) if flink_job_id in {*found.jobs, *found.fenced} else None

    async def submit(self, submission: Submission, tell: LogSink) -> None:
        self.manager.take(submission.ref)
        with self._told():
            await self.flink.submit(replace(submission, ref=self.manager.inner(submission.ref)), tell)

    async def fence(self, ref: Ref) -> bool:
        self.manager.take(ref)
        return await self.flink.fence(self.manager.inner(ref))

    async def overview(self) -> Overview:
        found = await self.flink.overview()
        refs = {id_: self.manager.ref(id_) for id_ in (*found.jobs, *found.fenced)}
        jobs = {refs[id_].handle: replace(seen, ref=refs[id_]) for id_, seen in found.jobs.items()}
        return Overview(jobs, frozenset(refs[id_].handle for id_ in found.fenced))

    async def look(self, ref: Ref) -> JobSeen:
        return replace(await self.flink.look(self.manager.inner(ref)), ref=ref)

    async def check_whole(self, ref: Ref) -> None:
        with self._told():
            await self.flink.check_whole(self.manager.inner(ref))

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except ProgramFailed as error:
            error.jobs = [self.manager.ref(job.flink_job_id) for job in error.jobs]
            raise


def _asked(name: str, by_ref: bool) -> Callable[..., Any]:
    @wraps(getattr(FlinkSession, name))
    def method(self: Applications, *args: Any, **more: Any) -> Any:
        if by_ref:
            args = (self.manager.inner(args[0]), *args[1:])
        return getattr(self.flink, name)(*args, **more)

    return method


for _capability in {Engine, *CAPABILITIES} - {HostsClusters}:
    for _name in vars(_capability).keys() - vars(Applications).keys():
        if inspect.isfunction(_function := vars(_capability)[_name]) and not _name.startswith("_"):
            setattr(Applications, _name, _asked(_name, "ref" in inspect.signature(_function).parameters))


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Clusters of kind flink-session are of this one until it is left."""
    kind, managers = registry.KINDS[registry.DEFAULT_KIND], dict[str, ResourceManager]()

    def open_(address: Any, how: Opening) -> Applications:
        return Applications(kind.open(address, how), managers.setdefault(str(address), ResourceManager()))

    with mock.patch.dict(registry.KINDS, {kind.name: replace(kind, engine=Applications, open=open_)}):
        yield
