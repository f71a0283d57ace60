"""How the parts of a job's workflow are put together: each knows those that are made before it, and no other."""

from __future__ import annotations

from dataclasses import dataclass

from workflows.adoption import Adoption
from workflows.commands import Commands
from workflows.context import JobContext
from workflows.deployment import Deployment
from workflows.endings import Endings
from workflows.failure_policy import FailurePolicy
from workflows.fence import Fence
from workflows.journal import Journal
from workflows.observations import Observations
from workflows.predecessor import Predecessor
from workflows.programs import Programs
from workflows.restore_points import RestorePoints
from workflows.rollback import Rollback
from workflows.savepoints import Savepoints
from workflows.starting import Starting
from workflows.stops import Stops
from workflows.submission import Submission


@dataclass(frozen=True)
class Parts:
    """Those that the workflow itself calls."""

    context: JobContext
    observations: Observations
    savepoints: Savepoints
    stops: Stops
    predecessor: Predecessor
    deployment: Deployment
    commands: Commands


def parts_of(journal: Journal) -> Parts:
    """The parts that share a journal."""
    context = JobContext(journal)
    policy = FailurePolicy(context)
    endings = Endings(context, policy)
    observations = Observations(context, endings)
    fence = Fence(context, endings, observations)
    savepoints = Savepoints(context)
    stops = Stops(context, endings, fence, savepoints)
    predecessor = Predecessor(context, policy, endings, observations, fence)
    programs = Programs(context)
    restore_points = RestorePoints(context)
    deployment = Deployment(
        context,
        policy=policy,
        endings=endings,
        observations=observations,
        predecessor=predecessor,
        programs=programs,
        restore_points=restore_points,
        submission=Submission(context, endings, fence, programs),
    )
    starting = Starting(
        context,
        observations=observations,
        stops=stops,
        programs=programs,
        restore_points=restore_points,
        deployment=deployment,
        rollback=Rollback(context, observations, stops, deployment, restore_points),
    )
    commands = Commands(
        context,
        policy=policy,
        stops=stops,
        savepoints=savepoints,
        restore_points=restore_points,
        starting=starting,
        adoption=Adoption(context, observations, predecessor, deployment),
    )
    return Parts(context, observations, savepoints, stops, predecessor, deployment, commands)
