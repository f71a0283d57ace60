"""What workflows are called, and what is said to them: by name, as whoever speaks to one does not know its code.

Both sides take the names from here. They stand in Temporal's histories, so none is ever changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from core.jobs.commands import CommandRequest
from core.jobs.observations import Observation
from core.jobs.policy import RestartPolicy
from core.jobs.retention import SavepointPolicy
from core.jobs.snapshot import JobSnapshot

T = TypeVar("T")

JOB: Final = "JobWorkflow"
CLUSTER: Final = "ClusterWorkflow"
BUILD: Final = "BuildWorkflow"
LIBRARY: Final = "LibraryWorkflow"
RECOVERY: Final = "RecoveryWorkflow"


@dataclass(frozen=True)
class Signal(Generic[T]):
    """Something that a workflow is told: a `T`."""

    name: str


@dataclass(frozen=True)
class Update(Generic[T]):
    """Something that a workflow is to do, and may refuse: given a `T`, or nothing where that is None."""

    name: str


@dataclass(frozen=True)
class Query(Generic[T]):
    """A question that changes nothing; the answer is a `gives`."""

    name: str
    gives: type[T]


COMMAND = Update[CommandRequest]("command")
RETIRE = Update[None]("retire")
OBSERVED = Signal[Observation]("observed")
REVISED = Signal[int]("revised")
POLICY = Signal[RestartPolicy]("policy")
SAVEPOINTS = Signal[SavepointPolicy]("savepoints")
SNAPSHOT = Query("snapshot", JobSnapshot)
"""To the workflow of a job."""

FOLLOW = Signal[str]("follow")
LEAVE = Signal[str]("leave")
"""To that of a build, by who waits for it."""
