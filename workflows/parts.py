"""How the parts of a job's workflow are put together: each knows those that are made before it, and no other."""

from __future__ import annotations

from dataclasses import dataclass

from workflows.adoption import Adoption
from workflows.commands import Commands
from workflows.context import JobContext
from workflows.deployment import Deployment
from workflows.endings import AttemptEndings
from workflows.failure_policy import FailurePolicy
from workflows.fence import AttemptFence
from workflows.journal import Journal
from workflows.observations import Observations
from workflows.predecessor import Predecessor
from workflows.programs import ProgramChoice
from workflows.restore_points import RestorePoints
from workflows.rollback import Rollback
from workflows.savepoints import JobSavepoints
from workflows.starting import Starting
from workflows.stops import Stops
from workflows.submission import AttemptSender


@dataclass(frozen=True)
class WorkflowParts:
    """Those that the workflow itself calls."""

    context: JobContext
    observations: Observations
    savepoints: JobSavepoints
    stops: Stops
    predecessor: Predecessor
    deployment: Deployment
    commands: Commands


def parts_of(journal: Journal) -> WorkflowParts:
    """The parts that share a journal."""
    context = JobContext(journal)
    policy = FailurePolicy(context)
    endings = AttemptEndings(context, policy)
    observations = Observations(context, endings)
    fence = AttemptFence(context, endings, observations)
    savepoints = JobSavepoints(context)
    stops = Stops(context, endings, fence, savepoints)
    predecessor = Predecessor(context, policy, endings, observations, fence)
    programs = ProgramChoice(context)
    restore_points = RestorePoints(context)
    deployment = Deployment(
        context,
        policy=policy,
        endings=endings,
        observations=observations,
        predecessor=predecessor,
        programs=programs,
        restore_points=restore_points,
        submission=AttemptSender(context, endings, fence, programs),
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
    return WorkflowParts(context, observations, savepoints, stops, predecessor, deployment, commands)
