from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.disks import can_mount
from tests.faults.run import ROLES, Run
from tests.faults.world import World


@pytest.fixture(scope="package")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A world that can be hurt, with jobs of all roles running in it, and a judge that watches."""
    home = tmp_path_factory.mktemp("faults")
    world = World(home, disks=can_mount(home / "mounted"))
    made: Run | None = None
    try:
        world.up()
        made = Run(world, 1, ROLES)
        made.begin()
        yield made
    finally:
        if made is not None:
            made.close()
        world.down()
