from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.run import Run
from tests.faults.world import World


@pytest.fixture(scope="package")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A world that can be hurt, with two SQL jobs and two jars running in it, and a judge that watches."""
    world = World(tmp_path_factory.mktemp("faults"))
    made: Run | None = None
    try:
        world.up()
        made = Run(world, seed=1)
        made.begin()
        yield made
    finally:
        if made is not None:
            made.close()
        world.down()
