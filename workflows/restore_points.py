"""Which restore point an attempt starts from. The rules are in `core.jobs.restore`."""

from __future__ import annotations

from temporalio import workflow

from activities import contracts as c
from core.jobs import blocked
from core.jobs.restore import Choice, Missing, RestorePoint, RestoreRequest, StateLineage, choose, newer_than, newest
from core.jobs.states import JobState
from workflows import calls
from workflows.context import JobContext
from workflows.failure import Failed


class RestorePoints:
    """Gathers restore points, and chooses among them. Each method asks the cluster and the files anew."""

    def __init__(self, context: JobContext):
        self._context = context

    async def gather(self, named: str | None = None) -> c.Gathered:
        """All restore points of the job, and the one that is `named` by id or path."""
        with self._context.may_leave():
            return await calls.gather(c.GatherIn(job_id=self._context.snapshot.job_id, named=named))

    async def choose(self, request: RestoreRequest, *, explicit: bool) -> tuple[Choice, StateLineage | None]:
        """The restore point, and the lineage that goes on with it; None when a new one begins. `explicit`: a person has
        said which. Raises `Failed` with the job DEPLOY_FAILED, or BLOCKED when one is due and none is there."""
        context, s = self._context, self._context.snapshot
        if s.stateless:
            return Choice(path=None, why="a cluster has no state of its own"), None
        points: list[RestorePoint] = []
        vanished: list[RestorePoint] = []
        if request.mode != "none" and not (s.attempts == 0 and request.mode == "newest"):
            gathered = await self.gather(request.point)
            if gathered.error and gathered.code == c.POINTS_UNDECIDED:
                await context.park(blocked.no_restore_point(gathered.error, gathered.points, gathered.unowned))
            if gathered.error:
                context.journal.set_state(JobState.DEPLOY_FAILED, gathered.error)
                raise Failed(gathered.error, gathered.code or "restore_point")
            points, vanished = gathered.points, gathered.vanished
        choice = choose(request, points, s.lineage, asked=explicit, without=s.unusable)
        if isinstance(choice, Missing):
            await context.park(blocked.no_restore_point(choice.why, points))
        if newer := self._passed_over(request, choice, points, vanished):
            paths = ", ".join(point.path for point in newer)
            context.journal.note("alert", f"newer restore points have gone from the disk: {paths}", paths=paths)
        old = choice.point is not None and choice.point.attempt < s.lineage.first
        return choice, s.lineage if request.mode == "newest" and not old else None

    def _passed_over(
        self, request: RestoreRequest, choice: Choice, points: list[RestorePoint], vanished: list[RestorePoint]
    ) -> list[RestorePoint]:
        """What was newer than the choice and has gone. Who names a point does not go by which one is the newest. An
        event takes a number of chance, so what earlier code told is told again by a run that it made."""
        lineage = self._context.snapshot.lineage
        before = newer_than(choice, vanished, lineage)
        newer = newer_than(choice, vanished, lineage, points) if request.mode == "newest" else []
        return before if newer != before and not workflow.patched("newer-than-all-that-are-there") else newer

    async def check_named(self, request: RestoreRequest) -> None:
        """Before anything is stopped for the point that is named. Raises `Failed`; the job runs on."""
        gathered = await self.gather(request.point)
        if gathered.error:
            raise Failed(f"{gathered.error} Nothing was stopped.", gathered.code or "restore_point")

    async def newest_of_lineage(self) -> RestorePoint:
        """The newest that the job's state has come to. Raises `Failed` when there is none."""
        gathered = await self.gather()
        lineage = self._context.snapshot.lineage
        point = newest([p for p in gathered.points if p.attempt >= lineage.first], lineage.taken_up)
        if gathered.error or point is None:
            raise Failed(
                gathered.error or "There is no restore point to roll back to. Send it without `rollback_within`.",
                "no_way_back",
            )
        return point
