from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.simulation.world import collect


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """What the runs of a test have left is collected when it is over; then the collector goes on as before."""
    yield
    collect()
    gc.unfreeze()
    gc.enable()
