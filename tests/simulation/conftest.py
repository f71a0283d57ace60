from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulation.world import leave


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    leave()
