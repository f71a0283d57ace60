"""Making sure that an attempt that was perhaps sent can never run (`docs/decisions/0014-the-fence.md`)."""

from __future__ import annotations

from temporalio import activity

from activities import contracts as c
from activities.checks import check_current, present
from activities.logs import Pulse, bind, heartbeats, log_of
from activities.looking import confirm_missing, leader_with, observation
from clusters import state_files
from clusters.protocol import Engine, JobSeen, Leader, Ref, Unreachable
from core.effects import EngineError, LogSink
from core.jobs.observations import EngineState
from core.jobs.restore import RestoreKind
from core.jobs.snapshot import attempt_checkpoints
from core.paths import of_point
from observation.growth import Growth
from services import Services
from settings import clock, waits
from settings.polling import poll
from store import attempts, clusters
from store.tables import Attempt, Cluster


class Fencer:
    def __init__(self, services: Services):
        self._services = services

    @activity.defn(name=c.FENCE)
    async def fence(self, request: c.AttemptIn) -> c.Fenced:
        """Spend the id of an attempt, or find that the cluster has it; asks for a minute and a half."""
        bind(job=request.job_id, attempt=request.number, command=request.command_id)
        services = self._services
        async with log_of(services.database, request.command_id) as tell, heartbeats() as pulse:
            await check_current(services, request)
            async with services.database.read() as session:
                attempt = present(
                    await attempts.get(session, request.job_id, request.number),
                    f"attempt {request.number} of job {request.job_id}",
                )
                cluster = await clusters.get(session, attempt.cluster)
            grace = services.settings.lost_grace
            engine = services.engines.get(cluster)
            spent = await spend(engine, attempt, cluster, tell, pulse, grace=grace)
            if spent.observation is not None and request.leader is None:
                spent.leader = await leader_with(engine, Ref(attempt.flink_job_id, attempt.handle))
            return spent


async def spend(
    engine: Engine, attempt: Attempt, cluster: Cluster, tell: LogSink, pulse: Pulse, *, grace: float
) -> c.Fenced:
    """As the activity does. Raises nothing that an engine raises.

    A spent id stops what has not arrived. What arrived at an earlier JobManager, unheard of, may still run on task
    managers that have not missed it yet: they are waited for after the fence, and the JobManager that answers then
    has to be the one that was fenced (`docs/decisions/0020-a-model-of-the-fence.md`).
    """
    ref = Ref(attempt.flink_job_id, attempt.handle)
    polling = poll(waits.FENCE_PACE, seconds=waits.FENCE_SECONDS)
    why, is_spent = "", False
    while True:
        unknown: str | None = None
        try:
            pulse.check()
            leader = await engine.leader()
            if await engine.fence(ref):
                # Another Flink may have answered at the address meanwhile, and have gone again: the one that leads has
                # to show it, or, where an id is so old that it is not shown, to say so twice.
                if not is_spent and ref.handle not in (await engine.overview()).fenced:
                    is_spent = True
                    continue
                status, asked = await _remainder(engine, attempt, cluster, leader, tell, grace)
                if status is None and (await engine.leader()).identity == leader.identity:
                    tell(f"attempt {attempt.number} can never run: its id is spent")
                    try:
                        return c.Fenced(fenced=True, ran=await has_run(attempt, cluster))
                    except EngineError as error:
                        unknown = error.message
                        raise
                why = "the JobManager has changed meanwhile"
            else:
                asked = clock.now_ms()
                status = await engine.look(ref)
            if status is not None and status.state is not EngineState.MISSING:
                return c.Fenced(observation=observation(attempt, status, asked))
        except EngineError as error:
            if error.message != why:
                tell(f"whether attempt {attempt.number} can still reach the cluster cannot be told: {error.message}")
            why = error.message
        if not await polling.again():
            if unknown is not None:
                return c.Fenced(fenced=True, unknown=unknown)
            return c.Fenced(
                error=f"It cannot be made sure that attempt {attempt.number} never runs: {why or 'no clear answer'}",
                code="submission_unresolved",
            )


async def _remainder(
    engine: Engine, attempt: Attempt, cluster: Cluster, leader: Leader, tell: LogSink, grace: float
) -> tuple[JobSeen | None, int]:
    """What runs of an attempt whose id was spent at `leader`, once no task manager runs what an earlier JobManager
    took; None when nothing does. Raises `Unreachable`."""
    led_before = attempt.config.get("leader")
    if leader.ha or leader.identity == led_before:
        return None, clock.now_ms()
    tell(f"the JobManager has changed since attempt {attempt.number} was written down: waiting for task managers")
    ref = Ref(attempt.flink_job_id, attempt.handle)
    status, asked = await confirm_missing(
        engine, ref, leader=led_before, grace=grace, growth=Growth.of(attempt, cluster)
    )
    return (None if status.state is EngineState.MISSING else status), asked


async def has_run(attempt: Attempt, cluster: Cluster) -> bool:
    """Whether an attempt has left checkpoints. Raises `Unreachable`, also while their volume is away: it looks like an
    empty one."""
    places, job = [cluster.state_dir], of_point(f"{cluster.state_dir}/{attempt.job_id}")
    if attempt.restored_from is not None and of_point(attempt.restored_from).startswith(f"{job}/"):
        places.append(job)  # what it came from lies there
    for place in places:
        if await state_files.is_folder(place) is False:
            raise Unreachable(
                f"{place} is not there, so whether attempt {attempt.number} has left checkpoints cannot be told. Is "
                "its volume mounted? Make the folder where nothing has ever been written to it"
            )
    folder = attempt_checkpoints(cluster.state_dir, attempt.job_id, attempt.flink_job_id)
    return bool(await state_files.scan(folder, RestoreKind.CHECKPOINT))
