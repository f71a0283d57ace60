"""Names and identifiers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import StringConstraints

from core.queues import Queues, queues_of

NAME_PATTERN = r"^[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9])?$"
SECRET_OPENS = "${secret:"  # noqa: S105 - of a reference, no secret
"""How a reference to a secret begins, wherever one may stand."""
FLINK_ID_PATTERN = r"^[0-9a-f]{32}$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""Lower case letters, digits, `-`, `_` and `.`; 1 to 63 characters; starts and ends with a letter or digit."""

_JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_job_id(text: str) -> bool:
    """Whether a text has the form of a job's id. No new job has such a name: it would be taken for an id."""
    return _JOB_ID.fullmatch(text) is not None


FlinkJobId = Annotated[str, StringConstraints(pattern=FLINK_ID_PATTERN)]


def job_workflow_id(project: str, name: str, job_id: str) -> str:
    """`job-<project>:<name>-<8 hex of the job's id>`: a name that is used again has another workflow. It is kept in
    the job's row, which is where everybody takes it from."""
    return f"{old_job_workflow_id(project, name)}-{job_id[:8]}"


def old_job_workflow_id(project: str, name: str) -> str:
    """What jobs had before their id was a part of it, and still have."""
    return f"job-{project}:{name}"


@dataclass(frozen=True)
class Installation:
    """What tells one Penstock from another in the same Temporal namespace. `id` is empty in a database that is older
    than it: then all names are as they were."""

    id: str = ""

    @property
    def queues(self) -> Queues:
        return queues_of(self.id)

    @property
    def _owner(self) -> str:
        return f"{self.id}:" if self.id else ""

    def cluster_workflow_id(self, name: str) -> str:
        """Of the watch of a cluster."""
        return f"cluster-{self._owner}{name}"

    def build_workflow_id(self, key: str) -> str:
        """`key` is the hash of commit and settings (`core.specs.build_key`)."""
        return f"build-{self._owner}{key[:24]}"

    def library_workflow_id(self, project: str, name: str, version: str) -> str:
        """Of the fetch or build of a library's version."""
        return f"library-{self._owner}{project}:{name}:{version}"

    @property
    def recovery_id(self) -> str:
        """Of the recovery's schedule, and of the workflow that it starts."""
        return f"penstock-recovery-{self.id}" if self.id else "penstock-recovery"


_HALF = 2**64


def follows(first: str, other: str) -> bool:
    """Whether Flink gave `other` to a later job of the environment whose first job is `first`."""
    try:
        upper, lower = ((int(other[at : at + 16], 16) - int(first[at : at + 16], 16)) % _HALF for at in (0, 16))
    except ValueError:
        return False
    return len(first) == len(other) == 32 and upper == lower and 0 < upper < 1000
