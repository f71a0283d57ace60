"""What the fault harness sees on the disk, where its folders are listed only when they have changed."""

from __future__ import annotations

import shutil
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import sampler
from tests.faults.sampler import Sampler


@pytest.fixture
def watching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sampler]:
    monkeypatch.setattr(sampler, "SURELY_OLDER_SECONDS", 0.2)
    made = Sampler({}, tmp_path, pause=0.02)
    yield made
    made.stop()


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "_metadata").write_bytes(struct.pack(">iiq", 0x4960672D, 4, 7) + b"more")


def seen(watching: Sampler, root: Path) -> dict[str, bool]:
    """The points that were ever complete, and whether they have gone."""
    watching.wait_for_scan()
    return {str(Path(p.path).relative_to(root)): p.gone is not None for p in watching.points.values()}


def test_points_of_ours_and_of_others_come_and_go(watching: Sampler, tmp_path: Path):
    checkpoints, savepoint = tmp_path / "job/checkpoints/flink", tmp_path / "job/savepoints/1-t/savepoint-ab-x"
    write(checkpoints / "chk-1")
    write(savepoint)
    write(tmp_path / "other/chk-4")
    (checkpoints / "shared").mkdir()
    here = {"job/checkpoints/flink/chk-1": False, "job/savepoints/1-t/savepoint-ab-x": False, "other/chk-4": False}
    assert seen(watching, tmp_path) == here
    assert [p.checkpoint for p in watching.points_of(["other"])] == [7]
    shutil.rmtree(checkpoints / "chk-1")
    assert seen(watching, tmp_path) == here | {"job/checkpoints/flink/chk-1": True}
    shutil.rmtree(tmp_path / "job")
    assert seen(watching, tmp_path) == {path: path.startswith("job/") for path in here}


def test_one_that_completes_in_a_folder_that_has_not_changed_since(watching: Sampler, tmp_path: Path):
    point = tmp_path / "job/checkpoints/flink/chk-1"
    point.mkdir(parents=True)
    assert seen(watching, tmp_path) == {}
    time.sleep(0.3)
    write(point)
    assert seen(watching, tmp_path) == {"job/checkpoints/flink/chk-1": False}
