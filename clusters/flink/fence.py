"""Spending the id of an attempt on a Flink job that does nothing (`docs/decisions/0014-the-fence.md`)."""

from __future__ import annotations

from pathlib import Path

from clusters.flink.jars import NotCompiled, compiled
from clusters.protocol import Unclear

SOURCE = Path(__file__).with_name("Fence.java")
ENTRY_CLASS = "dev.penstock.Fence"
_PREFIX = "penstock-fence-"


def name_of(flink_job_id: str) -> str:
    """The name of the job that spends an id. A program that calls its own job so fences nothing but itself."""
    return _PREFIX + flink_job_id


def is_fence(flink_job_id: str, name: str) -> bool:
    return name == name_of(flink_job_id)


async def jar(folder: Path) -> Path:
    """The jar with the fence, compiled once below `folder`. Raises `Unclear` when this machine has no Java compiler."""
    try:
        return await compiled(SOURCE, folder)
    except NotCompiled as error:
        raise Unclear(f"the job that would spend its id is not there: {error.message}") from error
