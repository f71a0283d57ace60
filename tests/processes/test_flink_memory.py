"""How much memory the task managers have that Penstock starts, beside their heap, and who has the last word."""

from __future__ import annotations

from pathlib import Path

import pytest

from processes.flink import Flink, room_for_python
from settings import ApiSettings, Settings, StackSettings
from stack.local import LocalStack
from stack.parts import StackParts

METASPACE, OFF_HEAP = "taskmanager.memory.jvm-metaspace.size", "taskmanager.memory.task.off-heap.size"


@pytest.mark.parametrize(
    ("slots", "memory", "room"),
    [
        (16, "2240m", {METASPACE: "536m", OFF_HEAP: "100m"}),
        (16, "4g", {METASPACE: "536m", OFF_HEAP: "100m"}),
        (8, "1814m", {METASPACE: "312m", OFF_HEAP: "20m"}),
        (8, "1813m", {}),  # it would be taken from the heap
        (16, "1728m", {}),
        (6, "1728m", {}),  # so many fit into what Flink gives by itself
        (16, "1.5 gb", {}),
    ],
)
def test_room_for_a_python_job_in_each_slot(slots: int, memory: str, room: dict[str, str]):
    assert room_for_python(slots, memory) == room


def _local(tmp_path: Path, stack: StackSettings) -> Flink:
    site_packages = tmp_path / "flink" / "2.3.0" / "lib" / "python3.11" / "site-packages"
    site_packages.mkdir(parents=True, exist_ok=True)
    return LocalStack(Settings(home=tmp_path / "home"), stack, ApiSettings(), StackParts(tmp_path)).flink()


def test_the_local_stack_has_that_room_and_what_is_set_counts(tmp_path: Path):
    given = _local(tmp_path, StackSettings()).configuration()
    assert (given[METASPACE], given[OFF_HEAP]) == ("536m", "100m")
    given = _local(tmp_path, StackSettings(flink_config={METASPACE: "1g"})).configuration()
    assert (given[METASPACE], given[OFF_HEAP]) == ("1g", "100m")
